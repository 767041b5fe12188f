// Package s3ec knows the formats of the Amazon S3 Encryption Client: it reads
// what AWS's clients wrote in versions 1, 2 and 3, and writes versions 2 and 3
// (the default), which they read. Like every format it knows no network, no
// disk and no AWS types; KMS is an interface that the caller fills in.
//
// An object is user metadata and a body; what opens it may lie in a second
// object, the instruction file, instead:
//
//	V1  x-amz-key, x-amz-iv                    AES-256-CBC             read only
//	V2  x-amz-key-v2, x-amz-iv, names of both  AES-256-GCM (or CBC)    body || tag(16)
//	V3  x-amz-3, x-amz-c, -d, -i, -w           GCM, committing to its key, body || tag(16)
//
// It is opened in four steps, each of which can refuse:
//
//	Detect    which format the metadata names, and whether a file is needed
//	Parse     headers to an Envelope, whole and consistent
//	Unwrap    Policy, then the data key under one of a Keyring, then the
//	          commitment: an Opener
//	Open      the whole body is verified: a Reader
//
// and written in one: NewBody draws the data key, so that none seals two
// bodies, and gives the Envelope with the headers and Sections of the body.
//
// GCM has one tag at the end of the body. Opener.Open reads all of it before a
// byte is released, and keeps 16 bytes of GHASH for each 64 KiB: later reads
// are held against them, so that a source which changed gives an error and
// nothing else. CBC (behind a switch) has no tag: whoever can write the object
// can change its plaintext.
//
// Errors wrap the sentinels of package objcrypt: ErrCorrupt where no switch
// and no key would help, ErrDowngrade (as ErrLegacy or ErrCommitment) where a
// switch would. No error, String or %v shows a key.
package s3ec

import (
	"context"
	"errors"
	"fmt"

	"github.com/sigilfs/sigilfs/objcrypt"
)

var (
	// ErrLegacy: the object is wrapped or encrypted in a way that is read only
	// where the policy's switch for it is on. It is an objcrypt.ErrDowngrade.
	ErrLegacy = fmt.Errorf("legacy encryption is not switched on: %w", objcrypt.ErrDowngrade)

	// ErrCommitment: the object does not commit to its key, and the policy
	// requires that. It is an objcrypt.ErrDowngrade.
	ErrCommitment = fmt.Errorf("object does not commit to its key: %w", objcrypt.ErrDowngrade)

	// ErrContext: an encryption context or material description that cannot
	// be used: a reserved name, or, for writing, characters that S3 changes.
	ErrContext = errors.New("encryption context cannot be used")

	// ErrTooLarge: a plaintext of more than MaxSize bytes.
	ErrTooLarge = errors.New("too large for one AES-GCM stream")

	// ErrSource: the plaintext under a body changed between two readings of
	// it. Nothing of the second reading was released, since two ciphertexts
	// under one key and nonce would show both plaintexts.
	ErrSource = errors.New("plaintext changed while it was sealed")
)

// Metadata is an object's user metadata: lower-case names without the
// "x-amz-meta-" in front.
type Metadata = map[string]string

// ReaderAt is io.ReaderAt with a context, and by the same rules: fewer bytes
// than asked for come with an error, io.EOF where the content ends.
type ReaderAt interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
}

// corrupt makes an error of what breaks the format.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), objcrypt.ErrCorrupt)
}
