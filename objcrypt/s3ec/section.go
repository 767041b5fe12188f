package s3ec

import (
	"context"
	"errors"
	"io"
)

var (
	_ io.ReadSeekCloser = (*Section)(nil)
	_ io.ReaderAt       = (*Section)(nil)
)

// Section is a range of a body as stored, sealed while it is read: what one
// PUT or one part sends. Reading a byte again gives the same byte. It holds
// 256 KiB while it is read, none before and after. One goroutine may use
// it at a time; any number of sections of one body may be in use.
type Section struct {
	seal func(p []byte, chunk int64) error
	body *Body

	off, size int64 // the range in the body
	pos       int64

	window   *window
	from, to int64 // what the window holds, in bytes of the body
}

// newSection gives a range of the body. An io.Reader knows no context: the
// section lives in one request, and is bound to that request's.
func newSection(ctx context.Context, b *Body, off, size int64) *Section {
	seal := func(p []byte, chunk int64) error { return b.seal(ctx, p, chunk) }
	off = max(0, min(off, b.Size()))
	return &Section{seal: seal, body: b, off: off, size: max(0, min(size, b.Size()-off))}
}

// Size is the length of the section in bytes.
func (s *Section) Size() int64 { return s.size }

// Read implements io.Reader.
func (s *Section) Read(p []byte) (int, error) {
	if s.pos >= s.size {
		s.drop()
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	p = p[:min(int64(len(p)), s.size-s.pos)]
	have, err := s.at(s.off + s.pos)
	if err != nil {
		return 0, err
	}
	n := copy(p, have)
	s.pos += int64(n)
	if s.pos == s.size {
		s.drop()
	}
	return n, nil
}

// at gives stored bytes from off of the body on, at least one.
func (s *Section) at(off int64) ([]byte, error) {
	if off >= s.body.n {
		return s.body.end[off-s.body.n:], nil
	}
	if s.window == nil || off < s.from || off >= s.to {
		if err := s.load(off / ChunkSize); err != nil {
			return nil, err
		}
	}
	return s.window.b[off-s.from : s.to-s.from], nil
}

// load seals chunks from first on, no further than the section needs them.
func (s *Section) load(first int64) error {
	from := first * ChunkSize
	to := min(chunks(s.off+s.size)*ChunkSize, s.body.n, from+windowSize)
	s.drop()
	w := newWindow()
	if err := s.seal(w.b[:to-from], first); err != nil {
		w.release()
		return err
	}
	s.window, s.from, s.to = w, from, to
	return nil
}

func (s *Section) drop() {
	s.window.release()
	s.window = nil
}

var errSeek = errors.New("seek before the beginning or from nowhere")

// Seek implements io.Seeker.
func (s *Section) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		off += s.pos
	case io.SeekEnd:
		off += s.size
	default:
		return s.pos, errSeek
	}
	if off < 0 {
		return s.pos, errSeek
	}
	s.pos = off
	return off, nil
}

// ReadAt implements io.ReaderAt; it moves the position, and like Read it is
// for one goroutine at a time.
func (s *Section) ReadAt(p []byte, off int64) (int, error) {
	if _, err := s.Seek(off, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(s, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// Close lets go of the memory; the section can still be read again.
func (s *Section) Close() error {
	s.drop()
	return nil
}
