package volume

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
)

// TestCloseKeepsOpenFiles: what nobody has closed is never put under its name,
// half-written; it is named and left, sealed, in the spool.
func TestCloseKeepsOpenFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kept")
	sp, err := spool.Open(dir, spool.Options{Reserve: -1, Key: &[32]byte{8}})
	if err != nil {
		t.Fatal(err)
	}
	f := mount(t, bucket(), func(o *Options) { o.Spool = sp })
	f.put("old", "old")
	f.put("clean", "clean")
	f.put("gone", "gone")
	half, over, clean, gone := f.create("half", "half", false), f.open("old"), f.open("clean"), f.open("gone")
	f.write(over, "NEW", 0)
	f.write(clean, "CLEAN", 0)
	f.must(clean.Commit(f.ctx))
	f.write(gone, "GONE", 0)
	f.must(f.Remove(f.ctx, "gone"))
	f.create("closed", "closed", false).Release()

	err = f.Close(f.ctx)
	wants(t, err, errOpen)
	for _, p := range []string{"half", "old", "clean", "gone", "closed"} {
		if want := p == "old" || p == "half"; strings.Contains(err.Error(), `"`+p+`"`) != want {
			t.Errorf("%s named: %v, in %v", p, !want, err)
		}
	}
	if keys := f.mem.Keys(); !slices.Equal(keys, []string{"clean", "closed", "old"}) {
		t.Errorf("%q", keys)
	}
	mount(t, f.mem).has("old", "old")

	// The programs go on, and hear that nothing is kept any more.
	wants(t, errOf(over.WriteAt(f.ctx, []byte("x"), 0)), ErrClosed)
	wants(t, over.Commit(f.ctx), spool.ErrClosed)
	for _, file := range []*File{half, over, clean, gone} {
		file.Release()
	}
	f.must(sp.Close())
	if kept := leftovers(t, dir); !slices.Equal(kept, []string{"half half", "old NEW"}) {
		t.Errorf("%q", kept)
	}
}

// leftovers are the paths and the contents that a recovery finds in dir, all
// of files that were open.
func leftovers(t *testing.T, dir string) (out []string) {
	r, err := spool.Recover(dir, &[32]byte{8})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	ids, err := r.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		left, err := r.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		meta, err := left.Meta()
		var n note
		if err == nil {
			err = json.Unmarshal(meta, &n)
		}
		p := make([]byte, left.Size())
		if _, rerr := left.ReadAt(p, 0, nil); err != nil || rerr != nil || !n.Open {
			t.Errorf("%s: %v, %v, open %v", n.Path, err, rerr, n.Open)
		}
		out = append(out, n.Path+" "+string(p))
		_ = left.Close()
	}
	slices.Sort(out)
	return out
}

// TestCloseTears: the end of Close's time ends commits under way, in the
// background too; nothing of them is lost.
func TestCloseTears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mount(t, bucket())
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			return faulty.Fault{Wait: make(chan struct{})} // for ever
		})
		f.create("background", "1", false).Release()
		synctest.Wait()
		flush := make(chan error)
		file := f.create("flush", "1", false)
		for range 2 { // one under way, one behind it
			go func() { flush <- file.Commit(f.ctx) }()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(f.ctx, 10*time.Second)
		defer cancel()
		begin := time.Now()
		err := f.Close(ctx)
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("took %v", took)
		}
		for range 2 {
			err := <-flush
			wants(t, err, ErrClosed)
			if !strings.Contains(err.Error(), `"flush"`) {
				t.Errorf("not named: %v", err)
			}
		}
		for _, name := range []string{`"background"`, `"flush"`} {
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s is not named: %v", name, err)
			}
		}
		file.Release()
	})
}

// TestBackgroundLeavesWhatIsOpenAgain: what was released dirty and opened again
// is committed when that handle is closed, not half way.
func TestBackgroundLeavesWhatIsOpenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mount(t, bucket())
		f.put("a", "old")
		f.failing(objstore.ErrThrottled, false, faulty.Put)
		file := f.open("a")
		f.write(file, "new", 0)
		wants(t, file.Commit(f.ctx), ErrThrottled)
		unlock, err := f.names.lock(f.ctx, one("a")) // the next try waits
		f.must(err)
		file.Release()
		pass(lastRetry)
		synctest.Wait()
		f.healed()
		file, err = f.Open(f.ctx, "a", OpenOptions{Write: true, Truncate: true})
		f.must(err)
		unlock()
		pass(lastRetry)
		synctest.Wait()
		mount(t, f.mem).has("a", "old")
		f.write(file, "newest", 0)
		file.Release()
		synctest.Wait()
		mount(t, f.mem).has("a", "newest")
		f.must(f.Close(f.ctx))
	})
}
