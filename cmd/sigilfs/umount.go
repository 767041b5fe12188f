package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/control"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountpoint"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/progress"
	"github.com/spf13/cobra"
)

func newUmount() *cobra.Command {
	return &cobra.Command{
		Use:     "umount DIR",
		Aliases: []string{"unmount"},
		Short:   "Unmount, and wait until everything is committed",
		Long: `umount takes the mount on DIR away and returns when its process has committed
what was written and has ended. So does umount(8) where it finds its helper,
/sbin/umount.fuse.sigilfs; fusermount3 -u does not wait.`,
		Args: arguments(1, "sigilfs umount DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return umount(ctx, args[0], c.ErrOrStderr())
		},
	}
}

// ours gives the mount on dir, if there is one, and the path that it has. One of
// another program is an error.
func ours(dir string) (path string, m mountpoint.Mount, mounted bool, err error) {
	if path, err = mountpoint.Canonical(dir); err != nil {
		return "", m, false, mountError("%w", err)
	}
	m, mounted, err = mountpoint.Find(path)
	switch {
	case err != nil:
		err = systemError("%w", err)
	case mounted && !m.Ours():
		err = mountError("%s is a mount of %q, type %s; take it away with umount %s", path, m.Source, m.Type, path)
	}
	return path, m, mounted, err
}

func umount(ctx context.Context, dir string, stderr io.Writer) error {
	path, m, mounted, err := ours(dir)
	switch {
	case err != nil:
		return err
	case !mounted:
		m.UID = os.Geteuid() // its process may still be committing
	case os.Geteuid() != 0 && os.Geteuid() != m.UID: // fusermount3 would say that there is no mount
		return mountError("%s is a mount of user %d, and only they and root may take it away", path, m.UID)
	}
	peer := control.Find(control.Places(m.UID), m.UID, path)
	if peer != nil {
		defer func() { _ = peer.Close() }()
	}
	if !mounted && peer == nil {
		return mountError("%s: nothing is mounted there", path)
	}
	taken := false
	if mounted {
		if peer != nil {
			_ = peer.Announce() // for the log only
		}
		if taken, err = takeAway(ctx, path); err != nil {
			return err
		}
	}
	switch {
	case peer != nil:
		return await(ctx, peer, path, mounted, stderr)
	case taken:
		return mountError("%s is unmounted, but its process had died, or cannot be found, so that nobody knows whether all was committed; the next mount commits what was closed", path)
	}
	return nil // somebody else's umount has seen to it
}

// takeAway is false where somebody was faster.
func takeAway(ctx context.Context, path string) (bool, error) {
	err := mountpoint.Unmount(ctx, path)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, mountpoint.ErrNotMounted):
		return false, nil
	case errors.Is(err, mountpoint.ErrBusy):
		return false, mountError("%s: %w: close the programs and shells that work in it (fuser -vm %s lists them) and try again", path, mountpoint.ErrBusy, path)
	}
	return false, mountError("%w", err)
}

// poll is how often the process is looked at.
const poll = 50 * time.Millisecond

// deafAfter is how long a process may take to begin its end when its mount is
// taken away: it does so at once, or when a SIGHUP is done with.
const deafAfter = reloadTimeout + 30*time.Second

// await returns when the process has ended. It bounds its end itself, by its
// --stop-timeout; of one whose mount was just taken away, and that does not even
// begin to end, nobody knows when that will be.
func await(ctx context.Context, peer *control.Peer, path string, taken bool, stderr io.Writer) error {
	begin := time.Now()
	bar := progress.New(stderr, progress.Options{What: "committing"})
	defer bar.Done()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for peer.Alive() {
		rec := peer.Record()
		if taken && !rec.Ending && time.Since(begin) >= deafAfter {
			return mountError("%s is unmounted here, but process %d goes on: it hangs, or another mount namespace (of a container, of unshare) has the mount too", path, rec.PID)
		}
		bar.Left(rec.Pending)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return mountError("%s is unmounted, but process %d still commits what was written; it ends by itself", path, rec.PID)
		}
	}
	return lastWord(path, peer.Record())
}

// lastWord judges by what the process told before its end.
func lastWord(path string, rec control.Record) error {
	switch {
	case rec.Failed != "":
		return mountError("%s is unmounted, but not all was committed: %s", path, rec.Failed)
	case !rec.Done:
		return mountError("%s is unmounted, but process %d ended without a word: what it had not committed is left, sealed, in its state directory", path, rec.PID)
	}
	return nil
}
