package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// hiddenVolume is a volume of its own in the bucket of m, and with its key, whose
// names are encrypted. It gives their fingerprint.
func hiddenVolume(t *testing.T, m *mount) (*mount, string) {
	t.Helper()
	dark := anotherHost(t, m)
	dark.prefix = "dark"
	var made struct{ ID, Names, Fingerprint string }
	must(t, json.Unmarshal([]byte(dark.obey(t, nil, "init", dark.volume(), "--encrypt-names", "--json")), &made))
	if made.Names != "encrypted" || len(made.ID) != 26 || len(made.Fingerprint) != 64 {
		t.Fatalf("init made %+v", made)
	}
	return dark, made.Fingerprint
}

// anotherHost is beside, and does not mount.
func anotherHost(t *testing.T, m *mount) *mount {
	t.Helper()
	base := t.TempDir()
	other := *m
	other.daemon = nil
	other.args = slices.Clone(m.args)
	other.state, other.dir = filepath.Join(base, "state"), filepath.Join(base, "mnt")
	must(t, os.Mkdir(other.state, 0o700))
	must(t, os.Mkdir(other.dir, 0o755))
	t.Cleanup(func() { other.cleanup(t) })
	return &other
}

// object is something in the bucket of a mount, as another client has it.
func (r rescuer) object(verb, key string, args ...string) string {
	r.t.Helper()
	return r.run(append([]string{awsCLI, "--endpoint-url", minioServer(r.t).URL, "--output", "json", "s3api", verb, "--bucket", r.m.bucket, "--key", key}, args...)...)
}

// The bucket shows no name of a volume whose names are encrypted; its hosts see
// them all, whatever bytes they are.
func TestHiddenNames(t *testing.T) {
	base := newMount(t, mountOptions{Args: []string{"--attr-timeout", "0"}})
	base.Unmount(t)
	m, fingerprint := hiddenVolume(t, base)
	m.Start(t)
	var fs syscall.Statfs_t
	must(t, syscall.Statfs(m.dir, &fs))
	if fs.Namelen != 175 {
		t.Errorf("names of %d bytes are said to work, want 175", fs.Namelen)
	}
	long := strings.Repeat("é", 87) + "x"
	names := []string{"visible", "visible dir/visible", "visible dir/caf\xe9\n", "visible dir/visible sub/" + long}
	must(t, os.MkdirAll(m.Path("visible dir/visible sub"), 0o755))
	for _, name := range names {
		writeFile(t, m.Path(name), []byte("of "+name))
	}
	if err := os.WriteFile(m.Path(long+"y"), nil, 0o644); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("a name of 176 bytes: %v", err)
	}
	must(t, os.Symlink("visible dir/visible", m.Path("visible link")))
	must(t, os.Link(m.Path("visible"), m.Path("visible twin")))
	must(t, os.Rename(m.Path("visible dir"), m.Path("visible too")))
	m.Unmount(t)

	r := newRescuer(t, m)
	listing := r.run(awsCLI, "--endpoint-url", minioServer(t).URL, "--output", "json", "s3api", "list-objects-v2", "--bucket", m.bucket, "--prefix", m.prefix)
	if strings.Contains(listing, "visible") {
		t.Errorf("names are readable:\n%s", listing)
	}
	must(t, os.WriteFile(filepath.Join(r.dir, "intruder"), []byte("plain"), 0o600))
	r.object("put-object", m.Key("intruder"), "--body", "intruder")

	// Another host, which was told the fingerprint.
	other := anotherHost(t, m)
	other.args = append(other.args, "--names", "encrypted:"+fingerprint)
	other.Start(t)
	for _, name := range names {
		want := []byte("of " + name)
		name = strings.Replace(name, "visible dir", "visible too", 1)
		if got, err := os.ReadFile(other.Path(name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	if to, err := os.Readlink(other.Path("visible link")); err != nil || to != "visible dir/visible" {
		t.Errorf("the symbolic link leads to %q, %v", to, err)
	}
	if info, err := os.Stat(other.Path("visible twin")); err != nil || info.Sys().(*syscall.Stat_t).Nlink != 2 { //nolint:forcetypeassert // as documented
		t.Errorf("the hard link: %v, %v", info, err)
	}
	var shown []string
	entries, err := os.ReadDir(other.dir)
	must(t, err)
	for _, e := range entries {
		shown = append(shown, e.Name())
	}
	if want := []string{"visible", "visible link", "visible too", "visible twin"}; !slices.Equal(shown, want) {
		t.Errorf("the root has %q, want %q", shown, want)
	}
	other.Unmount(t)
	if got := m.obey(t, nil, "cat", m.remote("visible too/visible")); got != "of visible dir/visible" {
		t.Errorf("cat gives %q", got)
	}
	m.wantAudited(t, "visible too/visible", m.Key("intruder"))
}

// wantAudited wants an audit to tell the path of one object, and of one key that it
// is a name of nobody.
func (m *mount) wantAudited(t *testing.T, path, foreign string) {
	t.Helper()
	out, complaint, _ := m.attempt(t, nil, "audit", m.volume(), "--json")
	var doc struct {
		Objects []struct {
			Key, Path string
			Findings  []struct{ Kind string }
		}
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("%v: %s%s", err, out, complaint)
	}
	named, found := false, false
	for _, o := range doc.Objects {
		named = named || o.Path == path && o.Key != m.Key(path)
		for _, f := range o.Findings {
			found = found || o.Key == foreign && o.Path == "" && f.Kind == "name"
		}
	}
	if !named || !found {
		t.Errorf("audit tells path: %v, and the foreign key: %v\n%s", named, found, out)
	}
}

// Nothing is mounted where names would be written in another way than before, and
// a mount under which that changes writes nothing until it is as it was.
func TestHiddenNamesAreKept(t *testing.T) {
	base := newMount(t, mountOptions{Args: []string{"--key-recheck", "1s"}})
	base.Unmount(t)
	m, _ := hiddenVolume(t, base)
	mounts := func(h *mount, more ...string) []string {
		return append([]string{"mount", "-f", h.volume(), h.dir}, more...)
	}
	m.refused(t, 32, nil, []string{"init", m.volume(), "--encrypt-names"}, "is there already")

	keyless := anotherHost(t, m)
	keyless.key = filepath.Join(t.TempDir(), "other.key")
	keyless.sigilfs(t, "keygen", "-o", keyless.key)
	keyless.refused(t, 32, nil, mounts(keyless), "names are encrypted, and this host has no key that opens them", "is wrapped for aes:")
	misled := anotherHost(t, m)
	misled.refused(t, 32, nil, mounts(misled, "--names", "encrypted:"+strings.Repeat("0f", 32)), "the fingerprint")
	within := anotherHost(t, m)
	within.prefix = m.prefix + "/within"
	within.refused(t, 32, nil, mounts(within), "it lies in the volume at", "give --volume-root")

	m.Start(t)
	writeFile(t, m.Path("before"), []byte("1"))
	r := newRescuer(t, m)
	r.object("get-object", m.Key(".sigil/volume"), "volume")
	r.object("delete-object", m.Key(".sigil/volume"))
	m.WantLog(t, "nothing is written any more", "was removed")
	if err := os.WriteFile(m.Path("meanwhile"), []byte("2"), 0o644); !errors.Is(err, syscall.EIO) {
		t.Errorf("a file was written without the volume object: %v", err)
	}
	m.Crash(t)
	m.refused(t, 32, nil, mounts(m), "is missing, and this host knows the volume with encrypted names")
	fresh := anotherHost(t, m)
	fresh.refused(t, 32, nil, mounts(fresh, "--names", "encrypted"), "is missing, and names are to be encrypted")
	r.object("put-object", m.Key(".sigil/volume"), "--body", "volume")
	m.Start(t)
	for name, want := range map[string]string{"before": "1", "meanwhile": "2"} {
		if got, err := os.ReadFile(m.Path(name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
