package spool

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
)

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// replay puts slots and events together again, by sequence. The table's slots
// are indexes of versions.
type replay struct {
	l     *Left
	found int // versions that are slots; later ones stand for lost slots
	begun bool
	due   int64 // records of the last beginning that are still to come
	final bool  // the last beginning says that nothing but they may come

	lastSent uint64 // as in File
	zeros    []zeroed
}

// zeroed is a range of blocks that an event of this sequence made zeros.
type zeroed struct {
	from, to int64
	seq      uint64
}

func newReplay(l *Left) *replay {
	return &replay{l: l, found: len(l.versions)}
}

// Nothing is freed in a replay.
func (*replay) ref(uint32)   {}
func (*replay) unref(uint32) {}

// run applies the log b and the versions. A last record that is cut short
// was never acknowledged.
func (r *replay) run(b []byte) {
	next, last := 0, uint64(0)
	for i := 0; len(b) >= eventSize; i, b = i+1, b[eventSize:] {
		e, seq, err := r.l.seal.openEvent(b[:eventSize])
		if err != nil {
			r.doubt(fmt.Errorf("log record %d: %w", i, err))
			continue
		}
		if seq <= last {
			r.doubt(fmt.Errorf("%w: log record %d is out of order", ErrDamaged, i))
			continue
		}
		last = seq
		r.due--
		next = r.versions(next, seq)
		r.apply(e, seq)
	}
	r.versions(next, ^uint64(0))
	r.lost()
	switch {
	case !r.begun:
		r.doubt(fmt.Errorf("%w: the log has no beginning", ErrDamaged))
	case r.due > 0:
		r.doubt(fmt.Errorf("%w: the log lacks %d records", ErrDamaged, r.due))
	case r.l.badSlots && !(r.final && r.due == 0):
		r.l.doubt = true // there is no list of what should be there
	}
}

// doubt reports damage that may concern every block.
func (r *replay) doubt(err error) {
	r.l.damaged(-1, err)
	r.l.doubt = true
}

// versions applies those below seq, from place i on.
func (r *replay) versions(i int, seq uint64) int {
	for ; i < r.found && r.l.versions[i].seq < seq; i++ {
		v := &r.l.versions[i]
		r.put(v.block, i)
		if v.size >= 0 {
			r.l.size = v.size
		}
	}
	return i
}

func (r *replay) put(block int64, i int) {
	r.l.table.set(block, slot0+entry(i), r)
}

func (r *replay) apply(e event, seq uint64) {
	l := r.l
	switch e.op {
	case opTruncate:
		r.truncate(e)
	case opZero:
		l.table.setRange(e.a, min(e.b, maxBlock), isZero, r)
		r.zeros = append(r.zeros, zeroed{e.a, e.b, seq})
	case opRefer:
		l.table.setRange(e.a, min(e.b, maxBlock), inBase, r)
	case opSent:
		l.table.setRange(e.a, min(e.b, maxBlock), isSent, r)
		r.lastSent = max(r.lastSent, e.c)
	case opSettle:
		r.settle(e.c)
	case opBegin:
		r.begun, r.due, r.final = true, e.a, e.b == 1
		l.table.drop(r)
		r.zeros = nil
	case opKeep:
		r.keep(e)
	}
	l.size, l.baseEnd = e.size, e.baseEnd
}

func (r *replay) truncate(e event) {
	r.l.table.cut(e.a, r)
	if in := e.size % BlockSize; in != 0 {
		if i, ok := r.l.table.get(e.size / BlockSize).slot(); ok {
			v := &r.l.versions[i]
			v.clip = min(v.clip, in)
		}
	}
}

// settle makes base blocks of what the commit of the snapshot with this
// sequence held. Versions that it superseded may be gone from the disk, so a
// block is judged by the newest event that is left to tell of it.
func (r *replay) settle(seq uint64) {
	r.zeros = slices.DeleteFunc(r.zeros, func(z zeroed) bool { return z.seq <= seq })
	t := &r.l.table
	kept := t.spans[:0:0]
	for i, s := range t.spans {
		after := s.page.entries
		for k, e := range after {
			if r.isSettled(e, s.index*pageLen+int64(k), seq) {
				after[k] = inBase
			}
		}
		if after == [pageLen]entry{} {
			continue
		}
		if after != s.page.entries {
			t.own(i, r).entries = after
		}
		kept = append(kept, t.spans[i])
	}
	t.spans = kept
}

func (r *replay) isSettled(e entry, block int64, seq uint64) bool {
	switch e {
	case inBase:
		return false
	case isSent:
		return r.lastSent <= seq
	case isZero:
		return !slices.ContainsFunc(r.zeros, func(z zeroed) bool { return z.from <= block && block < z.to })
	}
	i, _ := e.slot()
	return r.l.versions[i].seq <= seq
}

// keep takes an older slot into a log that was written anew.
func (r *replay) keep(e event) {
	all := r.l.versions[:r.found]
	i := sort.Search(len(all), func(i int) bool { return all[i].seq >= e.c })
	if i < len(all) && all[i].seq == e.c && all[i].block == e.a {
		r.put(e.a, i)
		return
	}
	// Freed since, or lost: what comes later tells.
	r.l.versions = append(r.l.versions, version{block: e.a, seq: e.c, size: -1})
	r.put(e.a, len(r.l.versions)-1)
}

// lost reports blocks that should be there and are not.
func (r *replay) lost() {
	if len(r.l.versions) == r.found {
		return
	}
	for _, s := range r.l.table.spans {
		for _, e := range s.page.entries {
			if i, ok := e.slot(); ok && int(i) >= r.found {
				block := r.l.versions[i].block
				r.l.damaged(block, fmt.Errorf("%w: block %d is missing", ErrDamaged, block))
			}
		}
	}
}
