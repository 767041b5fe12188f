// Package freshness remembers which state of each sealed object this host has
// written or read last, and what it has removed, so that whoever puts an older
// state back is seen. It knows keys, versions and hashes of seals; no object, no
// store and no cipher.
//
// # What is remembered
//
// A Record for a key is the version of the highest state known and the first 16
// bytes of SHA-256 of its sigil-seal; of what was removed a tombstone, with a
// version of its own. Judge holds what is shown against it.
//
// # Where
//
// In one file of go.etcd.io/bbolt in the state directory of the volume. The
// processes of a host share it: the file is locked as long as it is open, so it
// is opened by turns (turns.go), and what several write of one key is joined by
// version. A key stands in it as HMAC-SHA256 under a secret of the file: who
// has the disk can test names that he guesses, and reads none. Each record ends
// in a MAC under the same secret, so that a damaged one tells no lies.
//
// # When
//
// What is told goes to memory and from there to the file in transactions: a
// second later, or with thousands of others. A crash loses the last of it: then
// less is known, and nothing wrong. Get reads the file without a lock of the
// disk or a write. Trouble with the file is a line of the log; a damaged one is
// set aside and begun anew.
//
// # How much
//
// Options.Bytes bounds the file. Beyond that what was used longest ago goes, to
// the day, tombstones like the rest; Stats.Forgotten counts it.
package freshness

import (
	"time"
)

// Seal is the first 16 bytes of SHA-256 of a sigil-seal.
type Seal = [16]byte

// Record is what is known of one key. The zero Record is nothing known.
type Record struct {
	// Version of the highest state, or of the removal; 0: nothing is known.
	Version uint64
	Seal    Seal   // of that state, or of the last one before the removal
	Last    uint64 // after a removal: the version of that last one, 0 if not known

	Gone    bool // it was removed
	Doubted bool // a state that this host made out of one that had been rolled back
}

// Known tells whether r says anything.
func (r Record) Known() bool { return r.Version != 0 }

// Verdict is what comes of holding what is shown against what is known.
type Verdict string

// Verdicts. Fresh and New are good; all others are reported.
const (
	Fresh        Verdict = ""             // as it is known
	New          Verdict = "new"          // not known, or higher: to be remembered
	Ahead        Verdict = "ahead"        // over a year ahead of the clock: said, and not remembered
	Rollback     Verdict = "rollback"     // lower than known
	Conflict     Verdict = "conflict"     // another seal of the known version
	Resurrection Verdict = "resurrection" // a state from before its removal
	Descendant   Verdict = "descendant"   // made here of a state that had been rolled back
)

// Bad tells the verdicts that say that an older state was put back.
func (v Verdict) Bad() bool {
	return v == Rollback || v == Conflict || v == Resurrection || v == Descendant
}

// MaxAhead is how far ahead of the clock a version may be and still be believed,
// in ns: beyond that somebody's clock, or somebody, is wrong.
const MaxAhead = uint64(365 * 24 * time.Hour)

// race is how long a state that was sealed before a removal may be on its way
// and arrive behind it, in ns: another host's PUT of a lock file meets our
// DELETE of the one before. It holds for states that this host has never seen.
const race = uint64(5 * time.Second)

// Ahead tells whether a version is too far ahead of the clock to be counted on.
func IsAhead(version uint64, now time.Time) bool {
	return version > uint64(max(0, now.UnixNano()))+MaxAhead
}

// Judge holds a state that the store shows against what was known before it was
// asked.
func Judge(known Record, version uint64, seal Seal, now time.Time) Verdict {
	switch {
	case known.Known() && !known.Gone && version == known.Version && seal == known.Seal:
		if known.Doubted {
			return Descendant
		}
		return Fresh
	case IsAhead(version, now):
		return Ahead
	case !known.Known(), version > known.Version, IsAhead(known.Version, now):
		return New
	case known.raced(version, seal):
		return New
	case known.Gone:
		return Resurrection
	case version == known.Version:
		return Conflict
	}
	return Rollback
}

// raced tells whether a state is not from before the removal that known tells of,
// though its version is lower: it was on its way then. Whoever held the store's
// answers back could do no more than a slow network; what this host has seen of
// the key is not taken for such.
func (r Record) raced(version uint64, seal Seal) bool {
	return r.Gone && version > r.Last && version <= r.Version && r.Version-version <= race && seal != r.Seal
}

// join gives what is known after next was learned: the higher version counts,
// whoever came first. A version too far ahead stands in nobody's way.
func join(known, next Record, now time.Time) Record {
	if !next.Gone && known.raced(next.Version, next.Seal) {
		return next // it is there, and what is older is older from now on
	}
	if known.Known() && !IsAhead(known.Version, now) && next.Version <= known.Version {
		return known
	}
	if next.Gone && next.Last == 0 {
		next.Seal, next.Last = known.Seal, known.Last
		if !known.Gone {
			next.Last = known.Version
		}
	}
	return next
}
