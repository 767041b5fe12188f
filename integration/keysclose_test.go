package integration

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCloseEpochs: of a signed volume with a mount, a retired epoch is closed once
// nothing needs it, and not before. What was sealed under it and is put back opens
// for nobody; all else reads on.
func TestCloseEpochs(t *testing.T) {
	onMount(t)
	sign, signer := signKey(t, &mount{s3: minioServer(t)})
	signed := []string{"--sign", "file:" + sign, "--signers", signer}
	m := newMount(t, mountOptions{Args: append([]string{"--key-recheck", "300ms", "--attr-timeout", "10ms"}, signed...)})
	files := []string{"a", "dir/b", "dir/link", "stolen"}
	must(t, os.Mkdir(m.Path("dir"), 0o755))
	for i, name := range files {
		if i == 2 {
			must(t, os.Link(m.Path("a"), m.Path(name)))
			continue
		}
		writeFile(t, m.Path(name), content(1, 100_000))
	}
	k := newKeysOf(t, m, nil, append([]string{"--key", "file:" + m.key}, signed...)...)
	epoch := k.list()[0].ID
	refused := func(want string, args ...string) {
		t.Helper()
		if out, err := k.try("close", args...); err == nil || !strings.Contains(out, want) {
			t.Errorf("%v, want %q:\n%s", err, want, out)
		}
	}
	refused("it is open, and hosts seal under it", epoch[:10])
	k.run("rotate")
	refused("hosts may seal under it for another 1")
	refused("is no epoch of the volume", "aaaaaaaaaaaaaaaaaaaaaaaaaa")

	// As soon as it has been retired for a second it is looked for what needs it.
	out := ""
	for range 100 {
		if out, _ = k.try("close", "--retired-for", "1s"); !strings.Contains(out, "for another") {
			break
		}
	}
	if !strings.Contains(out, "objects or old versions need it, such as") || !strings.Contains(out, "1 retired epochs were not closed") {
		t.Errorf("needed, and not told so:\n%s", out)
	}
	c := newClient(t, m.bucket)
	stolen := c.get(m.Key("stolen"))

	reencrypt := append([]string{"reencrypt", m.volume(), "--to", "client", "--close-epochs", "--retired-for", "1s"}, k.flags[2:]...)
	out, err := tryBinary(t, k.env, append(reencrypt, "--dry-run")...)
	if err != nil || !strings.Contains(out, "epoch "+epoch+": would be closed, and is retired") {
		t.Errorf("dry run: %v\n%s", err, out)
	}
	out, err = tryBinary(t, k.env, reencrypt...)
	if err != nil || !strings.Contains(out, "epoch "+epoch+": was retired and is closed") {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, e := range k.list() {
		if (e.ID == epoch) != (e.State == "closed") {
			t.Errorf("%+v", e)
		}
	}
	if out := k.run("close"); !strings.Contains(out, "0 epochs changed") {
		t.Error(out)
	}
	c.put(m.Key("stolen"), stolen)
	for end := time.Now().Add(daemonTime); ; { // until the mount has looked at its keys again
		if _, err := readAll(m.Path("stolen")); errors.Is(err, unix.EKEYREJECTED) {
			break
		} else if time.Now().After(end) {
			t.Fatalf("what lies under the closed epoch: %v", err)
		}
	}
	for range 2 {
		wantRejected(t, m, "stolen")
		for _, name := range files[:3] {
			wantFile(t, m.Path(name), content(1, 100_000))
		}
		m.Remount(t)
	}
	if out := k.run("check"); !strings.Contains(out, "1 are closed") {
		t.Error(out)
	}
}
