package sigil

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
	"pgregory.net/rapid"
)

// viewed is a body that is shown in pieces of a chunk, or as a test wants them.
type viewed struct {
	Bytes
	piece int64 // 0 is a chunk
	end   int64 // shows none beyond; 0 is all
	err   error // then
	views int
}

func (v *viewed) View(_ context.Context, off, n int64, use func([]byte) error) error {
	v.views++
	piece := int64(sealedChunk)
	if v.piece > 0 {
		piece = v.piece
	}
	for end := off + n; off < end; {
		if v.end > 0 && off >= v.end {
			return v.err
		}
		to := min(end, (off/piece+1)*piece)
		if err := use(v.Bytes[off:to:to]); err != nil {
			return err
		}
		off = to
	}
	return nil
}

// TestReaderViews: what is shown reads as what is copied, and stays as it is.
func TestReaderViews(t *testing.T) {
	for _, n := range []int64{0, 1, ChunkSize, ChunkSize + 1, SegmentSize, SegmentSize + 3*ChunkSize + 5} {
		o := sealed(t, file(), keystream{"view", n}, n)
		plain := keystream{"view", n}.bytes(t)
		body := bytes.Clone(o.body)
		src := &viewed{Bytes: body}
		rec, _ := o.reader(t)
		r, err := NewReader(rec, o.header, src, int64(len(body)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			off := rapid.Int64Range(0, n+10).Draw(t, "off")
			p := make([]byte, rapid.Int64Range(0, min(n, 3*ChunkSize)+10).Draw(t, "n"))
			k, err := r.ReadAt(t.Context(), p, off)
			want := plain[min(off, n):min(off+int64(len(p)), n)]
			if short := len(want) < len(p); !bytes.Equal(p[:k], want) || short != (err == io.EOF) || !short && err != nil {
				t.Fatalf("%d bytes at %d: %d, %v", len(p), off, k, err)
			}
		})
		if !bytes.Equal(body, o.body) {
			t.Errorf("%d bytes: the source was written to", n)
		}
		if n > 0 && src.views == 0 {
			t.Errorf("%d bytes: nothing was viewed", n)
		}
	}
}

// TestReaderViewsWhatIsBad: nothing of a read leaves of which a chunk is bad,
// missing, or not one.
func TestReaderViewsWhatIsBad(t *testing.T) {
	const n = 3 * ChunkSize
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		spoil func(*viewed)
		want  error
	}{
		"flipped": {func(v *viewed) { v.Bytes[2*sealedChunk+5] ^= 1 }, objcrypt.ErrCorrupt},
		"ends":    {func(v *viewed) { v.end = 2 * sealedChunk }, objcrypt.ErrCorrupt},
		"fails":   {func(v *viewed) { v.end, v.err = 2*sealedChunk, broken }, broken},
		"pieces":  {func(v *viewed) { v.piece = ChunkSize }, errPiece},
	} {
		o := sealed(t, file(), keystream{"bad", n}, n)
		src := &viewed{Bytes: o.body}
		c.spoil(src)
		rec, _ := o.reader(t)
		r, _ := NewReader(rec, o.header, src, int64(len(o.body)), nil)
		p := make([]byte, n)
		k, err := r.ReadAt(t.Context(), p, 0)
		if k != 0 || !errors.Is(err, c.want) || !bytes.Equal(p, make([]byte, n)) {
			t.Errorf("%s: %d, %v", name, k, err)
		}
		if errors.Is(err, objcrypt.ErrCorrupt) != (c.want == objcrypt.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
