package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sigilfs/sigilfs/internal/audit"
	"github.com/sigilfs/sigilfs/internal/bulk"
	"golang.org/x/sys/unix"
)

// auditState is what an interrupted audit needs beside the key behind which it
// goes on: what was counted, and how much of the rows was on the disk by then.
// The rows themselves stay in the file that was asked for.
type auditState struct {
	Told    int64           `json:"told"` // objects
	Tally   json.RawMessage `json:"tally"`
	Shadows [][]byte        `json:"shadows,omitempty"`
	Rows    int64           `json:"rows,omitempty"` // bytes of the file of rows
	Notes   []string        `json:"notes,omitempty"`
}

// openJournal takes up what an interrupted run of the same audit has left. Where
// rows go to stdout there is no journal: what was told there cannot be told again.
func (a *auditing) openJournal(o *offline) error {
	if a.asJSON || a.csv == "-" || !isRegular(a.csv) {
		return nil
	}
	j, err := o.journal(a.identity(o), a.restart)
	if errors.Is(err, bulk.ErrBusy) {
		a.say("the same is being audited by another process of this host: this run cannot be gone on with if it is interrupted")
		return nil
	}
	if err != nil || j == nil {
		return err
	}
	a.journal = j
	if j.State() == nil {
		return nil
	}
	if err := json.Unmarshal(j.State(), &a.state); err != nil {
		return systemError("%w: give --restart", bulk.ErrCorrupt)
	}
	for _, name := range a.state.Shadows {
		a.shadows.Files = append(a.shadows.Files, string(name))
	}
	a.told, a.notes = a.state.Told, a.state.Notes
	return nil
}

// isRegular tells whether what is written to path can be taken back.
func isRegular(path string) bool {
	info, err := os.Stat(path)
	return path == "" || err != nil || info.Mode().IsRegular()
}

// identity is what an interrupted run must have been, to be gone on with.
func (a *auditing) identity(o *offline) bulk.Identity {
	rows := a.csv
	if path, err := filepath.Abs(rows); err == nil && rows != "" {
		rows = path
	}
	return bulk.Identity{
		Operation: "audit", Target: fmt.Sprintf("s3://%s/%s%s", o.set.target.Bucket, o.set.target.Prefix, o.path),
		Options: fmt.Sprintf("%s after=%q current=%v thorough=%v instruction-files=%v csv=%q", o.heldAgainst(), a.after, a.current, a.thorough, o.set.readInstructions, rows),
	}
}

// resumed tells whether it goes on behind a key.
func (a *auditing) resumed() bool { return a.journal.Cursor() != "" }

// keep puts down that all up to key was told.
func (a *auditing) keep(key string) error {
	if a.journal == nil {
		return nil
	}
	s := auditState{Told: a.told, Notes: a.notes}
	for _, name := range a.shadows.Files {
		s.Shadows = append(s.Shadows, []byte(name))
	}
	tally, err := a.tally.Save()
	if err != nil {
		return err
	}
	s.Tally = tally
	if s.Rows, err = a.out.settle(); err != nil {
		return err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return a.journal.Keep(key, b)
}

// leave lets go of the journal. What was told wholly, or has nothing to go on
// with, leaves none.
func (a *auditing) leave() error {
	if a.journal == nil {
		return nil
	}
	var err error
	if a.unfinished == nil && a.ended || !a.resumed() {
		err = a.journal.Finish()
	}
	return errors.Join(err, a.journal.Close())
}

// newTally counts on where there is something to go on with.
func (a *auditing) newTally(head audit.Head, below string) error {
	if !a.resumed() {
		a.tally = audit.NewTally(head, below)
		return nil
	}
	tally, err := audit.RestoreTally(head, below, a.state.Tally)
	if err != nil {
		return systemError("%w: %w: give --restart", bulk.ErrCorrupt, err)
	}
	a.tally = tally
	a.say(fmt.Sprintf("going on with what was interrupted, begun %s; --restart looks at all anew", a.journal.Began().Format(time.RFC3339)))
	return nil
}

// goneOn says of a report that it is of several runs.
func (a *auditing) goneOn() string {
	return fmt.Sprintf("begun %s and interrupted: what came before %s is told of as it was then", a.journal.Began().Format(time.RFC3339), shownName(a.resumedAt))
}

// partialFile is where rows stay until all are there, so that an interrupted
// audit goes on with them; size is how many bytes of them count, 0 of none.
func partialFile(path string, size int64, mine bool) (*outFile, error) {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		path = to
	}
	temp := path + ".partial"
	if size > 0 {
		return reopen(path, temp, size)
	}
	if info, err := os.Lstat(temp); err == nil && mine && info.Mode().IsRegular() {
		if err := os.Remove(temp); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) //nolint:gosec // as the umask has it
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: another audit writes it, or has left it; remove it, or name another file", err)
	}
	return &outFile{File: f, path: path, temp: temp, partial: true}, err
}

func reopen(path, temp string, size int64) (*outFile, error) {
	f, err := os.OpenFile(temp, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("what the interrupted audit wrote: %w: give --restart", err)
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() < size) {
		err = fmt.Errorf("%s is not what the interrupted audit wrote: give --restart", temp)
	}
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		_, err = f.Seek(size, 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &outFile{File: f, path: path, temp: temp, partial: true, stays: true}, nil
}
