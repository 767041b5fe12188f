package spool

import "sync"

// Snapshot is a file as it was at one moment. Its methods are safe for
// concurrent use and do not wait for writers of the file.
type Snapshot struct {
	file    *File
	seq     uint64 // everything it holds has this or an earlier one
	changes uint64
	kept    int64 // shortest size the file had since; guarded by file.mu

	mu   sync.RWMutex // held while slots are read; taken before file.mu
	done bool
	view
}

// Snapshot freezes the present state for a commit; later writes go elsewhere.
// It costs 16 bytes for every 4 MiB that the file is dirty in. The caller
// releases it.
func (f *File) Snapshot() (*Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return nil, err
	}
	if err := f.cool(); err != nil {
		return nil, err
	}
	s := &Snapshot{file: f, seq: f.seq, changes: f.changes, kept: f.size}
	s.view = view{table: f.table.clone(), size: f.size, baseEnd: f.baseEnd}
	f.snaps[s] = struct{}{}
	return s, nil
}

// Size is the length in bytes.
func (s *Snapshot) Size() int64 { return s.size }

// ReadAt is as File.ReadAt, but base is the one that was current when the
// snapshot was made.
func (s *Snapshot) ReadAt(p []byte, off int64, base Fill) (int, error) {
	n, gaps, err := s.readHeld(p, off)
	if e := load(gaps, base); e != nil {
		return 0, e
	}
	return n, err
}

func (s *Snapshot) readHeld(p []byte, off int64) (int, []gap, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.done {
		return 0, nil, ErrClosed
	}
	return s.read(s.file, p, off)
}

// Extent is as File.Extent.
func (s *Snapshot) Extent(off int64) (Kind, int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.extent(off)
}

// Release lets the space be used again. Releasing twice is no error.
func (s *Snapshot) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return
	}
	s.done = true
	f := s.file
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.snaps, s)
	s.table.drop(&f.slots)
	if !f.closed {
		f.slots.reap()
	}
}
