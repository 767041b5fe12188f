package s3ec

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
)

// Envelope is what an object's headers say, parsed and consistent: nothing
// more has to be known of them to open the body with the right master key. It
// holds no secret and does not change.
type Envelope struct {
	version Kind // KindV1, KindV2 or KindV3
	file    bool // the wrapped key was in an instruction file
	suite   Suite
	wrap    Wrap
	wrapped []byte
	context map[string]string // as stored, the reserved names among it

	iv         []byte           // V1, V2: 12 bytes under GCM, 16 under CBC
	id         [idSize]byte     // V3
	commitment [commitSize]byte // V3
}

// Version is KindV1, KindV2 or KindV3.
func (e *Envelope) Version() Kind { return e.version }

// Suite is how the body is encrypted.
func (e *Envelope) Suite() Suite { return e.suite }

// Wrap is how the data key is.
func (e *Envelope) Wrap() Wrap { return e.wrap }

// Committing tells whether the object commits to its key.
func (e *Envelope) Committing() bool { return e.suite == SuiteCommitting }

// Authenticated tells whether the body is: not under CBC.
func (e *Envelope) Authenticated() bool { return e.suite != SuiteCBC }

// InInstructionFile tells whether the wrapped key came from there.
func (e *Envelope) InInstructionFile() bool { return e.file }

// Same tells whether two say the same, wherever the wrapped key lay.
func (e *Envelope) Same(other *Envelope) bool {
	a, b := *e, *other
	a.file, b.file = false, false
	return reflect.DeepEqual(a, b)
}

// Context is a copy of the KMS encryption context, or of the material
// description under another wrapping, as stored but for the names that the
// formats reserve.
func (e *Envelope) Context() map[string]string {
	c := maps.Clone(e.context)
	delete(c, contextCEK)
	delete(c, contextCMK)
	return c
}

// KeyHint is what the headers tell of the master key, which none of the formats
// names as a rule: the ID of a KMS key where an old client left it, and the KMS
// encryption context or the material description as JSON; "" where there is
// neither. Nothing of it is authenticated before the data key is unwrapped.
func (e *Envelope) KeyHint() string {
	hint := e.context[contextCMK]
	if c := e.Context(); len(c) > 0 {
		hint += " " + formatMap(c)
	}
	return strings.TrimSpace(hint)
}

// String gives version, suite and wrapping by AWS's names, such as
// "V3 ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY kms+context".
func (e *Envelope) String() string { return fmt.Sprintf("%s %s %s", e.version, e.suite, e.wrap) }

// PlainSize gives the length of the plaintext of a body of so many bytes. Under
// CBC that is not exact before the padding is known (Opener.PlainSize), and
// the most it can be. A length that no plaintext gives is objcrypt.ErrCorrupt.
func (e *Envelope) PlainSize(length int64) (n int64, exact bool, err error) {
	if e.suite == SuiteCBC {
		n, err = cbcMaxPlainSize(length)
		return n, false, err
	}
	n, err = gcmPlainSize(length)
	return n, err == nil, err
}
