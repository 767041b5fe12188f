package spool

import "errors"

var errTODO = errors.New("spool: being written")

// Spool is one directory of dirty data. Its methods are safe for concurrent use.
type Spool struct{}

// Open makes a spool in dir, which is created (0700) where it is missing.
// Every mount uses a directory of its own: one that holds files of an earlier
// process is refused with ErrLeftover, one in use with ErrBusy.
func Open(dir string, opt Options) (*Spool, error) { return nil, errTODO }

// Close lets go of the directory. Files that were not removed stay on disk,
// for Recover; where none are left the key record is removed too.
func (s *Spool) Close() error { return errTODO }

// Used is the disk space in bytes taken by blocks now.
func (s *Spool) Used() int64 { return 0 }

// Limit is the most that Used can become.
func (s *Spool) Limit() int64 { return 0 }

// NewFile begins an overlay over a base of size bytes; 0 for a new file.
func (s *Spool) NewFile(size int64) (*File, error) { return nil, errTODO }

// File is the dirty state of one file. Its methods are safe for concurrent use.
type File struct{}

// ID names the file in the directory, in hex.
func (f *File) ID() string { return "" }

// Size is the file's length in bytes now, base and overlay together.
func (f *File) Size() int64 { return 0 }

// Dirty tells whether anything was written, truncated or zeroed that no
// Settle has covered.
func (f *File) Dirty() bool { return false }

// WriteAt writes p at byte off and extends the file where needed; a gap
// beyond the old end becomes zeros. fill loads the rest of a block that is
// covered in part only. On an error (ErrFull, the Fill's) a prefix of whole
// blocks of p may have been written.
func (f *File) WriteAt(p []byte, off int64, fill Fill) error { return errTODO }

// ReadAt reads as io.ReaderAt does. base loads what is not in the spool.
func (f *File) ReadAt(p []byte, off int64, base Fill) (int, error) { return 0, errTODO }

// Extent tells where the bytes at off are, and the first byte after off that
// is elsewhere, or the end of the file. At or after the end it is (Zero, off).
func (f *File) Extent(off int64) (Kind, int64) { return 0, 0 }

// Truncate sets the size. What was beyond is gone: growing again gives zeros.
func (f *File) Truncate(size int64) error { return errTODO }

// Zero makes n bytes at off zeros, without growing the file. fill loads the
// rest of a first or last block that is covered in part only.
func (f *File) Zero(off, n int64, fill Fill) error { return errTODO }

// Snapshot freezes the present state for a commit; later writes go elsewhere.
// The caller releases it.
func (f *File) Snapshot() (*Snapshot, error) { return nil, errTODO }

// Settle says that snap has been committed and is the base now: blocks that
// were not written since are dropped. The owner must have switched its Fills
// to the new base before. snap stays readable until it is released.
func (f *File) Settle(snap *Snapshot) error { return errTODO }

// MarkSent says that the whole blocks of snap within n bytes from off have
// been uploaded: those not written since are dropped and become Sent; the
// next Settle makes them Base.
func (f *File) MarkSent(snap *Snapshot, off, n int64) error { return errTODO }

// Sync makes everything acknowledged so far durable.
func (f *File) Sync() error { return errTODO }

// SetMeta durably replaces the owner's record of the file: what it needs to
// replay the data after a crash. At most MaxMeta bytes.
func (f *File) SetMeta(b []byte) error { return errTODO }

// Close ends the use of the file and leaves it on disk, synced, for Recover.
func (f *File) Close() error { return errTODO }

// Remove ends the use of the file and drops its data. Snapshots that are not
// released yet become unreadable.
func (f *File) Remove() error { return errTODO }

// MaxMeta is the longest owner's record in bytes.
const MaxMeta = 64 << 10

// Snapshot is a file as it was at one moment. Its methods are safe for
// concurrent use and do not wait for writers of the file.
type Snapshot struct{}

// Size is the length in bytes.
func (s *Snapshot) Size() int64 { return 0 }

// ReadAt is as File.ReadAt.
func (s *Snapshot) ReadAt(p []byte, off int64, base Fill) (int, error) { return 0, errTODO }

// Extent is as File.Extent.
func (s *Snapshot) Extent(off int64) (Kind, int64) { return 0, 0 }

// Release lets the space be used again. Releasing twice is no error.
func (s *Snapshot) Release() {}
