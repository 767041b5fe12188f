package mountpoint

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrNotRoot is that only root may do so.
var ErrNotRoot = errors.New("operation is root's")

// Remount lets the kernel write to the mount on dir, or not. ErrBusy: files are
// open for writing. ErrNotRoot.
func Remount(dir string, readOnly bool) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("remount %s: %w", dir, err)
	}
	err := unix.Mount("", dir, "", remountFlags(uint64(st.Flags), readOnly), "") //nolint:gosec // bits
	switch {
	case errors.Is(err, unix.EBUSY):
		err = ErrBusy
	case errors.Is(err, unix.EPERM):
		err = ErrNotRoot
	}
	if err != nil {
		return fmt.Errorf("remount %s: %w", dir, err)
	}
	return nil
}

// remountFlags are those that a mount has (statfs(2), f_flags), since mount(2)
// takes away what is not given again.
func remountFlags(has uint64, readOnly bool) uintptr {
	flags := uintptr(unix.MS_REMOUNT)
	for _, f := range []struct {
		has  uint64
		give uintptr
	}{
		{unix.ST_NOSUID, unix.MS_NOSUID},
		{unix.ST_NODEV, unix.MS_NODEV},
		{unix.ST_NOEXEC, unix.MS_NOEXEC},
		{unix.ST_NOATIME, unix.MS_NOATIME},
		{unix.ST_NODIRATIME, unix.MS_NODIRATIME},
		{unix.ST_RELATIME, unix.MS_RELATIME},
	} {
		if has&f.has != 0 {
			flags |= f.give
		}
	}
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	return flags
}
