package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A rescuer has the bucket, AWS's command line, the stand-alone decryptor and
// a key, and no sigilfs.
type rescuer struct {
	tool
	m *mount
}

func newRescuer(t *testing.T, m *mount) rescuer {
	t.Helper()
	s3 := minioServer(t)
	env := append(s3.env(), "AWS_CA_BUNDLE="+s3.CAFile, "AWS_ENDPOINT_URL="+s3.URL, "AWS_PAGER=")
	return rescuer{newTool(t, t.TempDir(), awsCLI, env...), m}
}

// fetch takes an object, its metadata and its epoch out of the bucket, into
// files in the working directory, as the decryptor's own help has it.
func (r rescuer) fetch(key string) {
	r.t.Helper()
	api := func(verb, key string, args ...string) string {
		argv := []string{awsCLI, "--endpoint-url", minioServer(r.t).URL, "--output", "json", "s3api", verb, "--bucket", r.m.bucket, "--key", key}
		return r.run(append(argv, args...)...)
	}
	head := api("head-object", key)
	must(r.t, os.WriteFile(filepath.Join(r.dir, "head.json"), []byte(head), 0o600))
	var reply struct{ Metadata map[string]string }
	must(r.t, json.Unmarshal([]byte(head), &reply))
	words := strings.Fields(reply.Metadata["sigil"])
	if len(words) != 3 {
		r.t.Fatalf("metadata of %s: %v", key, reply.Metadata)
	}
	api("get-object", key, "body")
	api("get-object", r.m.Key(".sigil/epochs/"+words[2]), "epoch")
}

// names turns all keys of a volume whose names are encrypted into names, by a
// listing, the volume object and its epoch: names to keys, both below the volume
// root.
func (r rescuer) names(key ...string) map[string]string {
	r.t.Helper()
	cli := strings.Join([]string{awsCLI, "--endpoint-url", minioServer(r.t).URL, "s3api"}, " ")
	r.run("sh", "-ec", cli+" get-object --bucket "+r.m.bucket+" --key "+r.m.Key(".sigil/volume")+" volume")
	var volume struct{ Epoch string }
	text, err := os.ReadFile(filepath.Join(r.dir, "volume"))
	must(r.t, err)
	must(r.t, json.Unmarshal(text, &volume))
	r.run("sh", "-ec", cli+" get-object --bucket "+r.m.bucket+" --key "+r.m.Key(".sigil/epochs/"+volume.Epoch)+" epoch")
	r.run("sh", "-ec", cli+" list-objects-v2 --bucket "+r.m.bucket+" --prefix "+r.m.Key("")+" --query 'Contents[].[Key]' --output text > keys")
	must(r.t, os.Rename(filepath.Join(r.dir, "epoch"), filepath.Join(r.dir, "epoch-of-names")))
	return r.turned(key...)
}

// turned is what the decryptor makes of the keys, or names, in the file keys: names
// to keys.
func (r rescuer) turned(args ...string) map[string]string {
	r.t.Helper()
	script, err := filepath.Abs("../docs/decrypt_sigil.py")
	must(r.t, err)
	out := r.run("sh", "-ec", "/usr/bin/python3 "+script+" --names volume --root "+r.m.Key("")+" --epoch epoch-of-names "+strings.Join(args, " ")+" < keys")
	all := map[string]string{}
	for line := range strings.Lines(out) {
		stored, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		all[strings.TrimPrefix(name, r.m.Key(""))] = strings.TrimPrefix(stored, r.m.Key(""))
	}
	return all
}

// decrypt gives what the decryptor writes; key is its flag for the key.
func (r rescuer) decrypt(name string, key ...string) ([]byte, error) {
	r.t.Helper()
	r.fetch(r.m.Key(name))
	script, err := filepath.Abs("../docs/decrypt_sigil.py")
	must(r.t, err)
	argv := append([]string{"/usr/bin/python3", script, "--key", r.m.Key(name), "--meta", "head.json", "--epoch", "epoch", "-o", "plain", "body"}, key...)
	if out, err := r.try(argv...); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(filepath.Join(r.dir, "plain"))
}

func TestDecryptorOpensObjectsOfARealBucket(t *testing.T) {
	m := newMount(t, mountOptions{})
	sizes := []int64{0, 1, 65536, 65537, segment, segment + 1, 3*segment + 12345}
	for _, size := range sizes {
		writeFile(t, m.Path(fmt.Sprint("file", size)), content(uint64(size), size))
	}
	must(t, os.Symlink("the target", m.Path("link")))
	// What was rewritten in part, and renamed, is an object like any other.
	rewritten := content(7, 3*segment)
	writeFile(t, m.Path("before"), rewritten)
	f, err := os.OpenFile(m.Path("before"), os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("rewritten"), segment+5)
	must(t, err)
	must(t, f.Close())
	copy(rewritten[segment+5:], "rewritten")
	must(t, os.Rename(m.Path("before"), m.Path("after")))
	m.Unmount(t)

	r := newRescuer(t, m)
	check := func(name string, want []byte) {
		t.Helper()
		got, err := r.decrypt(name, "--aes-key", m.key)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want))
		}
	}
	for _, size := range sizes {
		check(fmt.Sprint("file", size), content(uint64(size), size))
	}
	check("link", []byte("the target"))
	check("after", rewritten)

	other := filepath.Join(t.TempDir(), "other.key")
	m.sigilfs(t, "keygen", "-o", other)
	if got, err := r.decrypt("file1", "--aes-key", other); err == nil {
		t.Errorf("another key gave %q", got)
	}
}

// The second key of a volume is an age identity in a safe; stock age opens what
// is wrapped for it.
func TestStockAgeUnwrapsTheEpoch(t *testing.T) {
	onMount(t)
	age := newTool(t, t.TempDir(), "age-keygen")
	age.run("age-keygen", "-o", "identity.txt")
	recipient := strings.TrimSpace(age.run("age-keygen", "-y", "identity.txt"))
	m := newMount(t, mountOptions{Args: []string{"--also-key", "age:" + recipient}})
	want := content(1, segment+10)
	writeFile(t, m.Path("file"), want)
	m.Unmount(t)

	r := newRescuer(t, m)
	r.fetch(m.Key("file"))
	epoch, err := os.ReadFile(filepath.Join(r.dir, "epoch"))
	must(t, err)
	line, _, _ := bytes.Cut(epoch, []byte("\n"))
	var payload struct{ Wraps []struct{ Type, Blob string } }
	must(t, json.Unmarshal(line, &payload))
	for _, w := range payload.Wraps {
		if w.Type != "age" {
			continue
		}
		blob, err := base64.StdEncoding.DecodeString(w.Blob)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(r.dir, "blob.age"), blob, 0o600))
		r.run("age", "-d", "-i", filepath.Join(age.dir, "identity.txt"), "-o", "epoch-key", "blob.age")
		got, err := r.decrypt("file", "--epoch-key", "epoch-key")
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		return
	}
	t.Fatalf("no wrap for an age key: %s", line)
}

// Names that are encrypted come back without sigilfs: those that are no UTF-8, and
// have a line break or a backslash, too.
func TestDecryptorReadsHiddenNames(t *testing.T) {
	base := newMount(t, mountOptions{})
	base.Unmount(t)
	m, _ := hiddenVolume(t, base)
	m.Start(t)
	files := map[string]string{ // as they are, and as the decryptor shows them
		"plain.txt":                       "plain.txt",
		"dir/deep er/Grüße.txt":           "dir/deep er/Grüße.txt",
		"dir/latin\xe9":                   "dir/latin\xe9",
		"dir/two\nlines and \\nno":        `dir/two\nlines and \\nno`,
		"dir/" + strings.Repeat("n", 175): "dir/" + strings.Repeat("n", 175),
	}
	must(t, os.MkdirAll(m.Path("dir/deep er"), 0o755))
	for name := range files {
		writeFile(t, m.Path(name), []byte("content of "+name))
	}
	m.Unmount(t)

	r := newRescuer(t, m)
	names := r.names("--aes-key", m.key)
	var keys strings.Builder
	for _, shown := range files {
		if stored := names[shown]; stored == "" || strings.Contains(stored, "dir") {
			t.Errorf("%q is at %q, of %q", shown, stored, names)
		}
		keys.WriteString(m.Key(shown) + "\n")
	}
	if names["dir/"] == "" || names[".sigil/volume"] != ".sigil/volume" {
		t.Errorf("a directory, or the volume's own, is not among %q", names)
	}
	must(t, os.WriteFile(filepath.Join(r.dir, "keys"), []byte(keys.String()), 0o600))
	for shown, stored := range r.turned("--aes-key", m.key, "--encode") {
		if stored != names[shown] {
			t.Errorf("%q is at %q by its name, and at %q in the listing", shown, stored, names[shown])
		}
	}
	const name = "dir/two\nlines and \\nno"
	if got, err := r.decrypt(names[files[name]], "--aes-key", m.key); err != nil || string(got) != "content of "+name {
		t.Errorf("%q, %v", got, err)
	}
}
