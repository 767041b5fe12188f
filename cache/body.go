package cache

// MaxBlock is the most bytes that a block may have: a sealed chunk of 64 KiB.
const MaxBlock = 65_552

// Body is one immutable body as stored. All who speak of an ID say the same of
// the rest.
type Body struct {
	ID    ID
	Size  int64 // bytes
	Block int64 // bytes of a block, 1 to MaxBlock; the last one may be shorter
	Clear bool  // it arrives in the clear: a Disk seals it
}

// Disk keeps blocks beyond memory. Whatever fails is a miss. Safe for
// concurrent use.
type Disk interface {
	// Get fills p, which has exactly the length of block index, or gives false
	// and leaves anything in p.
	Get(b Body, index int64, p []byte) bool

	// Put takes block index, perhaps later or not at all. p is not kept after
	// the call returns.
	Put(b Body, index int64, p []byte)

	Drop(b Body)          // forgets the body
	DropKey(keyID string) // forgets all bodies under a key
}

// Lasting tells whether there may be blocks that were read before this Cache
// was made.
func (c *Cache) Lasting() bool { return c.opt.Disk != nil }
