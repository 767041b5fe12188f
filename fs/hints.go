package fs

import (
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// go-fuse's node API hides some of what the kernel says: the flags of a write,
// those of an open, and when a rename has reached the tree. rawFS sits between
// the two and lets it travel in bits that the API passes on and nothing uses.
// This file is all that knows of them.

// Bits far above the largest file (S3 ends at 50 TB, 2^46) in the offset of a
// write.
const (
	writeAppend = int64(1) << 62 // the writer's O_APPEND, not the page cache's
	writeKill   = int64(1) << 61 // FUSE_WRITE_KILL_SUIDGID
	maxOffset   = writeKill      // first offset that is refused
)

// openKill is FUSE_OPEN_KILL_SUIDGID in the flags of an open: no O_ flag of
// Linux is that high (include/uapi/asm-generic/fcntl.h).
const openKill = uint32(1) << 30

// Rename flags are three bits (linux/fs.h); a ticket is above them.
const (
	renameFlags = uint32(1)<<4 - 1
	ticketShift = 4
	ticketBits  = 28
)

// rawFS is the filesystem as the server sees it.
type rawFS struct {
	fuse.RawFileSystem
	renames *renames
}

// Writev marks appends. An application's O_APPEND write goes to the end of the
// file, wherever the kernel thinks that is; a page that was dirtied through
// mmap(2) arrives on whichever handle can write, O_APPEND or not, with an
// honest offset: the kernel tells it by FUSE_WRITE_CACHE. The flags are those
// of now, after any fcntl(F_SETFL).
func (r *rawFS) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	if in.Offset >= uint64(maxOffset) {
		return 0, fuse.Status(unix.EFBIG)
	}
	marked := *in
	if in.Flags&unix.O_APPEND != 0 && in.WriteFlags&fuse.WRITE_CACHE == 0 {
		marked.Offset |= uint64(writeAppend)
	}
	if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
		marked.Offset |= uint64(writeKill)
	}
	return r.RawFileSystem.Writev(cancel, &marked, data)
}

// splitOffset takes the marks off an offset.
func splitOffset(off int64) (clean int64, atEnd, kill bool) {
	return off &^ (writeAppend | writeKill), off&writeAppend != 0, off&writeKill != 0
}

// Open marks an O_TRUNC that takes the suid and sgid bits.
func (r *rawFS) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	marked := *in
	if in.Mode&fuse.OPEN_KILL_SUIDGID != 0 {
		marked.Flags |= openKill
	}
	return r.RawFileSystem.Open(cancel, &marked, out)
}

// Rename keeps the claim that node.Rename takes until go-fuse has moved the
// inode too: a request between the two would look under the old path.
func (r *rawFS) Rename(cancel <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	ticket := r.renames.begin()
	defer r.renames.end(ticket)
	marked := *in
	marked.Flags = in.Flags&renameFlags | ticket<<ticketShift
	return r.RawFileSystem.Rename(cancel, &marked, from, to)
}

// renames holds the claims of the renames that run.
type renames struct {
	paths *paths

	mu    sync.Mutex // guards what follows
	last  uint32
	holds map[uint32]*hold // by ticket; nil before the claim is taken
}

func (rs *renames) begin() uint32 {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for {
		rs.last = (rs.last + 1) & (1<<ticketBits - 1)
		if _, taken := rs.holds[rs.last]; !taken {
			rs.holds[rs.last] = nil
			return rs.last
		}
	}
}

// keep leaves h to end.
func (rs *renames) keep(ticket uint32, h *hold) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.holds[ticket] = h
}

func (rs *renames) end(ticket uint32) {
	rs.mu.Lock()
	h := rs.holds[ticket]
	delete(rs.holds, ticket)
	rs.mu.Unlock()
	if h != nil {
		rs.paths.leave(h)
	}
}
