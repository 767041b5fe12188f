package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/control"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountpoint"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/socket"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/status"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

func newStatus() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [DIR]",
		Short: "Tell how a mount is: what is not in the bucket yet, what fails, keys, caches, last errors",
		Long: `status asks the process that serves the mount on DIR, or those of all mounts of
this user (for root: of all users), how they are. Only the user of a mount and
root are told.

It exits with 0 if all is well; 64 if a mount works and somebody should look
(files that cannot be committed, a spool that is almost full); 32 if there is
no mount on DIR, or one does not answer; 1 if the command line is wrong.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError("%d arguments are given, and one may be: sigilfs status [DIR] [--json]", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			peers, err := meant(args)
			if err != nil {
				return err
			}
			defer closeAll(peers)
			return showStatus(c.Context(), peers, asJSON, c.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON document, whose fields docs/OPERATIONS.md describes")
	return cmd
}

// meant are the processes that the command line means.
func meant(args []string) ([]*control.Peer, error) {
	if len(args) == 0 {
		return control.All(os.Geteuid()), nil
	}
	path, err := mountpoint.Canonical(args[0])
	if err != nil {
		return nil, mountError("%w", err)
	}
	at, mounted, err := mountpoint.Find(path)
	switch {
	case err != nil:
		return nil, systemError("%w", err)
	case mounted && !at.Ours():
		return nil, mountError("%s is a mount of %q, type %s, not of sigilfs", path, at.Source, at.Type)
	case !mounted:
		at.UID = os.Geteuid() // its process may still be committing
	}
	if me := os.Geteuid(); mounted && me != 0 && me != at.UID {
		return nil, mountError("%s is a mount of user %d, and only they and root are told how it is", path, at.UID)
	}
	peer := control.Find(control.Places(at.UID), at.UID, path)
	switch {
	case peer != nil:
		return []*control.Peer{peer}, nil
	case mounted:
		return nil, mountError("%s: its process has died, or cannot be found; sigilfs umount %s takes the mount away, and the next mount commits what was closed", path, path)
	}
	return nil, mountError("%s: nothing is mounted there", path)
}

func closeAll(peers []*control.Peer) {
	for _, p := range peers {
		_ = p.Close()
	}
}

// mostAsked bounds how many are asked at once: one that hangs is waited for for
// seconds, and must not hold up the others.
const mostAsked = 8

func showStatus(ctx context.Context, peers []*control.Peer, asJSON bool, out io.Writer) error {
	report := status.Report{Version: status.Version, Mounts: make([]status.Mount, len(peers))}
	var all errgroup.Group
	all.SetLimit(mostAsked)
	for i, p := range peers {
		all.Go(func() error {
			report.Mounts[i] = askStatus(ctx, p)
			return nil
		})
	}
	_ = all.Wait() // nothing of it fails
	if err := printReport(&report, asJSON, out); err != nil {
		return systemError("%w", err)
	}
	switch report.Worst() {
	case status.Silent:
		return mountError("a mount does not answer")
	case status.Degraded:
		return &exitError{exitWarned, errors.New("somebody should look at a mount")}
	}
	return nil
}

// askStatus gives what one process tells, or why it does not.
func askStatus(ctx context.Context, p *control.Peer) status.Mount {
	rec := p.Record()
	text, err := askSocket(ctx, p)
	var m status.Mount
	if err == nil {
		m, err = status.Decode(text)
	}
	if err == nil {
		// Which mount it is is not for it to say: it may be another user's.
		m.Dir, m.PID, m.UID = rec.Dir, rec.PID, p.UID()
		return m
	}
	m = status.Mount{Version: status.Version, Dir: rec.Dir, Source: rec.Spec, PID: rec.PID, UID: p.UID(), Error: err.Error()}
	if deaf(err) {
		m.Error = "its process cannot be asked: it begins, or ends (" + err.Error() + ")"
	}
	m.Judge()
	return m
}

// deaf tells an error of a socket at which nobody listens: a mount is there a
// moment before it can be asked, and a moment longer.
func deaf(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, os.ErrNotExist)
}

// deafTime is for how long it is tried again.
const deafTime = 3 * time.Second

func askSocket(ctx context.Context, p *control.Peer) ([]byte, error) {
	begin := time.Now()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		text, err := socket.Ask(ctx, p.Socket(), p.UID())
		if !deaf(err) || !p.Alive() || time.Since(begin) > deafTime {
			return text, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func printReport(r *status.Report, asJSON bool, out io.Writer) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(r)
	}
	if len(r.Mounts) == 0 {
		_, err := io.WriteString(out, "no mount of this user\n")
		return err
	}
	return r.Text(out)
}
