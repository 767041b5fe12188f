package volume

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"golang.org/x/sys/unix"
)

func (f *fixture) mkdir(p string) {
	f.t.Helper()
	f.must(errOf(f.Mkdir(f.ctx, p, Attr{Mode: 0o750})))
}

// plant puts a foreign plaintext object at a key.
func plant(m *mem.Store, key string) { m.Plant(key, mem.Object{Body: []byte("plain")}) }

func TestMkdirRmdir(t *testing.T) {
	f := mount(t, bucket())
	f.mkdir("d")
	if a := f.stat("d"); a.Mode != unix.S_IFDIR|0o750 || a.Nlink != 2 {
		t.Errorf("%+v", a)
	}
	wants(t, errOf(f.Mkdir(f.ctx, "d", Attr{})), ErrExist)
	wants(t, errOf(f.Mkdir(f.ctx, "", Attr{})), ErrExist)
	other := mount(t, f.mem, host("there"))
	wants(t, errOf(other.Mkdir(f.ctx, "d", Attr{})), ErrExist)
	f.put("d/x", "1")
	wants(t, f.Rmdir(f.ctx, "d"), ErrNotEmpty)
	wants(t, f.Remove(f.ctx, "d"), ErrIsDir)
	wants(t, f.Rmdir(f.ctx, "d/x"), ErrNotDir)
	wants(t, f.Rmdir(f.ctx, ""), ErrInvalid)
	wants(t, errOf(f.Open(f.ctx, "d", OpenOptions{})), ErrIsDir)
	f.must(f.Remove(f.ctx, "d/x"))
	dirty := f.create("d/new", "1", false)
	wants(t, f.Rmdir(f.ctx, "d"), ErrNotEmpty)
	f.must(f.Remove(f.ctx, "d/new"))
	dirty.Release()
	f.must(f.Rmdir(f.ctx, "d"))
	wants(t, f.Rmdir(f.ctx, "d"), ErrNotExist)
	wants(t, f.Remove(f.ctx, "d"), ErrNotExist)
	if left := f.mem.Keys(); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

func TestImplicitDirectories(t *testing.T) {
	f := mount(t, bucket())
	f.put("a/b/x", "1")
	f.lists("", "a")
	f.lists("a", "b")
	id := f.stat("a/b").FileID
	f.must(f.Remove(f.ctx, "a/b/x"))
	if got := f.stat("a/b"); got.Mode != unix.S_IFDIR|0o755 || got.FileID != id {
		t.Errorf("%+v", got)
	}
	f.lists("", "a")
	f.lists("a", "b")
	f.lists("a/b")
	wants(t, f.Rmdir(f.ctx, "a"), ErrNotEmpty)
	f.must(f.Rmdir(f.ctx, "a/b"))
	f.absent("a/b")
	f.lists("a")
	f.must(f.Rmdir(f.ctx, "a"))
	f.absent("a")
	f.lists("")
}

func TestChmodMakesMarker(t *testing.T) {
	f := mount(t, bucket())
	f.put("d/x", "1")
	before := f.stat("d")
	info, err := f.SetAttr(f.ctx, "d", Change{Mode: ptr[uint32](0o700)})
	f.must(err)
	if info.Mode != unix.S_IFDIR|0o700 || info.FileID != before.FileID {
		t.Errorf("%+v, before %+v", info, before)
	}
	if got := mount(t, f.mem).stat("d"); got.Mode != info.Mode || got.FileID != info.FileID {
		t.Errorf("elsewhere %+v", got)
	}
	f.lists("", "d")
	f.lists("d", "x")
}

func TestRootAttributes(t *testing.T) {
	for _, prefix := range []string{"", "pre/fix/"} {
		f := mount(t, bucket(), under(prefix, prefix))
		info, err := f.SetAttr(f.ctx, "", Change{Mode: ptr[uint32](0o711), UID: ptr[uint32](5)})
		f.must(err)
		if got := f.stat(""); got.Mode != unix.S_IFDIR|0o711 || got.UID != 5 || got.Mode != info.Mode {
			t.Errorf("%q: %+v", prefix, got)
		}
		wants(t, f.Rename(f.ctx, "", "x", false), ErrInvalid)
		f.put("x", "1")
		f.lists("", "x")
		if prefix != "" {
			if got := mount(t, f.mem, under(prefix, prefix)).stat(""); got.Mode != info.Mode {
				t.Errorf("elsewhere %+v", got)
			}
		}
	}
}

func TestFileBesideDirectory(t *testing.T) {
	m := bucket()
	for _, key := range []string{"a", "a/b", "a!", "a-b", "a0", "ab"} {
		plant(m, key)
	}
	f := mount(t, m)
	if got := f.stat("a").Mode; got&unix.S_IFMT != unix.S_IFDIR {
		t.Errorf("mode %o: the directory wins", got)
	}
	wants(t, errOf(f.Open(f.ctx, "a", OpenOptions{})), ErrIsDir)
	f.lists("", "a", "a!", "a-b", "a0", "ab")
	f.lists("a", "b")
	checkCookies(f, "")
}

// checkCookies checks that a listing which begins anew after every entry gives
// what one in one go does.
func checkCookies(f *fixture, dir string) {
	f.t.Helper()
	var got []string
	for after := ""; ; {
		more := false
		for e, err := range f.List(f.ctx, dir, after) {
			f.must(err)
			got, after, more = append(got, e.Name), e.Cookie, true
			break
		}
		if !more {
			break
		}
	}
	if want := f.list(dir); !slices.Equal(got, want) {
		f.t.Errorf("one by one %q, at once %q", got, want)
	}
}

func TestHostileKeys(t *testing.T) {
	m := bucket()
	long := strings.Repeat("n", 256)
	for _, key := range []string{
		"..", "../x", ".", "./x", "/", "/x", "d//x", "d/../x", "d/./x", "x/.sigil/y", ".sigil/epochs/z", ".sigil", "nul\x00", "d/nul\x00x",
		long, long + "/x", "d/" + strings.Repeat("k", 1022), "new\nline", "\x80\xff", "\xed\xa0\x80", "\xff/x", "é", "Case", "case", "good", ".sigilx", "d/good",
	} {
		plant(m, key)
	}
	f := mount(t, m)
	f.lists("", ".sigilx", "Case", "case", "d", "good", "new\nline", "x", "é")
	f.lists("d", "good")
	f.lists("x")
	checkCookies(f, "")
	for _, p := range []string{"..", "../x", ".", "./x", "/", "/x", "d//x", "d/../good", "d/./good", "d/", "x/.sigil/y", ".sigil", ".sigil/epochs/z", "nul\x00", "good/.", "\x80\xff", "\xed\xa0\x80", "\xff/x"} {
		f.absent(p)
		wants(t, errOf(f.Open(f.ctx, p, OpenOptions{})), ErrNotExist)
		wants(t, f.Remove(f.ctx, p), ErrNotExist)
		for name, err := range map[string]error{
			"create":  errOf(f.Create(f.ctx, p, Attr{}, false)),
			"mkdir":   errOf(f.Mkdir(f.ctx, p, Attr{})),
			"symlink": errOf(f.Symlink(f.ctx, p, "x", Attr{})),
			"rename":  f.Rename(f.ctx, "good", p, false),
		} {
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrName) {
				t.Errorf("%s of %q: %v", name, p, err)
			}
		}
	}
}

func TestHiddenDirectory(t *testing.T) {
	f := mount(t, bucket())
	for _, p := range []string{".sigil", "d/.sigil", "d/.sigil/x"} {
		wants(t, errOf(f.Create(f.ctx, p, Attr{}, false)), ErrName)
		wants(t, errOf(f.Mkdir(f.ctx, p, Attr{})), ErrName)
		wants(t, errOf(f.Mknod(f.ctx, p, Attr{Mode: unix.S_IFIFO})), ErrName)
	}
	f.put("d/x", "1")
	f.mem.Plant("d/.sigil/journal/x", mem.Object{Body: []byte("theirs")})
	f.lists("d", "x")
	f.must(f.Remove(f.ctx, "d/x"))
	wants(t, f.Rmdir(f.ctx, "d"), ErrNotEmpty)
	wants(t, f.Rename(f.ctx, "d", "d/.sigil", false), ErrInvalid)
}

func TestLongNames(t *testing.T) {
	f := mount(t, bucket())
	name := strings.Repeat("n", 255)
	f.put(name, "1")
	f.has(name, "1")
	wants(t, errOf(f.Create(f.ctx, name+"n", Attr{}, false)), ErrTooLong)
	wants(t, errOf(f.Stat(f.ctx, name+"n")), ErrTooLong)
	deep := strings.Repeat(name[:254]+"/", 4)
	f.put(deep+"1234", "1")
	wants(t, errOf(f.Create(f.ctx, deep+"12345", Attr{}, false)), ErrTooLong)
	wants(t, errOf(f.Mkdir(f.ctx, deep+"1235", Attr{})), ErrTooLong)
	wants(t, f.Rename(f.ctx, deep[:254], strings.Repeat("m", 255), false), ErrTooLong)
	f.has(deep+"1234", "1")
}

func TestListMany(t *testing.T) {
	f := mount(t, bucket())
	var want []string
	for i := range 2500 {
		name := fmt.Sprintf("f%04d", i)
		want = append(want, name)
		plant(f.mem, "d/"+name)
	}
	file := f.create("d/f0007x", "", false)
	defer file.Release()
	f.lists("d", slices.Insert(want, 8, "f0007x")...)
	n := 0
	for _, err := range f.List(f.ctx, "d", "f2000") {
		f.must(err)
		n++
	}
	if n != 499 {
		t.Errorf("%d after the cookie", n)
	}
	wants(t, listErr(f, "d/.."), ErrInvalid)
	f.failing(objstore.ErrThrottled, false, faulty.List)
	wants(t, listErr(f, "d"), ErrThrottled)
}

func listErr(f *fixture, p string) (err error) {
	for _, e := range f.List(f.ctx, p, "") {
		err = e
	}
	return err
}

// TestOwnFilesAreNeverHidden: a listing that lacks what this host has made is
// not believed; one whose object another host has removed is.
func TestOwnFilesAreNeverHidden(t *testing.T) {
	f := mount(t, bucket())
	f.put("d/file", "1")
	f.mkdir("d/dir")
	f.mkdir("gone")
	f.put("other", "1")
	f.must(errOf(f.Symlink(f.ctx, "d/link", "x", Attr{})))
	f.s.SetScript(func(faulty.Op) faulty.Fault { return faulty.Fault{Hide: func(string) bool { return true }} })
	f.lists("d", "dir", "file", "link")
	f.stat("d/dir")
	f.has("d/file", "1")
	f.must(f.mem.Delete(f.ctx, objstore.ID{Key: "d/file"}, objstore.Condition{}))
	f.must(f.mem.Delete(f.ctx, objstore.ID{Key: "gone/"}, objstore.Condition{}))
	f.lists("d", "dir", "link")
	f.absent("gone")
	f.failing(objstore.ErrThrottled, false, faulty.Head)
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Head {
			return faulty.Fault{Err: objstore.ErrThrottled}
		}
		return faulty.Fault{Hide: func(string) bool { return true }}
	})
	wants(t, listErr(f, "d"), ErrThrottled)
}

// TestListTypes: a listing tells the type only where it is sure.
func TestListTypes(t *testing.T) {
	f := mount(t, bucket(), long)
	f.must(errOf(f.Symlink(f.ctx, "l", "x", Attr{})))
	f.put("x", "1")
	f.put("d/y", "1")
	types := map[string]uint32{}
	for e, err := range f.List(f.ctx, "", "") {
		f.must(err)
		types[e.Name] = e.Type
	}
	if types["l"] != unix.S_IFLNK || types["x"] != unix.S_IFREG || types["d"] != unix.S_IFDIR {
		t.Errorf("%v", types)
	}
	for e, err := range mount(t, f.mem).List(f.ctx, "", "") {
		f.must(err)
		if e.Name != "d" && e.Type != 0 {
			t.Errorf("%s has type %o from a listing alone", e.Name, e.Type)
		}
	}
}

func TestNodes(t *testing.T) {
	f := mount(t, bucket())
	target := strings.Repeat("t", 300)
	for _, tc := range []struct {
		name string
		mode uint32
		rdev uint64
	}{
		{"fifo", unix.S_IFIFO | 0o640, 0}, {"sock", unix.S_IFSOCK | 0o600, 0}, {"char", unix.S_IFCHR | 0o666, 0x103}, {"block", unix.S_IFBLK | 0o660, 0x801}, {"file", unix.S_IFREG | 0o4755, 0},
	} {
		_, err := f.Mknod(f.ctx, tc.name, Attr{Mode: tc.mode, Rdev: tc.rdev, UID: 7, GID: 8})
		f.must(err)
		got := mount(t, f.mem).stat(tc.name)
		if got.Mode != tc.mode || got.Rdev != tc.rdev || got.UID != 7 || got.GID != 8 || got.Size != 0 {
			t.Errorf("%s: %+v", tc.name, got)
		}
		wants(t, errOf(f.Mknod(f.ctx, tc.name, Attr{Mode: tc.mode})), ErrExist)
		wants(t, errOf(f.Readlink(f.ctx, tc.name)), ErrInvalid)
	}
	wants(t, errOf(f.Mknod(f.ctx, "d", Attr{Mode: unix.S_IFDIR})), ErrInvalid)
	info, err := f.Symlink(f.ctx, "l", target, Attr{UID: 9})
	f.must(err)
	if info.Mode != unix.S_IFLNK|0o777 || info.Size != int64(len(target)) || info.UID != 9 {
		t.Errorf("%+v", info)
	}
	if got, err := mount(t, f.mem).Readlink(f.ctx, "l"); err != nil || got != target {
		t.Errorf("%q, %v", got, err)
	}
	f.sealed(target)
	wants(t, errOf(f.Symlink(f.ctx, "l", "x", Attr{})), ErrExist)
	wants(t, errOf(f.Symlink(f.ctx, "m", strings.Repeat("x", 4096), Attr{})), ErrTooLong)
	wants(t, errOf(f.Symlink(f.ctx, "m", "", Attr{})), ErrTooLong)
	wants(t, errOf(f.Readlink(f.ctx, "nothing")), ErrNotExist)
	dirty := f.create("new", "", false)
	defer dirty.Release()
	wants(t, errOf(f.Symlink(f.ctx, "new", "x", Attr{})), ErrExist)
	wants(t, errOf(f.Create(f.ctx, "new", Attr{}, true)), ErrExist)
}
