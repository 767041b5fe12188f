package integration

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// signKey makes a key that signs, and gives its file and its signer.
func signKey(t *testing.T, m *mount) (file, signer string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "sign.key")
	m.sigilfs(t, "keygen", "--kind", "sign", "-o", file)
	return file, strings.TrimSpace(m.sigilfs(t, "keygen", "--kind", "sign", "--show", "file:"+file))
}

// neighbour is another host of the volume of m, with a state of its own, a key
// and flags as given. It is not mounted yet.
func neighbour(t *testing.T, m *mount, key string, args ...string) *mount {
	t.Helper()
	base := t.TempDir()
	other := *m
	other.daemon, other.key, other.args = nil, key, args
	other.state, other.dir = filepath.Join(base, "state"), filepath.Join(base, "mnt")
	must(t, os.Mkdir(other.state, 0o700))
	must(t, os.Mkdir(other.dir, 0o755))
	t.Cleanup(func() { other.cleanup(t) })
	return &other
}

// epochsOf are the epoch objects of the volume.
func epochsOf(t *testing.T, m *mount) []string {
	t.Helper()
	return newClient(t, m.bucket).keys(m.Key(".sigil/epochs/"))
}

// wantRejected wants a file not to open, as its key is not the right one.
func wantRejected(t *testing.T, m *mount, name string) {
	t.Helper()
	if got, err := readAll(m.Path(name)); !errors.Is(err, unix.EKEYREJECTED) || len(got) > 0 {
		t.Errorf("%s: %q, %v, want EKEYREJECTED", name, got, err)
	}
}

// A host with --signers reads what they and it wrote, and nothing of who only
// knows the recipients; hosts without are as they were (THREATMODEL T16).
func TestSigners(t *testing.T) {
	onMount(t)
	age := newTool(t, t.TempDir(), "age-keygen")
	age.run("age-keygen", "-o", "identity.txt")
	must(t, os.Chmod(filepath.Join(age.dir, "identity.txt"), 0o600))
	recipient := strings.TrimSpace(age.run("age-keygen", "-y", "identity.txt"))
	sign, signer := signKey(t, &mount{s3: minioServer(t)})
	_, stranger := signKey(t, &mount{s3: minioServer(t)})

	writer := newMount(t, mountOptions{Args: []string{"--also-key", "age:" + recipient, "--sign", "file:" + sign}})
	writeFile(t, writer.Path("file"), []byte("of the writer"))

	// Who knows the recipient alone plants a file, and signs with a key of his own.
	own, _ := signKey(t, writer)
	forger := neighbour(t, writer, "", "--key", "age:"+recipient, "--sign", "file:"+own)
	forger.Start(t)
	writeFile(t, forger.Path("planted"), []byte("of nobody"))
	forger.Unmount(t)

	// The reader believes the writer, and what it makes itself.
	reader := neighbour(t, writer, writer.key, "--key", "age:file:"+filepath.Join(age.dir, "identity.txt"), "-o", "signers="+stranger+",signers="+signer)
	reader.Start(t)
	reader.WantLog(t, "this host signs nothing (--sign)")
	wantFile(t, reader.Path("file"), []byte("of the writer"))
	writeFile(t, reader.Path("own"), []byte("of the reader"))
	wantRejected(t, reader, "planted")
	reader.WantLog(t, "is signed by none of the signers of this host: add who made it to --signers if you trust him")
	reader.Remount(t)
	wantFile(t, reader.Path("own"), []byte("of the reader"))
	wantFile(t, reader.Path("file"), []byte("of the writer"))
	wantRejected(t, reader, "planted")

	// A host that asks for no signatures reads it all.
	plain := neighbour(t, writer, writer.key, "--key", "age:file:"+filepath.Join(age.dir, "identity.txt"))
	plain.Start(t)
	for name, want := range map[string]string{"file": "of the writer", "own": "of the reader", "planted": "of nobody"} {
		wantFile(t, plain.Path(name), []byte(want))
	}
}

// An unsigned revision of a signed epoch is followed by hosts without --signers
// alone: there a former holder of a key can end all reading.
func TestUnsignedRevision(t *testing.T) {
	onMount(t)
	sign, signer := signKey(t, &mount{s3: minioServer(t)})
	writer := newMount(t, mountOptions{Args: []string{"--sign", "file:" + sign, "--signers", signer}})
	writeFile(t, writer.Path("file"), []byte("of the writer"))
	reader := neighbour(t, writer, writer.key, "--signers", signer)
	reader.Start(t)
	wantFile(t, reader.Path("file"), []byte("of the writer"))
	reader.Unmount(t)
	epochs := epochsOf(t, writer)
	c := newClient(t, writer.bucket)

	// Stock tools find the signature good, and the former holder goes on from there.
	r := newRescuer(t, writer)
	r.fetch(writer.Key("file"))
	verifySignature(t, r.tool, signer)
	signed := c.get(writer.Key(".sigil/epochs/" + epochOf(t, r)))
	if got, err := r.decrypt("file", "--aes-key", writer.key); err != nil || string(got) != "of the writer" {
		t.Errorf("the decryptor: %q, %v", got, err)
	}
	script, err := filepath.Abs("testdata/forge.py")
	must(t, err)
	key := writer.Key(".sigil/epochs/" + epochOf(t, r))
	c.put(key, object{Body: []byte(r.run("/usr/bin/python3", script, writer.key, "epoch", "closed"))})

	reader.Start(t)
	wantFile(t, reader.Path("file"), []byte("of the writer"))
	reader.WantLog(t, "which none of the signers signed; it is passed over, and revision 1 used as it was seen before")
	late := neighbour(t, writer, writer.key, "--signers", signer)
	late.Start(t)
	wantRejected(t, late, "file")
	late.WantLog(t, "revision 2", "is not signed")
	plain := neighbour(t, writer, writer.key)
	plain.Start(t)
	wantRejected(t, plain, "file")
	plain.WantLog(t, "is closed")

	// The writer leaves an epoch that others are shown otherwise; put back, all
	// is well where nobody believed it.
	writer.Remount(t)
	wantFile(t, writer.Path("file"), []byte("of the writer"))
	writeFile(t, writer.Path("next"), []byte("goes on"))
	if now := epochsOf(t, writer); len(now) <= len(epochs) {
		t.Errorf("epochs before %v, now %v", epochs, now)
	}
	c.put(key, signed)
	late.Remount(t)
	for name, want := range map[string]string{"file": "of the writer", "next": "goes on"} {
		wantFile(t, late.Path(name), []byte(want))
	}
	plain.Remount(t)
	wantRejected(t, plain, "file") // it goes back from no state
}

// epochOf is the id of the epoch that was fetched.
func epochOf(t *testing.T, r rescuer) string {
	t.Helper()
	return strings.TrimSpace(r.run("sh", "-c", "head -n1 epoch | jq -r .id"))
}

// verifySignature checks the third line of the file epoch as docs/OPERATIONS.md
// has it.
func verifySignature(t *testing.T, c tool, signer string) {
	t.Helper()
	manual, err := os.ReadFile("../docs/OPERATIONS.md")
	must(t, err)
	_, block, ok := strings.Cut(string(manual), "To look at a signature without sigilfs:\n\n")
	block, _, _ = strings.Cut(block, "\n\n")
	if !ok || !strings.Contains(block, "openssl pkeyutl -verify") {
		t.Fatal("the manual does not say how to look at a signature")
	}
	raw := strings.TrimPrefix(signer, "ed25519:")
	if _, err := base64.StdEncoding.DecodeString(raw); err != nil || raw == signer {
		t.Fatalf("a signer like %q", signer)
	}
	script := strings.ReplaceAll(block, "what follows ed25519:", raw)
	if out := c.run("sh", "-ec", script); !strings.Contains(out, "Signature Verified Successfully") {
		t.Errorf("openssl says %s", out)
	}
	if out, err := c.try("sh", "-ec", "printf x >>signed; openssl pkeyutl -verify -pubin -keyform DER -inkey public.der -rawin -in signed -sigfile signature"); err == nil {
		t.Errorf("another message: %s", out)
	}
}
