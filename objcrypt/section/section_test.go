package section_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/sigilfs/sigilfs/objcrypt/section"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// blocks is a body that is made in whole blocks of some bytes, as the formats
// make theirs, and ends with a tail that lies in memory.
type blocks struct {
	all         []byte
	block, tail int64
	made        int // windows
	fail        error
}

func (b *blocks) section(off, size int64) *section.Section {
	n := int64(len(b.all))
	return section.New(section.Body{Size: n, Window: 2 * b.block, Make: func(p []byte, off, to int64) ([]byte, int64, error) {
		b.made++
		if b.fail != nil {
			return nil, 0, b.fail
		}
		if end := n - b.tail; off >= end {
			return b.all[end:], end, nil
		}
		from := off / b.block * b.block
		to = min((to+b.block-1)/b.block*b.block, n-b.tail, from+2*b.block)
		return p[:copy(p, b.all[from:to])], from, nil
	}}, off, size)
}

func content(n int64) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * 7)
	}
	return p
}

// A section is the range of the body, however it is read.
func TestSection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 300).Draw(t, "size")
		b := &blocks{all: content(n), block: rapid.Int64Range(1, 40).Draw(t, "block"), tail: rapid.Int64Range(0, n).Draw(t, "tail")}
		off, size := rapid.Int64Range(-5, n+5).Draw(t, "off"), rapid.Int64Range(-5, n+5).Draw(t, "len")
		from := max(0, min(off, n))
		want := b.all[from : from+max(0, min(size, n-from))]
		s := b.section(off, size)
		if s.Size() != int64(len(want)) {
			t.Fatalf("%d bytes, %d are wanted", s.Size(), len(want))
		}
		if err := iotest.TestReader(s, want); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if again, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size())); err != nil || !bytes.Equal(again, want) {
			t.Fatalf("after Close: %d bytes, %v", len(again), err)
		}
	})
}

func TestSeek(t *testing.T) {
	s := (&blocks{all: content(19), block: 4}).section(0, 19)
	for _, c := range []struct {
		off    int64
		whence int
		want   int64
	}{{5, io.SeekStart, 5}, {-2, io.SeekCurrent, 3}, {-1, io.SeekEnd, 18}, {-20, io.SeekEnd, -1}, {0, 9, -1}, {25, io.SeekStart, 25}} {
		if got, err := s.Seek(c.off, c.whence); (err != nil) != (c.want < 0) || err == nil && got != c.want {
			t.Errorf("Seek(%d, %d) = %d, %v", c.off, c.whence, got, err)
		}
	}
	if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("beyond the end: %d, %v", n, err)
	}
}

// A failure is the reader's, and not for ever: a request is tried again.
func TestFailure(t *testing.T) {
	b := &blocks{all: content(19), block: 4, fail: errors.New("boom")}
	s := b.section(2, 9)
	if p, err := io.ReadAll(s); len(p) != 0 || !errors.Is(err, b.fail) {
		t.Fatalf("%d bytes, %v", len(p), err)
	}
	b.fail = nil
	if p, err := io.ReadAll(s); err != nil || !bytes.Equal(p, b.all[2:11]) {
		t.Errorf("%d bytes, %v", len(p), err)
	}
}

// What lies in the window is not made twice.
func TestWindow(t *testing.T) {
	b := &blocks{all: content(64), block: 8}
	if _, err := io.ReadAll(iotest.OneByteReader(b.section(0, 64))); err != nil || b.made != 4 {
		t.Errorf("%d windows for 64 bytes in windows of 16, %v", b.made, err)
	}
}
