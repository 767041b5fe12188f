package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// ReadKeyRecord gives the KeyRecord of the spool in dir, so that the owner
// can get the key that Recover needs. It is not authenticated.
func ReadKeyRecord(path string) ([]byte, error) {
	d, err := openDir(path, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer d.close()
	return d.read(keyName, keyMax)
}

// Remains is what a process left in a spool directory.
type Remains struct {
	dir *dir
	key [32]byte
}

// Recover takes hold of the directory of a spool whose process has ended;
// ErrBusy if it has not. Several may hold it at a time: that only one of them
// changes anything is for its callers to see to.
func Recover(path string, key *[32]byte) (*Remains, error) {
	d, err := openDir(path, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	return &Remains{d, *key}, nil
}

// Path is the directory.
func (r *Remains) Path() string { return r.dir.path }

// Files lists the files by ID, in no order that means anything.
func (r *Remains) Files() ([]string, error) {
	ids, err := r.dir.files()
	names := make([]string, 0, len(ids))
	for _, id := range ids {
		names = append(names, id.String())
	}
	return names, err
}

// Remove drops all that there is of one file.
func (r *Remains) Remove(id string) error {
	fid, ok := parseID(id)
	if !ok {
		return fmt.Errorf("remove from spool: %q is no file ID", id)
	}
	return r.dir.removeFile(fid)
}

// Close lets go of the directory. Where no file is left, the key record is
// removed too. The Left files of r are closed by their owner.
func (r *Remains) Close() error {
	ids, err := r.dir.files()
	if err == nil && len(ids) == 0 {
		err = r.dir.remove(keyName)
	}
	clear(r.key[:])
	return errors.Join(err, r.dir.close())
}

// Damage is something that did not authenticate.
type Damage struct {
	Block int64 // that it claims to be, or -1 if that is not known
	Err   error // wraps ErrDamaged and says where
}

// Left is one file that was left behind: its content as of the last block
// that reached the disk. Its methods but
// Salvage and Close are safe for concurrent use.
type Left struct {
	seal *sealer
	data *os.File
	view
	versions []version
	damage   []Damage
	meta     []byte
	metaErr  error

	badSlots bool // there are slots that do not authenticate
	doubt    bool // what was damaged could have been any block
}

// version is one slot that was found, in order of sequence.
type version struct {
	block int64
	seq   uint64
	size  int64 // of the file, or -1 where the slot is damaged
	slot  uint32
	clip  int64 // bytes of the block that a truncation left
}

// Open rebuilds a file from its slots and log, all of which it reads and
// authenticates. Damage is no error of Open: Damage tells of it, and reads of
// what it may concern give ErrDamaged.
func (r *Remains) Open(id string) (*Left, error) {
	fid, ok := parseID(id)
	if !ok {
		return nil, fmt.Errorf("open in spool: %q is no file ID", id)
	}
	seal, err := newLateSealer(&r.key, fid)
	if err != nil {
		return nil, err
	}
	l := &Left{seal: seal}
	if err := l.readMeta(r.dir); err != nil {
		return nil, err
	}
	l.data, err = r.dir.open(id+dataExt, unix.O_RDONLY)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := l.rebuild(r.dir); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Left) readMeta(d *dir) error {
	b, err := d.read(l.seal.id.String()+metaExt, metaMax)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		l.meta, _, err = l.seal.openMeta(b)
	}
	if errors.Is(err, ErrDamaged) {
		l.metaErr = err
		return nil
	}
	return err
}

func (l *Left) rebuild(d *dir) error {
	if err := l.scan(); err != nil {
		return err
	}
	b, err := d.read(l.seal.id.String()+logExt, 1<<32)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	newReplay(l).run(b)
	return nil
}

// scan finds the slots. One without any header was never completed.
func (l *Left) scan() error {
	if l.data == nil {
		return nil
	}
	st, err := l.data.Stat()
	if err != nil {
		return fmt.Errorf("scan %s: %w", l.data.Name(), err)
	}
	b := l.buffer()
	for slot := range (st.Size() + slotSize - 1) / slotSize {
		if err := readSlot(l.data, slot, b); err != nil {
			// It may have been any block, and not written or written.
			l.badSlots = true
			l.damaged(-1, fmt.Errorf("slot %d: %w", slot, err))
			continue
		}
		if [headSize]byte(b[BlockSize+tagSize:]) == ([headSize]byte{}) {
			continue
		}
		v := version{slot: uint32(slot), clip: BlockSize}
		h, err := l.seal.openBlock(b[:slotUsed], -1)
		v.block, v.seq, v.size = h.block, h.seq, h.size
		if err != nil {
			// What its header claims only decides what is refused.
			l.badSlots = true
			claim := int64(-1)
			if v.size = -1; h.file == l.seal.id && h.part == partBlock {
				claim = h.block
				l.versions = append(l.versions, v)
			}
			l.damaged(claim, fmt.Errorf("slot %d: %w", slot, err))
			continue
		}
		l.versions = append(l.versions, v)
	}
	slices.SortStableFunc(l.versions, func(a, b version) int { return cmp.Compare(a.seq, b.seq) })
	return nil
}

// readSlot reads a slot, zeros where the file ends within it: a kill cuts a write
// short. What the disk does not give back is ErrDamaged, since of a part of a
// slot it could not be told from that.
func readSlot(data io.ReaderAt, slot int64, b *[slotSize]byte) error {
	clear(b[:])
	if _, err := data.ReadAt(b[:slotUsed], slot*slotSize); err != nil && !isEOF(err) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

func (l *Left) damaged(block int64, err error) {
	l.damage = append(l.damage, Damage{block, fmt.Errorf("spool file %s: %w", l.seal.id, err)})
}

// Meta is the owner's record; nil if there was none, ErrDamaged if what is
// there does not authenticate.
func (l *Left) Meta() ([]byte, error) { return l.meta, l.metaErr }

// Damage lists what did not authenticate, whether it mattered or not.
func (l *Left) Damage() []Damage { return l.damage }

// Salvage lets ReadAt go on where damage leaves it open which blocks it
// concerns: then a block may read as an older state of it, or as the base.
// It is for a person who asked for that, not for a replay.
func (l *Left) Salvage() { l.doubt = false }

// Size is the file's length in bytes.
func (l *Left) Size() int64 { return l.size }

// Intact gives ErrDamaged where any block is not there as it was last written,
// as far as that shows. All that is on disk was authenticated by Open.
func (l *Left) Intact() error {
	if l.doubt {
		return l.firstDamage()
	}
	for _, s := range l.table.spans {
		for _, e := range s.page.entries {
			if i, ok := e.slot(); ok && l.versions[i].size < 0 {
				return l.firstDamage()
			}
		}
	}
	return nil
}

func (l *Left) firstDamage() error {
	for _, d := range l.damage {
		return d.Err
	}
	return fmt.Errorf("spool file %s: %w", l.seal.id, ErrDamaged)
}

// Here is how many bytes of the file are in the spool.
func (l *Left) Here() (n int64) {
	for off := int64(0); off < l.size; {
		kind, end := l.extent(off)
		if kind == Data {
			n += end - off
		}
		off = end
	}
	return n
}

// Extent is as File.Extent. Sent parts are not in the spool.
func (l *Left) Extent(off int64) (Kind, int64) { return l.extent(off) }

// ReadAt is as File.ReadAt. A block whose newest state is damaged gives
// ErrDamaged, never an older one; where it is not known which blocks are
// damaged, all do. A slot whose header was wiped out is noticed only after a
// Close, which leaves a list of what must be there.
func (l *Left) ReadAt(p []byte, off int64, base Fill) (int, error) {
	if l.doubt {
		return 0, fmt.Errorf("spool file %s: %w", l.seal.id, ErrDamaged)
	}
	n, gaps, err := l.read(l, p, off)
	if e := load(gaps, base); e != nil {
		return 0, e
	}
	return n, err
}

// Close ends reading.
func (l *Left) Close() error {
	if l.data == nil {
		return nil
	}
	return l.data.Close()
}

func (l *Left) buffer() *[slotSize]byte { return new([slotSize]byte) }
func (l *Left) put(*[slotSize]byte)     {}

// open reads the version that the table names.
func (l *Left) open(i uint32, block int64, b *[slotSize]byte) error {
	v := l.versions[i]
	if v.size < 0 {
		return fmt.Errorf("spool file %s, slot %d: %w", l.seal.id, v.slot, ErrDamaged)
	}
	if _, err := l.data.ReadAt(b[:slotUsed], int64(v.slot)*slotSize); err != nil {
		return fmt.Errorf("read %s: %w", l.data.Name(), err)
	}
	h, err := l.seal.openBlock(b[:slotUsed], block)
	if err == nil && h.seq != v.seq {
		err = ErrDamaged
	}
	if err != nil {
		return fmt.Errorf("spool file %s, slot %d: %w", l.seal.id, v.slot, err)
	}
	clear(b[v.clip:BlockSize])
	return nil
}

// String keeps the key out of what is printed.
func (r *Remains) String() string { return "spool " + r.dir.path }

// GoString is as String.
func (r *Remains) GoString() string { return r.String() }

// String keeps content out of what is printed.
func (l *Left) String() string { return "spool file " + l.seal.id.String() }

// GoString is as String.
func (l *Left) GoString() string { return l.String() }
