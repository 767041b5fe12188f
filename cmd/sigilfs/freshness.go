package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sigilfs/sigilfs/internal/freshness"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
)

// openSeals opens what this host remembers of objects' versions. A read-only
// mount, which keeps no state, looks at that of other mounts of the volume. Of the
// past (--at) nothing is judged.
func (m *mounting) openSeals() (*freshness.Memory, error) {
	if m.set.at.given() {
		return freshness.Open(freshness.Options{Log: m.log}), nil
	}
	dir := m.state
	if dir == nil {
		var err error
		if dir, err = state.Look(m.set.stateDir, m.stateID()); err != nil {
			return nil, systemError("%w", err)
		}
	}
	return freshness.Open(freshness.Options{
		Path: dir.Versions(), ReadOnly: m.set.readOnly || m.idle, Bytes: m.set.rollbackSize, Log: m.log,
	}), nil
}

func (m *mounting) rollbackPolicy() volume.RollbackPolicy {
	switch {
	case m.set.at.given():
		return volume.RollbackNone
	case m.set.rollback == "deny":
		return volume.RollbackDeny
	}
	return volume.RollbackReport
}

// acceptRestore takes what is below the target for what is to be, and prints what
// was in an older state.
func (f *verifyFlags) acceptRestore(ctx context.Context, c *cobra.Command, o *offline, target string) error {
	n, out := 0, c.OutOrStdout()
	p, err := o.stored(o.path)
	if err != nil {
		return err
	}
	err = o.volume.AcceptRestore(ctx, p, f.dry, func(r volume.Rollback) {
		n++
		r.Path = o.shownPath(r.Path)
		if f.json {
			_ = json.NewEncoder(out).Encode(map[string]any{
				"event": "accepted", "path": r.Path, "kind": r.Kind, "shown_version": r.Shown, "known_version": r.Known,
			})
			return
		}
		fmt.Fprintf(out, "%s: %s, version %d, known was %d\n", shownName(r.Path), r.Kind, r.Shown, r.Known)
	})
	if err != nil {
		return explainStore(target, err)
	}
	if !f.json {
		fmt.Fprintf(out, "objects in an older state: %d\n", n)
	}
	return nil
}
