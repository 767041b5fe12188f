package s3ec

import "encoding/binary"

// element is one of GF(2^128) as GHASH writes it (NIST SP 800-38D, 6.3): bit 0
// is the highest of hi, and stands for x^0.
type element struct{ hi, lo uint64 }

func newElement(b [blockSize]byte) element {
	return element{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (a element) bytes() (b [blockSize]byte) {
	binary.BigEndian.PutUint64(b[:8], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	return b
}

func (a element) add(b element) element { return element{a.hi ^ b.hi, a.lo ^ b.lo} }

// mul takes the same time for all elements: 128 steps of shift and add.
func (a element) mul(b element) (z element) {
	for _, word := range [2]uint64{a.hi, a.lo} {
		for i := 63; i >= 0; i-- {
			take := -(word >> i & 1)
			z.hi ^= b.hi & take
			z.lo ^= b.lo & take
			reduce := -(b.lo & 1)
			b.lo = b.lo>>1 | b.hi<<63
			b.hi = b.hi>>1 ^ reduce&(0xe1<<56)
		}
	}
	return z
}

// pow gives a to the power of n > 0. Its time shows n, which is a length.
func (a element) pow(n int64) element {
	z := element{hi: 1 << 63}
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			z = z.mul(a)
		}
		a = a.mul(a)
	}
	return z
}
