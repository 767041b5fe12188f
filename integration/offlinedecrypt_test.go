package integration

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A body and its metadata, as AWS's command line brings them, open without a
// bucket; what was tampered with gives no file at all.
func TestDecryptWithoutABucket(t *testing.T) {
	m := newMount(t, mountOptions{})
	r := newRescuer(t, m)
	for name, text := range map[string][]byte{"empty": {}, "small": content(1, 100_000), "large": content(2, 9<<20)} {
		writeFile(t, m.Path(name), text)
		r.fetch(m.Key(name))
		body := filepath.Join(r.dir, "body")
		// A run has no bucket: credentials and network would be of no use.
		decrypt := func(args ...string) (string, error) {
			c := exec.CommandContext(t.Context(), binary(t), append([]string{"decrypt", "body", "head.json", "-o", "out"}, args...)...)
			c.Dir = r.dir
			out, err := c.CombinedOutput()
			return string(out), err
		}
		of := []string{"--object", m.remote(name), "--epoch", "epoch", "--key", "file:" + m.key}
		if out, err := decrypt(of...); err != nil {
			t.Fatalf("%s: %v %s", name, err, out)
		}
		if got := readFile(t, filepath.Join(r.dir, "out")); !bytes.Equal(got, text) {
			t.Errorf("%s: %d bytes, or others", name, len(got))
		}
		must(t, os.Remove(filepath.Join(r.dir, "out")))
		if out, err := decrypt("--object", m.remote("elsewhere"), "--epoch", "epoch", "--key", "file:"+m.key); err == nil || !strings.Contains(out, "elsewhere") {
			t.Errorf("%s: under another name: %v %s", name, err, out)
		}
		stored := readFile(t, body)
		stored[len(stored)/2] ^= 1
		must(t, os.WriteFile(body, stored, 0o600))
		if out, err := decrypt(of...); err == nil || !strings.Contains(out, "corrupt") {
			t.Errorf("%s: damaged: %v %s", name, err, out)
		}
		if left, _ := filepath.Glob(filepath.Join(r.dir, "*out*")); len(left) != 0 {
			t.Errorf("%s: %q is left", name, left)
		}
		if left, _ := filepath.Glob(filepath.Join(r.dir, ".sigilfs*")); len(left) != 0 {
			t.Errorf("%s: %q is left", name, left)
		}
	}
}

// A hard link says where its content is: under a key of the volume's own, and
// that opens as a file does.
func TestDecryptOfALink(t *testing.T) {
	m := newMount(t, mountOptions{})
	r := newRescuer(t, m)
	text := content(3, 100_000)
	writeFile(t, m.Path("a"), text)
	must(t, os.Link(m.Path("a"), m.Path("b")))
	decrypt := func(key string) (string, error) {
		r.fetch(key)
		c := exec.CommandContext(t.Context(), binary(t), "decrypt", "body", "head.json", "-o", "out", "--object", key, "--epoch", "epoch", "--key", "file:"+m.key)
		c.Dir = r.dir
		out, err := c.CombinedOutput()
		return string(out), err
	}
	out, err := decrypt(m.Key("b"))
	_, inode, ok := strings.Cut(out, m.Key("b")+": inode ")
	if err == nil || !ok {
		t.Fatalf("a name: %v %s", err, out)
	}
	inode, _, _ = strings.Cut(inode, " ")
	if out, err := decrypt(m.Key(".sigil/inodes/" + inode)); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if got := readFile(t, filepath.Join(r.dir, "out")); !bytes.Equal(got, text) {
		t.Errorf("%d bytes, or others", len(got))
	}
}
