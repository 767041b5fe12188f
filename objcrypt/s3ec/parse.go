package s3ec

import (
	"encoding/base64"
	"fmt"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// Parse reads the headers of an object, and its instruction file where it has
// one: nil where the metadata are complete (KindV1, KindV2, KindV3). Everything
// that needs no key is checked: lengths, names, and that no part of one version
// or algorithm stands beside another's. Such mixtures are refused whatever the
// policy, also where AWS's clients read them: each is a way to have an object
// read as something weaker. Errors: objcrypt.ErrCorrupt; objcrypt.ErrVersion
// for an algorithm that nobody here knows.
func Parse(md Metadata, instruction []byte) (*Envelope, error) {
	kind, err := Detect(md)
	if err != nil {
		return nil, err
	}
	e := &Envelope{file: instruction != nil}
	if e.file {
		if kind, md, err = withInstruction(kind, md, instruction); err != nil {
			return nil, err
		}
	}
	if err := e.parse(kind, md); err != nil {
		return nil, err
	}
	return e, nil
}

func withInstruction(kind Kind, md Metadata, instruction []byte) (Kind, Metadata, error) {
	file, err := ParseInstruction(instruction)
	if err != nil {
		return KindNone, nil, err
	}
	if md, err = join(kind, md, file); err != nil {
		return KindNone, nil, err
	}
	if kind, err = Detect(md); err != nil {
		return KindNone, nil, fmt.Errorf("instruction file: %w", err)
	}
	return kind, md, nil
}

func (e *Envelope) parse(kind Kind, md Metadata) error {
	e.version = kind
	switch kind {
	case KindV1:
		return e.parseV1(md)
	case KindV2:
		return e.parseV2(md)
	case KindV3:
		return e.parseV3(md)
	case KindV3Instruction:
		return corrupt("no wrapped key in the metadata, and no instruction file")
	default:
		return corrupt("no header of the S3 Encryption Client")
	}
}

// parseV1: no algorithm is named; a wrapped key longer than AES makes it is
// RSA's.
func (e *Envelope) parseV1(md Metadata) (err error) {
	if hasAny(md, []string{nameWrapAlg, nameCEKAlg, nameTagLen}) {
		return corrupt("headers of V2 beside V1")
	}
	e.suite, e.wrap = SuiteCBC, WrapAESECB
	if e.wrapped, err = decode(md, nameKeyV1); err != nil {
		return err
	}
	if len(e.wrapped) > wrappedECB {
		e.wrap = WrapRSAPKCS1
	}
	return e.parseOld(md)
}

func (e *Envelope) parseV2(md Metadata) (err error) {
	if e.suite, err = suiteV2(md[nameCEKAlg]); err != nil {
		return err
	}
	var ok bool
	if e.wrap, ok = wrapV2(md[nameWrapAlg]); !ok {
		return unknown(md, nameWrapAlg)
	}
	if err := checkTagLen(e.suite, md[nameTagLen]); err != nil {
		return err
	}
	if !e.wrap.Legacy() && e.suite != SuiteGCM {
		return corrupt("%s wraps the key of %s", e.wrap, md[nameCEKAlg])
	}
	if e.wrapped, err = decode(md, nameKeyV2); err != nil {
		return err
	}
	return e.parseOld(md)
}

// parseOld reads what V1 and V2 share.
func (e *Envelope) parseOld(md Metadata) (err error) {
	size := nonceSize
	if e.suite == SuiteCBC {
		size = blockSize
	}
	if e.iv, err = decode(md, nameIV); err != nil {
		return err
	}
	if len(e.iv) != size {
		return corrupt("%s of %d bytes, not %d", nameIV, len(e.iv), size)
	}
	if e.context, err = parseContext(md, nameMatdesc); err != nil {
		return err
	}
	return e.checkWrapping()
}

func suiteV2(name string) (Suite, error) {
	switch name {
	case cekGCM:
		return SuiteGCM, nil
	case cekCBC, cekCBC7:
		return SuiteCBC, nil
	default:
		return 0, unknown(Metadata{nameCEKAlg: name}, nameCEKAlg)
	}
}

// checkTagLen: GCM's tag has 128 bits, which the clients of all versions store;
// CBC has none.
func checkTagLen(s Suite, bits string) error {
	if s == SuiteGCM && bits != "128" || s == SuiteCBC && bits != "" {
		return corrupt("%s of %q bits under %s", nameTagLen, bits, s)
	}
	return nil
}

func (e *Envelope) parseV3(md Metadata) (err error) {
	e.suite = SuiteCommitting
	if md[nameSuite] != cekCommitting {
		return unknown(md, nameSuite)
	}
	var ok bool
	if e.wrap, ok = wrapV3(md[nameWrapV3]); !ok {
		return unknown(md, nameWrapV3)
	}
	if e.wrapped, err = decode(md, nameKeyV3); err != nil {
		return err
	}
	if err := decodeInto(e.commitment[:], md, nameCommitment); err != nil {
		return err
	}
	if err := decodeInto(e.id[:], md, nameMessageID); err != nil {
		return err
	}
	if e.id == [idSize]byte{} {
		return corrupt("%s is zero", nameMessageID)
	}
	name := nameMatdescV3
	if e.wrap == WrapKMSContext {
		name = nameContextV3
	}
	if e.context, err = parseContext(md, name); err != nil {
		return err
	}
	return e.checkWrapping()
}

// checkWrapping holds the wrapped key's length and the stored context against
// the wrapping.
func (e *Envelope) checkWrapping() error {
	ok, n := true, len(e.wrapped)
	switch e.wrap {
	case WrapKMSContext, WrapKMS:
		ok = n <= maxKMSBlob
	case WrapAESGCM:
		ok = n == wrappedGCM
	case WrapAESKW:
		ok = n == wrappedKW
	case WrapAESECB:
		ok = n == wrappedECB
	case WrapRSAOAEP, WrapRSAOAEP256, WrapRSAPKCS1:
		ok = n >= minRSABits/8 && n <= maxRSABits/8
	}
	if !ok {
		return corrupt("wrapped key of %d bytes under %s", n, e.wrap)
	}
	return e.checkContext()
}

// checkContext: the context of kms+context names the suite, and only that one:
// found under kms, the wrapping was edited.
func (e *Envelope) checkContext() error {
	cek, named := e.context[contextCEK]
	switch {
	case e.wrap == WrapKMSContext && cek != e.suite.cek():
		return corrupt("encryption context names the suite %q, the headers %q", cek, e.suite.cek())
	case e.wrap == WrapKMS && named:
		return corrupt("encryption context is of %s, the wrapping says %s", WrapKMSContext, WrapKMS)
	default:
		return nil
	}
}

// unknown: a missing or empty name is a broken header, another one of a version
// to come.
func unknown(md Metadata, name string) error {
	if md[name] == "" {
		return corrupt("no %s", name)
	}
	return fmt.Errorf("%s is %q: %w", name, md[name], objcrypt.ErrVersion)
}

// decode gives a header of standard, padded base64; it is there and not empty.
func decode(md Metadata, name string) ([]byte, error) {
	if md[name] == "" {
		return nil, corrupt("no %s", name)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(md[name])
	if err != nil || len(b) == 0 {
		return nil, corrupt("%s is not base64", name)
	}
	return b, nil
}

func decodeInto(p []byte, md Metadata, name string) error {
	b, err := decode(md, name)
	if err != nil {
		return err
	}
	if len(b) != len(p) {
		return corrupt("%s of %d bytes, not %d", name, len(b), len(p))
	}
	copy(p, b)
	return nil
}
