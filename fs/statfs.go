package fs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A bucket has no size. What statfs(2) tells is large enough for every program
// that looks before it writes, and small enough for df(1) to print.
const (
	statBlock  = 4096
	statBlocks = 1 << 50 / statBlock // 1 PiB
	statFiles  = 1 << 32
)

// Statfs tells the same of every inode.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Frsize = statBlock, statBlock
	out.Blocks, out.Bfree, out.Bavail = statBlocks, statBlocks, statBlocks
	out.Files, out.Ffree = statFiles, statFiles
	out.NameLen = uint32(n.opt.NameLen) //nolint:gosec // at most NAME_MAX
	return 0
}
