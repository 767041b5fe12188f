// Package sigil is the native client-side format, version 1: one plaintext
// file is one S3 object. It knows how a record becomes object metadata, how
// plaintext becomes a body, and both ways back; it knows no network, no disk,
// and no master keys. docs/FORMAT.md is the specification.
//
// An object is opened from the outside in:
//
//	epoch key   unwrapped elsewhere from .sigil/epochs/<id>
//	Header      the object's metadata: which epoch, and the sealed record
//	Record      data key, generation, version, attributes
//	Reader      verified plaintext by ReadAt over the ciphertext
//
// and is written from the inside out: NewBody (content of known size),
// NewRewrite (part of an object) or NewStream (unknown length) draw keys and
// generation into the Record; then Record.Seal makes the Header. Sections of a
// body can be read again for a retry and give the same bytes.
//
// A body of at most 8 MiB is a row of chunks; a larger one is segments of 128
// chunks and a tail with the salts of their keys, the late attributes, the
// size and a MAC: layout 0. In layout 1 a segment is 32 frames, each compressed
// before it is sealed (Compressor, Frames), and the tail, which is never missing,
// has their lengths too. Every key seals one plaintext, so nonces are counters.
//
// Errors wrap the sentinels of package objcrypt and say where and why; no
// error, String or %v shows a key.
package sigil

import "errors"

var (
	// ErrXattrTooLarge: extended attributes of more than MaxXattrs encoded
	// bytes, or a record that does not fit S3's user metadata.
	ErrXattrTooLarge = errors.New("extended attributes are too large for the object's metadata")

	// ErrRecord: a record or a body that cannot be sealed as it stands: no file
	// type, an attribute name that is not UTF-8, a size beyond MaxSize. It is
	// the caller's mistake, never the object's.
	ErrRecord = errors.New("record cannot be sealed")

	// ErrSource: the plaintext under a body changed between two readings of
	// it. Nothing of the second reading was released, since two ciphertexts
	// under one key and nonce would show both plaintexts.
	ErrSource = errors.New("plaintext changed while it was sealed")
)
