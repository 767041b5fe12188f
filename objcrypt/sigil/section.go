package sigil

import (
	"context"
	"errors"
	"io"
)

// windowChunks is how many chunks a section seals at a time: its memory, and
// small enough to stay in a processor's cache between the copies.
const windowChunks = 4

var (
	_ io.ReadSeekCloser = (*Section)(nil)
	_ io.ReaderAt       = (*Section)(nil)
)

// Section is a range of a body as stored, sealed while it is read: what one
// PUT or one part sends. Reading a byte again gives the same byte. It holds
// 256 KiB while it is read, none before and after. One goroutine may use
// it at a time; any number of sections of one body may be in use.
type Section struct {
	seal func(buf []byte, chunk, count int64) (int64, error)
	img  *image

	off, size int64 // the range in the image
	pos       int64

	window   *buffer
	from, to int64 // what the window holds, in bytes of the image
}

// newSection gives a range of the image. An io.Reader knows no context: the
// section lives in one request, and is bound to that request's.
func newSection(ctx context.Context, img *image, off, size int64) *Section {
	seal := func(buf []byte, chunk, count int64) (int64, error) { return img.seal(ctx, buf, chunk, count) }
	off = max(0, min(off, img.size()))
	return &Section{seal: seal, img: img, off: off, size: max(0, min(size, img.size()-off))}
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

// at gives stored bytes from off of the image on, at least one.
func (s *Section) at(off int64) ([]byte, error) {
	if end := s.img.sealed(); off >= end {
		return s.img.tail[off-end:], nil
	}
	if s.window == nil || off < s.from || off >= s.to {
		if err := s.load(off / sealedChunk); err != nil {
			return nil, err
		}
	}
	return s.window.b[off-s.from : s.to-s.from], nil
}

// load seals chunks from first on, no further than the section needs them.
func (s *Section) load(first int64) error {
	end := min(ceil(s.off+s.size, sealedChunk), s.img.chunks())
	count := min(windowChunks, end-first)
	s.drop()
	b := newBuffer(count)
	n, err := s.seal(b.b, first, count)
	if err != nil {
		b.release()
		return err
	}
	s.window, s.from, s.to = b, first*sealedChunk, first*sealedChunk+n
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
