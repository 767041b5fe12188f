package integration

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// tryOffline runs a subcommand on the volume, or a part of it, with the flags of
// the mount.
func (m *mount) tryOffline(t *testing.T, command, path string, args ...string) (out string, code int) {
	t.Helper()
	all := append([]string{command, strings.TrimSuffix(m.volume()+"/"+path, "/"), "--volume-root", m.prefix}, args...)
	out, err := tryBinary(t, m.env(t), append(all, m.config(t).Args...)...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out, 0
	case errors.As(err, &exit):
		return out, exit.ExitCode()
	}
	t.Fatalf("%s: %v\n%s", command, err, out)
	return "", 0
}

// A found is a line of `sigilfs verify --json`.
type found struct {
	Event, Fault, Key, Path, Reason, Mended string
	Offset                                  int64
	Damage                                  []struct{ Offset, Length int64 }

	Sound, Unseen, Bodies int64 // of the last
	Findings              map[string]int64
}

// verify runs sigilfs verify, and gives its findings and the summary.
func (m *mount) verify(t *testing.T, code int, args ...string) (all []found, sum found) {
	t.Helper()
	out, got := m.tryOffline(t, "verify", "", append(args, "--json")...)
	if got != code {
		t.Fatalf("verify %v: exit code %d, want %d\n%s", args, got, code, out)
	}
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		var f found
		if !strings.HasPrefix(lines.Text(), "{") {
			continue // the log goes to the same place
		}
		must(t, json.Unmarshal(lines.Bytes(), &f))
		switch f.Event {
		case "finding":
			all = append(all, f)
		case "verified":
			sum = f
		}
	}
	if sum.Event == "" {
		t.Fatalf("no summary\n%s", out)
	}
	return all, sum
}

// What verify finds is exactly what another client has done to a versioned
// bucket, and --repair undoes it.
func TestVerify(t *testing.T) {
	m := newMount(t, mountOptions{})
	must(t, shared(t).Version(t.Context(), m.bucket))
	const size = 20 << 20
	files := map[string][]byte{"big": content(1, size), "dir/small": content(2, 1000), "dir/cut": content(3, 200_000), "dir/plain": content(4, 10), "fine": content(5, 70_000)}
	must(t, os.Mkdir(m.Path("dir"), 0o755))
	for name, b := range files {
		writeFile(t, m.Path(name), b)
	}
	writeFile(t, m.Path("linked"), content(6, 5000))
	must(t, os.Link(m.Path("linked"), m.Path("dir/name")))
	must(t, os.Symlink("fine", m.Path("dir/sym")))
	m.Unmount(t)
	if all, sum := m.verify(t, 0, "--data"); len(all) != 0 || sum.Sound < 10 || sum.Unseen != 0 {
		t.Fatalf("%v %+v", all, sum)
	}

	attacker := newClient(t, m.bucket)
	tamper := func(name string, change func(o object) object) {
		attacker.put(m.Key(name), change(attacker.get(m.Key(name))))
	}
	const chunk = 64 << 10
	tamper("big", func(o object) object { o.Body[(chunk+16)*200+77] ^= 4; return o })
	tamper("dir/small", func(o object) object {
		o.Metadata["sigil-seal"] = swapCase(o.Metadata["sigil-seal"], 80)
		return o
	})
	tamper("dir/cut", func(o object) object { o.Body = o.Body[:len(o.Body)-16]; return o })
	tamper("dir/plain", func(object) object { return object{Body: []byte(forged)} })
	tamper("dir/name", func(object) object { return attacker.get(m.Key("linked")) })

	want := map[string]string{"big": "content", "dir/small": "seal", "dir/cut": "size", "dir/plain": "weak", "dir/name": "moved"}
	check := func(all []found) {
		t.Helper()
		got := map[string]string{}
		for _, f := range all {
			got[f.Path] = f.Fault
			if f.Key != m.Key(f.Path) || f.Reason == "" {
				t.Errorf("%+v", f)
			}
			if f.Path == "big" && (len(f.Damage) != 1 || f.Offset != 200*chunk || f.Damage[0].Length != chunk) {
				t.Errorf("%+v", f)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("found %v, want %v", got, want)
		}
	}
	all, _ := m.verify(t, 64, "--data")
	check(all)
	all, _ = m.verify(t, 64, "--data", "--repair", "--dry-run")
	check(all)
	all, _ = m.verify(t, 64, "--data", "--repair")
	check(all)
	for _, f := range all {
		if f.Mended == "" {
			t.Errorf("not mended: %+v", f)
		}
	}
	if all, _ := m.verify(t, 0, "--data"); len(all) != 0 {
		t.Errorf("after the repair: %v", all)
	}
	m.Start(t)
	for name, b := range files {
		sameFile(t, m.Path(name), b)
	}
	sameFile(t, m.Path("dir/name"), content(6, 5000))
	var st unix.Stat_t
	must(t, unix.Stat(m.Path("linked"), &st))
	if st.Nlink != 2 {
		t.Errorf("%d links", st.Nlink)
	}
	m.Unmount(t)

	// Without the key nothing is called damaged, and nothing sound.
	other := *m
	other.key = m.key + ".other"
	m.sigilfs(t, "keygen", "-o", other.key)
	all, sum := other.verify(t, 32)
	if len(sum.Findings) != 0 || sum.Sound != 0 || sum.Unseen == 0 {
		t.Errorf("%v %+v", all, sum)
	}
	if len(all) == 0 || all[0].Fault != "unseen" || !strings.HasPrefix(all[0].Key, m.Key(".sigil/epochs/")) {
		t.Errorf("of the epoch itself nothing is told: %+v", all)
	}
}

// TestVerifyEpochs: an epoch that is none, that somebody has put back or that is
// gone is told of by itself, also where all objects open by what this host
// remembers.
func TestVerifyEpochs(t *testing.T) {
	m := newMount(t, mountOptions{})
	writeFile(t, m.Path("file"), content(1, 1000))
	m.Unmount(t)
	c := newClient(t, m.bucket)
	epochs := c.keys(m.Key(".sigil/epochs/"))
	if len(epochs) != 1 {
		t.Fatal(epochs)
	}
	epoch, first := epochs[0], c.get(epochs[0])
	rotate := append([]string{"keys", "rotate", m.target()}, m.config(t).Args...)
	m.sigilfs(t, rotate...)
	second := c.get(epoch)
	m.verify(t, 0, "--data")

	c.put(".sigil/epochs/"+strings.Repeat("b", 25)+"a", object{Body: []byte("of another volume, which lies above")})

	check := func(code int, fault, key, reason string) {
		t.Helper()
		all, sum := m.verify(t, code)
		if len(all) != 1 || all[0].Fault != fault || all[0].Key != key || !strings.Contains(all[0].Reason, reason) || sum.Sound == 0 {
			t.Errorf("want %s of %s: %+v, %+v", fault, key, all, sum)
		}
	}
	planted := m.Key(".sigil/epochs/" + strings.Repeat("a", 26))
	c.put(planted, object{Body: []byte("{}")})
	check(64, "epoch", planted, "")
	c.remove(planted)
	c.put(epoch, first)
	check(64, "rollback", epoch, "revision 1")
	c.put(epoch, object{Body: second.Body[1:]})
	check(64, "epoch", epoch, "")
	c.remove(epoch)
	check(64, "epoch", epoch, "missing from the bucket")
	c.put(epoch, second)
	m.verify(t, 0)
}

// TestVerifyRollback (T17): what was put back is found by who knew the newer, once,
// and by nobody else; --repair takes the newest version, which is as new.
func TestVerifyRollback(t *testing.T) {
	m := newMount(t, mountOptions{})
	s3 := minioServer(t)
	must(t, shared(t).Version(t.Context(), m.bucket))
	for i := range uint64(3) {
		writeFile(t, m.Path("file"), content(i, 20_000))
	}
	writeFile(t, m.Path("gone"), content(9, 10))
	must(t, os.Remove(m.Path("gone")))
	m.Unmount(t)
	cli := newTool(t, t.TempDir(), awsCLI, append(s3.env(), "AWS_CA_BUNDLE="+s3.CAFile)...)
	aws := func(args ...string) string {
		return strings.TrimSpace(cli.run(append([]string{awsCLI, "--endpoint-url", s3.URL, "--output", "text", "s3api"}, args...)...))
	}
	for _, name := range []string{"file", "gone"} {
		old := aws("list-object-versions", "--bucket", m.bucket, "--prefix", m.Key(name), "--query", "Versions[-1].VersionId")
		aws("copy-object", "--bucket", m.bucket, "--key", m.Key(name), "--copy-source", m.bucket+"/"+m.Key(name)+"?versionId="+old)
	}
	want := func(all []found) {
		t.Helper()
		got := map[string]string{}
		for _, f := range all {
			got[f.Path] = f.Fault
			if !strings.Contains(f.Reason, "older state than this host has known") {
				t.Errorf("%+v", f)
			}
		}
		if len(all) != 2 || got["file"] != "rollback" || got["gone"] != "rollback" {
			t.Errorf("found %+v", all)
		}
	}
	all, _ := m.verify(t, 64)
	want(all)
	if out, code := m.tryOffline(t, "verify", ""); code != 64 || strings.Count(out, "older state") != 2 {
		t.Errorf("exit code %d, and it is not told once of each:\n%s", code, out)
	}
	stranger := *m
	stranger.state = t.TempDir()
	stranger.verify(t, 0) // who has never known

	all, _ = m.verify(t, 64, "--repair")
	want(all)
	m.Start(t)
	wantFile(t, m.Path("file"), content(2, 20_000))
	m.Unmount(t)
	all, _ = m.verify(t, 64)
	if len(all) != 1 || all[0].Path != "gone" {
		t.Errorf("%+v", all)
	}
	if out, code := m.tryOffline(t, "verify", "", "--accept-restore"); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	m.verify(t, 0)
}

// TestVerifyKilled: kill -9 in the middle of --data, and the next run goes on: what
// was read is not read again, and all that is wrong is counted.
func TestVerifyKilled(t *testing.T) {
	m := newMount(t, mountOptions{})
	const files, size = 120, 512 << 10
	for i := range files {
		writeFile(t, m.Path(fmt.Sprintf("file-%03d", i)), content(uint64(i), size))
	}
	m.Unmount(t)
	c := newClient(t, m.bucket)
	bad := []string{"file-000", fmt.Sprintf("file-%03d", files-1)}
	for _, name := range bad {
		o := c.get(m.Key(name))
		o.Body[1000] ^= 1
		c.put(m.Key(name), o)
	}
	args := append([]string{"verify", m.target(), "--data", "--json", "--parallel", "2"}, m.config(t).Args...)
	// Half of it takes over two seconds, and each second the journal is kept.
	done := killBehind(t, m, append(args, "--download-limit", "12MiB"), files/2)
	out, err := tryBinary(t, m.env(t), args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 64 {
		t.Fatalf("%v\n%s", err, out)
	}
	var sum found
	var told []string
	for line := range strings.Lines(out) {
		var f found
		if !strings.HasPrefix(line, "{") {
			continue
		}
		must(t, json.Unmarshal([]byte(line), &f))
		switch f.Event {
		case "verified":
			sum = f
		case "finding":
			told = append(told, f.Path)
		}
	}
	if sum.Findings["content"] != 2 || sum.Sound < files-2 || sum.Unseen != 0 {
		t.Errorf("%+v", sum)
	}
	if sum.Bodies > files-10 {
		t.Errorf("%d objects were done, and %d of %d were read afterwards", done, sum.Bodies, files)
	}
	if len(told) == 0 || told[len(told)-1] != bad[1] {
		t.Errorf("told of %q", told)
	}
	if all, sum := m.verify(t, 64, "--data"); len(all) != 2 || sum.Bodies < files {
		t.Errorf("the next one does not begin anew: %v, %+v", all, sum)
	}
}

// sameFile compares a file with what it should be.
func sameFile(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != string(want) {
		t.Errorf("%s: %d bytes, %v; want %d", path, len(got), err, len(want))
	}
}

// Beside a mount that writes, renames, links and removes all the time nothing is
// found that is not there.
func TestVerifyBesideAMount(t *testing.T) {
	m := newMount(t, mountOptions{})
	for i := range 40 {
		must(t, os.MkdirAll(m.Path(fmt.Sprintf("d%d", i%4)), 0o755))
		writeFile(t, m.Path(fmt.Sprintf("d%d/file-%d", i%4, i)), content(uint64(i), int64(i)*3000))
	}
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for w := range 2 {
		busy.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := m.Path(fmt.Sprintf("d%d/busy-%d", i%4, w))
				must2(t, os.WriteFile(name, content(uint64(i), int64(i%7)*40_000), 0o644))
				must2(t, os.Chmod(name, 0o600))
				must2(t, os.Link(name, name+".link"))
				must2(t, os.Rename(name, name+".moved"))
				must2(t, os.Remove(name+".link"))
				must2(t, os.Remove(name+".moved"))
			}
		})
	}
	for range 3 {
		out, code := m.tryOffline(t, "verify", "", "--data")
		if code != 0 {
			t.Errorf("exit code %d\n%s", code, out)
		}
	}
	close(stop)
	busy.Wait()
}

// must2 is must for goroutines of a test.
func must2(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// A tree that AWS's command line has moved is refused, and adopted from where it
// was; two objects that somebody exchanged meanwhile are not.
func TestAdopt(t *testing.T) {
	m := newMount(t, mountOptions{})
	s3 := minioServer(t)
	files := map[string][]byte{"a": content(1, 100), "b": content(2, 200_000), "d/big": content(3, segment+5), "d/x": content(4, 10), "d/y": content(5, 10)}
	must(t, os.MkdirAll(m.Path("old/d"), 0o750))
	for name, b := range files {
		writeFile(t, m.Path("old/"+name), b)
	}
	must(t, os.Chmod(m.Path("old/b"), 0o641))
	must(t, os.Link(m.Path("old/a"), m.Path("old/d/name")))
	must(t, os.Symlink("a", m.Path("old/sym")))
	m.Unmount(t)
	cli := newTool(t, t.TempDir(), awsCLI, append(s3.env(), "AWS_CA_BUNDLE="+s3.CAFile)...)
	move := func(from, to string) {
		cli.run(awsCLI, "--endpoint-url", s3.URL, "s3", "mv", "--quiet", "--recursive", m.volume()+"/"+from, m.volume()+"/"+to)
	}
	move("old", "new")
	attacker := newClient(t, m.bucket)
	x, y := attacker.get(m.Key("new/d/x")), attacker.get(m.Key("new/d/y"))
	attacker.put(m.Key("new/d/x"), y)
	attacker.put(m.Key("new/d/y"), x)

	m.Start(t)
	if _, err := os.ReadFile(m.Path("new/a")); !errors.Is(err, unix.EBADMSG) {
		t.Errorf("moved: %v", err)
	}
	from := m.volume() + "/old"
	if out, code := m.tryOffline(t, "adopt", "new"); code != 1 || !strings.Contains(out, "--from") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	out, code := m.tryOffline(t, "adopt", "new", "--from", from, "--dry-run")
	if code != 64 || strings.Count(out, "would adopt ") != 5 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	out, code = m.tryOffline(t, "adopt", "new", "--from", from)
	if code != 64 || strings.Count("\n"+out, "\nleft ") != 2 || !strings.Contains(out, "new/d/x: ") || !strings.Contains(out, "new/d/y: ") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	m.Remount(t)
	for _, name := range []string{"a", "b", "d/big"} {
		sameFile(t, m.Path("new/"+name), files[name])
	}
	sameFile(t, m.Path("new/d/name"), files["a"])
	for _, name := range []string{"d/x", "d/y"} {
		if _, err := os.ReadFile(m.Path("new/" + name)); !errors.Is(err, unix.EBADMSG) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var st unix.Stat_t
	must(t, unix.Stat(m.Path("new/b"), &st))
	if st.Mode&0o777 != 0o641 {
		t.Errorf("mode %o", st.Mode)
	}
	must(t, unix.Stat(m.Path("new/d/name"), &st))
	if st.Nlink != 2 {
		t.Errorf("%d links", st.Nlink)
	}
	attacker.put(m.Key("new/d/x"), x)
	attacker.put(m.Key("new/d/y"), y)
	if out, code := m.tryOffline(t, "adopt", "new", "--from", from); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if out, code := m.tryOffline(t, "verify", "", "--data"); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
