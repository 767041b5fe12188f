package spool

import "fmt"

// Truncate sets the size. What was beyond is gone: growing again gives zeros.
// It needs space (ErrFull) where the new end is inside a dirty block.
func (f *File) Truncate(size int64) error {
	if size < 0 || size > MaxSize {
		return fmt.Errorf("truncate spool file: size %d", size)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	if size == f.size {
		return nil
	}
	if err := f.create(); err != nil {
		return err
	}
	f.tidy()
	last, in := size/BlockSize, size%BlockSize
	tail := false
	if in != 0 && size < f.size {
		e := f.table.get(last)
		_, data := e.slot()
		hot := f.hot != nil && f.hot.block == last
		if e == isSent && !hot {
			return fmt.Errorf("truncate spool file: %w", ErrSent)
		}
		if tail = data || hot; tail {
			if err := f.warm(last, nil); err != nil {
				return err
			}
		}
	}
	e := event{op: opTruncate, a: blocks(size), size: size, baseEnd: min(f.baseEnd, size)}
	if err := f.record(e); err != nil {
		return err
	}
	f.truncated(size, tail)
	if f.hot != nil && !f.hot.token {
		return f.cool()
	}
	return nil
}

func (f *File) truncated(size int64, tail bool) {
	if tail {
		clear(f.hot.buf[size%BlockSize : BlockSize])
	} else if f.hot != nil && f.hot.block >= blocks(size) {
		f.dropHot()
	}
	f.table.cut(blocks(size), &f.slots)
	f.table.prune(&f.slots)
	f.slots.reap()
	f.size, f.baseEnd = size, min(f.baseEnd, size)
	for s := range f.snaps {
		s.kept = min(s.kept, size)
	}
	f.changes++
	f.epoch++
}

// Zero makes n bytes at off zeros, without growing the file. fill loads the
// rest of a first or last block that is covered in part only.
func (f *File) Zero(off, n int64, fill Fill) error {
	if off < 0 || n < 0 || off > MaxSize-n {
		return fmt.Errorf("zero spool file: %d bytes at %d", n, off)
	}
	size := f.Size()
	end := min(off+n, size)
	if off >= end {
		return nil
	}
	head, tail := blocks(off)*BlockSize, end/BlockSize*BlockSize
	if end == size {
		tail = blocks(end) * BlockSize // beyond the end there is nothing to keep
	}
	if off < head {
		if err := f.zeroPiece(off, min(head, end), fill); err != nil {
			return err
		}
	}
	if tail < end && tail >= head {
		if err := f.zeroPiece(tail, end, fill); err != nil {
			return err
		}
	}
	if head >= tail {
		return nil
	}
	return f.zeroBlocks(head/BlockSize, tail/BlockSize)
}

// zeroPiece writes zeros within one block, where there are none yet.
func (f *File) zeroPiece(from, to int64, fill Fill) error {
	if kind, end := f.Extent(from); kind == Zero && end >= to {
		return nil
	}
	return f.writePiece(make([]byte, to-from), from, fill)
}

func (f *File) zeroBlocks(from, to int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	to = min(to, blocks(f.size)) // a truncation may have come meanwhile
	if from >= to {
		return nil
	}
	if err := f.create(); err != nil {
		return err
	}
	f.tidy()
	if err := f.record(event{op: opZero, a: from, b: to, size: f.size, baseEnd: f.baseEnd}); err != nil {
		return err
	}
	if f.hot != nil && f.hot.block >= from && f.hot.block < to {
		f.dropHot()
	}
	f.table.setRange(from, to, isZero, &f.slots)
	f.lastZero = f.seq
	f.slots.reap()
	f.changes++
	f.epoch++
	return nil
}

// Settle says that snap has been committed and is the base now: blocks that
// were not written since are dropped. The owner must have switched its Fills
// to the new base before. snap stays readable until it is released. An error
// means that this could not be recorded on disk: after a crash the blocks
// may be offered for a replay once more.
func (f *File) Settle(snap *Snapshot) error {
	snap.mu.RLock()
	defer snap.mu.RUnlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || snap.done || snap.file != f {
		return ErrClosed
	}
	f.settled = max(f.settled, snap.changes)
	if !f.onDisk {
		f.baseEnd = snap.kept
		return nil
	}
	err := f.record(event{op: opSettle, c: snap.seq, size: f.size, baseEnd: snap.kept})
	if err == nil && f.slots.synced > f.slots.floor {
		// Durable blocks may go only when their end is durable too.
		err = syncFiles(f.log.f)
	}
	f.table.settle(&snap.table, f.lastSent <= snap.seq, f.lastZero <= snap.seq, &f.slots)
	f.baseEnd = snap.kept
	f.slots.floor = max(f.slots.floor, snap.seq)
	f.slots.release()
	f.slots.reap()
	f.epoch++
	if err != nil {
		return fmt.Errorf("record a commit in the spool: %w", err)
	}
	return nil
}

// MarkSent says that the whole blocks of snap within n bytes from off have
// been uploaded: those not written since are dropped and become Sent; the
// next Settle makes them Base.
func (f *File) MarkSent(snap *Snapshot, off, n int64) error {
	snap.mu.RLock()
	defer snap.mu.RUnlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	if snap.done {
		return ErrClosed
	}
	if snap.file != f || off < 0 || n < 0 || off > MaxSize-n {
		return fmt.Errorf("mark sent in spool file: %d bytes at %d", n, off)
	}
	from, to := inner(off, min(n, max(snap.size-off, 0)))
	if from >= to || !f.onDisk {
		return nil
	}
	unchanged := func(b int64) bool {
		e := f.table.get(b)
		return e >= slot0 && e == snap.table.get(b)
	}
	for from < to {
		if !unchanged(from) {
			from++
			continue
		}
		end := from + 1
		for end < to && unchanged(end) {
			end++
		}
		if err := f.sent(from, end, snap.seq); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// sent drops the blocks [from, to) of the snapshot with sequence seq.
func (f *File) sent(from, to int64, seq uint64) error {
	e := event{op: opSent, a: from, b: to, c: seq, size: f.size, baseEnd: f.baseEnd}
	if err := f.record(e); err != nil {
		return err
	}
	f.table.setRange(from, to, isSent, &f.slots)
	f.lastSent = max(f.lastSent, seq)
	f.slots.reap()
	f.epoch++
	return nil
}
