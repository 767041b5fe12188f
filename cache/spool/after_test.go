package spool

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// kill ends a spool as kill -9 does: nothing is written any more, and the lock
// goes with the process.
func kill(t *testing.T, s *Spool) {
	t.Helper()
	must(t, s.dir.f.Close())
}

// A note is there after a kill, the last one whole, and without it nothing
// names the file.
func TestNotesOutliveAKill(t *testing.T) {
	dir, key := t.TempDir()+"/s", newKey()
	s := mustOpen(t, dir, key, 1<<30)
	f, g := mustFile(t, s, 0), mustFile(t, s, 0)
	must(t, f.NoteMeta([]byte("first")))
	must(t, f.WriteAt(bytes.Repeat([]byte{1}, 2*BlockSize), 0, nil))
	must(t, f.NoteMeta([]byte("second")))
	must(t, g.NoteMeta([]byte("settled")))
	must(t, g.DropMeta())
	kill(t, s)

	l := openLeft(t, dir, key, f.ID())
	defer l.Close()
	if meta, err := l.Meta(); err != nil || string(meta) != "second" {
		t.Errorf("%q, %v", meta, err)
	}
	if err := l.Intact(); err != nil || l.Here() != 2*BlockSize {
		t.Errorf("%v, %d bytes are here", err, l.Here())
	}
	dropped := openLeft(t, dir, key, g.ID())
	defer dropped.Close()
	if meta, err := dropped.Meta(); meta != nil || err != nil {
		t.Errorf("%q, %v", meta, err)
	}
}

// A later process writes a record of its own, under another key: no nonce of
// the first one is used again.
func TestRecordOfALaterProcess(t *testing.T) {
	dir, key := t.TempDir()+"/s", newKey()
	id := leave(t, dir, key, 1)
	r, err := Recover(dir, key)
	must(t, err)
	defer r.Close()
	other, err := Recover(dir, key) // somebody looks on
	must(t, err)
	defer other.Close()
	first, err := os.ReadFile(filepath.Join(dir, id+metaExt))
	must(t, err)
	for _, text := range []string{"one", "two"} {
		must(t, r.SetMeta(id, []byte(text)))
		now, err := os.ReadFile(filepath.Join(dir, id+metaExt))
		must(t, err)
		if bytes.Equal(now[:headSize], first[:headSize]) {
			t.Error("one header twice")
		}
		first = now
		l, err := other.Open(id)
		must(t, err)
		if meta, err := l.Meta(); err != nil || string(meta) != text {
			t.Errorf("%q, %v", meta, err)
		}
		must(t, l.Close())
	}
	first[len(first)-1] ^= 1
	must(t, os.WriteFile(filepath.Join(dir, id+metaExt), first, 0o600))
	l, err := other.Open(id)
	must(t, err)
	defer l.Close()
	if _, err := l.Meta(); !errors.Is(err, ErrDamaged) {
		t.Errorf("a flipped bit: %v", err)
	}
}

// What is damaged is said before anything of it is sent anywhere.
func TestIntact(t *testing.T) {
	dir, key := t.TempDir()+"/s", newKey()
	id := leave(t, dir, key, 3)
	path := filepath.Join(dir, id+dataExt)
	b, err := os.ReadFile(path)
	must(t, err)
	b[slotSize+100] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
	l := openLeft(t, dir, key, id)
	defer l.Close()
	if err := l.Intact(); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
}
