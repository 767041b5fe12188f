package spool

import "fmt"

// Refer makes n > 0 bytes at off base bytes, whatever was there, and the file
// so long at least: the owner has a base that holds them. It is for a file of
// which nothing was in another base. off is at a block; so is the end, unless
// no byte of the file comes after it. False: not while a snapshot is held, as a
// Settle of it would make another base; or not at this place.
func (f *File) Refer(off, n int64) (bool, error) {
	if off < 0 || n <= 0 || off > MaxSize-n {
		return false, fmt.Errorf("refer in spool file: %d bytes at %d", n, off)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return false, err
	}
	end := off + n
	inside := end%BlockSize != 0 && end < f.size
	cut := f.baseEnd%BlockSize != 0 && f.baseEnd < end && off > f.baseEnd // what its last block reads as would change
	if len(f.snaps) > 0 || off%BlockSize != 0 || inside || cut {
		return false, nil
	}
	if err := f.create(); err != nil {
		return false, err
	}
	f.tidy()
	if err := f.cool(); err != nil {
		return false, err
	}
	if err := f.fence(off / BlockSize); err != nil {
		return false, err
	}
	from, to := off/BlockSize, blocks(end)
	size, baseEnd := max(f.size, end), max(f.baseEnd, end)
	if err := f.record(event{op: opRefer, a: from, b: to, size: size, baseEnd: baseEnd}); err != nil {
		return false, err
	}
	f.table.setRange(from, to, inBase, &f.slots)
	f.table.prune(&f.slots)
	f.slots.reap()
	f.size, f.baseEnd = size, baseEnd
	f.changes++
	f.epoch++
	return true, nil
}

// fence makes zeros of the holes between the base and block to, which are to
// stay holes when the base ends later.
func (f *File) fence(to int64) error {
	inBase := func(e entry) bool { return e == inBase }
	for at := blocks(f.baseEnd); at < to; {
		if !inBase(f.table.get(at)) {
			at = f.table.next(at, to, func(e entry) bool { return !inBase(e) })
			continue
		}
		end := f.table.next(at, to, inBase)
		if err := f.record(event{op: opZero, a: at, b: end, size: f.size, baseEnd: f.baseEnd}); err != nil {
			return err
		}
		f.table.setRange(at, end, isZero, &f.slots)
		f.lastZero = f.seq
		at = end
	}
	return nil
}
