package integration

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
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

	// As soon as it has been retired for a second it is looked for what needs it: on
	// this server, which tells of no upload by its prefix, not before somebody says
	// that there is none.
	out := ""
	for range 100 {
		if out, _ = k.try("close", "--retired-for", "1s"); !strings.Contains(out, "for another") {
			break
		}
	}
	if !strings.Contains(out, "no epoch was closed: this server does not tell which multipart uploads are under way") {
		t.Errorf("uploads that nobody can ask for:\n%s", out)
	}
	out, _ = k.try("close", "--retired-for", "1s", "--no-writers")
	if !strings.Contains(out, "objects or old versions need it, such as") || !strings.Contains(out, "1 retired epochs were not closed") {
		t.Errorf("needed, and not told so:\n%s", out)
	}
	c := newClient(t, m.bucket)
	stolen := c.get(m.Key("stolen"))

	// From an inner volume that has it too, and that needs none of it, it is not
	// closed either: hosts would take it for closed in the outer one.
	inner := m.Key("dir/in/.sigil/epochs/" + epoch)
	c.put(inner, c.get(m.Key(".sigil/epochs/"+epoch)))
	for range 100 {
		if out, _ = tryBinary(t, k.env, append([]string{"keys", "close", m.volume() + "/dir/in", "--retired-for", "1s"}, k.flags...)...); !strings.Contains(out, "for another") {
			break
		}
	}
	if !strings.Contains(out, "it lies above TARGET too") || !strings.Contains(out, "0 epochs changed") {
		t.Errorf("from an inner volume:\n%s", out)
	}
	c.remove(inner)

	reencrypt := append([]string{"reencrypt", m.volume(), "--to", "client", "--close-epochs", "--no-writers", "--retired-for", "1s"}, k.flags[2:]...)
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

// TestCloseEpochsVersioned: in a bucket that keeps versions an epoch stays for as
// long as one of them needs it, also of a file that was deleted; a look that is
// killed closes nothing, and the next one does; and --force closes what is needed.
func TestCloseEpochsVersioned(t *testing.T) {
	onMount(t)
	m := versionedMount(t, mountOptions{Proxy: true, Args: []string{"--key-recheck", "300ms"}})
	want := content(1, 100_000)
	writeFile(t, m.Path("kept"), want)
	writeFile(t, m.Path("deleted"), want)
	then := time.Now()
	must(t, os.Remove(m.Path("deleted")))
	k := newKeysOf(t, m, nil, "--key", "file:"+m.key)
	epoch := k.list()[0].ID
	k.run("rotate")
	m.Unmount(t)
	command := func(args ...string) (string, error) {
		return tryBinary(t, k.env, append(args, k.flags...)...)
	}
	reencrypt := func(args ...string) string { // as soon as the epoch has been retired for a second
		for {
			out, _ := tryBinary(t, k.env, append(append([]string{"reencrypt", m.volume(), "--to", "client", "--close-epochs", "--no-writers", "--retired-for", "1s"}, k.flags[2:]...), args...)...)
			if !strings.Contains(out, "for another") {
				return out
			}
		}
	}
	past := func() {
		t.Helper()
		if out, err := command("cat", m.volume()+"/deleted", "--at", then.UTC().Format(time.RFC3339Nano)); err != nil || out != string(want) {
			t.Errorf("what was deleted: %d bytes, %v", len(out), err)
		}
	}
	if out := reencrypt(); !strings.Contains(out, "objects or old versions need it") {
		t.Error(out)
	}
	past()
	if out := reencrypt("--purge-versions", "--yes"); !strings.Contains(out, "1 objects or old versions need it, such as \""+m.Key("deleted")) {
		t.Error(out)
	}
	past()
	if out, err := command("versions", m.volume()+"/deleted", "--restore-at", then.UTC().Format(time.RFC3339Nano)); err != nil {
		t.Fatal(err, out)
	}
	state := func() string {
		for _, e := range k.list() {
			if e.ID == epoch {
				return e.State
			}
		}
		return "lost"
	}

	// What nothing needs any more is closed, but not by a look that has not ended.
	out, err := tryBinary(t, k.env, append([]string{"reencrypt", m.volume(), "--to", "client", "--purge-versions", "--yes"}, k.flags[2:]...)...)
	if err != nil {
		t.Fatal(err, out)
	}
	gate := faultproxy.NewGate(func(r *http.Request) bool {
		return r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "/kept")
	}, 0, faultproxy.After)
	m.proxy.Set(gate.Fault)
	cmd := exec.CommandContext(t.Context(), binary(t), k.args("close", "--no-writers", "--retired-for", "1s")...)
	cmd.Env = k.env
	must(t, cmd.Start())
	<-gate.Arrived()
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	gate.Drop()
	m.proxy.Set(faultproxy.Pass)
	if got := state(); got != "retired" {
		t.Errorf("the epoch is %s after a look that was killed", got)
	}
	k.run("close", "--no-writers", "--retired-for", "1s")
	if got := state(); got != "closed" {
		t.Errorf("the epoch is %s, and nothing needs it", got)
	}

	// It goes over to other keys with the rest, and the old ones are not missed.
	old := m.key
	m.key = filepath.Join(t.TempDir(), "next.key")
	m.sigilfs(t, "keygen", "-o", m.key)
	newKeysOf(t, m, nil, "--key", "file:"+m.key, "--key", "old=file:"+old).run("rewrap")
	k = newKeysOf(t, m, nil, "--key", "file:"+m.key)
	if out := k.run("check"); !strings.Contains(out, "1 are closed") {
		t.Error(out)
	}
	m.Start(t)
	wantFile(t, m.Path("kept"), want)
	wantFile(t, m.Path("deleted"), want)
	m.Unmount(t)

	k.run("rotate")
	var ids []string
	for _, e := range k.list() {
		ids = append(ids, e.ID)
	}
	if out, err := k.try("close", append(ids, "--force")...); err == nil || !strings.Contains(out, "say --yes") {
		t.Errorf("unasked: %v\n%s", err, out)
	}
	k.run("close", append(ids, "--force", "--yes")...)
	if out, err := command("cat", m.volume()+"/kept"); err == nil || !strings.Contains(out, "is closed") {
		t.Errorf("what was closed by force: %v, %d bytes", err, len(out))
	}
}
