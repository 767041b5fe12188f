package control

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFindAndWatch(t *testing.T) {
	places := []string{"/proc/no-such-place", filepath.Join(t.TempDir(), "run")}
	uid := os.Geteuid()
	rec := Record{PID: os.Getpid(), Dir: "/mnt/a", Spec: "s3://acme"}
	c, err := Create(places, rec)
	if err != nil {
		t.Fatal(err)
	}
	if p := Find(places, uid, "/mnt/b"); p != nil {
		t.Error("found a process for another mountpoint")
	}
	if p := Find(places, uid+1, "/mnt/a"); p != nil {
		t.Error("believed a directory of another user")
	}
	p := Find(places, uid, "/mnt/a")
	if p == nil {
		t.Fatal("not found")
	}
	defer p.Close()
	if got := p.Record(); got != rec {
		t.Errorf("%+v", got)
	}
	if err := c.Update(func(r *Record) { r.Ending, r.Pending = true, 7 }); err != nil {
		t.Fatal(err)
	}
	if got := p.Record(); !got.Ending || got.Pending != 7 || got.PID != rec.PID {
		t.Errorf("%+v", got)
	}

	// Another process takes the mountpoint over; who watched the first one
	// goes on watching that.
	other, err := Create(places, Record{PID: 1, Dir: "/mnt/a"})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Record(); got.PID != rec.PID || !p.Alive() {
		t.Errorf("%+v", got)
	}
	_ = c.f.Close() // as its end does
	if p.Alive() {
		t.Error("a dead process counts as alive")
	}
	if err := other.Remove(); err != nil {
		t.Error(err)
	}
	if p := Find(places, uid, "/mnt/a"); p != nil {
		t.Error("found after Remove")
	}
	_ = other.f.Close()
}

// found makes the file of a process and finds it, as another process does.
func found(t *testing.T, r Record) (*File, *Peer) {
	t.Helper()
	places := []string{filepath.Join(t.TempDir(), "run")}
	c, err := Create(places, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.f.Close() })
	p := Find(places, os.Geteuid(), r.Dir)
	if p == nil {
		t.Fatal("not found")
	}
	t.Cleanup(func() { _ = p.Close() })
	return c, p
}

func TestHalfWritten(t *testing.T) {
	c, p := found(t, Record{PID: 5, Dir: "/mnt/a"})
	if err := c.f.Truncate(3); err != nil {
		t.Fatal(err)
	}
	if got := p.Record(); got.PID != 5 {
		t.Errorf("%+v", got)
	}
}

// An announcement goes with who made it, and is none of a lock's life.
func TestAnnounce(t *testing.T) {
	c, p := found(t, Record{PID: 5, Dir: "/mnt/a"})
	if c.Announced() {
		t.Error("announced by nobody")
	}
	if err := p.Announce(); err != nil {
		t.Fatal(err)
	}
	if !c.Announced() || !p.Alive() {
		t.Errorf("announced %v, alive %v", c.Announced(), p.Alive())
	}
	if err := c.Update(func(r *Record) { r.Ending = true }); err != nil || !p.Record().Ending {
		t.Errorf("the process cannot tell any more: %v", err)
	}
	_ = p.Close()
	if c.Announced() {
		t.Error("still announced by one that has ended")
	}
}

func TestUnsafePlace(t *testing.T) {
	place := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(place, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(place, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Create([]string{place}, Record{Dir: "/mnt/a"}); err == nil {
		t.Error("a directory that others may write to was used")
	}
}

// A process that ends does not take away the file of one that came after it.
func TestRemoveLeavesAnothers(t *testing.T) {
	places := []string{filepath.Join(t.TempDir(), "run")}
	var files []*File
	for pid := range 2 {
		c, err := Create(places, Record{PID: pid + 1, Dir: "/mnt/a"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.f.Close()
		files = append(files, c)
	}
	if err := files[0].Remove(); err != nil {
		t.Error(err)
	}
	p := Find(places, os.Geteuid(), "/mnt/a")
	if p == nil {
		t.Fatal("the second process is not found any more")
	}
	defer p.Close()
	if p.Record().PID != 2 {
		t.Errorf("found %+v", p.Record())
	}
	for range 2 {
		if err := files[1].Remove(); err != nil {
			t.Error(err)
		}
	}
}

// What another user's process says does not steer our terminal.
func TestRecordIsPrintable(t *testing.T) {
	_, p := found(t, Record{PID: 1, Dir: "/mnt/a", Failed: "gone\x1b[2J: \u00fc\n"})
	if got := p.Record().Failed; got != "gone [2J: \u00fc " {
		t.Errorf("%q", got)
	}
}

// What is reckoned with is within bounds, whatever another user's file says.
func TestPendingIsBounded(t *testing.T) {
	for told, want := range map[int64]int64{-1: 0, math.MinInt64: 0, 7: 7, math.MaxInt64: maxPending} {
		_, p := found(t, Record{PID: 1, Dir: "/mnt/a", Pending: told})
		if got := p.Record().Pending; got != want {
			t.Errorf("%d: %d, want %d", told, got, want)
		}
	}
}

// Who tidies up in /tmp passes over what is locked, for as long as any process
// has its file there.
func TestPlaceIsHeld(t *testing.T) {
	place := filepath.Join(t.TempDir(), "run")
	free := func() bool {
		dir, err := os.Open(place)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		return unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
	}
	var files []*File
	for _, dir := range []string{"/mnt/a", "/mnt/b"} {
		f, err := Create([]string{place}, Record{PID: os.Getpid(), Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	for _, f := range files {
		if free() {
			t.Error("it is not locked")
		}
		if err := f.Remove(); err != nil {
			t.Error(err)
		}
	}
	if !free() {
		t.Error("it is locked by nobody")
	}
}
