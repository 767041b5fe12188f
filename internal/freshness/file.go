package freshness

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// lockTime is how long one process waits for its turn. Who has not got it then
// (the other one is stopped, perhaps) asks again by and by, and waits no more
// than a moment: nobody who looks at a file is to wait for that.
const (
	lockTime  = 5 * time.Second
	lockAgain = 2 // times that
)

// damagedSuffix is the name under which a damaged file is set aside; there is
// one at the most.
const damagedSuffix = ".damaged"

// growth is by how much the file is made longer at a time, in bytes.
const growth = 1 << 20

// file is the file, which is opened when it is needed and given to other
// processes between.
type file struct {
	path     string
	readOnly bool
	noSync   bool
	wait     time.Duration // for its turn
	log      logrus.FieldLogger
	turn     *turn
	used     atomic.Bool   // since the last look of giveWay
	stuck    atomic.Bool   // the library broke off within db, and may hold its locks for ever
	opened   chan struct{} // has something when the file was opened

	mu     sync.RWMutex // held shared by transactions: the file stays open
	db     *bbolt.DB
	of     *os.File // what db is of
	aside  int      // how many were set aside
	closed bool
	held   error     // another process did not give it; nil: it was to be had last
	asked  time.Time // when it was asked for last
}

func newFile(opt Options) *file {
	return &file{path: opt.Path, readOnly: opt.ReadOnly, noSync: opt.noSync, wait: cmp.Or(opt.lockTime, lockTime), log: opt.Log, turn: newTurn(opt.Path, opt.ReadOnly), opened: make(chan struct{}, 1)}
}

// view reads. Where there is no file and none is to be made, do is not called.
func (f *file) view(do func(*table) error) error {
	return f.with(func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			t, err := tableOf(tx)
			if err != nil {
				return err
			}
			return do(t)
		})
	})
}

// write puts down what was told and tells how many records made way for it. A
// transaction takes a batch: every page that it touches is in the file twice.
func (f *file) write(all map[string]told, limit int, now time.Time) (removed int, err error) {
	some := make(map[string]told, min(len(all), batch))
	for key, t := range all {
		if some[key] = t; len(some) < batch {
			continue
		}
		n, err := f.writeSome(some, limit, now)
		if removed += n; err != nil {
			return removed, err
		}
		clear(some)
	}
	n, err := f.writeSome(some, limit, now)
	return removed + n, err
}

func (f *file) writeSome(all map[string]told, limit int, now time.Time) (removed int, err error) {
	if len(all) == 0 {
		return 0, nil
	}
	err = f.with(func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error {
			t, err := tableOf(tx)
			if err == nil {
				err = t.write(all, limit, now)
				removed = t.removed
			}
			return err
		})
	})
	if err != nil {
		removed = 0
	}
	return removed, err
}

// with has do work on the open file. A damaged one is set aside, and do begins
// anew on an empty one.
func (f *file) with(do func(*bbolt.DB) error) error {
	for range 2 {
		db, err := f.open()
		if db == nil {
			return err
		}
		f.used.Store(true)
		err = guarded(func() error { return do(db) })
		if errors.Is(err, errBrokeOff) {
			f.stuck.Store(true) // before anybody may close it
		}
		aside := f.aside
		f.mu.RUnlock()
		if !errors.Is(err, ErrDamaged) {
			return err
		}
		if err := f.setAside(aside, err); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: %w", f.path, ErrDamaged)
}

// errBrokeOff: the library did not come back from what it did.
var errBrokeOff = fmt.Errorf("broken off: %w", ErrDamaged)

// guarded turns what the library says of a damaged file, mostly by a panic or a
// fault in its mapping (errBrokeOff), into ErrDamaged.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v: %w", p, errBrokeOff)
		}
	}()
	err = do()
	for _, e := range []error{berrors.ErrInvalid, berrors.ErrChecksum, berrors.ErrVersionMismatch} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", err, ErrDamaged)
		}
	}
	return err
}

// open gives the file, open, and held until f.mu.RUnlock; nil where it is not to
// be had, with the reason, or without one where there is none.
func (f *file) open() (*bbolt.DB, error) {
	for range 10 { // between opening and using it may be given away
		f.mu.RLock()
		if f.db != nil {
			return f.db, nil
		}
		aside := f.aside
		f.mu.RUnlock()
		err := f.openNow()
		if errors.Is(err, ErrDamaged) {
			err = f.setAside(aside, err)
		}
		if errors.Is(err, fs.ErrNotExist) && f.readOnly {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: %w", f.path, berrors.ErrTimeout)
}

func (f *file) openNow() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return fmt.Errorf("%s: %w", f.path, fs.ErrClosed)
	case f.db != nil:
		return nil
	}
	wait := f.wait
	if f.held != nil {
		if time.Since(f.asked) < lockAgain*f.wait {
			return f.held
		}
		wait = min(wait, turnTime)
	}
	err := f.openWithin(wait)
	f.held, f.asked = nil, time.Now()
	if errors.Is(err, berrors.ErrTimeout) {
		f.held = err
	}
	return err
}

// openWithin opens the file and waits so long for its lock. It needs f.mu.
func (f *file) openWithin(wait time.Duration) error {
	asked, err := f.turn.ask()
	if err != nil {
		return err
	}
	defer asked()
	var of *os.File
	var db *bbolt.DB
	err = guarded(func() error {
		db, err = bbolt.Open(f.path, 0o600, &bbolt.Options{
			Timeout: wait, ReadOnly: f.readOnly, FreelistType: bbolt.FreelistMapType, NoSync: f.noSync,
			OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
				if f.readOnly {
					flag = os.O_RDONLY
				}
				of, err = os.OpenFile(path, flag|unix.O_NOFOLLOW, mode)
				return of, err
			},
		})
		if err != nil {
			return err
		}
		db.AllocSize = growth
		if f.readOnly || db.View(begun) == nil {
			return nil
		}
		return db.Update(begin)
	})
	err = ours(err)
	if err == nil && !same(of, f.path) {
		err = fmt.Errorf("%s: set aside by another process: %w", f.path, berrors.ErrTimeout)
	}
	if err != nil {
		abandon(db, of, errors.Is(err, errBrokeOff))
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.db, f.of = db, of
	f.stuck.Store(false)
	f.used.Store(true)
	select {
	case f.opened <- struct{}{}:
	default:
	}
	return nil
}

// ours tells damage from trouble of the moment: what the library has no other
// word for is said of the content.
func ours(err error) error {
	var path *fs.PathError
	var errno unix.Errno
	if err == nil || errors.Is(err, ErrDamaged) || errors.Is(err, berrors.ErrTimeout) || errors.As(err, &path) || errors.As(err, &errno) {
		return err
	}
	return fmt.Errorf("%w: %w", err, ErrDamaged)
}

// same tells whether of is what lies at path still.
func same(of *os.File, path string) bool {
	a, err := of.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// abandon closes a file of which there is an error already. Where the library may
// hold its locks for ever nobody waits for it: the descriptor, and with it the lock
// on the file, is given back, and the mapping stays until the process ends. That
// is as often as a file is damaged.
func abandon(db *bbolt.DB, of *os.File, stuck bool) {
	if db != nil && !stuck {
		_ = guarded(db.Close)
	}
	if of != nil {
		_ = of.Close() // the library may have done it
	}
}

// setAside moves a damaged file, found so when that many had been set aside, out
// of the way, so that the next open begins a new one.
func (f *file) setAside(aside int, cause error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.aside != aside {
		return nil // somebody did
	}
	f.aside++
	if f.db != nil {
		abandon(f.db, f.of, f.stuck.Load())
		f.db, f.of = nil, nil
	}
	if f.readOnly {
		f.closed = true
		return cause
	}
	if err := os.Rename(f.path, f.path+damagedSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; it cannot be set aside: %w", cause, err)
	}
	f.log.WithError(cause).WithField("file", f.path+damagedSuffix).
		Warn("what this host remembered of versions is damaged; it was set aside, and older states of objects that it knew are not noticed any more")
	return nil
}

// giveWay lets other processes have the file: where one asks for it, and where
// nobody here has needed it since the last call. False: it stays open.
func (f *file) giveWay() bool {
	if f.used.Swap(false) && !f.turn.wanted() {
		return false
	}
	f.shut()
	return true
}

func (f *file) shut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.db == nil {
		return
	}
	abandon(f.db, f.of, f.stuck.Load())
	f.db, f.of = nil, nil
	f.turn.given()
}

// close is final.
func (f *file) close() {
	f.shut()
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
}
