package fs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// dents reads one buffer of size bytes.
func dents(t *testing.T, d *os.File, size int) (out []fuse.DirEntry) {
	t.Helper()
	buf := make([]byte, size)
	n, err := unix.ReadDirent(int(d.Fd()), buf)
	check(t, err)
	for todo := buf[:n]; len(todo) > 0; {
		var e fuse.DirEntry
		todo = todo[e.Parse(todo):]
		out = append(out, e)
	}
	return out
}

func fill(v *fake, dir string, n int) {
	for i := range n {
		v.replace(fmt.Sprintf("%s/%05d", dir, i), "")
	}
}

func TestReaddirWhileRemoving(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "d")
	check(t, os.Mkdir(path, 0o755))
	const n = 5000
	fill(v, "d", n)
	d := open(t, path, os.O_RDONLY)
	seen := map[string]int{}
	for {
		page := dents(t, d, 300) // a dozen entries, of the hundreds that FUSE reads
		if len(page) == 0 {
			break
		}
		for i, e := range page {
			seen[e.Name]++
			if e.Name[0] != '.' && i%4 != 0 {
				check(t, unix.Unlinkat(int(d.Fd()), e.Name, 0))
			}
		}
	}
	if len(seen) != n+2 {
		t.Fatalf("%d names, want %d", len(seen), n+2)
	}
	for name, times := range seen {
		if times != 1 {
			t.Errorf("%s was given %d times", name, times)
		}
	}
}

func TestSeekdir(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "d")
	check(t, os.Mkdir(path, 0o755))
	const n = 2000
	fill(v, "d", n)
	d := open(t, path, os.O_RDONLY)
	var all []fuse.DirEntry
	for {
		page := dents(t, d, 4096)
		if len(page) == 0 {
			break
		}
		all = append(all, page...)
	}
	if len(all) != n+dots || all[0].Name != "." || all[1].Name != ".." {
		t.Fatalf("%d entries", len(all))
	}
	// Behind entry 1000, with the ones around it gone and a new one before it.
	place := all[1000].Off
	for i := 900; i < 1100; i++ {
		check(t, unix.Unlinkat(int(d.Fd()), all[i].Name, 0))
	}
	v.replace("d/00500+", "")
	_, err := unix.Seek(int(d.Fd()), int64(place), unix.SEEK_SET)
	check(t, err)
	var got []string
	for page := dents(t, d, 512); len(page) > 0; page = dents(t, d, 512) {
		for _, e := range page {
			got = append(got, e.Name)
		}
	}
	var left []string
	for _, e := range all[1100:] {
		left = append(left, e.Name)
	}
	if !slices.Equal(got, left) {
		t.Fatalf("after seekdir %d names from %q, want %d from %q", len(got), got[0], len(left), left[0])
	}
	_, err = unix.Seek(int(d.Fd()), 0, unix.SEEK_SET)
	check(t, err)
	names, err := d.Readdirnames(-1)
	check(t, err)
	if len(names) != n-200+1 {
		t.Fatalf("after rewinddir %d names, want %d", len(names), n-200+1)
	}
}

func TestRewindOfAnEmptyDirectory(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	d := open(t, dir, os.O_RDONLY)
	for len(dents(t, d, 4096)) > 0 {
	}
	v.replace("new", "")
	_, err := unix.Seek(int(d.Fd()), 0, unix.SEEK_SET)
	check(t, err)
	if page := dents(t, d, 4096); len(page) != 3 {
		t.Fatalf("got %v", page)
	}
}

func TestDirentsTellWhatIsKnown(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	check(t, os.Mkdir(filepath.Join(dir, "dir"), 0o755))
	write(t, filepath.Join(dir, "seen"), "")
	v.replace("unseen", "")
	root, seen := stat(t, dir), stat(t, filepath.Join(dir, "seen"))
	got := map[string]fuse.DirEntry{}
	for _, e := range dents(t, open(t, dir, os.O_RDONLY), 4096) {
		got[e.Name] = e
	}
	if e := got["seen"]; e.Ino != seen.Ino || e.Mode>>12 != unix.DT_REG {
		t.Errorf("seen: %+v", e)
	}
	if e := got["unseen"]; e.Ino == 0 || e.Mode != unix.DT_UNKNOWN {
		t.Errorf("unseen: %+v", e)
	}
	if e := got["dir"]; e.Mode>>12 != unix.DT_DIR {
		t.Errorf("dir: %+v", e)
	}
	if e := got["."]; e.Ino != root.Ino {
		t.Errorf(".: inode %d, want %d", e.Ino, root.Ino)
	}
}

// What was a directory, and is listed as none, is told to be none.
func TestDirentsOfWhatWasADirectory(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	check(t, os.Mkdir(filepath.Join(dir, "was"), 0o755))
	v.replace("was", "")
	for _, e := range dents(t, open(t, dir, os.O_RDONLY), 4096) {
		if e.Name == "was" && e.Mode != unix.DT_UNKNOWN {
			t.Errorf("%+v", e)
		}
	}
}

// A directory whose listing fails in the middle goes on where it was.
func TestListingGoesOnAfterAnError(t *testing.T) {
	broken := true
	l := listing{from: func(after string) entries {
		return func(yield func(volume.Entry, error) bool) {
			for _, name := range []string{"a", "b", "c"} {
				if name == "c" && broken {
					yield(volume.Entry{}, volume.ErrThrottled)
					return
				}
				if name > after && !yield(volume.Entry{Name: name, Cookie: name}, nil) {
					return
				}
			}
		}
	}}
	defer l.stop()
	var got []string
	for {
		e, ok, err := l.next()
		if err != nil {
			broken = false
			continue
		}
		if !ok {
			break
		}
		got = append(got, e.Name)
	}
	if broken || !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Fatalf("got %q", got)
	}
}

// A name that came before a place that was sought, and is given behind it, leads
// no later listing back to before that place.
func TestListingSeekPastANewName(t *testing.T) {
	var names []string
	for i := range 2 * stride {
		names = append(names, fmt.Sprintf("%04d", i))
	}
	l := listing{from: func(after string) entries {
		return func(yield func(volume.Entry, error) bool) {
			for _, name := range names {
				if name > after && !yield(volume.Entry{Name: name, Cookie: name}, nil) {
					return
				}
			}
		}
	}}
	defer l.stop()
	times := map[string]int{}
	give := func(n int) {
		for range n {
			e, ok, err := l.next()
			check(t, err)
			if ok {
				times[e.Name]++
			}
		}
	}
	give(stride)
	check(t, l.seek(stride-1))
	delete(times, names[stride-1])
	names = slices.Insert(names, 1, "0000+")
	give(2) // the new name, and what is behind the place
	check(t, l.seek(stride))
	delete(times, names[stride])
	give(3 * stride)
	for _, name := range names {
		if times[name] != 1 {
			t.Errorf("%s was given %d times", name, times[name])
		}
	}
}

// What is in the directory all the time is given exactly once behind any place
// that is sought, whatever else comes and goes.
func TestListingSeek(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		present := map[int]bool{}
		for i := range 3 * stride {
			if i%2 == 0 {
				present[i] = true
			}
		}
		cookie := func(i int) string { return fmt.Sprintf("%04d", i) }
		l := listing{from: func(after string) entries {
			return func(yield func(volume.Entry, error) bool) {
				for i := range 3 * stride {
					if present[i] && cookie(i) > after && !yield(volume.Entry{Name: cookie(i), Cookie: cookie(i)}, nil) {
						return
					}
				}
			}
		}}
		defer l.stop()
		var given []string // what next gave, in order, up to here
		for range rapid.IntRange(1, 8).Draw(t, "rounds") {
			for range rapid.IntRange(0, 2*stride).Draw(t, "read") {
				e, ok, err := l.next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				given = append(given, e.Name)
			}
			for _, i := range rapid.SliceOf(rapid.IntRange(0, 3*stride-1)).Draw(t, "toggle") {
				if i%4 != 0 { // those stay
					present[i] = !present[i]
				}
			}
			n := rapid.IntRange(0, len(given)).Draw(t, "place")
			if err := l.seek(uint64(n)); err != nil {
				t.Fatal(err)
			}
			given = given[:n]
		}
		for e, ok, err := l.next(); ok; e, ok, err = l.next() {
			if err != nil {
				t.Fatal(err)
			}
			given = append(given, e.Name)
		}
		times := map[string]int{}
		for _, name := range given {
			times[name]++
		}
		for i := 0; i < 3*stride; i += 4 {
			if times[cookie(i)] != 1 {
				t.Fatalf("%s was given %d times", cookie(i), times[cookie(i)])
			}
		}
	})
}

// TestListedInOrderOfInodes: who reads a directory in the order of its inode
// numbers, as tar and cp -r do, reads it in that of the listing.
func TestListedInOrderOfInodes(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "d")
	check(t, os.Mkdir(path, 0o755))
	fill(v, "d", 3000)
	d := open(t, path, os.O_RDONLY)
	last := fuse.DirEntry{}
	for page := dents(t, d, 4096); len(page) > 0; page = dents(t, d, 4096) {
		for _, e := range page {
			if e.Name[0] == '.' {
				continue
			}
			if e.Ino <= last.Ino {
				t.Fatalf("%s is %x, after %s, %x", e.Name, e.Ino, last.Name, last.Ino)
			}
			last = e
		}
	}
}
