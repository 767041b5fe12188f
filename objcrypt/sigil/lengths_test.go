package sigil

import (
	"errors"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// What the bucket's owner sees of a body: its length, which in layout 1 tells text
// from noise and one text from another, and in layout 0 nothing.
func TestLengthsTellOfContent(t *testing.T) {
	const n = 3*FrameSize + 5
	length := func(c *Compressor, src ReaderAt) int {
		return len(sealedBy(t, c, file(), src, n).body)
	}
	noise, text, other := keystream{"lengths", n}, thin{keystream{"lengths", n}}, Bytes(strings.Repeat("another text ", n))
	c := testCompressor(t)
	if a, b, c := length(c, noise), length(c, text), length(c, other); a <= b || b <= c {
		t.Errorf("noise has %d bytes, text %d, another text %d", a, b, c)
	}
	if a, b, c := length(nil, noise), length(nil, text), length(nil, other); a != b || b != c {
		t.Errorf("in layout 0 noise has %d bytes, text %d, another text %d", a, b, c)
	}
}

// Who may write a part of a frame and see its length can guess at the rest of it,
// and at nothing in another frame.
func TestLengthsTellOfGuesses(t *testing.T) {
	const n = 2 * FrameSize
	secret := "session=5b1ce09a77f34d2e8801c6b3"
	length := func(guess string, at int64) int {
		p := make(Bytes, n)
		copy(p, thin{keystream{"guesses", n}}.bytes(t))
		copy(p[1000:], secret)
		copy(p[at:], guess)
		return len(sealedBy(t, testCompressor(t), file(), p, n).body)
	}
	wrong := "session=e67f20b1d85c94a3f9d2047c"
	if right, wrong := length(secret, 2000), length(wrong, 2000); right >= wrong {
		t.Errorf("in the secret's frame a right guess gives %d bytes, a wrong one %d", right, wrong)
	}
	if right, wrong := length(secret, FrameSize+2000), length(wrong, FrameSize+2000); right != wrong {
		t.Errorf("in another frame a right guess gives %d bytes, a wrong one %d", right, wrong)
	}
}

// Each length is held against what can be, also where the sum of all is right.
func TestFrameLengthsAreBounded(t *testing.T) {
	const n = FrameSize + 100
	rec := fixed()
	late := make([]byte, lateSize)
	for _, c := range []struct {
		first, second frameLen
		ok            bool
	}{
		{17, 17, true},
		{maxSealedFrame, maxSealedFrame, true},
		{storedLen(FrameSize), storedLen(100), true},
		{16, 17, false},
		{17, 16, false},
		{17, 0, false},
		{maxSealedFrame + 1, 17, false},
		{17, maxSealedFrame + 1, false},
		{storedLen(FrameSize - 1), 17, false},
		{storedLen(FrameSize + 1), 17, false},
		{17, storedLen(99), false},
		{17, storedLen(101), false},
		{17, storedLen(FrameSize), false},
	} {
		lens := []frameLen{c.first, c.second}
		tail := makeTail(rec.DEK, rec.Generation, layoutFrames, n, newSalts(1), lens, late)
		body := c.first.sealed() + c.second.sealed() + int64(len(tail))
		if _, err := parseTail(rec.DEK, rec.Generation, layoutFrames, n, body, tail); c.ok != (err == nil) || err != nil && !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("lengths %x and %x: %v", c.first, c.second, err)
		}
		if _, err := parseTail(rec.DEK, rec.Generation, layoutFrames, n, body+1, tail); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("lengths %x and %x in a body of a byte more: %v", c.first, c.second, err)
		}
	}
}
