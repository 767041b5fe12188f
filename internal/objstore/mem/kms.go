package mem

import (
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// KeyState is what becomes of those who want to use a KMS key.
type KeyState int

// The states. KeyMissing is that of all keys that SetKey was not told of, but
// for ManagedKey, which is KeyEnabled.
const (
	KeyMissing   KeyState = iota // ErrKeyMissing
	KeyEnabled                   // it works
	KeyDisabled                  // ErrKeyDisabled; about to be deleted, too
	KeyDenied                    // ErrKeyAccess
	KeyThrottled                 // ErrThrottled
)

// KeyHome begins the ARN of every key: KeyHome + "key/" + id.
const KeyHome = "arn:aws:kms:us-east-1:111122223333:"

// ManagedKey is the id of the key for those who name none.
const ManagedKey = "aws-managed"

// SetKey puts the KMS key of that id into a state, for all objects under it at
// once.
func (s *Store) SetKey(id string, state KeyState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyring[id] = state
}

// SetAlias makes "alias/NAME" stand for the key of that id.
func (s *Store) SetAlias(name, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aliases[name] = id
}

// resolve finds the ARN of the key that a request names. s.mu is held.
func (s *Store) resolve(name string) (string, error) {
	id := strings.TrimPrefix(strings.TrimPrefix(name, KeyHome), "key/")
	if id == "" {
		id = ManagedKey
	}
	if strings.HasPrefix(id, "alias/") {
		id = s.aliases[id]
	}
	if s.state(id) == KeyMissing {
		return "", objstore.ErrKeyMissing
	}
	return KeyHome + "key/" + id, nil
}

func (s *Store) state(id string) KeyState {
	state, set := s.keyring[id]
	if !set && id == ManagedKey {
		return KeyEnabled
	}
	return state
}

// usable tells whether the KMS key of a body, if it has one, can be used now.
// s.mu is held.
func (s *Store) usable(p protection) error {
	if p.keyID == "" {
		return nil
	}
	switch s.state(strings.TrimPrefix(p.keyID, KeyHome+"key/")) {
	case KeyEnabled:
		return nil
	case KeyDisabled:
		return objstore.ErrKeyDisabled
	case KeyDenied:
		return objstore.ErrKeyAccess
	case KeyThrottled:
		return objstore.ErrThrottled
	}
	return objstore.ErrKeyMissing
}
