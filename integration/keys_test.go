package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/server"
)

// keysOf runs sigilfs keys on the volume of a mount, as who administers it would,
// from anywhere: with his own keys and a state of his own.
type keysOf struct {
	*testing.T
	m     *mount
	env   []string
	flags []string
}

func newKeysOf(t *testing.T, m *mount, env []string, keys ...string) keysOf {
	t.Helper()
	flags := append([]string{
		"--encryption", "client", "--endpoint-url", m.s3.URL, "--ca-bundle", m.s3.CAFile, "--state-dir", t.TempDir(),
	}, keys...)
	return keysOf{t, m, append(m.env(t), env...), flags}
}

func (k keysOf) args(verb string, more ...string) []string {
	return append(append([]string{"keys", verb, k.m.volume()}, k.flags...), more...)
}

func (k keysOf) try(verb string, more ...string) (string, error) {
	k.Helper()
	return tryBinary(k.T, k.env, k.args(verb, more...)...)
}

func (k keysOf) run(verb string, more ...string) string {
	k.Helper()
	out, err := k.try(verb, more...)
	if err != nil {
		k.Fatalf("keys %s: %v\n%s", verb, err, out)
	}
	return out
}

// rewrap may find that hosts made epochs for other keys meanwhile, as they are
// configured.
func (k keysOf) rewrap() {
	k.Helper()
	if out, err := k.try("rewrap"); err != nil && !strings.Contains(out, "hosts are still configured with other keys") {
		k.Fatalf("keys rewrap: %v\n%s", err, out)
	}
}

// listedEpoch is one that keys list shows.
type listedEpoch struct {
	ID, State string
	Revision  int
	Keys      []string
	Opens     bool
}

func (k keysOf) list() []listedEpoch {
	k.Helper()
	var doc struct{ Epochs []listedEpoch }
	out := k.run("list", "--json")
	must(k.T, json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &doc))
	return doc.Epochs
}

// wantKeys fails unless every epoch that is not older than the others is for
// exactly these keys.
func (k keysOf) wantKeys(ids ...string) {
	k.Helper()
	for _, e := range k.list() {
		if !e.Opens || fmt.Sprint(e.Keys) != fmt.Sprint(ids) {
			k.Errorf("epoch %+v, want it for %v", e, ids)
		}
	}
}

// TestKeysRotation: from a file key to KMS and an escrow, and back, while two
// hosts that have all the keys go on reading and writing. Nobody's read or write
// fails, and at the end each way of opening is the one that was asked for.
func TestKeysRotation(t *testing.T) {
	onMount(t)
	moto := server.Moto(t)
	arn, err := moto.Key(t.Context(), "")
	must(t, err)
	escrow := filepath.Join(t.TempDir(), "escrow.txt")
	a := newMount(t, mountOptions{
		Env:  moto.Env(),
		Args: []string{"--key-recheck", "300ms", "--attr-timeout", "10ms", "--key", "kms:" + arn},
	})
	public := strings.Fields(a.sigilfs(t, "keygen", "--kind", "age", "-o", escrow))
	b := beside(t, a)
	const files = 8
	for i := range files {
		writeFile(t, a.Path(fmt.Sprint("old", i)), content(uint64(i), 100_000))
	}
	stop := trouble(t, files, a, b)

	forward := newKeysOf(t, a, moto.Env(), "--key", "kms:"+arn, "--also-key", "age:"+public[1], "--key", "old=file:"+a.key)
	forward.rewrap()
	for _, e := range forward.list() { // hosts make epochs for their own keys meanwhile
		if e.State == "open" && len(e.Keys) == 2 {
			t.Errorf("an epoch that lost its file key is open: %+v", e)
		}
	}
	for i := range files {
		wantFile(t, b.Path(fmt.Sprint("old", i)), content(uint64(i), 100_000))
	}
	back := newKeysOf(t, a, moto.Env(), "--key", "file:"+a.key, "--key", "kms=kms:"+arn)
	back.rewrap()
	stop()
	main := strings.Fields(back.run("list"))
	id := main[indexPrefix(main, "aes:")]
	back.wantKeys(id)
	if out := back.run("check"); !strings.Contains(out, id) {
		t.Error(out)
	}
	for i := range files {
		wantFile(t, a.Path(fmt.Sprint("old", i)), content(uint64(i), 100_000))
	}
	// Without the KMS key, cold.
	b.Unmount(t)
	a.Unmount(t)
	a.args, a.state = []string{"--read-only"}, t.TempDir()
	a.Start(t)
	for i := range files {
		wantFile(t, a.Path(fmt.Sprint("old", i)), content(uint64(i), 100_000))
	}
	a.Unmount(t)
}

func indexPrefix(words []string, prefix string) int {
	for i, w := range words {
		if strings.HasPrefix(w, prefix) {
			return i
		}
	}
	return 0
}

// trouble reads and writes on hosts until stop, which waits for the end: each
// host reads what was there and what the other one wrote.
func trouble(t *testing.T, files int, hosts ...*mount) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var all sync.WaitGroup
	for h, m := range hosts {
		other := hosts[(h+1)%len(hosts)]
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				want := content(uint64(n%files), 100_000)
				if got, err := readAll(m.Path(fmt.Sprint("old", n%files))); err != nil || !bytes.Equal(got, want) {
					t.Errorf("read %d on host %d: %d bytes, %v", n, h, len(got), err)
					return
				}
				name := fmt.Sprint("new", h, "-", n%20)
				if err := os.WriteFile(m.Path(name), want, 0o644); err != nil {
					t.Errorf("write %d on host %d: %v", n, h, err)
					return
				}
				if got, err := readAll(other.Path(name)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("read %s on the other host: %d bytes, %v", name, len(got), err)
					return
				}
			}
		})
	}
	return func() {
		close(done)
		all.Wait()
	}
}

// TestKeysRemove: a key goes from every epoch, but not the only one; old versions
// that carry it are told of, and removed on demand.
func TestKeysRemove(t *testing.T) {
	onMount(t)
	bucket := server.Bucket(t, shared(t))
	must(t, shared(t).Version(t.Context(), bucket))
	m := newMount(t, mountOptions{Bucket: bucket, Args: []string{"--key-recheck", "300ms"}})
	writeFile(t, m.Path("before"), []byte("content"))
	identity := filepath.Join(t.TempDir(), "former.txt")
	public := strings.Fields(m.sigilfs(t, "keygen", "--kind", "age", "-o", identity))
	k := newKeysOf(t, m, nil, "--key", "file:"+m.key)
	only := k.list()[0].Keys[0]
	k.run("add", "age:"+public[1])
	if e := k.list(); len(e) == 0 || len(e[0].Keys) != 2 {
		t.Fatalf("epochs %+v", e)
	}
	// The escrow's secret half is not here, but it is not configured either.
	if out, err := k.try("remove", only); err == nil || !strings.Contains(out, "nothing was changed") {
		t.Errorf("the only way was removed: %v\n%s", err, out)
	}
	out := k.run("remove", public[0], "--dry-run", "--purge-versions")
	if e := k.list()[0]; len(e.Keys) != 2 || !strings.Contains(out, "would remove") {
		t.Errorf("%+v after a dry run:\n%s", e, out)
	}
	out = k.run("remove", public[0])
	if !strings.Contains(out, "1 old versions still carry") {
		t.Error(out)
	}
	// Hosts that still have it, and have the bucket as it was, could read.
	out = k.run("remove", public[0], "--purge-versions", "--yes")
	if !strings.Contains(out, "1 of 1 old versions were removed") {
		t.Error(out)
	}
	if out = k.run("remove", public[0]); strings.Contains(out, "still carry") {
		t.Error(out)
	}
	wantFile(t, m.Path("before"), []byte("content"))
	writeFile(t, m.Path("after"), []byte("content"))
	k.run("rotate")
	for _, e := range k.list() {
		if e.State != "retired" || len(e.Keys) != 1 {
			t.Errorf("epoch %+v after rotate", e)
		}
	}
	wait(t, func() bool {
		writeFile(t, m.Path("later"), []byte("x"))
		for _, e := range k.list() {
			if e.State == "open" {
				return true
			}
		}
		return false
	})
	m.Unmount(t)
}

// TestKeysRewrapKilled: a rewrap that is killed at any time leaves every epoch
// open to one who has both keys, and is done by the next one.
func TestKeysRewrapKilled(t *testing.T) {
	m := newMount(t, mountOptions{})
	const epochs = 12
	for i := range epochs {
		writeFile(t, m.Path(fmt.Sprint(i)), content(uint64(i), 1000))
		m.Unmount(t)
		m.state = t.TempDir() // another host, and so another epoch
		m.Start(t)
	}
	m.Unmount(t)
	next := filepath.Join(t.TempDir(), "next.key")
	id := strings.TrimSpace(strings.Fields(m.sigilfs(t, "keygen", "-o", next))[0])
	k := newKeysOf(t, m, nil, "--key", "file:"+next, "--key", "old=file:"+m.key)
	for i := range 4 {
		cmd := exec.CommandContext(t.Context(), binary(t), k.args("rewrap")...)
		cmd.Env = k.env
		must(t, cmd.Start())
		timer := time.AfterFunc(time.Duration(150+60*i)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		k.run("check")
	}
	k.run("rewrap")
	k.wantKeys(id)
	m.key = next
	m.Start(t)
	for i := range epochs {
		wantFile(t, m.Path(fmt.Sprint(i)), content(uint64(i), 1000))
	}
	m.Unmount(t)
}

// TestRecoveryFile: the file alone, with stock age and the stand-alone decryptor,
// opens what AWS's command line brings; and brings back a volume whose epochs and
// keys are gone.
func TestRecoveryFile(t *testing.T) {
	onMount(t)
	dir := t.TempDir()
	age := newTool(t, dir, "age-keygen")
	age.run("age-keygen", "-o", "safe.txt")
	recipient := strings.TrimSpace(age.run("age-keygen", "-y", "safe.txt"))
	m := newMount(t, mountOptions{})
	want := content(1, segment+10)
	writeFile(t, m.Path("file"), want)
	m.Unmount(t)
	k := newKeysOf(t, m, nil, "--key", "file:"+m.key)
	saved, passed := filepath.Join(dir, "volume.recovery"), filepath.Join(dir, "passed.recovery")
	k.run("export", saved, "--recipient", recipient)
	writeFile(t, filepath.Join(dir, "pass"), []byte("correct horse battery\n"))
	must(t, os.Chmod(filepath.Join(dir, "pass"), 0o600))
	k.run("export", passed, "--passphrase", "file:"+filepath.Join(dir, "pass"))
	text, err := os.ReadFile(saved)
	must(t, err)
	for _, line := range []string{"sigilfs recovery file", m.bucket, "-----BEGIN AGE ENCRYPTED FILE-----"} {
		if !bytes.Contains(text, []byte(line)) {
			t.Errorf("the file does not say %q", line)
		}
	}
	for _, c := range text {
		if c != '\n' && (c < ' ' || c > '~') {
			t.Fatalf("byte %#x cannot be printed", c)
		}
	}
	if out, err := k.try("export", saved, "--recipient", recipient); err == nil {
		t.Errorf("written over:\n%s", out)
	}

	// As the file itself says it.
	r := newRescuer(t, m)
	r.fetch(m.Key("file"))
	plain := age.run("sh", "-c", "sed -n '/^-----BEGIN AGE/,/^-----END AGE/p' volume.recovery | age -d -i safe.txt")
	must(t, os.WriteFile(filepath.Join(r.dir, "epochs.jsonl"), []byte(plain), 0o600))
	script, err := filepath.Abs("../docs/decrypt_sigil.py")
	must(t, err)
	r.run("/usr/bin/python3", script, "--key", m.Key("file"), "--meta", "head.json", "--recovery", "epochs.jsonl", "-o", "plain", "body")
	if got, err := os.ReadFile(filepath.Join(r.dir, "plain")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}

	opened := func(args ...string) {
		t.Helper()
		r.run(append([]string{binary(t), "decrypt", "body", "head.json", "--object", m.Key("file"), "-o", "out"}, args...)...)
		wantFile(t, filepath.Join(r.dir, "out"), want)
		must(t, os.Remove(filepath.Join(r.dir, "out")))
	}
	opened("--recovery", saved, "--identity", "file:"+filepath.Join(dir, "safe.txt"))
	opened("--recovery", passed, "--passphrase", "file:"+filepath.Join(dir, "pass"))

	// The epochs and the key are lost; a new key reads it all again.
	c := newClient(t, m.bucket)
	c.remove(m.Key(".sigil/epochs/"))
	if out, err := tryBinary(t, k.env, append([]string{"keys", "export", m.volume(), filepath.Join(dir, "late.recovery"), "--recipient", recipient}, m.config(t).Args...)...); err == nil || !strings.Contains(out, "is not among them: it is missing from the bucket") {
		t.Errorf("a file without what this host remembers: %v\n%s", err, out)
	}
	m.state, m.key = t.TempDir(), filepath.Join(dir, "next.key")
	m.sigilfs(t, "keygen", "-o", m.key)
	k = newKeysOf(t, m, nil, "--key", "file:"+m.key)
	if out := k.run("import", passed, "--passphrase", "file:"+filepath.Join(dir, "pass"), "--dry-run", "--rewrap"); !strings.Contains(out, "1 put back") || len(c.keys(m.Key(".sigil/epochs/"))) != 0 {
		t.Errorf("dry run:\n%s", out)
	}
	out := k.run("import", passed, "--passphrase", "file:"+filepath.Join(dir, "pass"), "--rewrap")
	if !strings.Contains(out, "created, revision 2") {
		t.Error(out)
	}
	if out = k.run("import", saved, "--identity", "file:"+filepath.Join(dir, "safe.txt")); !strings.Contains(out, "unchanged, revision 2") {
		t.Error(out)
	}
	m.Start(t)
	wantFile(t, m.Path("file"), want)
	m.Unmount(t)
}
