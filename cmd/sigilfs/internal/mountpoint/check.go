package mountpoint

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Errors of Prepare, apart from those of the disk.
var (
	ErrMounted = errors.New("already mounted")
	ErrNotDir  = errors.New("is not a directory")
	ErrDead    = errors.New("is a dead mount of another program")
	ErrVital   = errors.New("belongs to the system, which would lose it")
)

// Canonical gives dir as the table of mounts has it: absolute and without
// symbolic links. What is mounted on it need not answer.
func Canonical(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	path, err := filepath.EvalSymlinks(abs)
	if err == nil {
		return path, nil
	}
	parent, parentErr := filepath.EvalSymlinks(filepath.Dir(abs))
	if parentErr != nil {
		return "", fmt.Errorf("%s: %w", dir, reason(err))
	}
	path = filepath.Join(parent, filepath.Base(abs))
	if _, mounted, findErr := Find(path); findErr == nil && mounted {
		return path, nil
	}
	return "", fmt.Errorf("%s: %w", dir, reason(err))
}

// Prepare sees that dir can be mounted on and gives its canonical form. A dead
// mount of ours is taken away first (cleaned is true then). Errors:
// ErrMounted, ErrNotDir, ErrDead, ErrVital, ErrForeign, fs.ErrNotExist, those of
// the system.
func Prepare(ctx context.Context, dir string) (path string, cleaned bool, err error) {
	for {
		if path, err = Canonical(dir); err != nil {
			return "", cleaned, err
		}
		if vital(path) {
			return "", cleaned, fmt.Errorf("%s %w", path, ErrVital)
		}
		m, mounted, err := Find(path)
		if err != nil {
			return "", cleaned, err
		}
		info, err := os.Stat(path)
		if err == nil && mounted && m.Ours() {
			// The kernel answers a stat for as long as it believes what a dead
			// process told; statfs(2) is always asked.
			err = unix.Statfs(path, new(unix.Statfs_t))
		}
		switch {
		case errors.Is(err, unix.ENOTCONN) && m.Ours():
			if err := Detach(ctx, path); err != nil {
				return "", cleaned, err
			}
			cleaned = true
			continue // another may lie below it
		case errors.Is(err, unix.ENOTCONN):
			return "", cleaned, fmt.Errorf("%s %w", path, ErrDead)
		case mounted && m.Ours():
			return "", cleaned, fmt.Errorf("%s: %w: %q", path, ErrMounted, m.Source)
		case err != nil:
			return "", cleaned, fmt.Errorf("%s: %w", path, reason(err))
		case !info.IsDir():
			return "", cleaned, fmt.Errorf("%s %w", path, ErrNotDir)
		}
		return path, cleaned, yours(path, info)
	}
}

// vital are the directories without which a host does not run; mount(2) would
// cover them without a word. Links are resolved by then: /bin is /usr/bin on most
// hosts.
func vital(path string) bool {
	switch path {
	case "/", "/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/usr", "/var":
		return true
	}
	for _, of := range []string{"bin", "sbin", "lib", "lib32", "lib64"} {
		if path == "/"+of || path == "/usr/"+of {
			return true
		}
	}
	return strings.HasPrefix(path, "/dev/") || strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/sys/")
}

// reason drops the path of an os error: the message has it already.
func reason(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}

// Device says why FUSE cannot be used on this host, nil if it can. allowOther
// is the option of that name.
func Device(allowOther bool) error {
	// fusermount3 opens the device with the rights of its caller.
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	root := os.Geteuid() == 0
	switch {
	case err == nil:
		_ = unix.Close(fd)
	case errors.Is(err, unix.EACCES) && !root:
		return fmt.Errorf("/dev/fuse: %w; users may mount where it has mode 0666", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("/dev/fuse: %w; give the container the device (--device /dev/fuse --cap-add SYS_ADMIN)", err)
	default:
		return fmt.Errorf("/dev/fuse: %w; load the module (modprobe fuse), or give the container the device", err)
	}
	if root {
		return nil
	}
	if _, err := Fusermount(); err != nil {
		return err
	}
	if allowOther && !userAllowOther("/etc/fuse.conf") {
		return errors.New("allow_other is for root unless /etc/fuse.conf has a line user_allow_other, which root may add; without allow_other only the user who mounts is let in")
	}
	return nil
}

// userAllowOther reads fuse.conf as fusermount3 does (fusermount3(1)).
func userAllowOther(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(line) == "user_allow_other" {
			return true
		}
	}
	return false
}
