package spool

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// File is the dirty state of one file. Its methods are safe for concurrent use.
type File struct {
	spool *Spool
	seal  *sealer

	mu    sync.RWMutex // guards what follows, and is never held in a Fill
	view               // the content now
	slots slots
	log   journal
	seq   uint64 // the last one given out
	snaps map[*Snapshot]struct{}

	changes uint64 // counts changes of content
	settled uint64 // value of changes that the base has
	// lastSent is the latest snapshot that blocks were sent of. A commit of an
	// older one does not contain them.
	lastSent uint64

	// lastZero is when blocks were last made zeros. They look like those that
	// an older snapshot holds, and yet a commit between may have filled them.
	lastZero uint64

	epoch  uint64 // counts changes of what a base block reads as
	named  bool   // the directory entries are durable
	onDisk bool   // there is something to find after a crash
	closed bool
	broken error // a sync failed: what is durable is not known any more
}

// ID names the file in the directory, in hex.
func (f *File) ID() string { return f.seal.id.String() }

// Size is the file's length in bytes now, base and overlay together.
func (f *File) Size() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.size
}

// Dirty tells whether anything was written, truncated or zeroed that no
// Settle has covered.
func (f *File) Dirty() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.changes != f.settled
}

// ReadAt reads as io.ReaderAt does. base loads what is not in the spool.
func (f *File) ReadAt(p []byte, off int64, base Fill) (int, error) {
	f.mu.RLock()
	if f.closed {
		f.mu.RUnlock()
		return 0, ErrClosed
	}
	n, gaps, err := f.read(f, p, off)
	f.mu.RUnlock()
	if e := load(gaps, base); e != nil {
		return 0, e
	}
	return n, err
}

// Extent tells where the bytes at off are, and the first byte after off that
// is elsewhere, or the end of the file. At or after the end it is (Zero, off).
func (f *File) Extent(off int64) (Kind, int64) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.extent(off)
}

// Sync makes everything acknowledged so far durable.
func (f *File) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sync()
}

// sync lets go of the lock while the disk works.
func (f *File) sync() error {
	if err := f.usable(); err != nil {
		return err
	}
	if err := f.cool(); err != nil {
		return err
	}
	if !f.onDisk {
		return nil
	}
	// From here on slots up to this sequence count as durable, so that none
	// of them goes before its successor is; what was held before may go after.
	held := f.slots.held
	f.slots.held, f.slots.synced = nil, f.seq
	data, log, named := f.slots.f, f.log.f, f.named
	f.mu.Unlock()
	err := syncFiles(data)
	var logErr error
	if err == nil {
		logErr = syncFiles(log)
		err = logErr
	}
	if err == nil && !named {
		err = f.spool.dir.sync()
	}
	f.mu.Lock()
	// A compaction may have closed the log meanwhile, for another one.
	replaced := f.log.f != log
	if err != nil {
		f.slots.held = append(f.slots.held, held...)
		if logErr != nil && replaced && !f.closed {
			return f.sync()
		}
		if !f.closed {
			f.broken = fmt.Errorf("sync spool file: %w", err)
		}
		return fmt.Errorf("sync spool file: %w", err)
	}
	f.named = f.named || !replaced
	if f.closed {
		return nil // Remove came meanwhile and accounted for them
	}
	f.slots.unhold(held)
	return nil
}

func syncFiles(files ...*os.File) error {
	for _, file := range files {
		if file == nil {
			continue
		}
		if err := retry(func() error { return fdatasync(file) }); err != nil {
			return fmt.Errorf("%s: %w", file.Name(), err)
		}
	}
	return nil
}

// fdatasync keeps the descriptor from being closed and reused under it.
func fdatasync(file *os.File) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var sync error
	if err := conn.Control(func(fd uintptr) { sync = unix.Fdatasync(int(fd)) }); err != nil {
		return err
	}
	return sync
}

// usable gives the reason why the file takes no changes.
func (f *File) usable() error {
	if f.closed {
		return ErrClosed
	}
	return f.broken
}

// create puts the file on disk, at its first change.
func (f *File) create() error {
	if f.onDisk {
		return nil
	}
	name := f.seal.id.String()
	log, err := f.spool.dir.open(name+logExt, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	f.log = journal{f: log}
	err = f.record(event{op: opBegin, size: f.size, baseEnd: f.baseEnd})
	if err == nil {
		f.slots.f, err = f.spool.dir.open(name+dataExt, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	}
	if err != nil {
		f.log = journal{}
		return errors.Join(err, log.Close(), f.spool.dir.remove(name+logExt))
	}
	f.onDisk = true
	return nil
}

// Close ends the use of the file and leaves it on disk, synced, for Recover.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	err := f.finish()
	err = errors.Join(err, f.end())
	f.spool.forget(f, f.onDisk)
	return err
}

// finish makes the file durable, with a log that names every block, so that
// one missing later is noticed. Where there is no space for that, without.
func (f *File) finish() error {
	if err := f.usable(); err != nil || !f.onDisk {
		return err
	}
	if err := f.cool(); err != nil {
		return err
	}
	if f.compact(true) == nil {
		return nil
	}
	if err := f.usable(); err != nil {
		return err
	}
	if err := syncFiles(f.slots.f, f.log.f); err != nil {
		return fmt.Errorf("sync spool file: %w", err)
	}
	return f.spool.dir.sync()
}

// Remove ends the use of the file and drops its data. Snapshots that are not
// released yet become unreadable.
func (f *File) Remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	err := errors.Join(f.spool.dir.removeFile(f.seal.id), f.end())
	f.spool.give(f.slots.onDisk())
	f.spool.forget(f, false)
	return err
}

// end closes what is open; the hot block, if any, is gone.
func (f *File) end() error {
	f.closed = true
	f.dropHot()
	var errs []error
	for _, file := range []*os.File{f.slots.f, f.log.f} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	return errors.Join(errs...)
}
