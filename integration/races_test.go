package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"golang.org/x/sys/unix"
)

// A race is one round of two acts, and what became of it.
type race struct {
	acts  [2]raceAct
	sides [2]side
	name  string // of its directory
	start model
	errs  [2]error
}

func (r race) String() string {
	return fmt.Sprintf("%s (%v) and %s (%v), %s", r.acts[0].name, r.errs[0], r.acts[1].name, r.errs[1], r.name)
}

// races are all pairs of those acts, so many rounds each.
func races(acts []raceAct, rounds int) []*race {
	var all []*race
	for i, a := range acts {
		for j, b := range acts[i:] {
			for _, there := range []bool{false, true} {
				if there && !(a.present && b.present) || !there && !(a.absent && b.absent) {
					continue
				}
				for k := range rounds {
					r := &race{acts: [2]raceAct{a, b}, name: fmt.Sprintf("%d-%d-%v-%d", i, i+j, there, k), start: model{}}
					if there {
						r.start[raced] = before
					}
					all = append(all, r)
				}
			}
		}
	}
	return all
}

// run brings the acts to the line, and lets them go.
func (r *race) run(hosts [2]*mount) error {
	for i, m := range hosts {
		r.sides[i] = side{host: string(rune('a' + i)), dir: m.Path(r.name)}
		if err := r.prepare(r.sides[i]); err != nil {
			return fmt.Errorf("%v: %w", r, err)
		}
	}
	var finish [2]func() error
	for i, s := range r.sides {
		var err error
		if finish[i], err = r.acts[i].open(s); err != nil {
			return fmt.Errorf("%v: open: %w", r, err)
		}
	}
	var wg sync.WaitGroup
	for i := range finish {
		wg.Go(func() { r.errs[i] = finish[i]() })
	}
	wg.Wait()
	return nil
}

// prepare makes the directory, and what the host has in it.
func (r *race) prepare(s side) error {
	if err := os.Mkdir(s.dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if r.start[raced] != "" && s.host == "a" {
		if err := os.WriteFile(s.path(raced), []byte(before), 0o644); err != nil {
			return err
		}
	}
	r.start[s.own()] = "made by " + s.host
	return os.WriteFile(s.path(s.own()), []byte(r.start[s.own()]), 0o644)
}

// judge tells what is wrong with what a host shows in the end: those that were
// acknowledged happened one after the other, the others did not, and what those
// wrote is beside it. A weak server ignores conditions of DELETE.
func (r *race) judge(m *mount, weak bool) error {
	shown, copies, err := r.shown(m.Path(r.name))
	if err != nil {
		return err
	}
	if !r.explained(shown, weak) {
		return fmt.Errorf("no order explains %v", shown)
	}
	kept := 0
	for i, err := range r.errs {
		if err == nil {
			continue
		}
		if why := r.refused(i, err); why != nil {
			return why
		}
		if r.atClose(i) {
			kept++
			if !slices.Contains(copies, r.acts[i].text(r.sides[i])) {
				return fmt.Errorf("what %s wrote is not in %q", r.sides[i].host, copies)
			}
		}
	}
	if len(copies) != kept {
		return fmt.Errorf("conflict files %q, want %d", copies, kept)
	}
	return nil
}

// atClose tells whether an act failed when all was written.
func (r *race) atClose(i int) bool {
	var at *fs.PathError
	return r.acts[i].text != nil && errors.As(r.errs[i], &at) && at.Op == "close"
}

// explained tells whether the acknowledged acts, one after the other or as
// docs/SEMANTICS.md has it of two hosts, lead to what is shown.
func (r *race) explained(shown model, weak bool) bool {
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		m := maps.Clone(r.start)
		if r.serially(m, order) && maps.Equal(m, shown) {
			return true
		}
	}
	return r.errs == [2]error{} && (r.shadowed(shown) || r.bothTook(shown) || r.copied(shown, weak))
}

// serially does the acknowledged acts to m.
func (r *race) serially(m model, order [2]int) bool {
	for _, i := range order {
		if r.errs[i] == nil && !r.acts[i].serial(m, r.sides[i]) {
			return false
		}
	}
	return true
}

// shadowed: a directory stands beside what is no directory, and shows.
func (r *race) shadowed(shown model) bool {
	i := slices.IndexFunc(r.acts[:], func(a raceAct) bool { return a.name == makeDir })
	m := maps.Clone(r.start)
	if i < 0 || !r.acts[1-i].serial(m, r.sides[1-i]) {
		return false
	}
	m[raced] = aDir
	return maps.Equal(m, shown)
}

// bothTook: both took the name away, and each new name has what was there.
func (r *race) bothTook(shown model) bool {
	m := maps.Clone(r.start)
	for i, a := range r.acts {
		switch a.name {
		case renameAway:
			m["away-"+r.sides[i].host] = before
		case unlinkIt:
		default:
			return false
		}
	}
	delete(m, raced)
	return maps.Equal(m, shown)
}

// copied: a rename took what was there when it began to its new name, and what
// the other put under the old name stays; on a weak server it may go.
func (r *race) copied(shown model, weak bool) bool {
	for i, a := range r.acts {
		m := maps.Clone(r.start)
		if a.name != renameAway || !r.acts[1-i].serial(m, r.sides[1-i]) {
			continue
		}
		m["away-"+r.sides[i].host] = before
		if maps.Equal(m, shown) {
			return true
		}
		if delete(m, raced); weak && maps.Equal(m, shown) {
			return true
		}
	}
	return false
}

// refused tells what is wrong with an error: it is none of those that say that
// another was first, or nobody was.
func (r *race) refused(i int, err error) error {
	known := []error{unix.ESTALE, unix.EEXIST, unix.ENOENT, unix.EISDIR, unix.ENOTDIR}
	if !slices.ContainsFunc(known, func(e error) bool { return errors.Is(err, e) }) {
		return fmt.Errorf("%s: %w says nothing of another host", r.sides[i].host, err)
	}
	if r.errs[1-i] != nil {
		return errors.New("nobody won")
	}
	return nil
}

// uncover removes a directory that hides what another host made, and judges what
// was hidden.
func (r *race) uncover(m *mount) error {
	i := slices.IndexFunc(r.acts[:], func(a raceAct) bool { return a.name == makeDir })
	if i < 0 || r.errs != [2]error{} {
		return nil
	}
	if err := unix.Rmdir(filepath.Join(m.Path(r.name), raced)); err != nil {
		return err
	}
	shown, _, err := r.shown(m.Path(r.name))
	if want := maps.Clone(r.start); err == nil && (!r.acts[1-i].serial(want, r.sides[1-i]) || !maps.Equal(want, shown)) {
		return fmt.Errorf("without the directory it shows %v, want %v", shown, want)
	}
	return err
}

// shown is what a directory shows, and what the conflict files in it hold.
func (r *race) shown(dir string) (names model, copies []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	names = model{}
	for _, e := range entries {
		what, err := look(filepath.Join(dir, e.Name()), e)
		if err != nil {
			return nil, nil, err
		}
		if strings.HasPrefix(e.Name(), raced+".conflict-") {
			copies = append(copies, what)
			continue
		}
		names[e.Name()] = what
	}
	return names, copies, nil
}

// look is what the model says of the thing at p.
func look(p string, e fs.DirEntry) (string, error) {
	switch {
	case e.IsDir():
		return aDir, nil
	case e.Type() == fs.ModeSymlink:
		to, err := os.Readlink(p)
		return aLink + to, err
	}
	b, err := os.ReadFile(p)
	return string(b), err
}

// Two hosts do each thing to one name at the same moment, against each other:
// on a server that honours conditions as S3 does, and on MinIO, which ignores
// those of DELETE and of what a copy is to replace. SIGILFS_FULL=1 makes it many
// rounds.
func TestTwoHostsAtOnce(t *testing.T) {
	rounds := 2
	if os.Getenv("SIGILFS_FULL") != "" {
		rounds = 20
	}
	k := newKeys(t, nil)
	for _, tt := range []struct {
		name, rule string
		weak       bool
	}{
		{"strict server", "mode: client, key: main", false},
		{"strict server, plaintext", "mode: none", false},
		{"MinIO", "mode: client, key: main", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newMount(t, mountOptions{Proxy: true, YAML: func(bucket string) string { return k.yaml(bucket, []string{tt.rule}) }})
			fault := faultproxy.Jitter(4 * time.Millisecond)
			if !tt.weak {
				fault = faultproxy.Chain(fault, faultproxy.Strict(a.s3.sign))
			}
			a.proxy.Set(fault)
			a.Remount(t) // it asks what the server can do
			b := beside(t, a)
			acts := raceActs
			if tt.rule == "mode: none" { // which has no hard links
				acts = slices.DeleteFunc(slices.Clone(acts), func(a raceAct) bool { return a.links })
			}
			all := races(acts, rounds)
			together(t, all, func(r *race) error { return r.run([2]*mount{a, b}) })
			for _, m := range []*mount{a, b} {
				m.Remount(t)
				together(t, all, func(r *race) error { return r.wrong(r.judge(m, tt.weak)) })
			}
			together(t, all, func(r *race) error { return r.wrong(r.uncover(a)) })
			sameKeys(t, a)
		})
	}
}

func (r *race) wrong(err error) error {
	if err != nil {
		err = fmt.Errorf("%v: %w", r, err)
	}
	return err
}

// together runs do for all races, several at a time.
func together(t *testing.T, all []*race, do func(*race) error) {
	t.Helper()
	next := make(chan *race, len(all))
	for _, r := range all {
		next <- r
	}
	close(next)
	errs := make(chan error, len(all))
	for range 4 {
		go func() {
			for r := range next {
				errs <- do(r)
			}
		}()
	}
	for range all {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// sameKeys fails the test unless AWS's command line lists what the mount shows.
func sameKeys(t *testing.T, m *mount) {
	t.Helper()
	var listed struct{ Contents []struct{ Key string } }
	out := newObserver(t, m.bucket, keys{}).must("list-objects-v2", "--prefix", m.Key(""))
	must(t, json.Unmarshal([]byte(out), &listed))
	inBucket := map[string]bool{}
	for _, o := range listed.Contents {
		if name := strings.TrimPrefix(o.Key, m.Key("")); name != "" && !strings.HasPrefix(name, ".sigil/") {
			inBucket[path.Clean(name)] = true
		}
	}
	inMount := map[string]bool{}
	must(t, filepath.WalkDir(m.Dir(), func(p string, _ fs.DirEntry, err error) error {
		if name, _ := filepath.Rel(m.Dir(), p); name != "." {
			inMount[name] = true
		}
		return err
	}))
	if !maps.Equal(inBucket, inMount) {
		t.Errorf("aws lists %d names, the mount %d: %v, %v", len(inBucket), len(inMount), inBucket, inMount)
	}
}

// A server without conditional writes is looked at before each write, and that
// is said once. Then what another host did is found if it is over.
func TestTwoHostsWithoutConditions(t *testing.T) {
	a := newMount(t, mountOptions{Proxy: true})
	conditional := func(r *http.Request) bool { return r.Header.Get("If-Match")+r.Header.Get("If-None-Match") != "" }
	a.proxy.Set(faultproxy.Strip(conditional, "if-", a.s3.sign))
	a.Remount(t)
	b := beside(t, a)
	const warning = "does not honour conditional writes"
	for _, m := range []*mount{a, b} {
		m.WantLog(t, warning)
	}
	for _, tt := range []struct {
		name  string
		flags int
		there string // before both open it
		err   error
		kept  string
	}{
		{"created", os.O_CREATE, "", unix.ESTALE, "B"},
		{"exclusive", os.O_CREATE | os.O_EXCL, "", unix.EEXIST, "B"},
		{"overwritten", 0, "before", unix.ESTALE, "Before"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.there != "" {
				writeFile(t, a.Path(tt.name), []byte(tt.there))
			}
			var files [2]*os.File
			for i, m := range []*mount{a, b} {
				f, err := os.OpenFile(m.Path(tt.name), os.O_WRONLY|tt.flags, 0o644)
				must(t, err)
				_, err = f.WriteString(string(rune('A' + i)))
				must(t, err)
				files[i] = f
			}
			must(t, files[0].Close())
			if err := files[1].Close(); !errors.Is(err, tt.err) {
				t.Errorf("close of the second: %v, want %v", err, tt.err)
			}
			want := []byte("A" + tt.there[min(1, len(tt.there)):])
			a.Remount(t)
			wantFile(t, a.Path(tt.name), want)
			wantFile(t, conflictFile(t, a, tt.name), []byte(tt.kept))
		})
	}
	if n := strings.Count(b.daemon.Log(), warning); n != 1 {
		t.Errorf("%d warnings:\n%s", n, b.daemon.Log())
	}
}
