package volume

import (
	"context"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// parallelLoads bounds how many commits hold the content of their file in
// memory: onePut bytes each at the most.
const parallelLoads = 4

// load gives what the commit of s reads its plaintext from. While a PUT is
// under way some servers hold back every GET of the same key, so a body that
// goes up in one PUT must not be fetched from there meanwhile: if any of it is
// in the base, all of it is brought into memory first. done lets go of that.
func (v *Volume) load(ctx context.Context, s *snapshot) (src sigil.ReaderAt, done func(), err error) {
	if s.borrowed || !s.needsBase() {
		return s, func() {}, nil
	}
	if s.data.Size() > v.onePut {
		return v.loadChanged(ctx, s)
	}
	if done, err = v.hold(ctx, s.data.Size()); err != nil {
		return nil, nil, err
	}
	plain := make([]byte, s.data.Size())
	n, err := s.ReadAt(ctx, plain, 0)
	if err = filled(n, len(plain), err); err != nil {
		done()
		return nil, nil, err
	}
	return sigil.Bytes(plain), done, nil
}

// hold takes a turn, and n bytes of memory, onePut at the most. done gives both
// back.
func (v *Volume) hold(ctx context.Context, n int64) (done func(), err error) {
	select {
	case v.loads <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	back, err := v.borrow(ctx, n)
	if err != nil {
		<-v.loads
		return nil, err
	}
	return func() {
		back()
		<-v.loads
	}, nil
}

// borrow waits for n bytes of memory; what is longer than all that there is has
// it alone. back gives them back.
func (v *Volume) borrow(ctx context.Context, n int64) (back func(), err error) {
	n = min(n, v.opt.MemoryBytes)
	if err := v.opt.Memory.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { v.opt.Memory.Release(n) }, nil
}

// needsBase tells whether any byte of the snapshot is in the base only.
func (s *snapshot) needsBase() bool {
	for off := int64(0); off < s.data.Size(); {
		kind, end := s.data.Extent(off)
		if kind == spool.Base {
			return true
		}
		off = end
	}
	return false
}

// same lists the ranges that are as they were in the base.
func (s *snapshot) same() []objstore.Range {
	var all []objstore.Range
	for off := int64(0); off < s.data.Size(); {
		kind, end := s.data.Extent(off)
		if kind == spool.Base {
			all = joined(all, objstore.Range{Off: off, Len: end - off})
		}
		off = end
	}
	return all
}
