package main

import (
	"context"
	"fmt"
	"os"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/progress"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newRecoverReplay() *cobra.Command {
	var all bool
	cmd := recoverCommand("replay TARGET ID…|--all", "Commit what was left", 1,
		func(ctx context.Context, c *cobra.Command, r *recovery, args []string) error {
			if all == (len(args) > 0) {
				return usageError("sigilfs recover replay TARGET ID…, or --all for what was closed")
			}
			if err := r.write(ctx); err != nil {
				return err
			}
			if all {
				return r.replayAll(ctx, c)
			}
			ids, err := r.ids(args)
			if err != nil {
				return err
			}
			return r.replay(ctx, c, ids)
		})
	cmd.Flags().BoolVar(&all, "all", false, "all that was closed; what was open is replayed by its id")
	return cmd
}

// replayAll replays what the next mount would.
func (r *recovery) replayAll(ctx context.Context, c *cobra.Command) error {
	all, err := r.rec.IDs()
	if err != nil {
		return systemError("%w", err)
	}
	var ids []string
	kept := 0
	for _, id := range all {
		l, err := r.rec.Describe(id)
		switch {
		case err == nil && l.Void:
			err = r.rec.Discard(id)
		case err == nil && l.Err == nil:
			ids = append(ids, id)
		default:
			kept++
		}
		if err != nil {
			say(c.ErrOrStderr(), err.Error())
		}
	}
	if err := r.replay(ctx, c, ids); err != nil {
		return err
	}
	if kept > 0 {
		return mountError("%d files are kept, since they were open or are not whole: see sigilfs recover list", kept)
	}
	return r.opened()
}

// opened is an error where something could not be looked at.
func (r *recovery) opened() error {
	if len(r.sealed) == 0 {
		return nil
	}
	return mountError("%s cannot be opened: %w", r.sealed[0].Path, r.sealed[0].err)
}

func (r *recovery) replay(ctx context.Context, c *cobra.Command, ids []string) error {
	var left int64
	size := map[string]int64{}
	for _, id := range ids {
		l, err := r.rec.Describe(id)
		if err == nil {
			size[id] = l.Size
			left += l.Size
		}
	}
	bar := progress.New(c.ErrOrStderr(), progress.Options{What: "committing"})
	defer bar.Done()
	bar.Total(int64(len(ids)), left)
	failed := 0
	for _, id := range ids {
		done, err := r.rec.Replay(ctx, id)
		if err != nil {
			failed++
			say(bar, fmt.Sprintf("%s: %v; %s", id[:12], err, explainLeft(err)))
			continue
		}
		bar.Add(1, size[id])
		bar.Clear() // both may be one terminal
		if _, err := fmt.Fprintf(c.OutOrStdout(), "%s %q\n", id[:12], r.shownPath(done.Path)); err != nil {
			return err
		}
	}
	if failed > 0 {
		return mountError("%d of %d files could not be committed, and are kept", failed, len(ids))
	}
	return nil
}

func newRecoverExport() *cobra.Command {
	var salvage bool
	cmd := recoverCommand("export TARGET ID FILE", "Write what was left to a local file", 3,
		func(ctx context.Context, c *cobra.Command, r *recovery, args []string) error {
			if len(args) != 2 {
				return usageError("sigilfs recover export TARGET ID FILE")
			}
			if err := r.hold(ctx); err != nil {
				return err
			}
			ids, err := r.ids(args[:1])
			if err != nil {
				return err
			}
			return r.export(ctx, c, ids[0], args[1], salvage)
		})
	cmd.Flags().BoolVar(&salvage, "salvage", false, "write what can be read, and list what is missing: zeros stand there")
	return cmd
}

func (r *recovery) export(ctx context.Context, c *cobra.Command, id, path string, salvage bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return systemError("%w", err)
	}
	gaps, err := r.rec.Export(ctx, id, f, salvage)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(path) // it is ours, and not whole
		return mountError("%w; %s", err, explainLeft(err))
	}
	for _, g := range gaps {
		say(c.ErrOrStderr(), fmt.Sprintf("missing: %d bytes from %d on: %v", g.Len, g.Off, g.Err))
	}
	if len(gaps) > 0 {
		return mountError("%s is not whole: zeros stand where something is missing", path)
	}
	return nil
}

func newRecoverDiscard() *cobra.Command {
	var yes bool
	cmd := recoverCommand("discard TARGET ID… --yes", "Remove what was left, for ever", 2,
		func(ctx context.Context, c *cobra.Command, r *recovery, args []string) error {
			if !yes {
				return usageError("what is discarded is gone for ever: say --yes")
			}
			if err := r.begin(ctx, r.openKeys, r.openStore, r.openState, r.holdSealed); err != nil {
				return err
			}
			ids, err := r.ids(args)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := r.rec.Discard(id); err != nil {
					return systemError("%w", err)
				}
			}
			return nil
		})
	cmd.Flags().BoolVar(&yes, "yes", false, "really")
	return cmd
}

// holdSealed takes hold of what was left without opening it: to discard it no
// key is needed, and perhaps none is there any more.
func (r *recovery) holdSealed(context.Context) error {
	all, err := r.state.Leftovers()
	if err != nil {
		return systemError("%w", err)
	}
	for _, l := range all {
		left, err := spool.Recover(l.Path, new([32]byte))
		if err != nil {
			return systemError("%w", err)
		}
		r.left = append(r.left, left)
	}
	r.rec = volume.NewRecovery(nil, r.left)
	return nil
}
