package sigil

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/sigilfs/sigilfs/objcrypt"
)

// recentFrames is how many frames Frames remembers: 2 MiB.
const recentFrames = 8

// maxWindow is what a frame's header may ask for at the most (RFC 8878, 3.1.1.1.2
// recommends to support it), whatever its content is. None is allocated: a frame
// is decompressed where it belongs.
const maxWindow = 8 << 20

// Frames is what all readers of layout 1 share: decoders, and the frames of which
// a part was read last, so that the next read does not decompress them again. It
// is safe for concurrent use and needs no closing.
type Frames struct {
	dec *zstd.Decoder

	mu     sync.Mutex // guards recent and spare
	recent []recentFrame
	spare  [][]byte
}

// recentFrame is one decompressed: frame index of the body of that generation.
type recentFrame struct {
	gen   Generation
	index int64
	plain []byte
}

// NewFrames gives one. What decompresses takes no more memory than a frame and
// the decoder's own tables, whatever a frame's header asks for.
func NewFrames() *Frames {
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(0),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("sigil: zstd: " + err.Error()) // the options are what they are
	}
	return &Frames{dec: dec}
}

// unpack decompresses into dst, which packed must fill exactly.
func (c *Frames) unpack(dst, packed []byte) error {
	out, err := c.dec.DecodeAll(packed, dst[:0:len(dst)])
	if err != nil {
		return fmt.Errorf("zstd: %w: %w", err, objcrypt.ErrCorrupt)
	}
	if len(out) != len(dst) {
		return fmt.Errorf("zstd: %d bytes where the frame has %d: %w", len(out), len(dst), objcrypt.ErrCorrupt)
	}
	return nil
}

// copyOut copies of a remembered frame what p has room for from skip on.
func (c *Frames) copyOut(p []byte, g Generation, f, skip int64) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.recent {
		if r := &c.recent[i]; r.index == f && r.gen == g {
			return copy(p, r.plain[skip:]), true
		}
	}
	return 0, false
}

// room gives FrameSize bytes, whose content is undefined.
func (c *Frames) room() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.spare); n > 0 {
		room := c.spare[n-1]
		c.spare = c.spare[:n-1]
		return room
	}
	return make([]byte, FrameSize)
}

// keep remembers a frame of n bytes in room, and forgets the oldest.
func (c *Frames) keep(g Generation, f int64, room []byte, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.recent) == recentFrames {
		c.back(c.recent[0].plain[:FrameSize])
		c.recent = append(c.recent[:0], c.recent[1:]...)
	}
	c.recent = append(c.recent, recentFrame{g, f, room[:n]})
}

func (c *Frames) giveBack(room []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.back(room)
}

// back needs c.mu.
func (c *Frames) back(room []byte) {
	clear(room)
	if len(c.spare) < recentFrames {
		c.spare = append(c.spare, room)
	}
}
