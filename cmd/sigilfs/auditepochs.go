package main

import (
	"context"
	"strings"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// epochsAsked is how many epochs are looked at to know whether one is retired.
const epochsAsked = 200

// mayUseIndex tells whether the attribute index says all that an audit asks: it
// does not name the epoch under which a data key was first sealed, and so not
// what needs reencrypting after a rotation. Then every object is asked. What an
// epoch says of its state needs no key, and a lie costs requests or is the
// bucket owner's, who could hide more.
func (a *auditing) mayUseIndex(ctx context.Context, o *offline) bool {
	dir := o.set.volumeRoot + ".sigil/epochs/"
	from, n := bucket{store: o.store}, 0
	for e, err := range o.store.List(ctx, objstore.ListOptions{Prefix: dir, Limit: epochsAsked + 1}) {
		if n++; err != nil || n > epochsAsked {
			return false
		}
		id, err := keyring.ParseEpochID(strings.TrimPrefix(e.Key, dir))
		if err != nil {
			continue // no epoch
		}
		data, _, err := from.Get(ctx, e.Key)
		if err != nil {
			return false
		}
		epoch, err := keyring.ParseEpoch(id, data)
		if err != nil || epoch.State == keyring.Retired {
			return false
		}
	}
	return true
}
