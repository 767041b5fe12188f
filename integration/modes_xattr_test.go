package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// getfattr tells of every file how it lies in the bucket, and nobody can change
// that.
func TestXattrsOfEachMode(t *testing.T) {
	k := newKeys(t, nil)
	modes := []mode{
		{name: "none", rule: "mode: none"},
		{name: "sse-s3", rule: "mode: sse-s3", algorithm: "AES256"},
		{name: "sse-kms", rule: "mode: sse-kms, key: minio", algorithm: "aws:kms"},
		{name: "sse-c", rule: "mode: sse-c, key: c3", algorithm: "SSE-C", customer: 3},
		{name: "client", rule: "mode: client, key: main", format: sealed},
		{name: "client-sse-s3", rule: "mode: client, key: main, sse: sse-s3", algorithm: "AES256", format: sealed},
		{name: "s3ec", rule: "mode: s3ec, key: s3ec", format: s3ecV3},
		{name: "s3ec-v2", rule: "mode: s3ec, key: s3ec, s3ec-version: 2", format: s3ecV2},
	}
	m := newMount(t, mountOptions{YAML: func(bucket string) string { return k.yaml(bucket, rules(modes)) }})
	must(t, shared(t).Version(t.Context(), m.bucket))
	o := newObserver(t, m.bucket, k)
	getfattr := newTool(t, m.Dir(), "getfattr")
	for _, md := range modes {
		t.Run(md.name, func(t *testing.T) {
			must(t, os.Mkdir(m.Path(md.name), 0o755))
			file := md.name + "/file"
			writeFile(t, m.Path(file), content(1, 1000))
			must(t, unix.Setxattr(m.Path(file), "user.own", []byte("kept"), 0))
			must(t, unix.Setxattr(m.Path(file), "user.sigil.mode", []byte("none"), 0))
			syncFile(t, m.Path(file))
			m.Remount(t)
			shown := parseXattrs(getfattr.run("getfattr", "-d", file))
			h := o.head(file, md.customer)
			want := map[string]string{"user.own": "kept", "user.sigil.etag": h.ETag}
			name, _, _ := strings.Cut(strings.TrimPrefix(md.rule, "mode: "), ",")
			want["user.sigil.mode"] = name
			switch {
			case md.format == sealed:
				want["user.sigil.commitment"] = "yes"
			case md.format == s3ecV3:
				want["user.sigil.commitment"] = "yes"
			case md.format == s3ecV2:
				want["user.sigil.commitment"] = "no"
			case md.algorithm == "aws:kms":
				want["user.sigil.key-id"] = h.SSEKMSKeyId
			}
			for name, value := range want {
				if !strings.Contains(shown[name], value) || shown[name] == "" {
					t.Errorf("%s is %q, want %q", name, shown[name], value)
				}
			}
			for _, name := range []string{"user.sigil.version-id", "user.sigil.storage-class"} {
				if shown[name] == "" {
					t.Errorf("%s is not shown", name)
				}
			}
			if _, ok := shown["user.sigil.epoch"]; ok != (md.format == sealed) {
				t.Errorf("epoch %q", shown["user.sigil.epoch"])
			}
			if md.customer != 0 && len(shown["user.sigil.key-id"]) != 16 {
				t.Errorf("key id %q", shown["user.sigil.key-id"])
			}
			t.Log(shown)
		})
	}
}

// parseXattrs reads what getfattr -d prints.
func parseXattrs(out string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.HasPrefix(name, "user.") {
			found[name] = strings.Trim(value, `"`)
		}
	}
	return found
}

// What backs up a mount takes these attributes along, and restores them into
// a mount: where they mean nothing, and are no error.
func TestBackupOfAMount(t *testing.T) {
	k := newKeys(t, nil)
	modes := []mode{
		{name: "sse-s3", rule: "mode: sse-s3"},
		{name: "client", rule: "mode: client, key: main"},
		{name: "s3ec", rule: "mode: s3ec, key: s3ec"},
	}
	m := newMount(t, mountOptions{YAML: func(bucket string) string { return k.yaml(bucket, rules(modes)) }})
	src := sourceTree(t)
	must(t, unix.Setxattr(filepath.Join(src, "d0", "sub", "a"), "user.own", []byte("kept"), 0))
	work := newTool(t, t.TempDir(), "rsync",
		"RESTIC_PASSWORD=only for this test", "RESTIC_REPOSITORY="+t.TempDir(),
		"BORG_PASSPHRASE=only for this test", "BORG_REPO="+filepath.Join(t.TempDir(), "repo"), "BORG_BASE_DIR="+t.TempDir())
	work.run("restic", "init")
	work.run("borg", "init", "--encryption=repokey-blake2")
	for _, md := range modes {
		t.Run(md.name, func(t *testing.T) {
			tree := m.Path(md.name + "/tree")
			must(t, os.Mkdir(m.Path(md.name), 0o755))
			work.run("rsync", "-aX", src+"/", tree+"/")
			sameTree(t, src, tree)
			work.run("rsync", "-aX", tree+"/", m.Path(md.name+"/rsync")+"/")
			sameTree(t, src, m.Path(md.name+"/rsync"))
			work.run("restic", "backup", "--tag", md.name, tree)
			work.run("restic", "restore", "latest", "--tag", md.name, "--target", m.Path(md.name+"/restic"))
			sameTree(t, src, filepath.Join(m.Path(md.name+"/restic"), tree))
			work.run("borg", "create", "::"+md.name, tree)
			must(t, os.Mkdir(m.Path(md.name+"/borg"), 0o755))
			extract := work
			extract.dir = m.Path(md.name + "/borg")
			extract.run("borg", "extract", "::"+md.name)
			sameTree(t, src, filepath.Join(extract.dir, tree))
		})
	}
	m.Remount(t)
	for _, md := range modes {
		sameTree(t, src, m.Path(md.name+"/rsync"))
	}
}
