package cache

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/sync/semaphore"
)

// deaf is a context that ends in the very moment in which who waits is called.
type deaf struct {
	context.Context //nolint:containedctx // is one
	ended           atomic.Bool
}

func (d *deaf) Err() error {
	if d.ended.Load() {
		return context.Canceled
	}
	return nil
}

// TestCalledTooLate: who is called when there is memory, and has given up in
// that moment, calls the next.
func TestCalledTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newObject(300)
		c := New(Options{Bytes: 100, Ahead: -1})
		r := c.Reader(b.as("a"), b.fetch)
		read := make(chan struct{})
		go func() {
			_ = r.View(context.Background(), 0, 100, func([]byte) error { <-read; return nil })
		}()
		synctest.Wait()
		gone := &deaf{Context: context.Background()}
		go func() {
			if _, err := r.ReadAt(gone, make([]byte, 100), 100); !errors.Is(err, context.Canceled) {
				t.Errorf("who has given up: %v", err)
			}
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			if _, err := r.ReadAt(ctx, make([]byte, 100), 200); err != nil {
				t.Errorf("who waits behind: %v", err)
			}
		}()
		synctest.Wait()
		gone.ended.Store(true)
		close(read)
		synctest.Wait()
		cancel() // whoever still waits is not called any more
		synctest.Wait()
		c.sound(t)
		_ = c.Close()
	})
}

// TestReserveIsGivenBack: what was borrowed to leave room for others is not kept
// by who needs none of it.
func TestReserveIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newObject(1000)
		budget := semaphore.NewWeighted(1000)
		c := New(Options{Bytes: 800, Budget: budget, Ahead: -1})
		r := c.Reader(b.as("a"), b.fetch)
		read := make(chan struct{})
		for i := range int64(7) {
			go func() {
				_ = r.View(context.Background(), i*100, 100, func([]byte) error { <-read; return nil })
			}()
		}
		synctest.Wait()
		r.Seed(700, b.data[700:800])
		close(read)
		synctest.Wait()
		if n := c.Kept(); n != 800 || !budget.TryAcquire(1000) {
			t.Errorf("%d bytes are kept, and something is lent", n)
		} else {
			budget.Release(1000)
		}
		_ = c.Close()
	})
}
