package volume

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// MoveMemory remembers, on this host's own disk, the directory renames that it
// has begun between rules. What lies in the bucket alone never has a host
// encrypt anything otherwise: a journal there could be planted, or be an old one
// that was put back. Safe for concurrent use.
type MoveMemory interface {
	Begin(id string) error // durable when it returns
	Begun(id string) bool
	End(id string) error
	Retain(ids map[string]bool) error // ends all others
}

// id names what the journal says, where it lies, to this host.
func (j *journal) id() string {
	sum := sha256.Sum256([]byte(j.key + "\x00" + j.From + "\x00" + j.To))
	return hex.EncodeToString(sum[:])
}

// crosses tells whether a directory rename would encrypt anything in another way.
func (v *Volume) crosses(from, to string) bool {
	p := v.policy
	return p.of(from) != p.of(to) || p.spans(from) || p.spans(to)
}

// mayMove refuses a rename that crosses rules where nothing of it would be
// remembered here.
func (v *Volume) mayMove(from, to string) error {
	if v.opt.Moves == nil && v.crosses(from, to) {
		return fmt.Errorf("%s and %s are under several rules, and this host keeps no state: %w", from, to, ErrCrossing)
	}
	return nil
}

// vouch remembers a rename that this host begins, before its journal is there.
func (v *Volume) vouch(j *journal) error {
	if !v.crosses(j.From, j.To) {
		return nil
	}
	return v.opt.Moves.Begin(j.id())
}

// vouched refuses a journal that would encrypt anything in another way, unless
// this host has begun it.
func (v *Volume) vouched(j *journal) error {
	if !v.crosses(j.From, j.To) || v.opt.Moves != nil && v.opt.Moves.Begun(j.id()) {
		return nil
	}
	return fmt.Errorf("%s and %s are under several rules, and this host has not begun the rename: %w", j.From, j.To, ErrCrossing)
}

// concluded forgets a rename that is done.
func (v *Volume) concluded(j *journal) {
	if v.opt.Moves == nil || !v.crosses(j.From, j.To) {
		return
	}
	if err := v.opt.Moves.End(j.id()); err != nil {
		v.opt.Log.WithField("journal", j.key).WithError(err).Warn("a finished directory rename could not be forgotten here")
	}
}

// ours tells whether a journal is about what this mount shows.
func (v *Volume) ours(j *journal) bool {
	return strings.HasPrefix(j.From, v.opt.Prefix) && strings.HasPrefix(j.To, v.opt.Prefix)
}
