package sigil

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// Levels of zstd, as its command line counts them. The encoder has four kinds
// of its own, of which each level takes the nearest.
const (
	MinLevel     = 1
	DefaultLevel = 3
	MaxLevel     = 22
)

// heldBytes is how much of what it has sealed a Compressor keeps until it is
// sent. What finds no room is compressed again for the sending.
const heldBytes = 32 << 20

// Compressor makes bodies of layout 1: frames of 256 KiB, each compressed with
// zstd (RFC 8878) before it is sealed, or stored where that does not make it
// shorter by a sixteenth. A nil *Compressor makes bodies of layout 0. It is safe
// for concurrent use and needs no closing.
type Compressor struct {
	enc   *zstd.Encoder
	rooms sync.Pool // *frameRoom
	held  atomic.Int64
}

// frameRoom is room for a frame before and after it is compressed.
type frameRoom struct {
	plain  [FrameSize]byte
	packed []byte
}

// NewCompressor gives one for a level from MinLevel to MaxLevel.
func NewCompressor(level int) (*Compressor, error) {
	if level < MinLevel || level > MaxLevel {
		return nil, fmt.Errorf("zstd level %d, not from %d to %d: %w", level, MinLevel, MaxLevel, ErrRecord)
	}
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithWindowSize(FrameSize),
		zstd.WithEncoderCRC(false)) // the tag says more
	if err != nil {
		return nil, fmt.Errorf("zstd level %d: %w", level, err)
	}
	return &Compressor{enc: enc}, nil
}

func (c *Compressor) room() *frameRoom {
	if r, ok := c.rooms.Get().(*frameRoom); ok {
		return r
	}
	return &frameRoom{packed: make([]byte, 0, maxSealedFrame+FrameSize/16)}
}

// release clears the plaintext, compressed or not, and gives the room back.
func (c *Compressor) release(r *frameRoom) {
	clear(r.plain[:])
	clear(r.packed[:cap(r.packed)])
	c.rooms.Put(r)
}

// pack gives plain, which lies in r, compressed, or itself where it is to be
// stored.
func (c *Compressor) pack(r *frameRoom, plain []byte) (packed []byte, l frameLen) {
	r.packed = c.enc.EncodeAll(plain, r.packed[:0])
	if len(r.packed) > len(plain)-len(plain)/16 || len(r.packed) > FrameSize {
		return plain, storedLen(int64(len(plain)))
	}
	return r.packed, frameLen(len(r.packed) + TagSize)
}

// hold takes n bytes of the room for what was sealed; false: there is none.
func (c *Compressor) hold(n int64) bool {
	if c.held.Add(n) <= heldBytes {
		return true
	}
	c.held.Add(-n)
	return false
}

// Ratio tells what a part of src becomes: the length as sealed of what lies in
// [off, off+n), out of every eighth frame, by its own. It is 1 where nothing of
// it can be read, and for layout 0.
func (c *Compressor) Ratio(ctx context.Context, src ReaderAt, off, n int64) float64 {
	if c == nil {
		return 1
	}
	r := c.room()
	defer c.release(r)
	plain, packed := int64(0), int64(0)
	for at := off; at < off+n; at += 8 * FrameSize {
		p := r.plain[:min(FrameSize, off+n-at)]
		if readFull(ctx, src, p, at) != nil {
			break
		}
		_, l := c.pack(r, p)
		plain, packed = plain+int64(len(p)), packed+l.sealed()
	}
	if plain == 0 {
		return 1
	}
	return float64(packed) / float64(plain)
}

// readFull fills p from off on. A source that ends before is ErrSource.
func readFull(ctx context.Context, src ReaderAt, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	n, err := src.ReadAt(ctx, p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("ends at %d, not at %d: %w", off+int64(n), off+int64(len(p)), ErrSource)
	default:
		return fmt.Errorf("plaintext at %d: %w", off, err)
	}
}

// doubt decides which frames are not worth a try: after one that does not
// shrink some are stored unseen, more after each further one.
type doubt struct{ skip, misses int }

// maxSkip frames at the most are stored unseen, so that a change of content is
// noticed within a segment.
const maxSkip = 7

func (d *doubt) tries() bool {
	if d.skip > 0 {
		d.skip--
		return false
	}
	return true
}

func (d *doubt) learns(l frameLen) {
	if !l.stored() {
		d.misses = 0
		return
	}
	d.misses = min(d.misses+1, 3)
	d.skip = min(1<<d.misses-1, maxSkip)
}
