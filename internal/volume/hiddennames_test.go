package volume

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// Tests say what people say: where a fixture's names are encrypted, its methods
// convert, as package named does for who is not in this one.

// testNames is the name key of all tests.
var testNames = sigil.NewNames(sigil.NameKey{1, 2, 3})

// hiddenNames has names encrypted.
func hiddenNames(o *Options) {
	o.Names = testNames
	base := strings.TrimPrefix(o.Prefix, o.Root)
	o.Prefix = o.Root + storedDir("", base)
	o.Rules = slices.Clone(o.Rules)
	for i := range o.Rules {
		r := &o.Rules[i]
		if below := strings.TrimPrefix(r.Prefix, o.Root); len(below) < len(r.Prefix) || o.Root == "" {
			r.Prefix = o.Root + storedDir("", below)
		}
	}
}

// storedName encrypts the components of p in the stored directory dir.
func storedName(dir, p string) string {
	var out string
	for name := range strings.SplitSeq(p, "/") {
		if name != "" && name != hidden {
			name = need(testNames.Encode(join(dir, out), name))
		}
		out = join(out, name)
	}
	return out
}

func storedDir(dir, p string) string {
	if p == "" {
		return ""
	}
	return storedName(dir, strings.TrimSuffix(p, "/")) + "/"
}

// stored is the path in the volume of what the test calls p.
func (f *fixture) stored(p string) string {
	if f.hide == nil || p == "" {
		return p
	}
	var out string
	for name := range strings.SplitSeq(p, "/") {
		if c, err := testNames.Encode(f.hide.dir(f.dirKey(out)), name); err == nil && name != hidden {
			name = c
		}
		out = join(out, name)
	}
	return out
}

func (f *fixture) Stat(ctx context.Context, p string) (Info, error) {
	return f.Volume.Stat(ctx, f.stored(p))
}

func (f *fixture) Glance(ctx context.Context, p string) (Info, error) {
	return f.Volume.Glance(ctx, f.stored(p))
}

func (f *fixture) Attributes(ctx context.Context, p string) (Attr, error) {
	return f.Volume.Attributes(ctx, f.stored(p))
}

func (f *fixture) Readlink(ctx context.Context, p string) (string, error) {
	return f.Volume.Readlink(ctx, f.stored(p))
}

func (f *fixture) Mkdir(ctx context.Context, p string, a Attr) (Info, error) {
	return f.Volume.Mkdir(ctx, f.stored(p), a)
}

func (f *fixture) Mknod(ctx context.Context, p string, a Attr) (Info, error) {
	return f.Volume.Mknod(ctx, f.stored(p), a)
}

func (f *fixture) Symlink(ctx context.Context, p, target string, a Attr) (Info, error) {
	return f.Volume.Symlink(ctx, f.stored(p), target, a)
}

func (f *fixture) Link(ctx context.Context, from, to string) (Info, error) {
	return f.Volume.Link(ctx, f.stored(from), f.stored(to))
}

func (f *fixture) Remove(ctx context.Context, p string) error {
	return f.Volume.Remove(ctx, f.stored(p))
}

func (f *fixture) Rmdir(ctx context.Context, p string) error {
	return f.Volume.Rmdir(ctx, f.stored(p))
}

func (f *fixture) Rename(ctx context.Context, from, to string, noReplace bool) error {
	return f.Volume.Rename(ctx, f.stored(from), f.stored(to), noReplace)
}

func (f *fixture) SetAttr(ctx context.Context, p string, c Change) (Info, error) {
	return f.Volume.SetAttr(ctx, f.stored(p), c)
}

func (f *fixture) SyncDir(ctx context.Context, p string) error {
	return f.Volume.SyncDir(ctx, f.stored(p))
}

func (f *fixture) Open(ctx context.Context, p string, o OpenOptions) (*File, error) {
	return f.Volume.Open(ctx, f.stored(p), o)
}

func (f *fixture) Create(ctx context.Context, p string, a Attr, excl bool) (*File, error) {
	return f.Volume.Create(ctx, f.stored(p), a, excl)
}

func (f *fixture) List(ctx context.Context, p, after string) iter.Seq2[Entry, error] {
	dir := f.stored(p)
	return func(yield func(Entry, error) bool) {
		for e, err := range f.Volume.List(ctx, dir, after) {
			if err == nil && f.hide != nil {
				e.Name, err = f.nameOf(join(dir, e.Name))
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// TestNoNameIsInTheBucket, whatever is done: files, directories, links, renames,
// conflict copies, journals, indexes.
func TestNoNameIsInTheBucket(t *testing.T) {
	m := mem.New(mem.Options{Versioned: true}) // nothing that was there is gone
	f := mount(t, m, under("vol/home/", "vol/"), hiddenNames, func(o *Options) { o.Index = true; o.AttrTimeout = 1 })
	must := func(_ Info, err error) { t.Helper(); f.must(err) }
	f.mkdir("secret-dir")
	f.put("secret-dir/secret-file", "text")
	f.mkdir("secret-dir/secret-sub")
	f.put("secret-dir/secret-sub/secret\xff", "text")
	f.put("secret-dir/secret.instruction", "text")
	must(f.Symlink(f.ctx, "secret-link", "secret-target", Attr{Mode: 0o777}))
	must(f.Link(f.ctx, "secret-dir/secret-file", "secret-hardlink"))
	f.must(f.Rename(f.ctx, "secret-dir", "secret-moved", false))
	f.has("secret-moved/secret-sub/secret\xff", "text")
	f.has("secret-hardlink", "text")

	other := mount(t, m, under("vol/home/", "vol/"), hiddenNames, host("secretive"))
	mine := f.create("secret-both", "mine", false)
	other.put("secret-both", "theirs")
	wants(t, mine.Commit(f.ctx), ErrChanged)
	mine.Release()
	if got := f.list(""); !slices.ContainsFunc(got, func(n string) bool { return strings.HasPrefix(n, "secret-both.conflict-") }) {
		t.Errorf("no conflict copy in %q", got)
	}
	f.must(f.Remove(f.ctx, "secret-link"))
	f.must(f.Close(f.ctx))

	n := 0
	for ver, err := range m.Versions(t.Context(), objstore.ListOptions{}) {
		f.must(err)
		n++
		if rest, _ := strings.CutPrefix(ver.Key, "vol/"); strings.Contains(ver.Key, "secret") || !strings.HasPrefix(rest, ".sigil/") && !f.hide.mine(ver.Key) {
			t.Errorf("the bucket shows %q", ver.Key)
		}
	}
	if n < 10 {
		t.Errorf("only %d versions", n)
	}
}

// TestHiddenNamesAreHeldTo: what is no name of this volume is not shown, not
// written, and in nobody's way.
func TestHiddenNamesAreHeldTo(t *testing.T) {
	m := bucket()
	f := mount(t, m, hiddenNames)
	f.mkdir("a")
	f.mkdir("b")
	f.put("a/x", "1")
	inA := f.stored("a/x")
	for _, key := range []string{
		"clear", "a/clear", f.stored("a") + "/clear", // not encrypted
		f.stored("b") + "/" + base(inA), base(inA), // of another directory
		inA[:len(inA)-1] + "!", inA + "A", // changed
		f.stored("b") + "//" + base(inA), ".sigil",
	} {
		plant(m, key)
	}
	f.lists("a", "x")
	f.lists("b")
	if got := f.list(""); len(got) != 2 {
		t.Errorf("the root lists %q", got)
	}
	wants(t, f.Rmdir(f.ctx, "b"), ErrNotEmpty) // it would go on to be listed
	f.must(f.Rename(f.ctx, "a", "c", false))
	f.has("c/x", "1")
	for _, name := range f.list("") { // what is listed is there
		f.stat(name)
	}
	if f.hide.hidden.Load() == 0 {
		t.Error("nothing was counted")
	}

	// A path that is not encrypted is refused before anything is asked.
	f.s.Reset()
	_, err := f.Volume.Create(f.ctx, "clear2", Attr{Mode: 0o644}, false)
	wants(t, err, ErrInvalid)
	_, err = f.Volume.Stat(f.ctx, "clear")
	wants(t, err, ErrNotExist)
	wants(t, f.Volume.Rename(f.ctx, f.stored("c"), "clear2", false), ErrInvalid)
	f.requests("head") // of what was to be renamed

	// So is a key, by what lies under the volume.
	ctx := f.ctx
	_, err = f.opt.Store.Put(ctx, "clear2", strings.NewReader(""), 0, objstore.PutOptions{})
	wants(t, err, objstore.ErrInvalid)
	_, err = f.opt.Store.Copy(ctx, objstore.ID{Key: f.stored("c/x")}, "clear2", objstore.PutOptions{})
	wants(t, err, objstore.ErrInvalid)
	_, err = f.opt.Store.Upload(ctx, f.stored("c")+"/clear2", objstore.PutOptions{})
	wants(t, err, objstore.ErrInvalid)
	f.requests("")
}

// TestLimitOfWhatIsShown: entries that are hidden do not count, and do not end a
// listing.
func TestLimitOfWhatIsShown(t *testing.T) {
	m := bucket()
	f := mount(t, m, hiddenNames)
	for _, name := range strings.Split("abcdefghij", "") {
		f.put(name, name)
		plant(m, "planted-"+name)
		plant(m, "A"+name)
		plant(m, "z/"+name)
	}
	for _, delimiter := range []string{"", "/"} {
		var all []string
		for e, err := range f.opt.Store.List(f.ctx, objstore.ListOptions{Delimiter: delimiter}) {
			f.must(err)
			all = append(all, e.Key+e.Prefix)
		}
		if len(all) != 10 {
			t.Fatalf("%q", all)
		}
		for limit := 1; limit <= 11; limit++ {
			var got []string
			for e, err := range f.opt.Store.List(f.ctx, objstore.ListOptions{Delimiter: delimiter, Limit: limit}) {
				f.must(err)
				got = append(got, e.Key+e.Prefix)
			}
			if !slices.Equal(got, all[:min(limit, 10)]) {
				t.Errorf("limit %d gives %q", limit, got)
			}
		}
	}
}

// TestPlainLinks: a target would be readable where content is, however it got there.
func TestPlainLinks(t *testing.T) {
	f := mount(t, awsBucket(), ruled, hiddenNames)
	f.mkdir("plain")
	f.mkdir("d")
	wants(t, errOf(f.Symlink(f.ctx, "plain/a", "secret", Attr{Mode: 0o777})), ErrPlainLink)
	f.must(errOf(f.Symlink(f.ctx, "d/link", "secret", Attr{Mode: 0o777})))
	wants(t, f.Rename(f.ctx, "d/link", "plain/link", false), ErrPlainLink)
	wants(t, f.Rename(f.ctx, "d", "plain/d", false), ErrPlainLink)
	f.lists("plain")
	if to, err := f.Readlink(f.ctx, "d/link"); to != "secret" || err != nil {
		t.Errorf("%q, %v", to, err)
	}
	plain := mount(t, f.mem, ruled, func(o *Options) { o.Rules = []Rule{{Mode: "none"}} }, hiddenNames)
	did, err := plain.Reencrypt(ReencryptOptions{From: []string{"client"}}).Do(plain.ctx, f.stored("d/link"))
	if !errors.Is(err, ErrPlainLink) {
		t.Errorf("%+v, %v", did, err)
	}
	f.put("plain/b", "readable as ever")
	f.has("plain/b", "readable as ever")
}

// TestJournalOfHiddenNames: who takes names for clear ones leaves an unfinished
// rename of a directory to who can read them.
func TestJournalOfHiddenNames(t *testing.T) {
	m := bucket()
	f := mount(t, m, hiddenNames)
	f.mkdir("a")
	f.put("a/x", "1")
	f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		if op.Verb == faulty.Delete {
			x.Err = objstore.ErrAccess
		}
		return x
	})
	wants(t, f.Rename(f.ctx, "a", "c", false), objstore.ErrAccess)
	f.s.SetScript(nil)
	open := mountIdle(t, m, host("there"), func(o *Options) { o.Now = func() time.Time { return time.Now().Add(time.Hour) } })
	open.must(open.resumeMoves(open.ctx))
	other := mountIdle(t, m, hiddenNames, host("elsewhere"), func(o *Options) { o.Now = func() time.Time { return time.Now().Add(time.Hour) } })
	other.must(other.resumeMoves(other.ctx))
	other.lists("c", "x")
	other.has("c/x", "1")
	other.absent("a")
}

// TestLongConflicts: there is a name for what another host was faster with, however
// long the path.
func TestLongConflicts(t *testing.T) {
	for _, names := range []tweak{hiddenNames, func(*Options) {}} {
		m := bucket()
		f := mount(t, m, names)
		dir := strings.TrimSuffix(strings.Repeat(strings.Repeat("d", 200)+"/", 3), "/")
		f.mkdir(dir[:200])
		f.mkdir(dir[:401])
		f.mkdir(dir)
		p := join(dir, strings.Repeat("ä", 45))
		other := mount(t, m, names, host("there"))
		mine := f.create(p, "mine", false)
		other.put(p, "theirs")
		wants(t, mine.Commit(f.ctx), ErrChanged)
		mine.Release()
		if got := f.list(dir); len(got) != 2 {
			t.Errorf("%q", got)
		}
	}
}

// TestManyHidden: however much is hidden, what is asked stays bounded.
func TestManyHidden(t *testing.T) {
	m := bucket()
	f := mount(t, m, hiddenNames)
	f.mkdir("d")
	f.put("d/x", "1")
	for i := range 3000 {
		plant(m, fmt.Sprintf("%s/!%04d", f.stored("d"), i))
	}
	f.s.Reset()
	for e, err := range f.opt.Store.List(f.ctx, objstore.ListOptions{Prefix: f.stored("d") + "/!", Limit: 1}) {
		t.Errorf("%q is shown (%v)", e.Key, err)
	}
	if n := len(f.s.Ops()); n > 10 {
		t.Errorf("%d requests", n)
	}
	f.s.Reset()
	f.stat("d")
	if n := len(f.s.Ops()); n > 3 {
		t.Errorf("%d requests of a stat", n)
	}
}

// TestLongNames: what the server takes is refused before it is asked.
func TestLongHiddenNames(t *testing.T) {
	f := mount(t, bucket(), hiddenNames, func(o *Options) { o.MaxComponent = 255 })
	fits, over := strings.Repeat("x", 175), strings.Repeat("x", 176)
	f.put(fits, "1")
	f.has(fits, "1")
	_, err := f.Create(f.ctx, over, Attr{Mode: 0o644}, false)
	wants(t, err, ErrTooLong)

	f = mount(t, bucket(), hiddenNames)
	name, p := strings.Repeat("y", sigil.MaxName), ""
	for len(f.stored(join(p, name)))+1 <= objstore.MaxKeyLen {
		p = join(p, name)
		f.mkdir(p)
	}
	_, err = f.Mkdir(f.ctx, join(p, name), Attr{Mode: 0o755})
	wants(t, err, ErrTooLong)
	if strings.Count(p, "/") != 1 {
		t.Errorf("%d directories fit", strings.Count(p, "/")+1)
	}
}
