package keyring

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
	"strings"
	"syscall"
)

// Dir is the memory of the epochs of one bucket, a directory of mode 0700:
//
//	<id>-<key>.epoch   a record: the newest object seen of an epoch; key is the
//	                   first 16 bytes of SHA-256 of the epoch key, in hex
//	own-<set>          a pin: the epoch that this host seals under for one key set
//
// A record is of an id and a key: who plants an epoch under the id of another
// takes nothing from it.
//
// No file of it holds a key. A nil *Dir remembers nothing. A Dir belongs to one
// Ring, which serialises its writes of an epoch; other processes may have the
// directory too: a file is replaced as a whole, and a record only ever goes on
// (setRecord).
type Dir struct{ path string }

// maxRecord bounds a file of the directory: an object in base64 and some.
const maxRecord = 2 * MaxEpochSize

// record is what is remembered of an epoch.
type record struct {
	Sum    keySum
	State  Phase  // the furthest seen
	Own    bool   // made by this host
	Object []byte // the epoch object of the highest revision seen
}

// pin names an epoch and its key.
type pin struct {
	ID  EpochID
	Sum keySum
}

// recordJSON and pinJSON are the files' content.
type recordJSON struct {
	Version int    `json:"version"`
	Sum     string `json:"key-sha256"`
	State   string `json:"state"`
	Own     bool   `json:"own"`
	Object  []byte `json:"object"`
}

type pinJSON struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	Sum     string `json:"key-sha256"`
}

// OpenDir opens the directory path, and makes it (parents too) where it is not.
// It must be ours, and nobody else's to enter.
func OpenDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("open key state: %w", err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("open key state: %w", err)
	}
	switch {
	case !info.IsDir():
		return nil, fmt.Errorf("open key state: %s is not a directory", path)
	case !ownedByUs(info):
		return nil, fmt.Errorf("open key state: %s belongs to another user", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("open key state: %s has mode %#o and others could enter: chmod 700 %s", path, info.Mode().Perm(), path)
	}
	return &Dir{path}, nil
}

// recordName is the file of an epoch under one key.
func recordName(id EpochID, sum keySum) string {
	return id.String() + "-" + hex.EncodeToString(sum[:16]) + ".epoch"
}

// record gives what is remembered of id under a key, nil where nothing is.
func (d *Dir) record(id EpochID, sum keySum) (*record, error) {
	rec, err := d.loadRecord(id, recordName(id, sum))
	if err == nil && rec != nil && rec.Sum != sum {
		return nil, errRecord(id)
	}
	return rec, err
}

// records gives what is remembered of id under any key. The first error comes
// with the records that could be read.
func (d *Dir) records(id EpochID) (all []*record, first error) {
	if d == nil {
		return nil, nil
	}
	files, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("read key state: %w", err)
	}
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), id.String()+"-") || !strings.HasSuffix(f.Name(), ".epoch") {
			continue
		}
		rec, err := d.loadRecord(id, f.Name())
		switch {
		case err != nil && first == nil:
			first = err
		case err == nil && rec != nil:
			all = append(all, rec)
		}
	}
	return all, first
}

// ids gives those of all records, each once.
func (d *Dir) ids() ([]EpochID, error) {
	if d == nil {
		return nil, nil
	}
	files, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("read key state: %w", err)
	}
	var all []EpochID
	for _, f := range files { // in order
		name, _, _ := strings.Cut(f.Name(), "-")
		id, err := ParseEpochID(name)
		if err == nil && strings.HasSuffix(f.Name(), ".epoch") && (len(all) == 0 || all[len(all)-1] != id) {
			all = append(all, id)
		}
	}
	return all, nil
}

func (d *Dir) loadRecord(id EpochID, name string) (*record, error) {
	var file recordJSON
	if ok, err := d.load(name, &file); !ok || err != nil {
		return nil, err
	}
	sum, err := parseSum(file.Sum)
	if err != nil || file.Version != 1 {
		return nil, errRecord(id)
	}
	state, err := parsePhase(file.State)
	if err != nil {
		return nil, errRecord(id)
	}
	return &record{Sum: sum, State: state, Own: file.Own, Object: file.Object}, nil
}

func errRecord(id EpochID) error { return fmt.Errorf("key state of epoch %s is damaged", id) }

// setRecord remembers r, or what another process has remembered since that is
// further. It holds the directory by flock from the look until it is written.
func (d *Dir) setRecord(id EpochID, r record) error {
	if d == nil {
		return nil
	}
	unlock, err := d.lock()
	if err != nil {
		return fmt.Errorf("write key state: %w", err)
	}
	defer unlock()
	if have, err := d.record(id, r.Sum); err == nil && have != nil { // else it is damaged, and replaced
		r = r.atLeast(id, have)
	}
	return d.save(recordName(id, r.Sum), recordJSON{
		Version: 1, Sum: hex.EncodeToString(r.Sum[:]), State: r.State.String(), Own: r.Own, Object: r.Object,
	})
}

// atLeast gives, of two records of an epoch under one key, the higher revision
// and the further state.
func (r record) atLeast(id EpochID, have *record) record {
	r.State, r.Own = max(r.State, have.State), r.Own || have.Own
	mine, err := ParseEpoch(id, r.Object)
	theirs, herr := ParseEpoch(id, have.Object)
	if herr == nil && (err != nil || theirs.Revision > mine.Revision) {
		r.Object = have.Object
	}
	return r
}

// lock keeps other processes from writing records. None holds it across the
// network.
func (d *Dir) lock() (unlock func(), err error) {
	f, err := os.OpenFile(d.path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", d.path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // it was only held
}

// pin gives the pinned epoch of a key set, nil where none is.
func (d *Dir) pin(set string) (*pin, error) {
	var file pinJSON
	if ok, err := d.load("own-"+set, &file); !ok || err != nil {
		return nil, err
	}
	id, err := ParseEpochID(file.ID)
	if err != nil || file.Version != 1 {
		return nil, errors.New("key state of the own epoch is damaged")
	}
	sum, err := parseSum(file.Sum)
	if err != nil {
		return nil, errors.New("key state of the own epoch is damaged")
	}
	return &pin{id, sum}, nil
}

// pinned gives the keys under which any pin names id. The first error comes with
// those of the pins that could be read.
func (d *Dir) pinned(id EpochID) (sums []keySum, first error) {
	if d == nil {
		return nil, nil
	}
	files, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("read key state: %w", err)
	}
	for _, f := range files {
		set, ok := strings.CutPrefix(f.Name(), "own-")
		if !ok {
			continue
		}
		p, err := d.pin(set)
		switch {
		case err != nil && first == nil:
			first = err
		case err == nil && p != nil && p.ID == id:
			sums = append(sums, p.Sum)
		}
	}
	return sums, first
}

func (d *Dir) setPin(set string, p pin) error {
	return d.save("own-"+set, pinJSON{Version: 1, ID: p.ID.String(), Sum: hex.EncodeToString(p.Sum[:])})
}

func parseSum(s string) (keySum, error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != sha256.Size {
		return keySum{}, errors.New("not a SHA-256")
	}
	return keySum(raw), nil
}

// load reads a file into v; false where there is none.
func (d *Dir) load(name string, v any) (bool, error) {
	if d == nil {
		return false, nil
	}
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read key state: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return false, fmt.Errorf("read key state: %w", err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("read key state: %s is damaged", f.Name())
	}
	return true, nil
}

// save puts v in place of a file: the old or the new content survives a crash.
func (d *Dir) save(name string, v any) error {
	if d == nil {
		return nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write key state: %w", err)
	}
	if err := d.replace(name, append(data, '\n')); err != nil {
		return fmt.Errorf("write key state: %w", err)
	}
	return nil
}

func (d *Dir) replace(name string, data []byte) (err error) {
	tmp, err := os.CreateTemp(d.path, "."+strings.TrimSuffix(name, ".epoch")+"-*") // 0600, O_EXCL
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	if err := writeSync(tmp, data); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(d.path, name)); err != nil {
		return err
	}
	return syncDir(d.path)
}

// writeSync writes data to f, durably, and closes it.
func writeSync(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes a new name in a directory durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ownedByUs is true of root's files too.
func ownedByUs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}
