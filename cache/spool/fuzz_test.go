package spool

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzDamagedFiles: with any bytes of what a process left changed, cut or
// added, a recovery reads what was written last, or says that it is damaged.
func FuzzDamagedFiles(f *testing.F) {
	key := newKey()
	whole, id, text := leaveSome(f, key)
	for which := range uint8(3) {
		f.Add(which, uint32(0), []byte{1})
		f.Add(which, uint32(30), []byte{0xff, 0, 7})
		f.Add(which, uint32(BlockSize+40), []byte("changed"))
		f.Add(which, uint32(1<<20), []byte("beyond"))
		f.Add(which, uint32(17), []byte{})
	}
	f.Fuzz(func(t *testing.T, which uint8, at uint32, bytesThere []byte) {
		dir := filepath.Join(t.TempDir(), "s")
		must(t, os.Mkdir(dir, 0o700))
		for i, ext := range []string{dataExt, logExt, metaExt} {
			b := bytes.Clone(whole[ext])
			if int(which)%3 == i {
				b = damage(b, int(at), bytesThere)
			}
			must(t, os.WriteFile(filepath.Join(dir, id+ext), b, 0o600))
		}
		r, err := Recover(dir, key)
		must(t, err)
		defer r.Close()
		l, err := r.Open(id)
		if err != nil {
			return
		}
		defer l.Close()
		if meta, err := l.Meta(); err == nil && meta != nil && string(meta) != "note" {
			t.Fatalf("a note of %q", meta)
		}
		if l.Intact() != nil {
			return
		}
		p := make([]byte, len(text))
		n, err := l.ReadAt(p, 0, nil)
		if err == nil && !bytes.Equal(p[:n], text[:n]) {
			t.Fatal("reads what was not written")
		}
		if err != nil && !errors.Is(err, ErrDamaged) && !isEOF(err) {
			t.Fatal(err)
		}
	})
}

// damage puts p at some place of b, or cuts it there.
func damage(b []byte, at int, p []byte) []byte {
	at %= len(b) + 1
	if len(p) == 0 {
		return b[:at]
	}
	return append(append(b[:at:at], p...), b[min(len(b), at+len(p)):]...)
}

// leaveSome gives the files that a process which died has left, by extension.
func leaveSome(t testing.TB, key *[32]byte) (files map[string][]byte, id string, text []byte) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s")
	s := mustOpen(t, dir, key, 1<<30)
	f := mustFile(t, s, 0)
	text = bytes.Repeat([]byte("abc"), BlockSize)
	must(t, f.WriteAt(text, 0, nil))
	must(t, f.NoteMeta([]byte("note")))
	must(t, s.Close()) // which leaves a list of what must be there
	files = map[string][]byte{}
	for _, ext := range []string{dataExt, logExt, metaExt} {
		b, err := os.ReadFile(filepath.Join(dir, f.ID()+ext))
		must(t, err)
		files[ext] = b
	}
	return files, f.ID(), text
}
