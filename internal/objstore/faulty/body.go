package faulty

import (
	"io"
)

// Cut gives a Fault.Body that ends with io.ErrUnexpectedEOF after n bytes.
func Cut(n int64) func(io.Reader) io.Reader {
	return func(r io.Reader) io.Reader { return &cut{r: r, left: n} }
}

type cut struct {
	r    io.Reader
	left int64
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// Flip gives a Fault.Body with one bit wrong: bit 0 is the lowest of the first
// byte delivered, bit 8 the lowest of the second.
func Flip(bit int64) func(io.Reader) io.Reader {
	return func(r io.Reader) io.Reader { return &flip{r: r, bit: bit} }
}

type flip struct {
	r       io.Reader
	at, bit int64
}

func (f *flip) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if i := f.bit/8 - f.at; i >= 0 && i < int64(n) {
		p[i] ^= 1 << (f.bit % 8)
	}
	f.at += int64(n)
	return n, err
}

// bend puts a fault between a body and its reader, and counts what is read.
func (s *Store) bend(body io.ReadCloser, fault func(io.Reader) io.Reader) io.ReadCloser {
	r := io.Reader(body)
	if fault != nil {
		r = fault(r)
	}
	return &watched{s: s, r: r, Closer: body}
}

type watched struct {
	s *Store
	r io.Reader
	io.Closer
}

func (w *watched) Read(p []byte) (int, error) {
	if w.s.Crashed() {
		return 0, ErrCrashed
	}
	n, err := w.r.Read(p)
	w.s.received(n)
	return n, err
}
