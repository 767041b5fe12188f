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
	"time"

	"golang.org/x/sys/unix"
)

// Errors of Look and Clear, apart from those of the disk.
var (
	ErrMounted = errors.New("already mounted")
	ErrNotDir  = errors.New("is not a directory")
	ErrDead    = errors.New("is a dead mount of another program")
	ErrVital   = errors.New("belongs to the system, which would lose it")
	ErrHung    = errors.New("is a mount whose process does not answer")
)

// Canonical gives dir as the table of mounts has it: absolute and without
// symbolic links. A mount of ours on it is not touched, as it may hang, and
// another one need not answer.
func Canonical(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	parent, parentErr := filepath.EvalSymlinks(filepath.Dir(abs))
	last := filepath.Join(parent, filepath.Base(abs))
	var there Mount
	mounted := false
	if parentErr == nil {
		there, mounted, _ = Find(last) // who has no table of mounts is told by the next one who asks
	}
	if mounted && there.Ours() {
		return last, nil
	}
	path, err := filepath.EvalSymlinks(abs)
	switch {
	case err == nil:
		return path, nil
	case mounted:
		return last, nil
	}
	return "", fmt.Errorf("%s: %w", dir, reason(err))
}

// Look sees that dir can be mounted on, gives its canonical form, and changes
// nothing: where a mount of ours is whose process has died, dead is true, and
// what lies beneath is not looked at. Errors: ErrMounted, ErrNotDir, ErrDead,
// ErrVital, ErrHung, ErrForeign, fs.ErrNotExist, those of the system.
func Look(ctx context.Context, dir string) (path string, dead bool, err error) {
	if path, err = Canonical(dir); err != nil {
		return "", false, err
	}
	if vital(path) {
		return "", false, fmt.Errorf("%s %w", path, ErrVital)
	}
	m, mounted, err := Find(path)
	switch {
	case err != nil:
		return "", false, err
	case mounted && m.Ours():
		return path, true, died(ctx, path, m)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, unix.ENOTCONN):
		return "", false, fmt.Errorf("%s %w", path, ErrDead)
	case err != nil:
		return "", false, fmt.Errorf("%s: %w", path, reason(err))
	case !info.IsDir():
		return "", false, fmt.Errorf("%s %w", path, ErrNotDir)
	}
	return path, false, yours(path, info)
}

// Clear is Look, but for dead mounts, which it takes away: cleaned is true then.
func Clear(ctx context.Context, dir string) (cleaned bool, err error) {
	for { // one may lie below another
		path, dead, err := Look(ctx, dir)
		if err != nil || !dead {
			return cleaned, err
		}
		if err := Detach(ctx, path); err != nil {
			return cleaned, err
		}
		cleaned = true
	}
}

// died is nil for a mount of ours whose process has. Errors: ErrMounted, ErrHung.
func died(ctx context.Context, path string, m Mount) error {
	switch err := ask(ctx, path); {
	case errors.Is(err, unix.ENOTCONN):
		return nil
	case errors.Is(err, ErrHung), ctx.Err() != nil:
		return fmt.Errorf("%s %w", path, err)
	}
	return fmt.Errorf("%s: %w: %q", path, ErrMounted, m.Source)
}

// patience is how long the process of a mount may take to answer.
const patience = 5 * time.Second

// ask has the kernel ask the process that serves path. A stat(2) it answers itself
// for as long as it believes what a dead process told; statfs(2) it hands on. Who
// asks one that hangs does not come back before it ends, or we do.
func ask(ctx context.Context, path string) error {
	answer := make(chan error, 1)
	go func() { answer <- unix.Statfs(path, new(unix.Statfs_t)) }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-answer:
		return err
	case <-timer.C:
		return ErrHung
	case <-ctx.Done():
		return context.Cause(ctx)
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
