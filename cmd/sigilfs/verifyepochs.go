package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/volume"
)

// epochCheck has the epochs of a volume looked at by verify: an object whose epoch
// does not open says no more than that, and of what nothing lies under yet, or
// this host alone can open any more, no object says anything.
type epochCheck struct {
	admin *keyring.Admin
	root  string                   // of the volume
	known map[keyring.EpochID]bool // that this host remembers

	mu  sync.Mutex // guards met
	met map[keyring.EpochID]bool
}

// newEpochCheck is nil where nothing reads an epoch.
func newEpochCheck(o *offline) (*epochCheck, error) {
	if len(o.masters()) == 0 {
		return nil, nil //nolint:nilnil // nothing to look at
	}
	admin, err := o.ring.Admin(keyring.AdminOptions{Dry: true})
	if err != nil {
		return nil, err
	}
	c := &epochCheck{admin: admin, root: o.set.volumeRoot, known: map[keyring.EpochID]bool{}, met: map[keyring.EpochID]bool{}}
	ids, err := admin.Remembered()
	for _, id := range ids {
		c.known[id] = true
	}
	return c, err
}

// look is volume.VerifyOptions.Epoch. What lies above the volume may be another
// volume's, and is looked at where this host has seen it.
func (c *epochCheck) look(ctx context.Context, key string) error {
	h, ok, err := c.admin.Look(ctx, key)
	if err != nil || !ok || !strings.HasPrefix(key, c.root) && !c.known[h.ID] {
		return err
	}
	c.mu.Lock()
	c.met[h.ID] = true
	c.mu.Unlock()
	if why := h.Amiss(); why != nil {
		return &volume.Finding{Fault: epochFault(h, why), Err: why}
	}
	return nil
}

// epochFault tells what is wrong with an epoch from what this host cannot open.
// That KMS opens no wrap may be either: a key that is disabled opens again.
func epochFault(h keyring.Held, why error) volume.Fault {
	byKMS := h.Epoch != nil && slices.ContainsFunc(h.Epoch.Wraps, func(w keyring.Wrap) bool { return w.Type == keyring.KindKMS })
	switch {
	case errors.Is(why, keyring.ErrRolledBack):
		return volume.FaultRollback
	case errors.Is(why, keyring.ErrCorrupt), errors.Is(why, keyring.ErrUnsigned), errors.Is(why, keyring.ErrWrongKey) && !byKMS:
		return volume.FaultEpoch
	}
	return volume.Unseen
}

// missing tells of epochs that this host has seen and that the bucket does not
// have any more, once all that it has were met: this host opens what lies under
// them by its own copy, and nobody else does.
func (c *epochCheck) missing(ctx context.Context, found func(*volume.Finding)) error {
	for id := range c.known {
		if c.met[id] {
			continue
		}
		gone, err := c.admin.Missing(ctx, id)
		if err != nil {
			return err
		}
		if gone {
			found(&volume.Finding{
				Fault: volume.FaultEpoch, Key: c.root + ".sigil/epochs/" + id.String(),
				Err: fmt.Errorf("epoch %s is missing from the bucket: this host remembers it, and others cannot open what lies under it", id),
			})
		}
	}
	return nil
}
