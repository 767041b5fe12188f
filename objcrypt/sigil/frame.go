package sigil

// Sizes of layout 1, in bytes.
const (
	FrameSize = 256 << 10 // plaintext of a frame; the last of a body may be shorter

	framesPerSegment = SegmentSize / FrameSize
	maxSealedFrame   = FrameSize + TagSize
	minSealedFrame   = 1 + TagSize
	frameLenSize     = 3 // of its length in the tail
)

// Layouts of a body, as the header names them.
const (
	layoutChunks = 0
	layoutFrames = 1
)

// frameLen is what the tail says of a frame, u24be: its length as sealed, and
// in the top bit that it is stored, not compressed.
type frameLen uint32

const storedFrame frameLen = 1 << 23

func storedLen(plain int64) frameLen { return storedFrame | frameLen(plain+TagSize) }

func (l frameLen) stored() bool { return l&storedFrame != 0 }

// sealed is the length with the tag.
func (l frameLen) sealed() int64 { return int64(l &^ storedFrame) }

// valid tells whether a frame of plain bytes may have this length.
func (l frameLen) valid(plain int64) bool {
	if l.stored() {
		return l.sealed() == plain+TagSize
	}
	return l.sealed() >= minSealedFrame && l.sealed() <= maxSealedFrame
}

func appendFrameLen(b []byte, l frameLen) []byte { return append(b, byte(l>>16), byte(l>>8), byte(l)) }

func frameLenAt(b []byte, i int64) frameLen {
	p := b[i*frameLenSize:]
	return frameLen(p[0])<<16 | frameLen(p[1])<<8 | frameLen(p[2])
}

// frames counts the frames of n bytes; the empty body has none.
func frames(n int64) int64 { return ceil(n, FrameSize) }

// plainFrame is the plaintext length of frame f of n bytes.
func plainFrame(n, f int64) int64 { return min(FrameSize, n-f*FrameSize) }

// framedTail is the length of the tail of n bytes in layout 1.
func framedTail(n int64) int64 {
	return saltSize*ceil(n, SegmentSize) + frameLenSize*frames(n) + trailerSize
}

// framedRange bounds the length of the body of n bytes in layout 1.
func framedRange(n int64) (least, most int64) {
	tail := framedTail(n)
	return tail + minSealedFrame*frames(n), tail + maxSealedFrame*frames(n)
}
