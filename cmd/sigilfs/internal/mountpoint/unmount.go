package mountpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Sentinel errors.
var (
	ErrBusy       = errors.New("mount is in use")
	ErrNotMounted = errors.New("nothing is mounted there")
)

// Unmount takes the mount on dir away. ErrBusy: somebody uses it. ErrNotMounted.
func Unmount(ctx context.Context, dir string) error { return unmount(ctx, dir, 0) }

// Detach takes it out of the tree at once, though somebody uses it: who does
// may go on, nobody else comes in. Right for dead mounts too.
func Detach(ctx context.Context, dir string) error { return unmount(ctx, dir, unix.MNT_DETACH) }

// Force is Unmount of one whose process may hang: calls that wait for it fail
// (ECONNABORTED). Of users other than root it is Unmount. ErrBusy, ErrNotMounted.
func Force(ctx context.Context, dir string) error { return unmount(ctx, dir, unix.MNT_FORCE) }

// Drop is Force and Detach at once: calls that wait for it fail, and who uses it
// otherwise does not keep it.
func Drop(ctx context.Context, dir string) error {
	return unmount(ctx, dir, unix.MNT_FORCE|unix.MNT_DETACH)
}

// unmount takes flags of umount2(2).
func unmount(ctx context.Context, dir string, flags int) error {
	err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW|flags)
	switch {
	case errors.Is(err, unix.EPERM): // not root: the helper of FUSE may
		err = fusermount(ctx, dir, flags&unix.MNT_DETACH != 0)
	case errors.Is(err, unix.EBUSY):
		err = ErrBusy
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		err = ErrNotMounted
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

func fusermount(ctx context.Context, dir string, lazy bool) error {
	bin, err := Fusermount()
	if err != nil {
		return err
	}
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	cmd := exec.CommandContext(ctx, bin, append(args, "--", dir)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	switch {
	case err == nil:
		return nil
	case strings.Contains(text, "busy"): // it has one exit code for everything
		return ErrBusy
	case strings.Contains(text, "not found in"):
		return ErrNotMounted
	case text != "":
		return errors.New(text)
	}
	return fmt.Errorf("%s: %w", bin, err)
}

// Fusermount finds the set-uid helper by which users mount; without PATH too.
func Fusermount() (string, error) {
	for _, name := range []string{"fusermount3", "/usr/bin/fusermount3", "/bin/fusermount3", "fusermount", "/usr/bin/fusermount"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no fusermount3: install the package fuse3")
}
