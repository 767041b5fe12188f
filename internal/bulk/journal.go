package bulk

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Errors of Open.
var (
	ErrOther   = errors.New("an unfinished run with other options is kept here")
	ErrBusy    = errors.New("the same is being done by another process of this host")
	ErrCorrupt = errors.New("the journal is damaged")
)

// keepEvery is how often the cursor goes to the disk while the walk is under
// way: what lies between is done again after a crash.
const keepEvery = time.Second

// maxState bounds what a walk of another kind keeps with its cursor.
const maxState = maxJournal - 1<<20

// maxJournal bounds the bytes of a journal that is read.
const maxJournal = 16 << 20

// Identity is what a journal is of. Who resumes must do the same to the same.
type Identity struct {
	Operation string // one word
	Target    string
	Options   string // all that decides what is done, as a person would write it
}

// Journal keeps on the local disk how far an operation is, and is held by one
// process at a time. It names keys, which the bucket shows anyway, and is
// readable by its owner alone. A nil *Journal keeps nothing.
type Journal struct {
	path    string
	lock    *os.File
	state   record
	resumed bool
	kept    time.Time
	now     func() time.Time
}

// record is the journal as it is stored.
type record struct {
	Version   int       `json:"version"`
	Operation string    `json:"operation"`
	Target    string    `json:"target"`
	Options   string    `json:"options"`
	Began     time.Time `json:"began"`
	Pass      int       `json:"pass"`
	Cursor    string    `json:"-"`
	Totals    Totals    `json:"-"`

	// Keys are bytes: JSON would mend what is not UTF-8.
	At       []byte           `json:"cursor"`
	Done     map[string]Count `json:"done,omitempty"`
	Failed   int64            `json:"failed,omitempty"`
	Failures []failure        `json:"failures,omitempty"`
	Earlier  map[string]Count `json:"earlier,omitempty"` // of earlier passes
	State    json.RawMessage  `json:"state,omitempty"`   // see Journal.Keep
}

type failure struct {
	Key   []byte `json:"key"`
	Cause string `json:"error"`
}

// Open takes the journal of id in dir, which is made where it is missing; what
// an interrupted run left is gone on with. restart throws that away.
// Errors: ErrOther, ErrBusy, ErrCorrupt, those of the disk.
func Open(dir string, id Identity, restart bool) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(id.Operation + "\x00" + id.Target))
	path := filepath.Join(dir, id.Operation+"-"+hex.EncodeToString(sum[:8])+".json")
	lock, err := hold(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", id.Operation, id.Target, err)
	}
	j := &Journal{path: path, lock: lock, now: time.Now}
	if err := j.begin(id, restart); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return j, nil
}

// hold locks a file that stays: to remove one that another may be about to lock
// would have two hold it.
func hold(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, err
	}
	return f, nil
}

func (j *Journal) begin(id Identity, restart bool) error {
	old, err := read(j.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || restart:
	case err != nil:
		return fmt.Errorf("%s: %w", j.path, err)
	case old.Operation != id.Operation || old.Target != id.Target || old.Options != id.Options:
		return fmt.Errorf("%w: %s %s %s, begun %s", ErrOther, old.Operation, old.Target, old.Options, old.Began.Format(time.RFC3339))
	default:
		j.state, j.resumed = old, true
		return nil
	}
	j.state = record{
		Version: 1, Operation: id.Operation, Target: id.Target, Options: id.Options, Began: j.now().UTC().Truncate(time.Second), Pass: 1,
	}
	return j.save()
}

// read reads a journal. Errors: ErrCorrupt, those of the disk.
func read(path string) (record, error) {
	f, err := os.Open(path)
	if err != nil {
		return record{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJournal))
	if err != nil {
		return record{}, err
	}
	return parse(b)
}

func parse(b []byte) (record, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return record{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if r.Version != 1 || r.Pass < 1 || r.Failed < 0 || len(r.Failures) > MaxFailures {
		return record{}, ErrCorrupt
	}
	r.Cursor = string(r.At)
	r.Totals = Totals{Done: r.Done, Failed: r.Failed}
	for _, f := range r.Failures {
		r.Totals.Failures = append(r.Totals.Failures, Failure{string(f.Key), f.Cause})
	}
	return r, nil
}

// save puts the journal on the disk, whole or not at all.
func (j *Journal) save() error {
	s := &j.state
	s.At, s.Done, s.Failed, s.Failures = []byte(s.Cursor), s.Totals.Done, s.Totals.Failed, nil
	for _, f := range s.Totals.Failures {
		s.Failures = append(s.Failures, failure{[]byte(f.Key), f.Cause})
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := replace(j.path, b); err != nil {
		return fmt.Errorf("keep the journal: %w", err)
	}
	j.kept = j.now()
	return nil
}

func replace(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// advance notes where the walk is, and keeps it from time to time.
func (j *Journal) advance(cursor string, t Totals) error {
	if cursor == j.state.Cursor || j.now().Sub(j.kept) < keepEvery {
		return nil
	}
	return j.keep(cursor, t)
}

// keep puts down where the walk is.
func (j *Journal) keep(cursor string, t Totals) error {
	j.state.Cursor, j.state.Totals = cursor, t.clone()
	return j.save()
}

// Due tells whether it is time to Keep again.
func (j *Journal) Due() bool { return j != nil && j.now().Sub(j.kept) >= keepEvery }

// Keep puts down where a walk is that Run does not do, with what it needs to go on
// behind that key: one JSON document of at most 15 MiB.
func (j *Journal) Keep(cursor string, state []byte) error {
	if j == nil {
		return nil
	}
	if len(state) > maxState {
		return fmt.Errorf("keep the journal: %d bytes are too many", len(state))
	}
	j.state.Cursor, j.state.State = cursor, state
	return j.save()
}

// State is what was kept with the cursor; nil where nothing was.
func (j *Journal) State() []byte {
	if j == nil {
		return nil
	}
	return j.state.State
}

// Resumed tells whether an earlier run left this journal.
func (j *Journal) Resumed() bool { return j != nil && j.resumed }

// Began is when the first run of it did.
func (j *Journal) Began() time.Time { return j.state.Began }

// Pass counts the passes over the listing, from 1.
func (j *Journal) Pass() int {
	if j == nil {
		return 1
	}
	return j.state.Pass
}

// Cursor is the key up to which all is done.
func (j *Journal) Cursor() string {
	if j == nil {
		return ""
	}
	return j.state.Cursor
}

// Done are the sums of what lies below the cursor.
func (j *Journal) Done() map[string]Count {
	if j == nil {
		return nil
	}
	return j.state.Totals.Done
}

// Earlier are the sums of the passes before this one.
func (j *Journal) Earlier() map[string]Count {
	if j == nil {
		return nil
	}
	return j.state.Earlier
}

// Again begins another pass over the listing. The totals of this one are added
// to the earlier ones; its failures are forgotten, since what failed comes again.
func (j *Journal) Again() error {
	if j == nil {
		return nil
	}
	sum := Totals{Done: j.state.Earlier}.clone()
	sum.merge(Totals{Done: j.state.Totals.Done})
	j.state.Earlier = sum.Done
	j.state.Pass++
	j.state.Cursor, j.state.Totals = "", Totals{}
	return j.save()
}

// Finish removes the journal: all is done. Close must follow.
func (j *Journal) Finish() error {
	if j == nil {
		return nil
	}
	if err := os.Remove(j.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(j.path))
}

// Close lets go of the journal; what is there stays for another run.
func (j *Journal) Close() error {
	if j == nil {
		return nil
	}
	return j.lock.Close()
}
