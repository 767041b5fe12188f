package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
)

// localJSON is what is left of one volume, in the document of list --json
// without a target.
type localJSON struct {
	State string `json:"state"`           // its directory
	Last  string `json:"last,omitempty"`  // what was mounted, or worked on, there last, as given
	Where string `json:"where,omitempty"` // its mountpoint
	leftDocument
}

type localDocument struct {
	Volumes []localJSON `json:"volumes"`
}

// listLocal lists what this host has left of any volume: with what is on its
// disk alone, so that names show only where --state-key, or a key beside the
// spool, opens it.
func listLocal(c *cobra.Command, asJSON bool) error {
	if err := harden(); err != nil {
		return err
	}
	s := defaultSettings()
	s.readOnly = true
	for name, into := range map[string]*string{"state-dir": &s.stateDir, "state-key": &s.stateKey} {
		var err error
		if *into, err = c.Flags().GetString(name); err != nil {
			return usageError("%w", err)
		}
	}
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dirs, err := state.Each(s.stateDir)
	if err != nil {
		return systemError("%w", err)
	}
	doc := localDocument{Volumes: []localJSON{}}
	for _, dir := range dirs {
		one, err := lookLocal(ctx, c, s, dir)
		if err != nil {
			return err
		}
		if len(one.Files)+len(one.Sealed) > 0 {
			doc.Volumes = append(doc.Volumes, one)
		}
	}
	if asJSON {
		e := json.NewEncoder(c.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(doc)
	}
	return doc.print(c)
}

func lookLocal(ctx context.Context, c *cobra.Command, s *settings, dir *state.Dir) (localJSON, error) {
	m := &mounting{set: s, log: newLog(c.ErrOrStderr(), s.logFormat, s.debug), stderr: c.ErrOrStderr(), state: dir}
	defer m.abandon(ctx)
	one := localJSON{State: dir.Path()}
	if owner, err := dir.Owner(); err == nil {
		one.Last, one.Where = owner.Spec, owner.Mountpoint
	}
	r := &recovery{mounting: m}
	var err error
	if r.sealed, err = m.takeLeftovers(ctx); err != nil {
		m.log.WithError(err).Warn("not all of what was left could be looked at")
	}
	r.rec = volume.NewLocalRecovery(bootID(), m.left)
	one.leftDocument, err = r.document()
	return one, err
}

func (d localDocument) print(c *cobra.Command) error {
	out := c.OutOrStdout()
	if len(d.Volumes) == 0 {
		_, err := fmt.Fprintln(out, "nothing is left")
		return err
	}
	for _, v := range d.Volumes {
		where := ""
		switch {
		case v.Last != "" && v.Where != "":
			where = fmt.Sprintf(" (%q on %q)", v.Last, v.Where)
		case v.Last != "": // of a command that mounts nothing
			where = fmt.Sprintf(" (%q)", v.Last)
		}
		if _, err := fmt.Fprintf(out, "%s%s\n", v.State, where); err != nil {
			return err
		}
		if err := v.leftDocument.print(out); err != nil {
			return err
		}
	}
	return nil
}

// errNeedsTarget: the key of a spool is sealed under an epoch, which lies in the
// bucket.
var errNeedsTarget = errors.New("its key lies in the bucket: give the TARGET and its keys to see more")

// noRing stands for a ring where there is no bucket.
type noRing struct{}

// Derive is diskkey.Deriver's.
func (noRing) Derive(context.Context, keyring.EpochID, []byte, string) (key [keyring.KeySize]byte, err error) {
	return key, errNeedsTarget
}
