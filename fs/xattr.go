package fs

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"syscall"

	nodefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

var (
	_ nodefs.NodeGetxattrer    = (*node)(nil)
	_ nodefs.NodeSetxattrer    = (*node)(nil)
	_ nodefs.NodeRemovexattrer = (*node)(nil)
	_ nodefs.NodeListxattrer   = (*node)(nil)
)

// sigilPrefix begins the names that tell how an object is stored. They are
// the mount's to give: nobody sets or removes one, none is stored, and one
// that another tool put into the bucket is never shown.
const sigilPrefix = "user.sigil."

// userAttr tells the names that are kept. All others (security.*, POSIX ACLs,
// trusted.*) are EOPNOTSUPP, without a request: the kernel asks for
// security.capability by itself.
func userAttr(name string) syscall.Errno {
	switch rest, ok := strings.CutPrefix(name, "user."); {
	case !ok:
		return unix.EOPNOTSUPP
	case rest == "":
		return unix.EINVAL
	}
	return 0
}

// virtual tells the names that are told, not stored. To set or remove one does
// nothing, and is no error: rsync -X, and every restore of what was backed up
// from a mount, would fail for each file.
func virtual(name string) bool { return strings.HasPrefix(name, sigilPrefix) }

// xattrs gives what is kept and what user.sigil.* tells.
func xattrs(info volume.Info) map[string][]byte {
	all := make(map[string][]byte, len(info.Xattrs)+len(info.Sigil))
	for name, value := range info.Xattrs {
		if !virtual(name) {
			all[name] = value
		}
	}
	for name, value := range info.Sigil {
		all[sigilPrefix+name] = []byte(value)
	}
	return all
}

// Getxattr gives the value of a user.* attribute.
func (n *node) Getxattr(ctx context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	if errno := userAttr(attr); errno != 0 {
		return 0, errno
	}
	info, err := n.info(ctx)
	if err != nil {
		return 0, n.fail("getxattr", "", err)
	}
	value, ok := xattrs(info)[attr]
	if !ok {
		return 0, unix.ENODATA
	}
	return into(dest, value)
}

// Listxattr gives the names, each ended by a NUL; none of what is neither file
// nor directory: there the kernel refuses to get what it has listed (xattr(7),
// "Extended user attributes"), and rsync -X fails.
func (n *node) Listxattr(ctx context.Context, dest []byte) (uint32, syscall.Errno) {
	info, err := n.info(ctx)
	if err != nil {
		return 0, n.fail("listxattr", "", err)
	}
	if typ := info.Attr.Mode & unix.S_IFMT; typ != unix.S_IFREG && typ != unix.S_IFDIR {
		return 0, 0
	}
	var list bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(xattrs(info))) {
		list.WriteString(name)
		list.WriteByte(0)
	}
	return into(dest, list.Bytes())
}

// into answers with a value, or with its size and ERANGE.
func into(dest, value []byte) (uint32, syscall.Errno) {
	if len(dest) < len(value) {
		return uint32(len(value)), unix.ERANGE
	}
	return uint32(copy(dest, value)), 0
}

// Setxattr sets a user.* attribute. The kernel holds the inode's lock: nothing
// on this mount comes between the look and the change.
func (n *node) Setxattr(ctx context.Context, attr string, data []byte, flags uint32) syscall.Errno {
	if errno := userAttr(attr); errno != 0 || virtual(attr) {
		return errno
	}
	if flags&(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0 {
		info, err := n.info(ctx)
		if err != nil {
			return n.fail("setxattr", "", err)
		}
		_, there := info.Xattrs[attr]
		switch {
		case there && flags&unix.XATTR_CREATE != 0:
			return unix.EEXIST
		case !there && flags&unix.XATTR_REPLACE != 0:
			return unix.ENODATA
		}
	}
	value := append([]byte{}, data...) // not nil, and ours: the buffer is go-fuse's
	return n.changeXattr(ctx, "setxattr", attr, value)
}

// Removexattr removes a user.* attribute.
func (n *node) Removexattr(ctx context.Context, attr string) syscall.Errno {
	if errno := userAttr(attr); errno != 0 || virtual(attr) {
		return errno
	}
	info, err := n.info(ctx)
	if err != nil {
		return n.fail("removexattr", "", err)
	}
	if _, there := info.Xattrs[attr]; !there {
		return unix.ENODATA
	}
	return n.changeXattr(ctx, "removexattr", attr, nil)
}

func (n *node) changeXattr(ctx context.Context, op, attr string, value []byte) syscall.Errno {
	_, err := n.set(detach(ctx), volume.Change{Xattrs: map[string][]byte{attr: value}})
	return n.fail(op, "", err)
}
