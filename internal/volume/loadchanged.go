package volume

import (
	"context"
	"errors"
	"io"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// A small change sends what lies around it too: a segment, or the least that
// S3 takes as a part. That comes out of the store by one request, not by the
// many in which the sending would read it.

// loadChanged gives what the commit of s reads, a large file, with what it will
// send of the base in memory where that is onePut bytes at the most.
func (v *Volume) loadChanged(ctx context.Context, s *snapshot) (src sigil.ReaderAt, done func(), err error) {
	ranges := v.around(s)
	if len(ranges) == 0 {
		return s, func() {}, nil
	}
	total := int64(0)
	for _, r := range ranges {
		total += r.Len
	}
	if done, err = v.hold(ctx, total); err != nil {
		return nil, nil, err
	}
	base, err := s.src.atOnce()
	l := &loaded{src: s}
	for _, r := range ranges {
		if err == nil {
			err = l.load(ctx, s, base, r)
		}
	}
	if err != nil { // whoever sends it tries again, and says what is wrong
		done()
		return s, func() {}, nil //nolint:nilerr // see above
	}
	return l, done, nil
}

// around gives the ranges of the plaintext that are sent and are in the base in
// part; nil where that is too much, or all is sent.
func (v *Volume) around(s *snapshot) (all []objstore.Range) {
	if s.src == nil || s.stream != nil {
		return nil
	}
	size, total := s.data.Size(), int64(0)
	for _, r := range v.sends(s, size) {
		if lacks(s.data, r, spool.Base) {
			all = append(all, r)
			total += r.Len
		}
	}
	if total > onePut {
		return nil
	}
	return all
}

// sends gives the ranges that a change of the base sends, as far as one is made.
func (v *Volume) sends(s *snapshot, size int64) (all []objstore.Range) {
	same := s.same()
	if _, sealed := s.src.current().(*sigil.Reader); sealed {
		changed := draft{attr: Attr{Size: size}, same: same}.changed()
		for i := range sigil.Segments(size) {
			if off := i * sigil.SegmentSize; changed(i) {
				all = append(all, objstore.Range{Off: off, Len: min(sigil.SegmentSize, size-off)})
			}
		}
	} else if s.src.isPlain() && v.patchable(size, inPlace(same)) {
		for _, p := range pieces(size, inPlace(same)) {
			if !p.copied {
				all = append(all, p.Range)
			}
		}
	}
	return all
}

// lacks tells whether any of r is of this kind.
func lacks(data frozen, r objstore.Range, want spool.Kind) bool {
	for off := r.Off; off < r.Off+r.Len; {
		kind, end := data.Extent(off)
		if kind == want {
			return true
		}
		off = end
	}
	return false
}

// loaded is a plaintext with some of it in memory.
type loaded struct {
	src    *snapshot
	ranges []loadedRange // in order
}

type loadedRange struct {
	off int64
	p   []byte
}

// load reads what the base has of r with one request, and the rest over it.
func (l *loaded) load(ctx context.Context, s *snapshot, base sigil.ReaderAt, r objstore.Range) error {
	p := make([]byte, r.Len)
	first, end := r.Off+r.Len, r.Off
	for off := r.Off; off < r.Off+r.Len; {
		kind, next := s.data.Extent(off)
		next = min(next, r.Off+r.Len)
		if kind == spool.Base {
			first, end = min(first, off), next
		}
		off = next
	}
	at := p[first-r.Off : end-r.Off]
	n, err := base.ReadAt(ctx, at, first)
	if err := filled(n, len(at), err); err != nil {
		return err
	}
	for off := r.Off; off < r.Off+r.Len; {
		kind, next := s.data.Extent(off)
		next = min(next, r.Off+r.Len)
		if kind != spool.Base {
			part := p[off-r.Off : next-r.Off]
			n, err := s.ReadAt(ctx, part, off)
			if err := filled(n, len(part), err); err != nil {
				return err
			}
		}
		off = next
	}
	l.ranges = append(l.ranges, loadedRange{r.Off, p})
	return nil
}

// ReadAt is sigil.ReaderAt's.
func (l *loaded) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		part, at := p[n:], off+int64(n)
		in := l.at(at)
		switch {
		case in.p != nil && at >= in.off:
			n += copy(part, in.p[at-in.off:])
			continue
		case in.p != nil:
			part = part[:min(int64(len(part)), in.off-at)]
		}
		m, err := l.src.ReadAt(ctx, part, at)
		if n += m; err != nil {
			return n, err
		}
		if m == 0 {
			return n, io.ErrNoProgress
		}
	}
	return n, nil
}

// at gives the range that off is in or before; none is behind all.
func (l *loaded) at(off int64) loadedRange {
	for _, r := range l.ranges {
		if off < r.off+int64(len(r.p)) {
			return r
		}
	}
	return loadedRange{}
}

// atOnce reads the body, and what is long with one request, past the cache.
func (c *content) atOnce() (plaintext, error) {
	return c.obj.form.open(c, longReads{c})
}

// longReads is a body as stored.
type longReads struct{ c *content }

// readLong is what is fetched at once, in bytes.
const readLong = 1 << 20

// ReadAt is sigil.ReaderAt's.
func (l longReads) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if len(p) < readLong || off+int64(len(p)) > l.c.obj.length {
		return l.c.blob.ReadAt(ctx, p, off)
	}
	body, err := l.c.fetch(ctx, off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }() // what was read was checked
	n, err := io.ReadFull(body, p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
