package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A bucket as years make it: logs of CloudTrail, three generations of SSE-C
// keys, what s3fs and rclone left, the S3 Encryption Client's objects, and
// sigil's. tar reads all of it, each by what it is.
func TestMixedBucket(t *testing.T) {
	k := newKeys(t, nil)
	policy := []string{
		"mode: client, key: main, allow-plaintext: true",
		"prefix: AWSLogs/, mode: sse-kms, key: minio",
		"prefix: partner/, mode: sse-c, key: c3",
		"prefix: s3ec/, mode: s3ec, key: s3ec, instruction-files: true",
	}
	v := loadVectors(t)
	must(t, os.WriteFile(k.file("vectors.key"), []byte(v.Keys["aes"]), 0o600))
	m := newMount(t, mountOptions{
		Args: []string{"--attr-timeout", "0s"}, // others write meanwhile
		YAML: func(bucket string) string {
			return strings.Replace(k.yaml(bucket, policy, "c1", "c2"), "keys:\n", "keys:\n  vectors: {aes: file:"+k.file("vectors.key")+"}\n", 1)
		},
	})
	o := newObserver(t, m.bucket, k)
	files := map[string]sum{}
	put := func(name string, body []byte, args ...string) {
		files[name] = sha256.Sum256(body)
		o.put(name, body, args...)
	}
	const day = "AWSLogs/111122223333/CloudTrail/eu-central-1/2026/11/20/"
	gz := []string{"--content-type", "application/json", "--content-encoding", "gzip", "--tagging", "team=audit"}
	for i := range 3 {
		put(fmt.Sprintf("%s%d.json.gz", day, i), zipped(t, content(uint64(i), 20_000)),
			append(gz, "--server-side-encryption", "aws:kms", "--ssekms-key-id", minioKey)...)
	}
	digest := strings.Replace(day, "CloudTrail/", "CloudTrail-Digest/", 1) + "digest.json.gz"
	put(digest, zipped(t, []byte(`{"digest": true}`)), append(gz, "--server-side-encryption", "AES256")...)
	for g := range 4 {
		put(fmt.Sprintf("partner/g%d", g), content(uint64(20+g), 70_000), o.customer(g)...)
	}
	put("old/by-s3fs", []byte("s3fs"), "--metadata", "mode=33184,uid=0,gid=0,mtime=1600000000,ctime=1600000000", "--content-type", "text/plain")
	put("old/by-rclone", []byte("rclone"), "--metadata", "mode=100640,uid=0,gid=0,mtime=2020-09-13T12:26:40Z")
	put("old/by-nobody", content(30, 300_000))
	sigil := content(40, 9<<20)
	writeFile(t, m.Path("sealed"), sigil)
	files["sealed"] = sha256.Sum256(sigil)
	must(t, os.MkdirAll(m.Path("s3ec"), 0o755))
	inline := content(41, 100_000)
	files["s3ec/inline"] = sha256.Sum256(inline)
	writeFile(t, m.Path("s3ec/inline"), inline)
	plantVectors(t, o, v, files)

	m.Remount(t)
	archive := filepath.Join(t.TempDir(), "all.tar")
	newTool(t, m.Dir(), "tar").run("tar", "cf", archive, ".")
	wantArchive(t, archive, files)
	for _, name := range []string{"old/by-s3fs", "old/by-rclone"} {
		info, err := os.Stat(m.Path(name))
		if err != nil || info.Mode() != 0o640 || !info.ModTime().Equal(time.Unix(1_600_000_000, 0)) {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	t.Run("chmod", func(t *testing.T) {
		for name, customer := range map[string]int{day + "0.json.gz": 0, digest: 0, "old/by-s3fs": 0, "partner/g1": 1} {
			chmodKeeps(t, m, newObserver(t, m.bucket, k), name, customer)
			if got, err := sumFile(m.Path(name)); err != nil || got != files[name] {
				t.Errorf("%s: other bytes, or %v", name, err)
			}
		}
	})
}

// chmodKeeps changes a foreign object's mode, and nothing else but that may
// change of it, or only for a stronger encryption.
func chmodKeeps(t *testing.T, m *mount, o observer, name string, customer int) {
	t.Helper()
	before, tags := o.head(name, customer), o.must("get-object-tagging", "--key", name)
	must(t, os.Chmod(m.Path(name), 0o600))
	syncFile(t, m.Path(name))
	if customer != 0 {
		customer = 3 // by today's key, and the tag says so
	}
	after := o.head(name, customer)
	if after.Metadata["mode"] == before.Metadata["mode"] {
		t.Errorf("%s: mode %q was not written", name, after.Metadata["mode"])
	}
	if before.ContentType != after.ContentType || before.ContentEncoding != after.ContentEncoding || before.ContentLength != after.ContentLength {
		t.Errorf("%s was %+v, is %+v", name, before, after)
	}
	if customer == 0 && before.ServerSideEncryption != after.ServerSideEncryption && after.ServerSideEncryption != "aws:kms" {
		t.Errorf("%s: encryption %q became %q", name, before.ServerSideEncryption, after.ServerSideEncryption)
	}
	if now := o.must("get-object-tagging", "--key", name); strings.Contains(tags, "audit") && !strings.Contains(now, "audit") {
		t.Errorf("%s: tags were %s, are %s", name, tags, now)
	}
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	must(t, errors.Join(err, w.Close()))
	return out.Bytes()
}

// wantArchive fails the test unless the archive holds exactly these files.
func wantArchive(t *testing.T, name string, want map[string]sum) {
	t.Helper()
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	found := 0
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if h.Typeflag != tar.TypeReg {
			continue
		}
		file := strings.TrimPrefix(h.Name, "./")
		got, err := io.ReadAll(r)
		must(t, err)
		found++
		if body, ok := want[file]; !ok || sha256.Sum256(got) != body {
			t.Errorf("%s: %d bytes of SHA-256 %.8x, want %s (known: %v)", file, len(got), sha256.Sum256(got), body, ok)
		}
	}
	if found != len(want) {
		t.Errorf("%d files, want %d", found, len(want))
	}
}

// vectors are objects that Amazon's S3 Encryption Clients wrote.
type vectors struct {
	Keys    map[string]string
	Vectors []struct {
		Name, Group, Expect, Instruction, Wrap, Suite string

		Metadata  map[string]string
		Body      []byte
		Plaintext struct{ SHA256 string }
	}
}

func loadVectors(t *testing.T) (v vectors) {
	t.Helper()
	must(t, json.Unmarshal(readFile(t, "../objcrypt/s3ec/testdata/vectors.json"), &v))
	return v
}

// plantVectors puts those that AES-GCM and an AES key encrypt, with their
// instruction files, which are no files of the mount.
func plantVectors(t *testing.T, o observer, all vectors, files map[string]sum) {
	t.Helper()
	instructions := 0
	for _, v := range all.Vectors {
		if v.Expect != "accept" || !strings.HasPrefix(v.Name, "v2-aes-gcm-ruby2") && !strings.HasPrefix(v.Name, "v3-aes-ruby") {
			continue
		}
		name := "s3ec/" + v.Name
		o.raw.put(name, object{v.Body, v.Metadata})
		if v.Instruction != "" {
			o.raw.put(name+".instruction", object{Body: []byte(v.Instruction)})
			instructions++
		}
		want, err := hex.DecodeString(v.Plaintext.SHA256)
		must(t, err)
		files[name] = sum(want)
	}
	if instructions < 2 {
		t.Errorf("%d vectors with instruction files", instructions)
	}
}
