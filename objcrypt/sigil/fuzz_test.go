package sigil

import (
	"bytes"
	"errors"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// fixed is a record with fixed keys, for bodies that a fuzzer mutates.
func fixed() *Record {
	r := file()
	r.DEK, r.Generation = testEpoch("dek").Key, Generation{1, 2, 3}
	return r
}

// FuzzTail gives the parser tails whose MAC is right, so that it gets beyond.
func FuzzTail(f *testing.F) {
	r := fixed()
	const n = SegmentSize + 5
	late, _ := lateAttr.seal(r.DEK, r.Generation, 0, n)
	tail := makeTail(r.DEK, r.Generation, 0, n, make([]salt, 2), nil, late)
	f.Add(tail[:len(tail)-macSize], int64(n), true)
	f.Add(tail, int64(n), false)
	f.Add([]byte{}, int64(0), true)
	f.Fuzz(func(t *testing.T, b []byte, n int64, mac bool) {
		if mac {
			b = append(bytes.Clone(b), tailMAC(r.DEK, r.Generation, 0, b)...)
		}
		if n < 0 || n > 100*SegmentSize {
			return
		}
		table, err := parseTail(r.DEK, r.Generation, 0, n, BodySize(n), b)
		if err != nil {
			if !errors.Is(err, objcrypt.ErrCorrupt) {
				t.Fatalf("unnamed error: %v", err)
			}
			return
		}
		if !bytes.Equal(makeTail(r.DEK, r.Generation, 0, n, table.salts, nil, table.late), b) {
			t.Fatalf("%x is accepted and made otherwise", b)
		}
		if _, err := openLate(r.DEK, r.Generation, 0, n, table.late); err != nil && !errors.Is(err, objcrypt.ErrCorrupt) && !errors.Is(err, objcrypt.ErrVersion) {
			t.Fatalf("unnamed error: %v", err)
		}
	})
}

// FuzzBody reads whatever lies there as a body: nothing but the one that was
// sealed gives a byte or an end-of-file.
func FuzzBody(f *testing.F) {
	rec := fixed()
	plain := []byte("the plaintext of a small file")
	img := newImage(image{dek: rec.DEK, src: Bytes(plain), end: int64(len(plain)), salts: []salt{salt(rec.Generation)}, final: true})
	sealed := make([]byte, img.size())
	if _, err := img.section(f.Context(), 0, img.size()).ReadAt(sealed, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(sealed, int64(0), 10)
	f.Add(sealed[:16], int64(0), 10)
	f.Add([]byte{}, int64(5), 0)
	f.Add(append(bytes.Clone(sealed), 0), int64(29), 1)
	f.Fuzz(func(t *testing.T, body []byte, off int64, size int) {
		if size < 0 || size > 1<<20 {
			return
		}
		r, err := NewReader(rec, Header{}, Bytes(body), int64(len(body)), nil)
		if err != nil {
			return
		}
		p := make([]byte, size)
		n, err := r.ReadAt(t.Context(), p, off)
		same := bytes.Equal(body, sealed)
		if !same && (n != 0 || size > 0 && off >= 0 && !errors.Is(err, objcrypt.ErrCorrupt)) {
			t.Fatalf("%d bytes of another body, %v", n, err)
		}
		if same && n > 0 && !bytes.Equal(p[:n], plain[off:off+int64(n)]) {
			t.Fatalf("%q at %d", p[:n], off)
		}
		if _, _, err := OpenSuffix(rec, Header{}, body, int64(len(body))); err != nil && !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Fatalf("unnamed error: %v", err)
		}
	})
}
