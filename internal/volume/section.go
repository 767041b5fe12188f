package volume

import (
	"context"
	"errors"
	"io"

	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// window is how much of a plaintext a section holds while it is read, in bytes.
const window = 256 << 10

// section is a part of a plaintext as the body of a request: read again from
// its beginning for every try. One goroutine uses it at a time.
type section struct {
	read func(p []byte, off int64) (int, error) // of the plaintext
	off  int64                                  // where the section begins in it
	size int64
	pos  int64
	buf  []byte // what lies at bufAt; nil before and after use
	at   int64
}

// newSection gives n bytes of src from off on; ctx bounds the reading.
func newSection(ctx context.Context, src sigil.ReaderAt, off, n int64) *section {
	return &section{size: n, off: off, read: func(p []byte, at int64) (int, error) { return src.ReadAt(ctx, p, at) }}
}

func (s *section) Read(p []byte) (int, error) {
	if s.pos >= s.size {
		s.buf = nil
		return 0, io.EOF
	}
	if s.pos < s.at || s.pos >= s.at+int64(len(s.buf)) {
		if err := s.load(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.buf[s.pos-s.at:])
	s.pos += int64(n)
	return n, nil
}

// load brings what lies at pos.
func (s *section) load() error {
	if s.buf == nil {
		s.buf = make([]byte, min(window, s.size))
	}
	s.buf = s.buf[:min(int64(cap(s.buf)), s.size-s.pos)]
	n, err := s.read(s.buf, s.off+s.pos)
	if err := filled(n, len(s.buf), err); err != nil {
		s.buf = nil
		return err
	}
	s.at = s.pos
	return nil
}

// errSeek: nobody seeks so.
var errSeek = errors.New("seek outside of the section")

func (s *section) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += s.pos
	case io.SeekEnd:
		off += s.size
	}
	if off < 0 {
		return 0, errSeek
	}
	s.pos = off
	return off, nil
}
