// Package keyring holds the keys of a mount: master keys, which come from the
// configuration and never touch the bucket, and epoch keys, which lie in the
// bucket wrapped under master keys.
//
//	master key   Master: an AES-256 key, age recipients and identities, or a
//	             key of a KMS. Open finds one by its source, Generate makes one.
//	epoch key    32 random bytes. Epoch is the small object that carries it,
//	             .sigil/epochs/<id>: one JSON line with the wraps, one line of
//	             HMAC under the epoch key, perhaps one of signature.
//	Ring         finds the epoch of an object that is read.
//	Signer       says whose epochs a ring believes, SigningKey signs its own.
//	Set          is one key set of a ring's policy, and the one epoch that this
//	             host made for itself and seals under for it.
//	Dir          what outlives a mount: which epochs are this host's own, and
//	             the newest revision seen of every epoch used.
//
// A host seals only under epochs that it made, so nobody can plant one whose
// key he knows. An epoch's state goes from open to retired to closed and never
// back, whatever the bucket shows.
//
// The package knows no object, no S3, no AWS and no FUSE: Bucket is the little
// that it needs of a store, KMS of a key management service (internal/keyring/kms
// speaks to that of AWS).
package keyring

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
)

// Sentinel errors, matched with errors.Is. Texts around them name the action
// and the place, and never hold a secret.
var (
	// ErrNoKey: no configured key is among those that the epoch is wrapped
	// for, or only its public half is held here, or the epoch is nowhere.
	ErrNoKey = errors.New("no key for this epoch")

	// ErrWrongKey: the epoch is wrapped for a configured key and does not
	// open with it, or it is closed, or the key's KMS has it disabled.
	ErrWrongKey = errors.New("wrong key for this epoch")

	// ErrAccess: the KMS lets this identity not use the key. The text names
	// the action, the key and what to grant.
	ErrAccess = errors.New("access to the key denied")

	// ErrUnsigned: the epoch is signed by none of the signers of this host, or a
	// change of it would not be.
	ErrUnsigned = errors.New("not signed by a trusted signer")

	// ErrRolledBack: the bucket shows an older state of an epoch than was seen.
	ErrRolledBack = errors.New("the bucket shows an older state than was seen before")

	// ErrVersion: a format version, member or value this program does not know.
	ErrVersion = errors.New("epoch format version not supported")

	// ErrCorrupt: bytes that break the format of an epoch object, or an epoch
	// whose key does not fit what was sealed under its id.
	ErrCorrupt = errors.New("epoch is corrupt or was tampered with")

	// ErrReadOnly: a read-only ring makes no epoch to seal under.
	ErrReadOnly = errors.New("read-only: no epoch is made")

	// ErrKeySource: a key could not be read from where the configuration
	// says, or what is there is not a key. The text is one sentence for the
	// user.
	ErrKeySource = errors.New("key not usable")

	// What a Bucket answers.
	ErrNotExist = errors.New("epoch object does not exist")
	ErrExist    = errors.New("epoch object exists already")
	ErrChanged  = errors.New("epoch object was changed meanwhile")
)

// KeySize is the length in bytes of AES master keys and of epoch keys.
const KeySize = 32

// derive is HKDF-SHA256 (RFC 5869) to 32 bytes.
func derive(secret, salt []byte, info string) [KeySize]byte {
	out, err := hkdf.Key(sha256.New, secret, salt, info, KeySize)
	if err != nil { // only a length over 255 hashes, or FIPS mode with a short key
		panic("keyring: hkdf: " + err.Error())
	}
	defer clear(out)
	return [KeySize]byte(out)
}
