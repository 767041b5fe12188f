// Package spool keeps what was written to files and is not committed yet:
// dirty blocks, sealed, on the local disk. It knows blocks of bytes, one key
// that lives as long as the mount, and a limit; it knows no file names, no
// objects and no network.
//
// A File is a sparse overlay of 64 KiB blocks over a base, the committed
// content, which the spool never sees but asks for through a Fill. A block is
// in the base, in the spool, known to be zero, or sent (uploaded already and
// dropped here). A commit takes a Snapshot, uploads it, makes it the base and
// then calls Settle, which turns what the snapshot held into base blocks. Refer
// gives a file a base that it was not made over.
//
// On disk a spool is one directory, 0700, that one process holds by flock:
//
//	key         what the owner needs to get the spool key again, in the clear
//	ID.data     slots of 68 KiB, each one sealed block with an authenticated
//	            header (layout.go); a slot is never overwritten while it is
//	            the newest state of its block
//	ID.log      sealed records of 72 bytes: truncations, holes, settlements,
//	            references
//	ID.meta     one sealed record of the owner's: what the file is; one that a
//	            later process wrote is under a key of its own (seal.go)
//
// ID is 16 random bytes in hex. Every file has its own AES-256-GCM key,
// HKDF-SHA-256(spool key, salt = ID, "sigil/v1/spool/file"), and one counter,
// the sequence, that numbers everything sealed under it and is the nonce: no
// (key, nonce) pair occurs twice, and the order of events can be rebuilt from
// the disk alone. Recover reads what a dead process left.
//
// After a kill everything that WriteAt acknowledged is on disk, except the
// block that was written last to each file, which is held in memory until it
// is complete, another block is touched, or Snapshot or Sync is called. After
// a power failure what Sync acknowledged is there.
package spool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// BlockSize is the unit of dirty data in bytes.
const BlockSize = 64 << 10

// Sentinel errors.
var (
	// ErrFull: the limit or the disk's end is reached. Nothing was changed by
	// the call, and everything acknowledged before stays readable.
	ErrFull = errors.New("spool is full")

	// ErrDamaged: what is on disk does not authenticate. Nothing of it was
	// released.
	ErrDamaged = errors.New("spool data is damaged")

	// ErrClosed: the spool, file or snapshot was closed before.
	ErrClosed = errors.New("spool is closed")

	// ErrBusy: a living process holds the directory.
	ErrBusy = errors.New("spool is in use by another process")

	// ErrLeftover: the directory holds data of an earlier process, sealed
	// under another key. It is for Recover.
	ErrLeftover = errors.New("spool holds data of an earlier mount")

	// ErrSent: the end of the truncated file would be inside a sent block,
	// which is not here any more. Commit first.
	ErrSent = errors.New("block was sent and is not in the spool any more")

	// ErrUnsafe: the directory or a file in it is a symbolic link, belongs to
	// somebody else or is open to others.
	ErrUnsafe = errors.New("spool directory is not safe to use")
)

// Options of a spool.
type Options struct {
	// Limit is the most disk space that blocks may take, in bytes. 0 is half
	// of what is free at Open. Logs and meta records (a few hundred bytes a
	// file) are not counted.
	Limit int64

	// Reserve is what is left free on the file system, in bytes. 0 is 1/64 of
	// the file system, at most 64 MiB; negative is nothing.
	Reserve int64

	// Key seals everything. It must be new for every Open. It is copied.
	Key *[32]byte

	// KeyRecord tells, to the owner, how to get Key again after a crash. It
	// is on disk, durably, before Open returns, in the clear.
	KeyRecord []byte
}

// Kind says where the bytes of an extent are.
type Kind uint8

const (
	Base Kind = iota // unchanged: in the committed content
	Data             // in the spool
	Zero             // zeros, taking no space
	Sent             // uploaded by the owner, no longer in the spool
)

// Fill loads len(p) bytes that begin at byte off of a file and are not in the
// spool: of the base, or sent. It is called without any lock of the spool, must
// use the base that is current when it is called, and is never asked for
// bytes beyond the base's end as truncations left it. A nil Fill gives zeros.
type Fill func(off int64, p []byte) error

// hotMax bounds the blocks held in memory for all files together: 16 MiB.
const hotMax = 256

// Spool is one directory of dirty data. Its methods are safe for concurrent use.
type Spool struct {
	dir     *dir
	key     [32]byte
	limit   int64
	reserve int64
	buffers sync.Pool // *[slotSize]byte

	used atomic.Int64
	hot  atomic.Int64

	mu     sync.Mutex // guards what follows; taken last
	closed bool
	files  map[*File]struct{}
	left   bool // a closed file's data is on disk
}

// Open makes a spool in dir, which is created (0700) where it is missing.
// Every mount uses a directory of its own: one that holds files of an earlier
// process is refused with ErrLeftover, one in use with ErrBusy.
func Open(dir string, opt Options) (*Spool, error) {
	if opt.Key == nil {
		return nil, errors.New("open spool: no key given")
	}
	if len(opt.KeyRecord) > keyMax {
		return nil, fmt.Errorf("open spool: key record of %d bytes", len(opt.KeyRecord))
	}
	d, err := makeDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Spool{dir: d, key: *opt.Key, limit: opt.Limit, reserve: opt.Reserve, files: map[*File]struct{}{}}
	s.buffers.New = func() any { return new([slotSize]byte) }
	if err := s.begin(opt.KeyRecord); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return s, nil
}

func (s *Spool) begin(record []byte) error {
	ids, err := s.dir.files()
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		return fmt.Errorf("%w: %s, %d files", ErrLeftover, s.dir.path, len(ids))
	}
	if err := s.bounds(); err != nil {
		return err
	}
	return s.dir.write(keyName, record)
}

// bounds fills in the defaults of limit and reserve.
func (s *Spool) bounds() error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(s.dir.f.Fd()), &st); err != nil {
		return pathError("statfs", s.dir.path, err)
	}
	if s.limit <= 0 {
		s.limit = int64(st.Bavail) * st.Bsize / 2
	}
	if s.reserve == 0 {
		s.reserve = min(int64(st.Blocks)*st.Bsize/64, 64<<20)
	}
	return nil
}

// Close lets go of the directory. Files that were not removed are closed and
// stay on disk, for Recover; where none are left the key record is removed too.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	open := make([]*File, 0, len(s.files))
	for f := range s.files {
		open = append(open, f)
	}
	s.mu.Unlock()

	var errs []error
	for _, f := range open {
		errs = append(errs, f.Close())
	}
	s.mu.Lock()
	left := s.left
	s.mu.Unlock()
	if !left {
		errs = append(errs, s.dir.remove(keyName))
	}
	clear(s.key[:])
	return errors.Join(append(errs, s.dir.close())...)
}

// Used is the disk space in bytes taken by blocks now.
func (s *Spool) Used() int64 { return s.used.Load() }

// Limit is the most that Used can become.
func (s *Spool) Limit() int64 { return s.limit }

// NewFile begins an overlay over a base of size bytes; 0 for a new file.
// Nothing is on disk before the first change.
func (s *Spool) NewFile(size int64) (*File, error) {
	if size < 0 || size > MaxSize {
		return nil, fmt.Errorf("new spool file: size %d", size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	var id fileID
	rand.Read(id[:]) // never fails (crypto/rand)
	seal, err := newSealer(&s.key, id)
	if err != nil {
		return nil, err
	}
	f := &File{spool: s, seal: seal, view: view{size: size, baseEnd: size}, snaps: map[*Snapshot]struct{}{}}
	f.slots.spool = s
	s.files[f] = struct{}{}
	return f, nil
}

func (s *Spool) forget(f *File, left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.files, f)
	s.left = s.left || left
}

// take accounts for one more slot, or gives ErrFull.
func (s *Spool) take() error {
	if used := s.used.Add(slotSize); used > s.limit {
		s.used.Add(-slotSize)
		return fmt.Errorf("%w: limit of %d bytes reached", ErrFull, s.limit)
	}
	var st unix.Statfs_t
	err := unix.Fstatfs(int(s.dir.f.Fd()), &st)
	if err == nil && int64(st.Bavail)*st.Bsize-slotSize < s.reserve {
		s.used.Add(-slotSize)
		return fmt.Errorf("%w: less than %d bytes would be left free in %s", ErrFull, s.reserve, s.dir.path)
	}
	return nil
}

func (s *Spool) give(slots int) { s.used.Add(-slotSize * int64(slots)) }

func (s *Spool) buffer() *[slotSize]byte { return s.buffers.Get().(*[slotSize]byte) }
func (s *Spool) put(b *[slotSize]byte)   { s.buffers.Put(b) }

// String keeps the key out of what is printed.
func (s *Spool) String() string { return "spool " + s.dir.path }

// GoString is as String.
func (s *Spool) GoString() string { return s.String() }
