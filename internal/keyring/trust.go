package keyring

import (
	"bytes"
	"fmt"
	"slices"
)

// This file is about whose word an epoch object is. Without signers it is that of
// anybody who knows the epoch's key. With them it is theirs alone, object by
// object: what one of them signed says nothing for what replaces it. The key of
// an epoch that this host made is its own whatever shows it, so what lies under
// that is read; its wraps and its state are not believed of others.

// write marshals an epoch that this host makes, or changes: then before is what
// it was. All that is stored of epochs and was not stored before goes through
// here. It is signed where there is a key to sign with. What nobody could read
// again is refused. Errors: those of mayChange.
func (r *Ring) write(e *Epoch, key *[KeySize]byte, before *Epoch) error {
	if before != nil {
		if err := r.mayChange(before); err != nil {
			return err
		}
	}
	if _, err := e.Marshal(key); err != nil {
		return err
	}
	if r.sign != nil {
		e.sign(r.sign)
	}
	if len(e.stored) > MaxEpochSize {
		return fmt.Errorf("epoch %s would have %d bytes, and may have %d: wrap it for fewer keys", e.ID, len(e.stored), MaxEpochSize)
	}
	if _, err := ParseEpoch(e.ID, e.stored); err != nil {
		return fmt.Errorf("epoch %s would not be read again, and is not written: %w", e.ID, err)
	}
	return nil
}

// mayChange refuses, by ErrUnsigned, to change an epoch that is not believed: a
// signature would vouch for it. Without a key to sign with it refuses to change
// what is signed, and what this host would itself not believe afterwards.
func (r *Ring) mayChange(e *Epoch) error {
	switch {
	case !r.trusted(e):
		return r.errUnsigned(e)
	case r.sign == nil && e.Signature != nil:
		return fmt.Errorf("change epoch %s: it is signed, and this host has no key to sign with (--sign): %w", e.ID, ErrUnsigned)
	case r.sign == nil && r.signers != nil:
		return fmt.Errorf("change epoch %s: hosts with --signers, as this one, would pass over what is not signed, and this host has no key to sign with (--sign): %w", e.ID, ErrUnsigned)
	}
	return nil
}

// trusted tells whether an epoch object is believed: there are no signers, or one
// of them signed it, or it is as this host made it.
func (r *Ring) trusted(e *Epoch) bool {
	if r.signers == nil {
		return true
	}
	if _, ok := r.SignerOf(e); ok {
		return true
	}
	return r.made(e)
}

// SignerOf tells who of those whom this host knows signed an epoch.
func (r *Ring) SignerOf(e *Epoch) (Signer, bool) {
	known := r.signers
	if r.sign != nil { // what this host signed, it made or changed itself
		known = append(known[:len(known):len(known)], r.sign.Signer())
	}
	i := slices.IndexFunc(known, e.SignedBy)
	if i < 0 {
		return Signer{}, false
	}
	return known[i], true
}

// made tells whether an epoch object is the first revision of an epoch of this
// host, to the byte. Later ones may be of others.
func (r *Ring) made(e *Epoch) bool {
	if e.Revision != 1 {
		return false
	}
	for _, have := range r.known(e.ID) {
		if have.own && bytes.Equal(have.epoch.stored, e.stored) {
			return true
		}
	}
	records, _ := r.dir.records(e.ID) // one that cannot be read is of nobody
	return slices.ContainsFunc(records, func(rec *record) bool { return rec.Own && bytes.Equal(rec.Object, e.stored) })
}

// vouched gives the keys of id for which this host's own memory stands: it made
// them, or saw them signed.
func (r *Ring) vouched(id EpochID) (sums []keySum) {
	for _, e := range r.known(id) {
		sums = append(sums, e.sum())
	}
	records, err := r.dir.records(id)
	if err != nil {
		r.report(id, err.Error())
	}
	for _, rec := range records {
		epoch, err := ParseEpoch(id, rec.Object)
		if rec.Own || err == nil && r.trusted(epoch) {
			sums = append(sums, rec.Sum)
		}
	}
	pins, err := r.dir.pinned(id)
	if err != nil {
		r.report(id, err.Error())
	}
	return append(sums, pins...)
}

// errUnsigned says what to do about an epoch that is not believed.
func (r *Ring) errUnsigned(e *Epoch) error {
	how := "is not signed"
	if e.Signature != nil {
		how = "is signed by none of the signers of this host"
	}
	return fmt.Errorf("epoch %s, revision %d, which names the host %q as its maker, %s: add who made it to --signers if you trust him: %w", e.ID, e.Revision, e.Host, how, ErrUnsigned)
}

// passOver keeps what was known of an epoch, where the bucket shows what is not
// believed. What this host made of it is then as good as lost: others are shown
// something else.
func (r *Ring) passOver(theirs, mine *entry) *entry {
	kept := *mine
	kept.at, kept.seen = theirs.at, theirs.seen
	kept.lost = theirs.epoch.Revision >= mine.epoch.Revision
	r.report(mine.epoch.ID, fmt.Sprintf("the bucket shows revision %d of this epoch, which none of the signers signed; it is passed over, and revision %d used as it was seen before",
		theirs.epoch.Revision, mine.epoch.Revision))
	return &kept
}
