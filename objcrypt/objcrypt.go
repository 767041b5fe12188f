// Package objcrypt names what all object encryption schemes of sigilfs have
// in common: the errors that an object which does not open gives. The formats
// themselves are its sub-packages: sigil (the native client-side format) and
// s3ec (those of the Amazon S3 Encryption Client); sse is the headers of
// server-side encryption, section what the bodies of both are sent as.
//
// Nothing below this package knows a network, a disk, FUSE or a logger: the
// formats turn bytes into bytes, and an unauthenticated byte never leaves
// them.
package objcrypt

import "errors"

var (
	// ErrCorrupt: bytes that do not authenticate, or whose structure breaks
	// the format: flipped, truncated, extended, reordered, moved or spliced.
	// Nothing of the affected unit was released.
	ErrCorrupt = errors.New("object is corrupt or was tampered with")

	// ErrMoved: the object authenticates, but was sealed for another key
	// (name): somebody served object A under B's name. It is an ErrCorrupt.
	ErrMoved = moved{}

	// ErrNoKey: no key that could open the object is configured here.
	ErrNoKey = errors.New("no key for this object")

	// ErrWrongKey: a key is configured, but the object does not open under
	// it, or the key was disabled or retired from opening.
	ErrWrongKey = errors.New("wrong key for this object")

	// ErrDowngrade: the object is plaintext, or weaker than the policy of its
	// prefix asks for.
	ErrDowngrade = errors.New("object is not encrypted as the policy requires")

	// ErrVersion: a format version or a critical field that this program
	// does not know.
	ErrVersion = errors.New("object format version not supported")
)

// moved is its own type so that errors.Is(ErrMoved, ErrCorrupt) holds.
type moved struct{}

func (moved) Error() string { return "object was moved: it is sealed for another name" }

func (moved) Is(target error) bool { return target == ErrCorrupt }
