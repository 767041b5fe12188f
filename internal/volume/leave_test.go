package volume

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
)

// held stops the requests of a verb until they are let go.
func (f *fixture) held(verb faulty.Verb) (entered <-chan struct{}, goOn chan struct{}) {
	in, out := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		if op.Verb == verb {
			once.Do(func() { close(in) })
			x.Wait = out
		}
		return x
	})
	return in, out
}

// TestLeaveACommit: who waits for a commit may go, from fsync as from close;
// the commit goes on, and nothing is lost.
func TestLeaveACommit(t *testing.T) {
	for _, end := range []string{"fsync", "close"} {
		f := mount(t, bucket())
		file := f.create("a", "text", false)
		f.s.Reset()
		entered, goOn := f.held(faulty.Put)
		ctx, cancel := context.WithCancel(f.ctx)
		result := make(chan error)
		go func() {
			if end == "close" {
				result <- file.Flush(ctx)
			} else {
				result <- file.Commit(ctx)
			}
		}()
		<-entered
		cancel()
		wants(t, <-result, context.Canceled)
		if end == "close" {
			file.Release()
		}
		close(goOn)
		if end == "fsync" {
			f.must(file.Commit(f.ctx))
			file.Release()
		}
		f.settle()
		if n := f.s.Counts().Requests[faulty.Put]; n != 1 {
			t.Errorf("%s: %d PUTs", end, n)
		}
		mount(t, f.mem, host("there")).has("a", "text")
	}
}

// TestLeaveAWrite: who waits for room may go; what was taken, also of the write
// that waited, is there, and counts as written in order.
func TestLeaveAWrite(t *testing.T) {
	text := noise(60*mib, 7)
	f := mount(t, bucket(), spoolOf(t, 40))
	entered, goOn := f.held(faulty.Part)
	file, err := f.Create(f.ctx, "a", Attr{Mode: 0o644}, false)
	f.must(err)
	ctx, cancel := context.WithCancel(f.ctx)
	result, full := make(chan int), make(chan struct{})
	go func() {
		taken := 0
		for ; taken < len(text); taken += mib {
			if f.opt.Spool.Limit()-f.opt.Spool.Used() < 2*mib {
				select {
				case <-full:
				default:
					close(full)
				}
			}
			n, err := file.WriteAt(ctx, []byte(text[taken:taken+mib]), int64(taken))
			if err != nil {
				if taken += n; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				break
			}
		}
		result <- taken
	}()
	<-entered
	<-full
	cancel()
	taken := <-result
	close(goOn)
	if taken == len(text) || int64(taken) != file.Info().Size {
		t.Errorf("%d bytes taken, the size is %d", taken, file.Info().Size)
	}
	if file.growth.front != int64(taken) {
		t.Errorf("%d bytes taken, %d in order", taken, file.growth.front)
	}
	f.must(file.Commit(f.ctx))
	file.Release()
	mount(t, f.mem, host("there")).has("a", text[:taken])
}

// TestSyncDir: fsync of a directory writes what was gathered of it, and files
// in it whose commit failed; its error is theirs.
func TestSyncDir(t *testing.T) {
	f := mount(t, bucket(), long, gathering)
	f.mkdir("d")
	f.mkdir("d/e")
	f.must(f.SyncDir(f.ctx, "d"))
	f.s.Reset()
	f.must(f.SyncDir(f.ctx, "d"))
	f.requests("")
	f.must(errOf(f.SetAttr(f.ctx, "d", mode(0o700))))
	f.must(errOf(f.SetAttr(f.ctx, "d/e", mode(0o700))))
	f.must(f.SyncDir(f.ctx, "d"))
	f.requests("put")
	if got := mount(t, f.mem).stat("d").Mode & 0o777; got != 0o700 {
		t.Errorf("mode %o", got)
	}
	f.failing(objstore.ErrQuota, false, faulty.Put)
	wants(t, f.tryPut("d/a", "text"), ErrQuota)
	wants(t, f.tryPut("d/e/b", "text"), ErrQuota)
	open := f.create("d/c", "half", false)
	wants(t, f.SyncDir(f.ctx, "d"), ErrQuota)
	f.healed()
	f.s.Reset()
	f.must(f.SyncDir(f.ctx, "d"))
	f.requests("put")
	other := mount(t, f.mem, host("there"))
	other.has("d/a", "text")
	other.absent("d/c")
	open.Release()
	wants(t, f.SyncDir(f.ctx, "nothing"), nil)
}
