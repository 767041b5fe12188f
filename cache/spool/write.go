package spool

import (
	"errors"
	"fmt"
)

// WriteAt writes p at byte off and extends the file where needed; a gap
// beyond the old end becomes zeros. fill loads the rest of a block that is
// covered in part only. On an error (ErrFull, the Fill's) a prefix of p, up
// to a block boundary, may have been written.
func (f *File) WriteAt(p []byte, off int64, fill Fill) error {
	if off < 0 || off > MaxSize-int64(len(p)) {
		return fmt.Errorf("write spool file: offset %d", off)
	}
	for len(p) > 0 {
		n := min(len(p), int(BlockSize-off%BlockSize))
		if err := f.writePiece(p[:n], off, fill); err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// writePiece writes within one block.
func (f *File) writePiece(p []byte, off int64, fill Fill) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	if err := f.create(); err != nil {
		return err
	}
	block := off / BlockSize
	if len(p) == BlockSize {
		return f.writeBlock(p, block)
	}
	if err := f.warm(block, fill); err != nil {
		return err
	}
	copy(f.hot.buf[off%BlockSize:BlockSize], p)
	f.size = max(f.size, off+int64(len(p)))
	f.changes++
	if end := off + int64(len(p)); end%BlockSize == 0 || !f.hot.token {
		return f.cool()
	}
	return nil
}

// writeBlock replaces a whole block at once.
func (f *File) writeBlock(p []byte, block int64) error {
	size := max(f.size, (block+1)*BlockSize)
	if h := f.hot; h != nil && h.block == block {
		if err := f.fill(h.slot, p, block, size); err != nil {
			return err
		}
		f.hot = nil
		f.letGo(h)
		f.place(block, h.slot)
	} else {
		if err := f.cool(); err != nil {
			return err
		}
		slot, err := f.alloc()
		if err != nil {
			return err
		}
		if err := f.fill(slot, p, block, size); err != nil {
			f.slots.discard(slot)
			return err
		}
		f.place(block, slot)
	}
	f.size = size
	f.changes++
	return nil
}

// alloc gives a slot. On a full disk it first makes durable what would let
// held slots go.
func (f *File) alloc() (uint32, error) {
	slot, err := f.slots.alloc()
	if !errors.Is(err, ErrFull) || len(f.slots.held) == 0 {
		return slot, err
	}
	seq := f.seq
	if err := syncFiles(f.slots.f, f.log.f); err != nil {
		f.broken = fmt.Errorf("sync spool file: %w", err)
		return 0, f.broken
	}
	held := f.slots.held
	f.slots.held, f.slots.synced = nil, seq
	f.slots.unhold(held)
	return f.slots.alloc()
}

// fill seals plain, one block, into slot.
func (f *File) fill(slot uint32, plain []byte, block, size int64) error {
	b := f.spool.buffer()
	defer f.spool.put(b)
	seq := f.next()
	f.seal.block(b[:slotUsed], plain, block, seq, size)
	clear(b[slotUsed:])
	return f.slots.write(slot, b[:], seq)
}

// place makes slot the content of block.
func (f *File) place(block int64, slot uint32) {
	f.table.set(block, slot0+entry(slot), &f.slots)
	f.slots.reap()
}

// next gives a new sequence. One that was used for something that failed is
// lost, never used again.
func (f *File) next() uint64 {
	if f.seq++; f.seq == 0 {
		panic("spool: sequence exhausted")
	}
	return f.seq
}

func (f *File) buffer() *[slotSize]byte { return f.spool.buffer() }
func (f *File) put(b *[slotSize]byte)   { f.spool.put(b) }

// open reads and opens a slot that must hold block.
func (f *File) open(slot uint32, block int64, b *[slotSize]byte) error {
	if err := f.slots.read(slot, b[:slotUsed]); err != nil {
		return err
	}
	if _, err := f.seal.openBlock(b[:slotUsed], block); err != nil {
		return fmt.Errorf("%s, slot %d: %w", f.slots.f.Name(), slot, err)
	}
	return nil
}

// warm makes block the hot one, with its present content. It lets go of the
// lock for a fill, and begins anew if what it loaded was overtaken.
func (f *File) warm(block int64, fill Fill) error {
	for {
		if err := f.usable(); err != nil {
			return err
		}
		if f.hot != nil && f.hot.block == block {
			return nil
		}
		if err := f.cool(); err != nil {
			return err
		}
		b := f.spool.buffer()
		done, err := f.loadBlock(block, b, fill)
		if err == nil && done {
			err = f.heat(block, b)
		}
		if err != nil || !done {
			f.spool.put(b)
		}
		if err != nil || done {
			return err
		}
	}
}

// loadBlock puts the content of block, zeros beyond the end, into b. done is
// false where that content may have changed while the lock was not held.
func (f *File) loadBlock(block int64, b *[slotSize]byte, fill Fill) (done bool, err error) {
	off := block * BlockSize
	clear(b[:BlockSize])
	if off >= f.size {
		return true, nil
	}
	_, gaps, err := f.read(f, b[:min(BlockSize, f.size-off)], off)
	if len(gaps) == 0 || err != nil {
		return err == nil, err
	}
	epoch, size := f.epoch, f.size
	f.mu.Unlock()
	err = load(gaps, fill)
	f.mu.Lock()
	// A file that grew meanwhile is fine: what it grew by is zeros here.
	overtaken := f.epoch != epoch || f.size < size || f.table.get(block) >= slot0 ||
		f.hot != nil && f.hot.block == block
	return !overtaken, err
}

// heat sets a slot aside for block and makes b, its content, the hot buffer.
func (f *File) heat(block int64, b *[slotSize]byte) error {
	if err := f.usable(); err != nil {
		return err
	}
	// Another writer's block may have become hot during a fill.
	if err := f.cool(); err != nil {
		return err
	}
	slot, err := f.alloc()
	if err != nil {
		return err
	}
	if err := f.slots.claim(slot); err != nil {
		f.slots.discard(slot)
		return err
	}
	token := f.spool.hot.Add(1) <= hotMax
	if !token {
		f.spool.hot.Add(-1)
	}
	f.hot = &hot{block: block, slot: slot, buf: b, token: token}
	return nil
}

// cool seals the hot block to disk. If that fails it stays hot.
func (f *File) cool() error {
	h := f.hot
	if h == nil {
		return nil
	}
	if err := f.fill(h.slot, h.buf[:BlockSize], h.block, f.size); err != nil {
		return err
	}
	f.hot = nil
	f.letGo(h)
	f.place(h.block, h.slot)
	return nil
}

// dropHot forgets the hot block and frees its slot.
func (f *File) dropHot() {
	h := f.hot
	if h == nil {
		return
	}
	f.hot = nil
	f.letGo(h)
	f.slots.unref(h.slot)
	if !f.closed {
		f.slots.reap()
	}
}

func (f *File) letGo(h *hot) {
	f.spool.put(h.buf)
	if h.token {
		f.spool.hot.Add(-1)
	}
}
