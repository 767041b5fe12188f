package fs

import (
	"context"
	"math"
	"syscall"

	nodefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

var _ nodefs.NodeCopyFileRanger = (*node)(nil)

// maxCopyRange keeps what is copied at once within the answer, in bytes.
const maxCopyRange = 1 << 31

// CopyFileRange is copy_file_range(2). The kernel has seen to the flags and
// the access of both handles, and lets its pages of the range and its idea of
// the size go; an answer of ENOSYS would stand for good.
func (n *node) CopyFileRange(ctx context.Context, in nodefs.FileHandle, offIn uint64, _ *nodefs.Inode, out nodefs.FileHandle, offOut, size, _ uint64) (uint32, syscall.Errno) {
	ctx, ended := heed(ctx)
	defer ended()
	from, ok := in.(*handle)
	to, ok2 := out.(*handle)
	switch {
	case !ok || !ok2:
		return 0, unix.EBADF
	case offIn > math.MaxInt64-maxCopyRange || offOut > math.MaxInt64-maxCopyRange:
		return 0, unix.EFBIG
	}
	if !to.writing.Load() { // as in Write
		to.writes(true)
	}
	if caller, ok := fuse.FromContext(ctx); ok && caller.Uid != 0 { // as in Allocate
		if err := to.file.dropPrivileges(detach(ctx)); err != nil {
			return 0, to.node.fail("copy_file_range", "", err)
		}
	}
	done, err := to.file.CopyRange(ctx, from.file.File, int64(offIn), int64(offOut), int64(min(size, maxCopyRange)))
	return uint32(done), to.node.fail("copy_file_range", "", err)
}
