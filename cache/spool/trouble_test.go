package spool

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// withoutSync has fsync of a file or directory fail until restore: a descriptor
// of O_PATH does not do it (open(2)).
func withoutSync(t *testing.T, of **os.File) (restore func()) {
	t.Helper()
	good := *of
	fd, err := unix.Open(good.Name(), unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	*of = os.NewFile(uintptr(fd), good.Name())
	return func() {
		must(t, (*of).Close())
		*of = good
	}
}

// A log that was written anew and whose name could not be made durable is the
// one that is found, so what comes after goes there.
func TestLogWhoseNameIsNotDurable(t *testing.T) {
	dir, key := t.TempDir()+"/s", newKey()
	s := mustOpen(t, dir, key, 1<<30)
	f := mustFile(t, s, 0)
	must(t, f.WriteAt(bytes.Repeat([]byte{7}, 2*BlockSize), 0, nil))
	must(t, f.Sync())
	restore := withoutSync(t, &s.dir.f)
	f.mu.Lock()
	if err := f.compact(false); err == nil {
		t.Error("the directory was synced")
	}
	f.mu.Unlock()
	restore() // as the kernel: a failure is told once
	must(t, f.Truncate(BlockSize))
	if err := f.Sync(); err == nil {
		t.Error("the name counts as durable")
	}
	kill(t, s)

	l := openLeft(t, dir, key, f.ID())
	defer l.Close()
	if got, err := readAll(l, nil); err != nil || len(got) != BlockSize || len(l.Damage()) > 0 {
		t.Errorf("%d bytes, %v, %v", len(got), err, l.Damage())
	}
}

// Data that the disk did not take while the log was written anew is not taken
// for durable by the next sync, to which the kernel says that all is well.
func TestDataThatIsNotDurable(t *testing.T) {
	dir, key := t.TempDir()+"/s", newKey()
	s := mustOpen(t, dir, key, 1<<30)
	defer s.Close()
	f := mustFile(t, s, 0)
	must(t, f.WriteAt(bytes.Repeat([]byte{7}, 2*BlockSize), 0, nil))
	must(t, f.Sync())
	restore := withoutSync(t, &f.slots.f)
	f.mu.Lock()
	f.log.limit = 0
	f.log.records = journalMin + 1
	f.tidy()
	f.mu.Unlock()
	restore()
	if err := f.Sync(); err == nil {
		t.Error("the data counts as durable")
	}
	if err := f.WriteAt([]byte{1}, 0, nil); err == nil {
		t.Error("it takes more")
	}
}

// A sync goes on where the log is written anew under it. In memory, as a disk
// that takes its time keeps the two from meeting.
func TestSyncBesideCompaction(t *testing.T) {
	rounds := 5000
	dir, err := os.MkdirTemp("/dev/shm", "")
	if err != nil {
		dir, rounds = t.TempDir(), 100
	}
	defer os.RemoveAll(dir)
	s := mustOpen(t, dir+"/s", newKey(), 1<<30)
	f := mustFile(t, s, 0)
	must(t, f.WriteAt(bytes.Repeat([]byte{7}, 2*BlockSize), 0, nil))
	done := make(chan error, 1)
	go func() {
		for range rounds {
			if err := f.Sync(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			must(t, err)
			must(t, s.Close())
			return
		default:
		}
		f.mu.Lock()
		err := f.compact(false)
		f.mu.Unlock()
		must(t, err)
	}
}

// failing gives some of a slot, and then what a disk says of a bad sector.
type failing struct{ n int }

func (r failing) ReadAt(p []byte, _ int64) (int, error) {
	return copy(p, bytes.Repeat([]byte{1}, r.n)), unix.EIO
}

func TestSlotThatCannotBeRead(t *testing.T) {
	var b [slotSize]byte
	for _, n := range []int{0, 4096, BlockSize} {
		if err := readSlot(failing{n}, 0, &b); !errors.Is(err, ErrDamaged) || !errors.Is(err, unix.EIO) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if err := readSlot(bytes.NewReader([]byte("cut short")), 0, &b); err != nil { // by a kill
		t.Error(err)
	}
}

// What the disk does not give back is damage, of which export --salvage makes
// the best, and no end of everything.
func TestFileThatCannotBeRead(t *testing.T) {
	dir, key := t.TempDir()+"/s", newKey()
	id := leave(t, dir, key, 2)
	l := openLeft(t, dir, key, id)
	defer l.Close()
	blind, err := os.OpenFile(dir+"/"+id+dataExt, os.O_WRONLY, 0)
	must(t, err)
	defer blind.Close()
	unread := &Left{seal: l.seal, data: blind}
	must(t, unread.scan())
	if len(unread.Damage()) != 2 || !unread.badSlots {
		t.Errorf("damage: %v", unread.Damage())
	}
}

// The list that Close leaves of a file says of a hole where it is, and not of
// each block.
func TestLogOfALargeHole(t *testing.T) {
	const size = 16 << 30
	dir, key := t.TempDir()+"/s", newKey()
	s := mustOpen(t, dir, key, 1<<30)
	f := mustFile(t, s, size)
	must(t, f.Zero(0, size, nil))
	must(t, f.WriteAt(bytes.Repeat([]byte{7}, BlockSize), size/2, nil))
	must(t, s.Close())
	if st, err := os.Stat(dir + "/" + f.ID() + logExt); err != nil || st.Size() > 16*eventSize {
		t.Errorf("%d bytes, %v", st.Size(), err)
	}
	l := openLeft(t, dir, key, f.ID())
	defer l.Close()
	var kinds []Kind
	for off := int64(0); off < size; {
		kind, end := l.Extent(off)
		kinds, off = append(kinds, kind), end
	}
	if err := l.Intact(); err != nil || !slices.Equal(kinds, []Kind{Zero, Data, Zero}) || l.Here() != BlockSize {
		t.Errorf("%v, %v", kinds, err)
	}
}

// A truncation within a block whose log is due to be written anew.
func TestTruncateOfAFileWithALongLog(t *testing.T) {
	dir, key := t.TempDir()+"/s", newKey()
	s := mustOpen(t, dir, key, 1<<30)
	f := mustFile(t, s, 0)
	text := bytes.Repeat([]byte{7}, 3*BlockSize)
	must(t, f.WriteAt(text, 0, nil))
	const cuts = 5 * journalMin
	for i := range cuts {
		must(t, f.Truncate(int64(len(text)-1-i)))
	}
	if f.log.records > 2*journalMin {
		t.Errorf("%d records", f.log.records)
	}
	kill(t, s)
	l := openLeft(t, dir, key, f.ID())
	defer l.Close()
	if got, err := readAll(l, nil); err != nil || !bytes.Equal(got, text[:len(text)-cuts]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
