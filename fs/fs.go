// Package fs is the FUSE filesystem: go-fuse's tree of inodes over a Volume. It
// knows inodes, handles, the kernel's caches and its flags; what a name or a
// byte costs, and where it comes from, the volume knows.
//
// # Inodes
//
// An inode is its file id and its incarnation, go-fuse's StableAttr: two
// versions of a file that must not share a page cache are two inodes with one
// st_ino, and go-fuse finds the inode of a version that the kernel knows
// already. A request that meets another version than its inode's is answered
// ESTALE; the kernel then looks the name up again and takes the new inode.
//
// While nobody has a file open its inode is but a path. While somebody has, the
// inode holds the volume's File and asks that for attributes, also after the
// name is gone.
//
// # Interrupts
//
// A read of file data ends when its process gets a signal (EINTR); of reads the
// kernel lets go only past the page cache (O_DIRECT): what waits for a page waits
// for it, or is killed. A write that waits for room, copy_file_range, close, and
// fsync end so too, if the signal is one by which somebody wants that
// (interrupt.go): the count says what was taken of the write or the copy, and the
// commit goes on behind. Nothing else ends: programs do not expect EINTR of
// stat(2) or readdir(3), nor a rename that goes on. All requests end in the time
// that the volume allows itself.
//
// # Locks
//
// A request by path holds its path (paths) while it runs, so that no rename
// moves it away meanwhile; that is the only lock held across the network. The
// mutexes are leaves: none is held while another of this package is taken, or
// while the volume works.
package fs

import (
	"context"
	"iter"

	"github.com/sigilfs/sigilfs/internal/volume"
)

// Volume is what the filesystem stands on. Paths are relative to the mount, ""
// for its root. Errors are those of package volume. All methods are safe for
// concurrent use and return in bounded time.
type Volume interface {
	Looker
	Namer
	Opener
}

// Looker tells what is there.
type Looker interface {
	Stat(ctx context.Context, path string) (volume.Info, error)

	// Attributes is Stat's of what stat(2) shows, and may cost less.
	Attributes(ctx context.Context, path string) (volume.Attr, error)
	Readlink(ctx context.Context, path string) (string, error)

	// List gives entries in ascending bytewise order of their cookies, going
	// on behind the cookie after.
	List(ctx context.Context, dir, after string) iter.Seq2[volume.Entry, error]
}

// Namer changes names and the attributes behind them.
type Namer interface {
	Mkdir(ctx context.Context, path string, a volume.Attr) (volume.Info, error)
	Mknod(ctx context.Context, path string, a volume.Attr) (volume.Info, error)
	Symlink(ctx context.Context, path, target string, a volume.Attr) (volume.Info, error)
	Link(ctx context.Context, from, to string) (volume.Info, error)
	Remove(ctx context.Context, path string) error
	Rmdir(ctx context.Context, path string) error
	Rename(ctx context.Context, from, to string, noReplace bool) error
	SetAttr(ctx context.Context, path string, c volume.Change) (volume.Info, error)
	SyncDir(ctx context.Context, path string) error // what waits of a directory
}

// Opener gives regular files.
type Opener interface {
	Open(ctx context.Context, path string, o volume.OpenOptions) (File, error)
	Create(ctx context.Context, path string, a volume.Attr, excl bool) (File, error)
}

// File is an open regular file, one for all who have it open: two Files are the
// same if they compare equal. Every Open and Create asks for one Release.
type File interface {
	Content

	Info() volume.Info // as it is now; Nlink 0 once unlinked
	SetAttr(ctx context.Context, c volume.Change) (volume.Info, error)
	Commit(ctx context.Context) error // goes on behind when ctx ends
	Flush(ctx context.Context) error  // Commit, when nobody can write any more
	Release()
}

// Content is the bytes of a File.
type Content interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error) // as io.ReaderAt
	WriteAt(ctx context.Context, p []byte, off int64) (int, error)
	Append(ctx context.Context, p []byte) (int, error)
	Allocate(ctx context.Context, off, n int64, o volume.AllocOptions) error
	Seek(ctx context.Context, off int64, hole bool) (int64, error) // io.EOF beyond the last

	// CopyRange copies up to n bytes at in of from, a File of the same Volume,
	// to off; 0 only at the end of from.
	CopyRange(ctx context.Context, from File, in, off, n int64) (int64, error)
}
