package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sigilfs/sigilfs/internal/awsclient"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// body reads a range to its end, over as many connections as that takes: one
// that breaks is followed by a GET of what is left, bound to the same ETag.
// Not safe for concurrent use.
type body struct {
	ctx     context.Context //nolint:containedctx // of Get: an io.Reader has nowhere else to take it from
	s       *Store
	id      objstore.ID
	at, end int64 // bytes still to come
	from    io.ReadCloser
	err     error // what ended it
	broken  int   // connections since the last byte
	since   time.Time
}

// Read gives io.EOF only after the last byte.
func (b *body) Read(p []byte) (int, error) {
	for b.err == nil {
		if b.at == b.end {
			b.err = b.finish()
			break
		}
		if len(p) == 0 {
			return 0, nil
		}
		n, err := b.from.Read(p[:min(int64(len(p)), b.end-b.at)])
		if n > 0 {
			b.at += int64(n)
			b.broken = 0
			return n, nil
		}
		if err != nil {
			b.err = b.resume(err)
		}
	}
	return 0, b.err
}

// finish sees that nothing follows: more than was promised, or a checksum that
// does not match, is an error although all bytes are there.
func (b *body) finish() error {
	var more [1]byte
	n, err := b.from.Read(more[:])
	switch {
	case n > 0:
		return fmt.Errorf("get %s: the body is longer than promised: %w", b.s.place(b.id.Key), io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF && isChecksum(err):
		return fmt.Errorf("get %s: the body does not match its checksum: %w", b.s.place(b.id.Key), io.ErrUnexpectedEOF)
	}
	return io.EOF
}

// resume opens what is left after cause broke the connection.
func (b *body) resume(cause error) error {
	_ = b.from.Close()
	if errors.Is(cause, io.EOF) {
		cause = io.ErrUnexpectedEOF
	}
	if err := b.ctx.Err(); err != nil {
		return fmt.Errorf("get %s: %w", b.s.place(b.id.Key), context.Cause(b.ctx))
	}
	if b.broken == 0 {
		b.since = time.Now()
	}
	b.broken++
	wait := backoff(b.broken, &failure{now: b.broken == 1})
	if b.id.ETag == "" || time.Since(b.since)+wait > b.s.cfg.RetryTimeout || b.broken == b.s.cfg.MaxAttempts {
		return b.cut(cause)
	}
	if err := awsclient.Wait(b.ctx, wait); err != nil {
		return fmt.Errorf("get %s: %w", b.s.place(b.id.Key), err)
	}
	got, err := b.s.open(b.ctx, b.id, objstore.Range{Off: b.at, Len: b.end - b.at})
	switch {
	case err == nil && got.past:
		return b.cut(objstore.ErrChanged)
	case err == nil && got.info.Size < b.end:
		_ = got.body.Close()
		return b.cut(objstore.ErrChanged)
	case errors.Is(err, objstore.ErrNotExist): // deleted since: no body, but neither absence
		return b.cut(objstore.ErrChanged)
	case err != nil:
		return b.cut(err)
	}
	b.from = got.body
	return nil
}

func (b *body) cut(cause error) error {
	return fmt.Errorf("get %s: broken off at byte %d of %d: %w: %w", b.s.place(b.id.Key), b.at, b.end, io.ErrUnexpectedEOF, cause)
}

// Close ends the request; an unread rest is dropped with its connection.
func (b *body) Close() error {
	if b.err == nil {
		b.err = errors.New("body is closed")
	}
	_ = b.from.Close()
	return nil
}
