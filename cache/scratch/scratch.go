// Package scratch keeps a body near that must be whole before any of it may be
// believed, and is then read at random: what one key seals in one stream
// authenticates at its end only. The body is written once, in order, by one
// writer, who calls Finish when all of it is proven; before that nothing of it
// can be read.
//
// A File is a temporary file without a name, sealed under a key that is in
// this process's memory alone: whatever ends the process ends the content.
// Block i of 64 KiB, the last may be shorter, lies at i*(BlockSize+16) as
// AES-256-GCM ciphertext and tag (NIST SP 800-38D). The nonce is i, twelve
// bytes big-endian; each block is written once, so no nonce serves twice, and
// a block at another place does not authenticate. The length is in memory.
//
// A Budget bounds the disk space of all Files of a mount together.
package scratch

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// BlockSize is what is sealed at a time, in bytes.
const BlockSize = 64 << 10

const (
	tagSize    = 16
	sealedSize = BlockSize + tagSize
)

// Sentinel errors.
var (
	// ErrFull: the budget is used up, or the disk. The File takes no more and
	// cannot be finished; others are not touched.
	ErrFull = errors.New("scratch space is full")

	// ErrCorrupt: what is on disk does not authenticate. Nothing of the block
	// was released.
	ErrCorrupt = errors.New("scratch file is damaged")

	// ErrClosed: the File was closed before.
	ErrClosed = errors.New("scratch file is closed")
)

var (
	errUnfinished = errors.New("scratch file is not finished")
	errFinished   = errors.New("scratch file is finished")
	errOffset     = errors.New("negative offset")
)

var _ io.Writer = (*File)(nil)

// File is one body. Write and Finish belong to one goroutine; everything else
// is safe for concurrent use.
type File struct {
	budget *Budget

	mu   sync.RWMutex // guards what follows; held for reading by readers
	f    *os.File
	aead cipher.AEAD
	buf  []byte // of the block being filled; capacity sealedSize
	size int64  // plaintext bytes taken so far
	used int64  // bytes taken from the budget
	done bool
	err  error // why no more is taken
}

// New makes an empty File in dir, which must exist.
func New(dir string, budget *Budget) (*File, error) {
	if budget == nil {
		return nil, errors.New("scratch file: no budget given")
	}
	aead, err := newAEAD()
	if err != nil {
		return nil, fmt.Errorf("scratch file: %w", err)
	}
	f, err := open(dir)
	if err != nil {
		return nil, full(fmt.Errorf("create a scratch file: %w", err))
	}
	return &File{budget: budget, f: f, aead: aead, buf: make([]byte, 0, sealedSize)}, nil
}

// newAEAD is of a key that nobody else ever sees.
func newAEAD() (cipher.AEAD, error) {
	var key [32]byte
	rand.Read(key[:]) // never fails (crypto/rand)
	defer clear(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func nonce(block int64) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint64(b[4:], uint64(block))
	return b
}

// Write appends p. After an error the File takes no more and gives the error
// again.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.writable(); err != nil {
		return 0, err
	}
	written := 0
	for len(p) > 0 {
		n := min(len(p), BlockSize-len(f.buf))
		f.buf = append(f.buf, p[:n]...)
		if len(f.buf) == BlockSize {
			if f.err = f.flush(); f.err != nil {
				return written, f.err
			}
		}
		p, written = p[n:], written+n
		f.size += int64(n)
	}
	return written, nil
}

// Finish seals what is left. Only now can the File be read.
func (f *File) Finish() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.writable(); err != nil {
		return err
	}
	if len(f.buf) > 0 {
		if f.err = f.flush(); f.err != nil {
			return f.err
		}
	}
	f.buf, f.done = nil, true
	return nil
}

func (f *File) writable() error {
	switch {
	case f.f == nil:
		return ErrClosed
	case f.done:
		return errFinished
	}
	return f.err
}

// flush seals the buffer as the next block.
func (f *File) flush() error {
	n := int64(len(f.buf) + tagSize)
	if err := f.budget.take(n); err != nil {
		return err
	}
	f.used += n
	block := (f.used - n) / sealedSize
	sealed := f.aead.Seal(f.buf[:0], nonce(block), f.buf, nil)
	f.buf = f.buf[:0]
	if _, err := f.f.WriteAt(sealed, block*sealedSize); err != nil {
		return full(fmt.Errorf("write a scratch file: %w", err))
	}
	return nil
}

// ReadAt reads as io.ReaderAt does: fewer bytes than asked for come with an
// error, io.EOF where the content ends.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	switch {
	case f.f == nil:
		return 0, ErrClosed
	case !f.done:
		return 0, errUnfinished
	case off < 0:
		return 0, errOffset
	}
	buf := f.budget.buffer()
	defer f.budget.put(buf)
	n := 0
	for n < len(p) && off < f.size {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		plain, err := f.block(off/BlockSize, buf)
		if err != nil {
			return n, err
		}
		c := copy(p[n:], plain[off%BlockSize:])
		n, off = n+c, off+int64(c)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// block opens a block in buf.
func (f *File) block(i int64, buf *[sealedSize]byte) ([]byte, error) {
	b := buf[:min(BlockSize, f.size-i*BlockSize)+tagSize]
	_, err := f.f.ReadAt(b, i*sealedSize)
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: cut short before block %d", ErrCorrupt, i)
	}
	if err != nil {
		return nil, fmt.Errorf("read a scratch file: %w", err)
	}
	plain, err := f.aead.Open(b[:0], nonce(i), b, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: block %d does not authenticate", ErrCorrupt, i)
	}
	return plain, nil
}

// Size is the length of what was written, in bytes.
func (f *File) Size() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.size
}

// Close waits for reads under way and frees disk and budget. Closing twice is
// no error.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.budget.give(f.used)
	clear(f.buf[:cap(f.buf)])
	f.f, f.aead, f.buf = nil, nil, nil
	if err != nil {
		return fmt.Errorf("close a scratch file: %w", err)
	}
	return nil
}

// String keeps the key and the content out of what is printed.
func (f *File) String() string { return fmt.Sprintf("scratch file of %d bytes", f.Size()) }

// GoString is as String.
func (f *File) GoString() string { return f.String() }

// full makes ErrFull of what the kernel says when no space is left.
func full(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
