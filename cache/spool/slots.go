package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// slots is the data file of one File and who uses which slot of it: 12 bytes a
// slot in memory. It is guarded by the File's lock, but for read.
type slots struct {
	spool *Spool
	f     *os.File

	refs []uint32 // pages that name the slot, or 1 while it is being filled
	seqs []uint64 // sequence of what is in it

	dead  []uint32 // not named any more; reap decides what becomes of them
	spare []uint32 // on disk and accounted for, to be used next
	free  []uint32 // punched, take no space
	held  []uint32 // dead, but durable: kept until what replaced them is too

	floor, synced uint64 // sequences up to floor are settled, up to synced durable
}

func (s *slots) ref(slot uint32) { s.refs[slot]++ }

func (s *slots) unref(slot uint32) {
	if s.refs[slot]--; s.refs[slot] == 0 {
		s.dead = append(s.dead, slot)
	}
}

// onDisk counts the slots that are accounted for.
func (s *slots) onDisk() int { return len(s.refs) - len(s.free) }

// alloc gives a slot with one reference, accounted for.
func (s *slots) alloc() (uint32, error) {
	slot, err := s.pick()
	if err != nil {
		return 0, err
	}
	s.refs[slot], s.seqs[slot] = 1, 0
	return slot, nil
}

func (s *slots) pick() (uint32, error) {
	if n := len(s.spare); n > 0 {
		slot := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return slot, nil
	}
	if int64(len(s.refs)) >= 1<<32-int64(slot0) {
		return 0, fmt.Errorf("%w: too many blocks in one file", ErrFull)
	}
	if err := s.spool.take(); err != nil {
		return 0, err
	}
	if n := len(s.free); n > 0 {
		slot := s.free[n-1]
		s.free = s.free[:n-1]
		return slot, nil
	}
	s.refs, s.seqs = append(s.refs, 0), append(s.seqs, 0)
	return uint32(len(s.refs) - 1), nil
}

// claim makes the file system set the slot's space aside, so that filling it
// later cannot meet a full disk. Where the file system cannot, zeros do it.
func (s *slots) claim(slot uint32) error {
	off := int64(slot) * slotSize
	err := retry(func() error { return unix.Fallocate(int(s.f.Fd()), 0, off, slotSize) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		_, err = s.f.WriteAt(make([]byte, slotSize), off)
	}
	if err != nil {
		return full(fmt.Errorf("reserve space in %s: %w", s.f.Name(), err))
	}
	return nil
}

// write fills a slot that nobody reads yet.
func (s *slots) write(slot uint32, b []byte, seq uint64) error {
	if _, err := s.f.WriteAt(b, int64(slot)*slotSize); err != nil {
		return full(fmt.Errorf("write a block to %s: %w", s.f.Name(), err))
	}
	s.seqs[slot] = seq
	return nil
}

// read is safe without the lock while the slot is referred to.
func (s *slots) read(slot uint32, b []byte) error {
	_, err := s.f.ReadAt(b, int64(slot)*slotSize)
	switch {
	case errors.Is(err, os.ErrClosed):
		return ErrClosed
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %s is cut short", ErrDamaged, s.f.Name())
	case err != nil:
		return fmt.Errorf("read a block from %s: %w", s.f.Name(), err)
	}
	return nil
}

// discard takes back a slot whose filling failed.
func (s *slots) discard(slot uint32) {
	s.refs[slot], s.seqs[slot] = 0, 0
	s.punch([]uint32{slot})
}

// reap gives dead slots back: one stays as a spare, for a block that is
// rewritten again and again; durable ones wait; the others are punched.
func (s *slots) reap() {
	if len(s.dead) == 0 {
		return
	}
	dead := s.dead
	s.dead = nil
	punch := dead[:0:0]
	for _, slot := range dead {
		if seq := s.seqs[slot]; seq > s.floor && seq <= s.synced {
			s.held = append(s.held, slot)
		} else {
			punch = append(punch, slot)
		}
	}
	if len(punch) == 1 && len(s.spare) == 0 && s.onDisk() > 1+len(s.held) {
		s.spare, punch = punch, nil
	}
	if s.onDisk() == len(punch)+len(s.spare) && s.f.Truncate(0) == nil {
		s.spool.give(s.onDisk())
		s.refs, s.seqs, s.free, s.spare = nil, nil, nil, nil
		return
	}
	s.punch(punch)
}

// unhold gives back held slots, once what replaced them is durable.
func (s *slots) unhold(held []uint32) { s.punch(held) }

// punch frees slots, neighbours in one call. A file system that cannot punch
// keeps them, accounted for, as spares.
func (s *slots) punch(list []uint32) {
	slices.Sort(list)
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n] == list[n-1]+1 {
			n++
		}
		run := list[:n]
		list = list[n:]
		err := retry(func() error {
			return unix.Fallocate(int(s.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE,
				int64(run[0])*slotSize, int64(n)*slotSize)
		})
		if err != nil {
			s.spare = append(s.spare, run...)
			continue
		}
		s.free = append(s.free, run...)
		s.spool.give(n)
	}
}

// retry repeats what a signal interrupted: the Go runtime sends itself some.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// release puts held slots that are settled by now among the dead.
func (s *slots) release() {
	held := s.held
	s.held = nil
	for _, slot := range held {
		if s.seqs[slot] > s.floor {
			s.held = append(s.held, slot)
		} else {
			s.dead = append(s.dead, slot)
		}
	}
}
