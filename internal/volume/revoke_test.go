package volume

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// TestRevoke: who has a file open reads it no more once its key is gone, what
// the cache has included, and goes on when the key is back.
func TestRevoke(t *testing.T) {
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	f := mount(t, bucket(), keys(k), long)
	f.put("a", "secret")
	file := f.open("a")
	defer file.Release()
	f.reads(file, "secret")
	was := k.epochs
	k.epochs, k.fail = nil, ErrAccess
	f.Revoke(epoch(1).ID)
	_, err := textOf(f.ctx, file)
	wants(t, err, ErrAccess)
	_, err = f.Stat(f.ctx, "a")
	wants(t, err, ErrAccess)
	k.epochs, k.fail = was, nil
	f.reads(file, "secret")
	f.has("a", "secret")
}

// takenKeys are keys that are taken and given back while they are in use.
type takenKeys struct {
	*fakeKeys
	mu     sync.Mutex // guards what follows, and fakeKeys
	opened func()     // called once, when one was opened
}

func (k *takenKeys) Open(ctx context.Context, key string, id sigil.EpochID, check func(sigil.Epoch) bool) (sigil.Epoch, error) {
	k.mu.Lock()
	e, err := k.fakeKeys.Open(ctx, key, id, check)
	hook := k.opened
	k.opened = nil
	k.mu.Unlock()
	if hook != nil {
		hook()
	}
	return e, err
}

func (k *takenKeys) take() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.epochs, k.fail = nil, ErrAccess
}

func (k *takenKeys) give() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.epochs, k.fail = []sigil.Epoch{epoch(1)}, nil
}

func (k *takenKeys) onOpen(do func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.opened = do
}

func takeable() (*takenKeys, tweak) {
	k := &takenKeys{fakeKeys: &fakeKeys{}}
	k.give()
	return k, func(o *Options) { o.Keys, o.Rules = k, []Rule{{Mode: "client", Keys: k}} }
}

// TestRevokedAgain: a key that is taken once more, just when it was opened, stays
// taken.
func TestRevokedAgain(t *testing.T) {
	k, with := takeable()
	f := mount(t, bucket(), with, long)
	f.put("a", "secret")
	file := f.open("a")
	defer file.Release()
	f.reads(file, "secret")
	f.Revoke(epoch(1).ID)
	k.onOpen(func() {
		k.take()
		f.Revoke(epoch(1).ID)
	})
	for range 2 {
		_, err := textOf(f.ctx, file)
		wants(t, err, ErrAccess)
	}
	k.give()
	f.reads(file, "secret")
}

// TestRevokedInTheMiddle: a read that goes on when the key is taken gives
// nothing, and nothing that it brought is kept.
func TestRevokedInTheMiddle(t *testing.T) {
	k, with := takeable()
	c := cache.New(cache.Options{Bytes: 256 << 10, Ahead: -1})
	t.Cleanup(func() { _ = c.Close() })
	f := mount(t, bucket(), with, long, func(o *Options) { o.Cache = c })
	f.put("a", noise(1<<20, 1))
	file := f.open("a")
	defer file.Release()
	fetched, hold := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(fetched) })
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb != faulty.Get {
			return faulty.Fault{}
		}
		once()
		return faulty.Fault{Wait: hold}
	})
	got := make(chan error, 1)
	go func() {
		_, err := textOf(f.ctx, file)
		got <- err
	}()
	<-fetched
	k.take()
	f.Revoke(epoch(1).ID)
	close(hold)
	wants(t, <-got, ErrAccess)
	if n := c.Kept(); n != 0 {
		t.Errorf("%d bytes are kept", n)
	}
	k.give()
	f.reads(file, noise(1<<20, 1))
}

// TestRevokeUnderReads: among reads that go on all the time, none that begins
// after the key was taken gives anything.
func TestRevokeUnderReads(t *testing.T) {
	k, with := takeable()
	f := mount(t, bucket(), with, long)
	f.put("a", noise(300<<10, 1))
	file := f.open("a")
	defer file.Release()
	ctx, cancel := context.WithTimeout(f.ctx, time.Minute)
	defer cancel()
	var revoked atomic.Bool
	var readers sync.WaitGroup
	warm := make(chan struct{}, 4)
	for range cap(warm) {
		readers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				late := revoked.Load()
				_, err := textOf(ctx, file)
				if n == 10 {
					warm <- struct{}{}
				}
				if late {
					if err == nil {
						t.Error("read after the key was taken")
					}
					return
				}
			}
		})
	}
	for range cap(warm) {
		select {
		case <-warm:
		case <-ctx.Done():
		}
	}
	k.take()
	f.Revoke(epoch(1).ID)
	revoked.Store(true)
	readers.Wait()
	f.must(ctx.Err())
	if n := f.opt.Cache.Kept(); n != 0 {
		t.Errorf("%d bytes are kept", n)
	}
	k.give()
	f.reads(file, noise(300<<10, 1))
}
