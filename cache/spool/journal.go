package spool

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// journalMin is how many events a log may hold before it is written anew.
const journalMin = 1024

// journal is the log file of one File: events of one size, appended.
type journal struct {
	f       *os.File
	records int64
	limit   int64 // rewrite beyond so many; 0 is journalMin
}

// append adds one event. What a failed write left is overwritten by the next.
func (j *journal) append(b []byte) error {
	if _, err := j.f.WriteAt(b, j.records*eventSize); err != nil {
		return full(fmt.Errorf("write %s: %w", j.f.Name(), err))
	}
	j.records++
	return nil
}

// tidy sees to it that the log stays in proportion to what there is to say. The
// hot block may not be hot any more afterwards.
func (f *File) tidy() {
	// Never below a snapshot: a Settle of it tells by sequence what it held.
	if len(f.snaps) > 0 || f.log.records <= max(f.log.limit, journalMin) {
		return
	}
	if err := f.compact(false); err != nil {
		f.log.limit = 2 * f.log.records // an optimisation: try again later
	}
}

// record appends an event.
func (f *File) record(e event) error { return f.log.append(f.seal.event(e, f.next())) }

// compact writes the log anew: a beginning, then what is there. A final one
// is the last thing that happens to the file.
func (f *File) compact(final bool) error {
	// The log is what tells a hot block's slot on disk from its past.
	if err := f.cool(); err != nil {
		return err
	}
	temp, name := f.ID()+logExt+tempExt, f.ID()+logExt
	if err := f.spool.dir.remove(temp); err != nil {
		return err
	}
	file, err := f.spool.dir.open(temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	j := journal{f: file}
	err = f.describe(&j, final)
	if err == nil {
		if err = syncFiles(f.slots.f); err != nil {
			f.broken = fmt.Errorf("sync spool file: %w", err) // no later sync would tell (fsync(2))
		}
	}
	if err == nil {
		err = syncFiles(file)
	}
	if err == nil {
		err = f.spool.dir.move(temp, name)
	}
	if err != nil {
		return errors.Join(err, file.Close(), f.spool.dir.remove(temp))
	}
	// From here on the new log is the one that is found. The next sync makes
	// its name durable where this one fails.
	j.limit = 2 * j.records
	old := f.log.f
	f.log, f.named = j, false
	if err := f.spool.dir.sync(); err != nil {
		return errors.Join(err, old.Close())
	}
	f.named = true
	return old.Close()
}

// describe writes events that make the present state out of the slots.
func (f *File) describe(j *journal, final bool) error {
	put := func(e event) error {
		e.size, e.baseEnd = f.size, f.baseEnd
		return j.append(f.seal.event(e, f.next()))
	}
	begin := event{op: opBegin}
	for range f.table.rows {
		begin.a++
	}
	if final {
		begin.b = 1
	}
	if err := put(begin); err != nil {
		return err
	}
	for r := range f.table.rows {
		if err := put(f.describeRow(r)); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) describeRow(r row) event {
	switch slot, data := r.entry.slot(); {
	case data:
		return event{op: opKeep, a: r.from, c: f.slots.seqs[slot]}
	case r.entry == isZero:
		return event{op: opZero, a: r.from, b: r.to}
	default:
		return event{op: opSent, a: r.from, b: r.to, c: f.lastSent}
	}
}
