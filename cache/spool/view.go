package spool

import (
	"fmt"
	"io"
)

// opener reads blocks by the slot that a table names.
type opener interface {
	buffer() *[slotSize]byte
	put(b *[slotSize]byte)
	open(slot uint32, block int64, b *[slotSize]byte) error
}

// view is the content of a file, live or frozen.
type view struct {
	table   table
	size    int64
	baseEnd int64 // what lies beyond, and is not in the table, is zeros
	hot     *hot  // overrides the table; nil in a snapshot
}

// hot is the one block of a file that is held in memory, in plaintext, while
// small writes gather. Its slot is set aside already.
type hot struct {
	block int64
	slot  uint32
	buf   *[slotSize]byte // the first BlockSize bytes
	token bool            // counted in Spool.hot
}

// gap is a range of a read that the spool does not hold, and where it goes.
type gap struct {
	off int64
	p   []byte
}

// run is where off's bytes are and where blocks of the same sort end; it
// looks no further than limit.
func (v *view) run(off, limit int64) (Kind, int64) {
	block := off / BlockSize
	if v.hot != nil && v.hot.block == block {
		return Data, (block + 1) * BlockSize
	}
	e := v.table.get(block)
	_, data := e.slot()
	end := v.table.next(block, blocks(limit), func(x entry) bool {
		_, slot := x.slot()
		return x == e || data && slot
	}) * BlockSize
	if v.hot != nil && v.hot.block > block {
		end = min(end, v.hot.block*BlockSize)
	}
	switch {
	case data:
		return Data, end
	case e == isZero:
		return Zero, end
	case e == isSent:
		return Sent, end
	case off < v.baseEnd:
		return Base, min(end, v.baseEnd)
	}
	return Zero, end
}

func (v *view) extent(off int64) (Kind, int64) {
	if off < 0 || off >= v.size {
		return Zero, off
	}
	kind, end := v.run(off, v.size)
	for end < v.size {
		k, e := v.run(end, v.size)
		if k != kind {
			break
		}
		end = e
	}
	return kind, min(end, v.size)
}

// read fills p from off but for the gaps. It gives io.EOF as io.ReaderAt.
func (v *view) read(f opener, p []byte, off int64) (n int, gaps []gap, err error) {
	if off < 0 {
		return 0, nil, fmt.Errorf("read spool file: offset %d", off)
	}
	if off >= v.size {
		return 0, nil, io.EOF
	}
	if int64(len(p)) > v.size-off {
		p, err = p[:v.size-off], io.EOF
	}
	for n < len(p) {
		at := off + int64(n)
		kind, end := v.run(at, off+int64(len(p)))
		if kind == Data {
			end = (at/BlockSize + 1) * BlockSize
		}
		part := p[n:min(int64(len(p)), end-off)]
		switch kind {
		case Data:
			if err := v.readBlock(f, part, at); err != nil {
				return 0, nil, err
			}
		case Zero:
			clear(part)
		default:
			gaps = append(gaps, gap{at, part})
		}
		n += len(part)
	}
	return n, gaps, err
}

// readBlock fills p from one block.
func (v *view) readBlock(f opener, p []byte, off int64) error {
	block, in := off/BlockSize, off%BlockSize
	if v.hot != nil && v.hot.block == block {
		copy(p, v.hot.buf[in:BlockSize])
		return nil
	}
	slot, ok := v.table.get(block).slot()
	if !ok {
		panic("spool: no slot where there was one")
	}
	b := f.buffer()
	defer f.put(b)
	if err := f.open(slot, block, b); err != nil {
		return err
	}
	copy(p, b[in:BlockSize])
	return nil
}

// load fills the gaps, without any lock.
func load(gaps []gap, fill Fill) error {
	for _, g := range gaps {
		if fill == nil {
			clear(g.p)
		} else if err := fill(g.off, g.p); err != nil {
			return err
		}
	}
	return nil
}
