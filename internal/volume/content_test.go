package volume

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

func TestWriteCommitRead(t *testing.T) {
	f := mount(t, bucket())
	file := f.create("a", "hello", false)
	f.reads(file, "hello")
	if got := f.mem.Keys(); len(got) != 0 {
		t.Fatalf("sent before the commit: %q", got)
	}
	f.lists("", "a")
	f.must(file.Commit(f.ctx))
	f.write(file, " world", 5)
	f.has("a", "hello world") // dirty data is shown
	f.must(file.Commit(f.ctx))
	file.Release()
	f.sealed("hello")
	other := mount(t, f.mem, host("there"))
	other.has("a", "hello world")
}

// TestContents writes, commits and reads back by another mount what each step
// makes of the content.
func TestContents(t *testing.T) {
	big := noise(200<<10, 1)
	for _, tc := range []struct {
		name string
		base string
		do   func(f *fixture, file *File)
		want string
	}{
		{"Untouched", "abc", func(*fixture, *File) {}, "abc"},
		{"Overwrite", "abcdef", func(f *fixture, file *File) { f.write(file, "XY", 2) }, "abXYef"},
		{"Append", "abc", func(f *fixture, file *File) {
			for range 3 {
				n, err := file.Append(f.ctx, []byte("xy"))
				f.must(err)
				if n != 2 {
					f.t.Fatal(n)
				}
			}
		}, "abcxyxyxy"},
		{"Gap", "abc", func(f *fixture, file *File) { f.write(file, "z", 6) }, "abc\x00\x00\x00z"},
		{"Shrink", "abcdef", func(f *fixture, file *File) { f.must(file.Truncate(f.ctx, 2)) }, "ab"},
		{"ToNothing", "abcdef", func(f *fixture, file *File) { f.must(file.Truncate(f.ctx, 0)) }, ""},
		{"Grow", "abc", func(f *fixture, file *File) { f.must(file.Truncate(f.ctx, 5)) }, "abc\x00\x00"},
		{"ShrinkAndGrow", "abcdef", func(f *fixture, file *File) {
			f.must(file.Truncate(f.ctx, 2))
			f.must(file.Truncate(f.ctx, 4))
		}, "ab\x00\x00"},
		{"ShrinkCommitGrow", big, func(f *fixture, file *File) {
			f.must(file.Truncate(f.ctx, 2))
			f.must(file.Commit(f.ctx))
			f.must(file.Truncate(f.ctx, 70<<10))
		}, big[:2] + strings.Repeat("\x00", 70<<10-2)},
		{"MiddleOfMany", big, func(f *fixture, file *File) { f.write(file, "here", 100<<10) }, big[:100<<10] + "here" + big[100<<10+4:]},
		{"Punch", big, func(f *fixture, file *File) {
			f.must(file.Allocate(f.ctx, 10, 150<<10, AllocOptions{PunchHole: true, KeepSize: true}))
		}, big[:10] + strings.Repeat("\x00", 150<<10) + big[10+150<<10:]},
		{"ZeroAndGrow", "abc", func(f *fixture, file *File) {
			f.must(file.Allocate(f.ctx, 1, 5, AllocOptions{ZeroRange: true}))
		}, "a\x00\x00\x00\x00\x00"},
		{"ZeroKeepSize", "abc", func(f *fixture, file *File) {
			f.must(file.Allocate(f.ctx, 1, 5, AllocOptions{ZeroRange: true, KeepSize: true}))
		}, "a\x00\x00"},
		{"Reserve", "abc", func(f *fixture, file *File) { f.must(file.Allocate(f.ctx, 0, 6, AllocOptions{})) }, "abc\x00\x00\x00"},
		{"ReserveKeepSize", "abc", func(f *fixture, file *File) { f.must(file.Allocate(f.ctx, 0, 6, AllocOptions{KeepSize: true})) }, "abc"},
		{"ReserveInside", "abcdef", func(f *fixture, file *File) { f.must(file.Allocate(f.ctx, 0, 2, AllocOptions{})) }, "abcdef"},
		{"BySetAttr", "abcdef", func(f *fixture, file *File) {
			info, err := file.SetAttr(f.ctx, Change{Size: ptr[int64](1)})
			f.must(err)
			if info.Size != 1 {
				f.t.Fatal(info)
			}
		}, "a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := mount(t, bucket())
			f.put("x", tc.base)
			file := f.open("x")
			tc.do(f, file)
			f.reads(file, tc.want)
			f.must(file.Commit(f.ctx))
			f.reads(file, tc.want)
			file.Release()
			f.has("x", tc.want)
			mount(t, f.mem).has("x", tc.want)
			if got := f.stat("x").Size; got != int64(len(tc.want)) {
				t.Errorf("size %d", got)
			}
			if f.Dirty() != 0 || f.opt.Spool.Used() != 0 {
				t.Errorf("%d dirty, spool holds %d", f.Dirty(), f.opt.Spool.Used())
			}
		})
	}
}

func TestBadRanges(t *testing.T) {
	f := mount(t, bucket())
	file := f.create("x", "abc", false)
	defer file.Release()
	_, err := file.WriteAt(f.ctx, []byte("x"), sigil.MaxSize)
	wants(t, err, ErrTooLarge)
	_, err = file.WriteAt(f.ctx, []byte("x"), -1)
	wants(t, err, ErrInvalid)
	wants(t, file.Truncate(f.ctx, -1), ErrInvalid)
	wants(t, file.Truncate(f.ctx, sigil.MaxSize+1), ErrTooLarge)
	wants(t, file.Allocate(f.ctx, -1, 1, AllocOptions{}), ErrInvalid)
	wants(t, file.Allocate(f.ctx, 0, 0, AllocOptions{}), ErrInvalid)
	wants(t, file.Allocate(f.ctx, 1, 1<<63-1, AllocOptions{}), ErrTooLarge)
	if n, err := file.ReadAt(f.ctx, make([]byte, 1), 3); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
	f.reads(file, "abc")
}

func TestSeek(t *testing.T) {
	f := mount(t, bucket())
	f.put("x", noise(10, 1))
	file := f.open("x")
	defer file.Release()
	seek := func(off int64, hole bool, want int64) {
		t.Helper()
		got, err := file.Seek(f.ctx, off, hole)
		if want < 0 {
			wants(t, err, io.EOF)
		} else if err != nil || got != want {
			t.Fatalf("seek(%d, %v) = %d, %v, want %d", off, hole, got, err, want)
		}
	}
	seek(0, false, 0)
	seek(3, true, 10)
	seek(10, false, -1)
	seek(10, true, -1) // ENXIO, as lseek(2) has it
	seek(-1, true, -1)
	f.must(file.Truncate(f.ctx, 1<<20))
	f.write(file, "end", 1<<20)
	seek(0, false, 0)
	seek(64<<10, false, 1<<20)
	seek(64<<10, true, 64<<10)
	seek(1<<20, true, 1<<20+3)
	seek(1<<20+3, true, -1)
	seek(2<<20, false, -1)
}

// TestCorruptBaseIsNotWrittenOver: nothing is appended to a body that was cut.
func TestCorruptBaseIsNotWrittenOver(t *testing.T) {
	f := mount(t, bucket())
	f.put("x", noise(200<<10, 3))
	file := f.open("x")
	defer file.Release()
	f.failing(nil, false)
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Get {
			return faulty.Fault{Body: faulty.Flip(8 * 9)}
		}
		return faulty.Fault{}
	})
	_, err := textOf(f.ctx, file)
	wants(t, err, ErrCorrupt)
	f.healed()
	f.reads(file, noise(200<<10, 3)) // fetched again, not cached
}

// TestDamageIsFetchedOnceMore: one answer that was damaged on its way harms
// neither a read nor the proof of the size that an append takes.
func TestDamageIsFetchedOnceMore(t *testing.T) {
	m := bucket()
	mount(t, m).put("x", noise(200<<10, 3))
	for i, use := range []func(*fixture, *File) error{
		func(f *fixture, file *File) error { _, err := textOf(f.ctx, file); return err },
		func(f *fixture, file *File) error { return file.Truncate(f.ctx, 10) },
	} {
		f := mount(t, m, host(fmt.Sprint("host", i)))
		file := f.open("x")
		var gets atomic.Int64
		f.s.SetScript(func(op faulty.Op) (fault faulty.Fault) {
			if op.Verb == faulty.Get && gets.Add(1) == 1 {
				fault.Body = faulty.Flip(8 * 1000)
			}
			return fault
		})
		f.must(use(f, file))
		if gets.Load() < 2 {
			t.Errorf("use %d: %d fetches", i, gets.Load())
		}
		f.healed()
		file.Release()
	}
}

// TestReadIsOvertaken: while a read waits for committed content, that is cut
// off, committed, and grown over again. The read then sees what is there.
func TestReadIsOvertaken(t *testing.T) {
	m := bucket()
	mount(t, m).put("x", noise(100<<10, 3))
	f := mount(t, m, host("there"))
	file := f.open("x")
	defer file.Release()
	f.write(file, "dirty", 0)
	file.content().blob.Drop()
	gate, begun := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.s.SetScript(func(op faulty.Op) (fault faulty.Fault) {
		if op.Verb == faulty.Get {
			once.Do(func() {
				close(begun)
				fault.Wait = gate
			})
		}
		return fault
	})
	p := make([]byte, 10<<10)
	done := make(chan error)
	go func() {
		_, err := file.ReadAt(f.ctx, p, 80<<10)
		done <- err
	}()
	<-begun
	f.must(file.Truncate(f.ctx, 0))
	f.write(file, strings.Repeat("a", 70<<10), 0)
	f.must(file.Commit(f.ctx))
	f.write(file, strings.Repeat("b", 40<<10), 70<<10)
	close(gate)
	f.must(<-done)
	if string(p) != strings.Repeat("b", len(p)) {
		t.Errorf("read %s", brief(string(p)))
	}
}

// TestVersions: a seal is above what it replaces, whatever the clock says, but
// not above what is over a year ahead.
func TestVersions(t *testing.T) {
	f := mountIdle(t, bucket())
	now := uint64(f.opt.Now().UnixNano())
	at := func(version uint64) *object { return &object{form: &sealedForm{rec: &sigil.Record{Version: version}}} }
	ahead := now + uint64(time.Hour)
	if got := f.version("x", at(1), at(ahead)); got != ahead+1 {
		t.Errorf("%d over %d", got, ahead)
	}
	if got := f.version("x", at(math.MaxUint64), nil); got < now || got >= ahead {
		t.Errorf("%d: counted on from what is over a year ahead, or from another object's", got)
	}
}

// TestShortBody: a body shorter than promised is an error, never zeros.
func TestShortBody(t *testing.T) {
	f := mount(t, bucket())
	f.put("x", noise(200<<10, 3))
	file := f.open("x")
	defer file.Release()
	f.s.SetScript(func(op faulty.Op) faulty.Fault { return faulty.Fault{Body: faulty.Cut(100)} })
	if got, err := textOf(f.ctx, file); err == nil || got != "" {
		t.Fatalf("read %s, %v", brief(got), err)
	}
	f.healed()
	f.reads(file, noise(200<<10, 3))
}

func TestReadOnly(t *testing.T) {
	f := mount(t, bucket())
	f.put("x", "abc")
	f.must(errOf(f.Mkdir(f.ctx, "d", Attr{Mode: 0o755})))
	ro := mount(t, f.mem, func(o *Options) { o.ReadOnly, o.Spool = true, nil })
	ro.has("x", "abc")
	file, err := ro.Open(ro.ctx, "x", OpenOptions{})
	ro.must(err)
	defer file.Release()
	for name, err := range map[string]error{
		"open":     errOf(ro.Open(ro.ctx, "x", OpenOptions{Write: true})),
		"create":   errOf(ro.Create(ro.ctx, "y", Attr{}, false)),
		"write":    errOf(file.WriteAt(ro.ctx, []byte("x"), 0)),
		"truncate": file.Truncate(ro.ctx, 0),
		"chmod":    errOf(ro.SetAttr(ro.ctx, "x", Change{Mode: ptr[uint32](0)})),
		"fchmod":   errOf(file.SetAttr(ro.ctx, Change{Mode: ptr[uint32](0)})),
		"mkdir":    errOf(ro.Mkdir(ro.ctx, "e", Attr{})),
		"symlink":  errOf(ro.Symlink(ro.ctx, "l", "x", Attr{})),
		"remove":   ro.Remove(ro.ctx, "x"),
		"rmdir":    ro.Rmdir(ro.ctx, "d"),
		"rename":   ro.Rename(ro.ctx, "x", "y", false),
	} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := ro.s.Counts().Writes(); n != 0 {
		t.Errorf("%d requests that write", n)
	}
}

func errOf[T any](_ T, err error) error { return err }
