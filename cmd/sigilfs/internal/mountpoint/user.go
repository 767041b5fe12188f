package mountpoint

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrForeign is that this user may not mount on a directory, though root may.
var ErrForeign = errors.New("is not this user's to mount on")

// Powerless says why fusermount3 cannot do what takes root, as far as can be
// seen; else "". Who was given the capability himself mounts all the same.
func Powerless() string {
	if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && set != 0 {
		return "NoNewPrivileges= (no_new_privs) keeps it from becoming root"
	}
	path, err := Fusermount()
	if err != nil {
		return err.Error()
	}
	if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSetuid == 0 {
		return path + " is not set-uid root, as the package has it"
	}
	return ""
}

// yours tells why fusermount3 would not mount on a directory for this user: it
// wants one that the user may write to, and, where others may write too and
// only owners remove (as in /tmp itself), one that is the user's own. Root
// mounts without it. What it says itself goes past us, to stderr.
func yours(path string, info os.FileInfo) error {
	if os.Geteuid() == 0 {
		return nil
	}
	owner := -1
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(st.Uid)
	}
	switch {
	case info.Mode()&os.ModeSticky != 0 && owner != os.Getuid():
		return fmt.Errorf("%s %w: it belongs to user %d", path, ErrForeign, owner)
	case unix.Access(path, unix.W_OK) != nil:
		return fmt.Errorf("%s %w: it belongs to user %d, and may not be written to", path, ErrForeign, owner)
	}
	return nil
}
