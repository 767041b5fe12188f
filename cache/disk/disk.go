// Package disk keeps blocks of object bodies on a local disk, for the next
// mount too. It is a cache: whatever fails, is damaged or half written is a
// miss, nothing is synced, and no block that it gives differs from what was
// put under the same body.
//
// A directory belongs to one process at a time (Claim) and has these files,
// 0600, integers little-endian:
//
//	sigilfs.lock    held by flock(2); says by whom
//	sigilfs.key-…   what a volume needs to have its cache key again, opaque
//	sigilfs.index   a header of 4,096 bytes (record.go), then a record of 80 bytes a slot
//	sigilfs.blocks  the slots, 1,052,672 bytes each, at number × that; sparse
//
// A slot holds an extent: 16 adjacent blocks of one body, each at its number
// times the stored length of a full one. What a slot does not hold is a hole in
// the file and takes no space; so blocks of 4 KiB and bodies of 100 bytes are
// kept at what they need, rounded up to 4 KiB for each run of blocks.
//
//	a block of ciphertext  the bytes || CRC-32C of salt, number and bytes (4)
//	a block in the clear   nonce (12, random) || AES-256-GCM of the bytes || tag (16)
//	    under HKDF-Expand(PRK, "sigil/v1/cache-block" || salt || name || extent),
//	    PRK = HKDF-Extract(cache key); the AAD is name || extent || number
//
// The salt, 16 bytes, is drawn when a slot begins an extent, so that neither
// what an earlier extent left nor a record older than the slot's content is
// taken for its own. The name is an HMAC of what the body is, under a key made
// of the cache key: no name, no key ID and nothing in the clear is in the
// files. How many bytes are cached, and when each came, is.
//
// A block is written before its record, and a record is zeroed before its slot
// is punched. After a crash of the process all that was recorded is there;
// after one of the machine, any part of it, and the sums tell which.
//
// Records of another cache key are another volume's that used the directory
// before. They are never served, and go first.
package disk

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sigilfs/sigilfs/cache"
)

// Sentinel errors.
var (
	// ErrLocked: another process holds the directory.
	ErrLocked = errors.New("cache directory is in use")

	// ErrUnsafe: the directory belongs to somebody else, others may write to
	// it, or something else lies in the place of a file.
	ErrUnsafe = errors.New("cache directory is not safe to use")

	// ErrUnsupported: its file system cannot punch holes (fallocate(2)).
	ErrUnsupported = errors.New("cache directory is on a file system without sparse files")

	// ErrVanished: the files were removed while they were in use.
	ErrVanished = errors.New("cache directory was removed")
)

// KeySize is the length of a cache key in bytes.
const KeySize = 32

// Options of Open.
type Options struct {
	// Key seals. Blocks that were put under another one are not found.
	Key [KeySize]byte

	// Size is the most that the files may take on disk, in bytes, without what
	// the file system needs to keep account of them. At least MinSize.
	Size int64

	// Free is left free on the file system by the cache, in bytes, whatever
	// others write: it looks every few seconds and shrinks.
	Free int64

	// Report is told, once, why nothing is cached any more; nil drops it. It
	// must not call the Cache.
	Report func(error)

	free func() (int64, error) // of the file system, in bytes; nil asks it
}

// MinSize is the least Options.Size: what a few slots take.
const MinSize = 8 << 20

const (
	maxQueued    = 256             // blocks that wait to be written; more are not kept
	maxReading   = 256             // reads at a time: each that a disk does not answer takes a thread
	measureEvery = 5 * time.Second // looks at what is free, and whether the files are still there
	measureAfter = 8 << 20         // bytes written between looks
)

// Cache is the disk's part of a read cache. It is safe for concurrent use.
// Beside the queue (16 MiB when full) it takes about 150 bytes of memory a slot
// that is in use.
type Cache struct {
	opt     Options
	secret  secrets
	index   *os.File
	blocks  *os.File
	raw     syscall.RawConn // of blocks
	slots   int             // most that there may be
	buffers sync.Pool       // *buffer, for readers of sealed blocks

	reads chan struct{} // a token for each read under way
	wake  chan struct{} // a token where something may wait to be written
	spare chan *buffer  // has room for all buffers
	made  atomic.Int32  // buffers of the queue
	slow  atomic.Int64  // until when nobody waits for one, Unix ns
	stuck atomic.Bool   // somebody waited in vain, and nothing was written since
	stop  chan struct{}
	done  chan struct{} // closed when the writer has ended
	end   sync.Once

	hits, misses, lost atomic.Int64

	// disk is held by whoever changes the files or which slot holds what.
	// Taken before mu.
	disk    sync.Mutex
	bound   int64 // most bytes that table.used may be; guarded by disk
	unseen  int64 // bytes written since the last look; guarded by disk
	trouble error // why the cache is off; guarded by disk

	mu      sync.Mutex // guards what follows; never held over a system call
	table   table
	waiting backlog
	round   uint64 // raised by what makes queued blocks unwanted
	off     bool
}

var _ cache.Disk = (*Cache)(nil)

// Open begins to use a directory, with what an earlier mount left there under
// the same key. The caller closes the Cache, then the Dir. Errors: ErrUnsafe,
// ErrUnsupported, those of the disk.
func Open(dir *Dir, opt Options) (*Cache, error) {
	if opt.Size < MinSize {
		return nil, fmt.Errorf("open cache: size of %d bytes, at least %d are needed", opt.Size, MinSize)
	}
	c := &Cache{
		opt: opt, slots: slotsFor(opt.Size), table: newTable(), waiting: backlog{by: map[key]*batch{}},
		reads: make(chan struct{}, maxReading), wake: make(chan struct{}, 1), spare: make(chan *buffer, maxQueued),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	c.buffers.New = func() any { return new(buffer) }
	if c.opt.Report == nil {
		c.opt.Report = func(error) {}
	}
	if c.opt.free == nil {
		c.opt.free = c.freeOnDisk
	}
	clear(c.opt.Key[:])
	err := c.secret.from(&opt.Key)
	if err == nil {
		err = c.open(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	go func() {
		defer close(c.done)
		c.work()
	}()
	return c, nil
}

// Close writes what is queued and ends. Get and Put do nothing from now on.
func (c *Cache) Close() error {
	c.end.Do(func() { close(c.stop) })
	<-c.done
	c.disk.Lock()
	defer c.disk.Unlock()
	c.mu.Lock()
	was := c.off
	c.off = true
	c.mu.Unlock()
	if was {
		return nil // closed by the trouble, or before
	}
	return c.closeFiles()
}

func (c *Cache) closeFiles() error {
	if err := errors.Join(c.index.Close(), c.blocks.Close()); err != nil {
		return fmt.Errorf("close cache: %w", err)
	}
	return nil
}

// Stats are counts since Open, and sizes now.
type Stats struct {
	Hits, Misses int64 // of Get, in blocks
	Lost         int64 // blocks that were put and not kept: the disk was too slow, full or off
	Bytes        int64 // taken on disk by blocks
	Limit        int64 // Options.Size: less where the disk has no more
	Extents      int   // that have blocks
}

// Stats tells how the cache does.
func (c *Cache) Stats() Stats {
	s := Stats{Limit: c.opt.Size, Hits: c.hits.Load(), Misses: c.misses.Load(), Lost: c.lost.Load()}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Bytes, s.Extents = c.table.used, len(c.table.by)
	return s
}

// String keeps keys out of what is printed.
func (c *Cache) String() string { return "disk.Cache(" + c.index.Name() + ")" }

// GoString is as String.
func (c *Cache) GoString() string { return c.String() }
