package keyring

import "slices"

// EpochKeys gives the ids of the master keys for which the epoch id is wrapped, as
// far as this ring has opened it; sorted.
func (r *Ring) EpochKeys(id EpochID) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for _, e := range r.epochs[id] {
		ids = append(ids, e.epoch.keyIDs()...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
