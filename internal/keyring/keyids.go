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

// EpochState gives the state of the epoch id, the furthest seen, as far as this
// ring has opened it; "" where it has not.
func (r *Ring) EpochState(id EpochID) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	furthest, some := Live, false
	for _, e := range r.epochs[id] {
		furthest, some = max(furthest, e.state), true
	}
	if !some {
		return ""
	}
	return furthest.String()
}
