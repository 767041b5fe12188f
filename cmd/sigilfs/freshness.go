package main

import (
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sigilfs/sigilfs/internal/freshness"
	"github.com/sigilfs/sigilfs/internal/volume"
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
		Path: dir.Versions(), ReadOnly: m.set.readOnly, Bytes: m.set.rollbackSize, Log: m.log,
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
