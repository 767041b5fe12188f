package sigil

import (
	"crypto/subtle"
	"fmt"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// recordNonce is zero: every seal has a key of its own, from a fresh salt.
var recordNonce [nonceSize]byte

// Seal makes the header of the object that lies at key (its full key in the
// bucket), under a fresh salt, and sets KeyHash and, where it is zero,
// SealEpoch. The body comes first: NewBody, NewRewrite or NewStream put the
// generation into the record. Errors: ErrXattrTooLarge, ErrRecord.
func (r *Record) Seal(e Epoch, key string) (Header, error) {
	if r.DEK.IsZero() || r.Generation == (Generation{}) {
		return Header{}, fmt.Errorf("no data key or generation was drawn: %w", ErrRecord)
	}
	r.KeyHash = KeyHash(key)
	if r.SealEpoch.IsZero() {
		r.SealEpoch = e.ID
	}
	plain, err := r.encode()
	if err != nil {
		return Header{}, fmt.Errorf("seal: %w", err)
	}
	defer clear(plain)
	if size := sealPrefix + len(plain) + TagSize; size > maxSeal {
		return Header{}, fmt.Errorf("seal of %d bytes, at most %d: %w", size, maxSeal, ErrXattrTooLarge)
	}
	h := Header{Epoch: e.ID, Layout: r.Layout}
	h.seal = string(sealRecord(e.Key, plain, h.sigil()))
	return h, nil
}

// sealRecord gives salt(16) || commitment(32) || AES-256-GCM(plain).
func sealRecord(epoch Key, plain []byte, aad string) []byte {
	out := make([]byte, sealSalt, sealPrefix+len(plain)+TagSize)
	random(out)
	key, commitment := sealKeys(epoch, out)
	out = append(out, commitment...)
	return newAEAD(key).Seal(out, recordNonce[:], plain, []byte(aad))
}

// Commits tells whether the seal was made under this epoch key. It compares in
// constant time and decrypts nothing.
func (h Header) Commits(e Epoch) bool {
	if len(h.seal) < sealPrefix || h.Epoch != e.ID {
		return false
	}
	key, commitment := sealKeys(e.Key, []byte(h.seal[:sealSalt]))
	clear(key)
	return subtle.ConstantTimeCompare(commitment, []byte(h.seal[sealSalt:sealPrefix])) == 1
}

// Open opens the record of the object that lies at key. Errors:
// objcrypt.ErrWrongKey where the seal is not of this epoch key (the commitment
// says so before anything is decrypted), objcrypt.ErrMoved where it was sealed
// for another key, objcrypt.ErrCorrupt, objcrypt.ErrVersion.
func (h Header) Open(e Epoch, key string) (*Record, error) {
	if !h.Commits(e) {
		return nil, fmt.Errorf("seal was not made under the key of epoch %s: %w", e.ID, objcrypt.ErrWrongKey)
	}
	r, err := h.open(e)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if r.KeyHash != KeyHash(key) {
		return nil, objcrypt.ErrMoved
	}
	return r, nil
}

// OpenMoved is Open wherever the object was sealed: KeyHash of the record is all
// that tells of that. It is for who seals the object anew for the key at which it
// lies; nobody else may believe that it belongs there.
func (h Header) OpenMoved(e Epoch) (*Record, error) {
	if !h.Commits(e) {
		return nil, fmt.Errorf("seal was not made under the key of epoch %s: %w", e.ID, objcrypt.ErrWrongKey)
	}
	r, err := h.open(e)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return r, nil
}

func (h Header) open(e Epoch) (*Record, error) {
	sealKey, _ := sealKeys(e.Key, []byte(h.seal[:sealSalt]))
	plain, err := newAEAD(sealKey).Open(nil, recordNonce[:], []byte(h.seal[sealPrefix:]), []byte(h.sigil()))
	if err != nil {
		return nil, fmt.Errorf("does not authenticate: %w", objcrypt.ErrCorrupt)
	}
	defer clear(plain)
	r, err := decodeRecord(plain)
	if err != nil {
		return nil, err
	}
	if r.Layout = h.Layout; r.Layout == layoutFrames && !r.mayFrame() {
		return nil, fmt.Errorf("file of mode %o in layout 1: %w", r.Mode, objcrypt.ErrCorrupt)
	}
	return r, nil
}
