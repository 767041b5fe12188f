package sse

import (
	"crypto/subtle"
	"fmt"
	"strconv"
)

// Confirm tells whether an answer says what m asked for: the algorithm, the key
// and, where m says so, the bucket key. Nil asks for nothing and is always
// confirmed. The context is not compared, as S3 does not tell it. Errors:
// ErrUnconfirmed, with what was asked and what came.
func (m *Mode) Confirm(answer map[string]string) error {
	if m == nil {
		return nil
	}
	return m.Fits(Of(answer))
}

// Fits is Confirm of an object that is known to be so encrypted. Two keys of
// which one is named by an alias count as one where they may be.
func (m *Mode) Fits(came State) error {
	switch {
	case came.Algorithm != m.algorithm:
		return m.unconfirmed(came.String())
	case m.algorithm == SSEC && subtle.ConstantTimeCompare([]byte(came.CustomerMD5), []byte(m.key.MD5())) != 1:
		return m.unconfirmed(came.String() + " with another key")
	case !sameKey(m.keyID, came.KMSKeyID):
		return m.unconfirmed(came.String() + " with key " + printable(came.KMSKeyID))
	case m.bucketKey != nil && *m.bucketKey != came.BucketKey:
		return fmt.Errorf("asked for %s, bucket key %v, got bucket key %v: %w", m, *m.bucketKey, came.BucketKey, ErrUnconfirmed)
	}
	return nil
}

func (m *Mode) unconfirmed(came string) error {
	return fmt.Errorf("asked for %s, got %s: %w", m, came, ErrUnconfirmed)
}

// printable is what a server said, for a message.
func printable(s string) string {
	const most = 300
	if s == "" {
		return "none"
	}
	return strconv.QuoteToASCII(s[:min(len(s), most)])
}

// SameKey tells whether an object that is so is under the key that m asks for,
// as far as the two can be compared: an alias does not tell its key.
func (m *Mode) SameKey(s State) bool {
	switch m.Algorithm() {
	case SSEKMS, DSSEKMS:
		return sameKey(m.keyID, s.KMSKeyID)
	case SSEC:
		return subtle.ConstantTimeCompare([]byte(s.CustomerMD5), []byte(m.key.MD5())) == 1
	}
	return true
}
