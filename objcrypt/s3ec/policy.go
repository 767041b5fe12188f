package s3ec

import "fmt"

// Policy says what is read. Its zero value takes V3 and V2 under GCM with the
// wrappings of today.
type Policy struct {
	// RequireCommitment refuses what does not commit to its key: all but V3.
	RequireCommitment bool
	// LegacyWrapping reads data keys under kms, AESWrap, RSA-OAEP with
	// SHA-256, and V1's AES-ECB and PKCS #1 v1.5.
	LegacyWrapping bool
	// LegacyCBC reads bodies under AES-CBC, which nothing authenticates.
	LegacyCBC bool
}

// Check tells whether the policy lets an object be read. Errors: ErrCommitment,
// ErrLegacy, both objcrypt.ErrDowngrade, naming the switch.
func (p Policy) Check(e *Envelope) error {
	switch {
	case p.RequireCommitment && !e.Committing():
		return fmt.Errorf("%s: %w", e, ErrCommitment)
	case !p.LegacyWrapping && e.wrap.Legacy():
		return fmt.Errorf("%s: wrapping: %w", e, ErrLegacy)
	case !p.LegacyCBC && !e.Authenticated():
		return fmt.Errorf("%s: unauthenticated CBC: %w", e, ErrLegacy)
	default:
		return nil
	}
}
