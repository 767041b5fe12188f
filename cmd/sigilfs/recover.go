package main

import (
	"context"
	"errors"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
)

func newRecover() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recover list|replay|export|discard TARGET",
		Short: "Look at, commit, export or discard what dead mounts left",
		Long: `recover is for what a mount had not committed when it ended: by a crash, or
because the bucket was not to be reached. What had been closed is committed by
the next mount; what was still open, or is not whole, waits here for a person.

    sigilfs recover list    [--state-dir DIR]
    sigilfs recover list    s3://bucket/prefix --encryption client --key file:main.key
    sigilfs recover replay  s3://bucket/prefix … ID…|--all
    sigilfs recover export  s3://bucket/prefix … ID FILE
    sigilfs recover discard s3://bucket/prefix … ID… --yes

Without TARGET list asks no bucket: it shows what lies on this host, and of what
--state-key or a key beside it opens the names too. Else
TARGET and the flags are those of the mount; options that the mount had in a
file, the file gives here too. IDs may be shortened. All but list need the
volume not to be mounted on this host.`,
		Args: func(c *cobra.Command, args []string) error {
			return usageError("say list, replay, export or discard: sigilfs recover list s3://bucket/prefix --encryption client --key file:main.key")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newRecoverList(), newRecoverReplay(), newRecoverExport(), newRecoverDiscard())
	return cmd
}

// recovery is a mounting without a mount: bucket, keys and policy, and what was
// left.
type recovery struct {
	*mounting
	rec    *volume.Recovery
	sealed []unopened
}

// recoverCommand is one of recover's: run has what it asks for opened. steps
// come after bucket and keys.
func recoverCommand(use, short string, least int, run func(ctx context.Context, c *cobra.Command, r *recovery, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < least {
				return usageError("sigilfs recover %s", use)
			}
			return nil
		},
	}
	onTarget(cmd, func(ctx context.Context, c *cobra.Command, m *mounting, args []string) error {
		return run(ctx, c, &recovery{mounting: m}, args)
	})
	return cmd
}

// look opens what was left, for reading: nothing is made, neither here nor in
// the bucket, nor taken from a living mount: keys are opened before its state is.
func (r *recovery) look(ctx context.Context) error {
	return r.begin(ctx, r.openKeys, r.openStore, r.newRing, r.seekNames, r.openPolicy, r.lookState, r.openLeft)
}

// seekNames opens the names of a volume that is known to have encrypted ones. Where
// that fails what was left is still shown, by names as they are stored.
func (r *recovery) seekNames(ctx context.Context) error {
	pin, _, err := r.recallPin()
	if err != nil || pin.Names == "" {
		return err
	}
	if err = r.lookVolume(ctx); err == nil {
		err = r.openNames(ctx)
	}
	if err != nil {
		r.log.WithError(err).Warn("names are shown as they are stored")
	}
	return nil
}

// hold is look, and keeps mounts away.
func (r *recovery) hold(ctx context.Context) error {
	return r.begin(ctx, r.openKeys, r.openStore, r.openState, r.newRing, r.seekNames, r.openPolicy, r.openLeft)
}

// write is hold, with all that a mount does before it writes.
func (r *recovery) write(ctx context.Context) error {
	return r.begin(ctx, r.openKeys, r.openStore, r.openState, r.probe, r.lookVolume, r.openRing, r.openNames, r.openPolicy, r.probeEncryption, r.warn, r.openLeft)
}

func (r *recovery) begin(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return mountError("interrupted")
		}
	}
	return nil
}

// lookState finds the volume's directory, whoever holds it.
func (r *recovery) lookState(context.Context) error {
	dir, err := state.Look(r.set.stateDir, r.stateID())
	if err != nil {
		return systemError("%w", err)
	}
	r.state = dir
	return nil
}

func (r *recovery) openLeft(ctx context.Context) error {
	var err error
	if r.sealed, err = r.takeLeftovers(ctx); err != nil {
		r.log.WithError(err).Warn("not all of what was left could be looked at")
	}
	if err := r.newVolume(); err != nil {
		return err
	}
	r.rec = volume.NewRecovery(r.volume, r.left)
	return nil
}

// ids finds the files that the arguments name, by the beginning of their ids.
func (r *recovery) ids(args []string) ([]string, error) {
	all, err := r.rec.IDs()
	if err != nil {
		return nil, systemError("%w", err)
	}
	var found []string
	for _, arg := range args {
		id := ""
		for _, have := range all {
			if !strings.HasPrefix(have, arg) {
				continue
			}
			if id != "" {
				return nil, usageError("%s is the beginning of several ids: give more of it", arg)
			}
			id = have
		}
		if id == "" || len(arg) < 4 {
			return nil, usageError("%s is not the id of anything that was left here, or too short: sigilfs recover list shows them", arg)
		}
		found = append(found, id)
	}
	return found, nil
}

// explainLeft says what to do about a file that is not replayed or exported.
func explainLeft(err error) string {
	for _, c := range []struct {
		is     error
		remedy string
	}{
		{volume.ErrStillOpen, "perhaps half-written: look at an export of it, then replay it by its id or discard it"},
		{volume.ErrOtherRule, "replay it by its id to have it encrypted as the rule says now"},
		{volume.ErrElsewhere, "give the TARGET under which it lies"},
		{volume.ErrPartial, "what is here can be had by recover export --salvage"},
		{volume.ErrDamaged, "what is whole can be had by recover export --salvage"},
		{volume.ErrUnproved, "what is here can be had by recover export --salvage"},
		{volume.ErrUnnamed, "what is here can be had by recover export --salvage"},
		{volume.ErrChanged, "export it, and merge it by hand"},
	} {
		if errors.Is(err, c.is) {
			return c.remedy
		}
	}
	return "it is kept"
}
