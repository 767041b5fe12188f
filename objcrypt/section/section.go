// Package section gives parts of a body that is made while it is read: what
// one PUT or one part of an upload sends. The formats make the bytes, a window
// at a time; where a reader stands and what memory it holds is known here.
package section

import (
	"errors"
	"io"
)

// Body is what sections are parts of.
type Body struct {
	Size   int64 // of the whole body, in bytes
	Window int64 // the most that Make wants room for, in bytes

	// Make gives bytes of the body and where in it they begin: the one at off
	// among them, and others as it likes, but it need make none from to on. It
	// may make them in p, which has Window bytes and whose content is
	// undefined; if it fails, p holds nothing that must not leave. An io.Reader
	// knows no context: a section lives in one request, and Make is bound to
	// that request's. Every Make of the same off gives the same byte there.
	Make func(p []byte, off, to int64) (made []byte, from int64, err error)

	// Drop, where it is not nil, lets go of what Make holds beyond one call.
	Drop func()
}

// Section is a part of a body. Reading a byte again gives the same byte. It
// holds one window while it is read, none before and after. One goroutine may
// use it at a time; any number of sections of one body may be in use.
type Section struct {
	body      Body
	off, size int64 // the range in the body
	pos       int64

	room []byte // nil before and after use
	made []byte
	from int64 // where made begins in the body
}

var (
	_ io.ReadSeekCloser = (*Section)(nil)
	_ io.ReaderAt       = (*Section)(nil)
)

// New gives size bytes of b from off on, clipped to what there is.
func New(b Body, off, size int64) *Section {
	off = max(0, min(off, b.Size))
	return &Section{body: b, off: off, size: max(0, min(size, b.Size-off))}
}

// Size is the length of the section in bytes.
func (s *Section) Size() int64 { return s.size }

// Read implements io.Reader. Its errors are io.EOF and those of Make.
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

// at gives bytes of the body from off on, at least one.
func (s *Section) at(off int64) ([]byte, error) {
	if off < s.from || off >= s.from+int64(len(s.made)) {
		if err := s.load(off); err != nil {
			return nil, err
		}
	}
	return s.made[off-s.from:], nil
}

func (s *Section) load(off int64) error {
	if s.room == nil {
		s.room = make([]byte, s.body.Window)
	}
	made, from, err := s.body.Make(s.room, off, s.off+s.size)
	if err != nil {
		s.drop()
		return err
	}
	s.made, s.from = made, from
	return nil
}

func (s *Section) drop() { s.room, s.made = nil, nil }

var errSeek = errors.New("seek before the beginning or from nowhere")

// Seek implements io.Seeker. Beyond the end is io.EOF for the next Read.
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

// Close lets go of the memory, the body's too; the section can still be read
// again.
func (s *Section) Close() error {
	s.drop()
	if s.body.Drop != nil {
		s.body.Drop()
	}
	return nil
}
