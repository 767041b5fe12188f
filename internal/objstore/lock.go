package objstore

import (
	"context"
	"fmt"
	"time"
)

// The modes of a Lock (Amazon S3 User Guide, "Locking objects with Object Lock").
const (
	Governance = "GOVERNANCE" // some may remove it nonetheless
	Compliance = "COMPLIANCE" // nobody may
)

// Lock is what keeps a version from being removed. The zero Lock keeps nothing.
type Lock struct {
	Mode      string    // Governance or Compliance; "" is no retention
	Until     time.Time // of the retention
	LegalHold bool      // until somebody takes it off
}

// Holds tells whether the version cannot be removed at that time: in Governance
// not without a permission that nothing here makes use of.
func (l Lock) Holds(now time.Time) bool {
	return l.LegalHold || l.Mode != "" && now.Before(l.Until)
}

// Check refuses what no server takes: a mode without a time, a time without a
// mode, modes that there are not.
func (l Lock) Check() error {
	if l.Mode == "" && l.Until.IsZero() || (l.Mode == Governance || l.Mode == Compliance) && !l.Until.IsZero() {
		return nil
	}
	return fmt.Errorf("lock %q until %v: %w", l.Mode, l.Until, ErrInvalid)
}

// Locker is what a Store also is that can tell the lock of an object, or of the
// version that id names, without the key of its body. Errors: ErrNotExist (with
// a VersionID ErrChanged), ErrAccess with the action in the text: nobody can say
// then that nothing holds it. A bucket without Object Lock has the zero Lock.
type Locker interface {
	Lock(ctx context.Context, id ID) (Lock, error)
}
