package s3ec

import (
	"bytes"
	"crypto/cipher"
	"errors"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
	"pgregory.net/rapid"
)

// sizes are those where something begins or ends.
func sizes() []int {
	s := []int{0, 1, 15, 16, 17, 31, 32, 33}
	for _, n := range []int{ChunkSize, 2 * ChunkSize, windowSize, windowSize + ChunkSize, 2 * windowSize} {
		s = append(s, n-17, n-16, n-1, n, n+1, n+16)
	}
	return s
}

func anySize(t *rapid.T) int {
	if rapid.Bool().Draw(t, "edge") {
		return rapid.SampledFrom(sizes()).Draw(t, "size")
	}
	return rapid.IntRange(0, 3*windowSize).Draw(t, "size")
}

func element128(t *rapid.T, label string) element {
	return newElement([blockSize]byte(rapid.SliceOfN(rapid.Byte(), blockSize, blockSize).Draw(t, label)))
}

// TestField holds the multiplication against the laws of a field, and against
// GHASH of two blocks (NIST SP 800-38D): X1·H^2 + X2·H.
func TestField(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := element128(t, "a"), element128(t, "b"), element128(t, "c")
		one := element{hi: 1 << 63}
		if a.mul(b) != b.mul(a) || a.mul(b).mul(c) != a.mul(b.mul(c)) || a.mul(one) != a {
			t.Error("not commutative, associative, or without a one")
		}
		if a.mul(b.add(c)) != a.mul(b).add(a.mul(c)) {
			t.Error("not distributive")
		}
		n := rapid.Int64Range(0, 1000).Draw(t, "n")
		if a.pow(n).mul(a) != a.pow(n+1) {
			t.Error("power is not repeated multiplication")
		}
	})
}

// stream is one with any key, nonce and additional data.
func stream(key, nonce []byte, aad string) *gcmStream {
	block := newAES(key)
	s := &gcmStream{block: block, aad: aad, ghash: newGHASH(block)}
	copy(s.nonce[:], nonce)
	return s
}

// TestStreamIsGCM makes ciphertext and tag in pieces, and compares them with
// what crypto/cipher makes whole.
func TestStreamIsGCM(t *testing.T) {
	all := plaintext(3*windowSize + 64)
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), keySize, keySize).Draw(t, "key")
		nonce := rapid.SliceOfN(rapid.Byte(), nonceSize, nonceSize).Draw(t, "nonce")
		aad := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "aad")
		plain := all[:anySize(t)]
		n := int64(len(plain))
		want := newGCM(newAES(key)).Seal(nil, nonce, plain, aad)

		s := stream(key, nonce, string(aad))
		got := make([]byte, n)
		for off := 0; off < len(plain); {
			end := min(len(plain), off+rapid.IntRange(1, windowSize).Draw(t, "piece"))
			s.xor(got[off:end], plain[off:end], int64(off))
			off = end
		}
		if !bytes.Equal(got, want[:n]) {
			t.Fatal("ciphertext is another")
		}
		var sums []element
		for c := range chunks(n) {
			sums = append(sums, s.ghash.sum(got[c*ChunkSize:][:chunkLen(n, c)]))
		}
		if tag := s.tag(sums, n); !bytes.Equal(tag[:], want[n:]) {
			t.Fatal("tag is another")
		}
		if _, err := s.verify(t.Context(), memory(want), n); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCounterAtTheEnd goes to the last blocks of the longest body: the counter
// must reach 2^32-1 there and not wrap.
func TestCounterAtTheEnd(t *testing.T) {
	s := stream(make([]byte, keySize), bytes.Repeat([]byte{7}, nonceSize), "")
	last := int64(MaxSize-1) / blockSize
	want := append(bytes.Repeat([]byte{7}, nonceSize), 0xff, 0xff, 0xff, 0xff)
	if got := s.counter(firstCounter + last); !bytes.Equal(got[:], want) {
		t.Fatalf("%x", got)
	}
	got, expect := make([]byte, 8), make([]byte, blockSize)
	s.block.Encrypt(expect, want)
	s.xor(got, make([]byte, 8), MaxSize-8)
	if !bytes.Equal(got, expect[7:15]) {
		t.Errorf("%x, not %x", got, expect[7:15])
	}
}

// TestVerifyFindsEveryFlip changes a byte anywhere, of the body and of the tag.
func TestVerifyFindsEveryFlip(t *testing.T) {
	plain := plaintext(windowSize + ChunkSize + 33)
	sealed := newGCM(newAES(make([]byte, keySize))).Seal(nil, make([]byte, nonceSize), plain, nil)
	s := stream(make([]byte, keySize), nil, "")
	rapid.Check(t, func(t *rapid.T) {
		broken := memory(bytes.Clone(sealed))
		broken[rapid.IntRange(0, len(broken)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := s.verify(t.Context(), broken, int64(len(plain))); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Fatalf("%v", err)
		}
	})
}

func cbcSealed(key, iv, plain []byte) memory {
	pad := blockSize - len(plain)%blockSize
	b := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(newAES(key), iv).CryptBlocks(b, b)
	return b
}

// TestCBC reads any range of bodies of any length.
func TestCBC(t *testing.T) {
	key, iv := bytes.Repeat([]byte{3}, keySize), bytes.Repeat([]byte{5}, blockSize)
	all := plaintext(3*windowSize + 64)
	rapid.Check(t, func(t *rapid.T) {
		plain := all[:anySize(t)]
		sealed := cbcSealed(key, iv, plain)
		o := &Opener{env: &Envelope{suite: SuiteCBC, iv: iv}, block: newAES(key)}
		r, err := o.Open(t.Context(), sealed, int64(len(sealed)))
		if err != nil || r.Size() != int64(len(plain)) {
			t.Fatalf("%v", err)
		}
		if n, err := o.PlainSize(t.Context(), sealed, int64(len(sealed))); err != nil || n != r.Size() {
			t.Fatalf("%d, %v", n, err)
		}
		checkRange(t, r, plain)
		cut := rapid.IntRange(1, min(len(sealed), 15)).Draw(t, "cut")
		if _, err := o.Open(t.Context(), sealed[cut:], int64(len(sealed)-cut)); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Fatalf("cut by %d: %v", cut, err)
		}
	})
}

// TestCBCPadding goes through all last blocks that differ in their padding.
func TestCBCPadding(t *testing.T) {
	key, iv := bytes.Repeat([]byte{3}, keySize), make([]byte, blockSize)
	for pad := range 256 {
		for _, broken := range []int{-1, 0, 8, 14} {
			last := bytes.Repeat([]byte{byte(pad)}, blockSize)
			want := pad >= 1 && pad <= blockSize
			if broken >= 0 {
				last[broken] ^= 0x40
				want = want && broken < blockSize-pad
			}
			sealed := make(memory, blockSize)
			cipher.NewCBCEncrypter(newAES(key), iv).CryptBlocks(sealed, last)
			o := &Opener{env: &Envelope{suite: SuiteCBC, iv: iv}, block: newAES(key)}
			n, err := o.PlainSize(t.Context(), sealed, blockSize)
			if want && (err != nil || n != int64(blockSize-pad)) || !want && !errors.Is(err, objcrypt.ErrCorrupt) {
				t.Errorf("padding %d, byte %d broken: %d, %v", pad, broken, n, err)
			}
		}
	}
}
