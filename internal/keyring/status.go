package keyring

import (
	"bytes"
	"slices"
	"time"
)

// EpochStatus is what is known of an epoch that this ring has opened. It holds
// no secret.
type EpochStatus struct {
	ID      EpochID
	State   Phase // the furthest seen
	Created time.Time
	Host    string // who made it; "" where nobody said
	KeyIDs  []string
	Own     bool   // made by this host
	Current bool   // sealed under at present
	Lost    bool   // the bucket does not have it any more, or not as it was
	Signer  string // who signed it, of those whom this host knows; ""

	// RolledBack: the bucket shows an older revision than was seen, or another
	// content of the same; the one seen before is used.
	RolledBack bool
}

// Epochs lists the epochs in use: those that this ring has opened and still
// remembers, by id. It takes no request.
func (r *Ring) Epochs() []EpochStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	current := map[ownEpoch]bool{}
	for _, s := range r.sets {
		if s.own != nil {
			current[*s.own] = true
		}
	}
	var all []EpochStatus
	for id, entries := range r.epochs {
		for _, e := range entries {
			signer := ""
			if s, ok := r.SignerOf(e.epoch); ok {
				signer = s.String()
			}
			all = append(all, EpochStatus{
				ID: id, State: e.state, Created: e.epoch.Created, Host: e.epoch.Host, KeyIDs: e.epoch.keyIDs(),
				Own: e.own, Current: current[ownEpoch{id, e.sum()}], Lost: e.lost, Signer: signer, RolledBack: e.older,
			})
		}
	}
	slices.SortFunc(all, func(a, b EpochStatus) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return all
}
