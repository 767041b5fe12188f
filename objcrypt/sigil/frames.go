package sigil

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
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

// recentFrame is one decompressed: frame index of a body.
type recentFrame struct {
	body  [sha256.Size]byte
	index int64
	plain []byte
}

// frameBody names a body by what its frames open with: whoever seals a record
// chooses the generation, but not another's data key.
func frameBody(dek Key, g Generation, n int64) [sha256.Size]byte {
	name := append(dek[:len(dek):len(dek)], g[:]...)
	defer clear(name)
	return sha256.Sum256(binary.BigEndian.AppendUint64(name, uint64(n)))
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
func (c *Frames) copyOut(p []byte, body [sha256.Size]byte, f, skip int64) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.find(body, f); i >= 0 && skip < int64(len(c.recent[i].plain)) {
		return copy(p, c.recent[i].plain[skip:]), true
	}
	return 0, false
}

// find needs c.mu; -1: it is not remembered.
func (c *Frames) find(body [sha256.Size]byte, f int64) int {
	return slices.IndexFunc(c.recent, func(r recentFrame) bool { return r.index == f && r.body == body })
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
func (c *Frames) keep(body [sha256.Size]byte, f int64, room []byte, n int64) {
	c.giveBack(c.swap(recentFrame{body, f, room[:n]}))
}

// swap remembers r, and gives the room of what is not remembered any more: the
// oldest, or the same frame, which somebody else has read meanwhile.
func (c *Frames) swap(r recentFrame) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.find(r.body, r.index)
	if i < 0 && len(c.recent) == recentFrames {
		i = 0
	}
	var old []byte
	if i >= 0 {
		old = c.recent[i].plain[:FrameSize]
		c.recent = slices.Delete(c.recent, i, i+1)
	}
	c.recent = append(c.recent, r)
	return old
}

// giveBack clears room, if there is any, to be used again.
func (c *Frames) giveBack(room []byte) {
	if room == nil {
		return
	}
	clear(room)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spare) < recentFrames {
		c.spare = append(c.spare, room)
	}
}
