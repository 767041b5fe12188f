package debian

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Root is an unpacked system.
type Root struct {
	Dir string // the host's path of its /
}

// Path is that of a file of the system, as the host sees it.
func (r *Root) Path(name string) string { return filepath.Join(r.Dir, name) }

// Add copies a file of the host into the system.
func (r *Root) Add(from, name string, mode os.FileMode) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.Path(name)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(r.Path(name), content, mode)
}

// enter gives /proc and the host's /dev to $0, and runs the rest there.
const enter = `mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; exec chroot "$0" "$@"`

// Command is one in the system, not booted: with mounts and processes of its
// own, which end with it, and the network of the host. Its environment is that
// of a root who logs in.
func (r *Root) Command(ctx context.Context, argv ...string) *exec.Cmd {
	args := []string{"--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-ec", enter, r.Dir}
	cmd := exec.CommandContext(ctx, "unshare", slices.Concat(args, argv)...)
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb",
		"DEBIAN_FRONTEND=noninteractive",
	}
	return cmd
}

// Run gives what a command printed, stderr included; an error has it too.
func (r *Root) Run(ctx context.Context, argv ...string) (string, error) {
	return run(r.Command(ctx, argv...))
}
