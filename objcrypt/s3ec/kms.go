package s3ec

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// KMS is the operations of AWS KMS that the formats need. Its errors are
// passed on, wrapped. It is safe for concurrent use.
type KMS interface {
	// GenerateDataKey draws an AES-256 key, and gives it also encrypted under
	// the master key keyID and bound to the encryption context.
	GenerateDataKey(ctx context.Context, keyID string, encryptionContext map[string]string) (plain [32]byte, blob []byte, err error)
	// Encrypt gives such a blob of a key that was drawn elsewhere.
	Encrypt(ctx context.Context, keyID string, plain *[32]byte, encryptionContext map[string]string) (blob []byte, err error)
	// Decrypt opens such a blob under keyID and no other key.
	Decrypt(ctx context.Context, keyID string, blob []byte, encryptionContext map[string]string) (plain [32]byte, err error)
}

// errDataKey: a key of zeros, or one whose wrapped form is missing or too long.
var errDataKey = errors.New("KMS gave no usable data key")

// usable tells whether a blob is one that readers take.
func usable(blob []byte) bool { return len(blob) > 0 && len(blob) <= maxKMSBlob }

// KMSKey is a master key in KMS.
type KMSKey struct {
	kms     KMS
	id      string
	context map[string]string
}

var _ Sealer = (*KMSKey)(nil)

// NewKMSKey names a key by ID, ARN or alias. The encryption context is sent
// when objects are written, and objects that store another one are not opened;
// nil is the empty one. ErrContext where it holds a reserved name.
func NewKMSKey(kms KMS, id string, encryptionContext map[string]string) (*KMSKey, error) {
	if err := checkContext(encryptionContext); err != nil {
		return nil, err
	}
	return &KMSKey{kms: kms, id: id, context: maps.Clone(encryptionContext)}, nil
}

// String names the key.
func (k *KMSKey) String() string { return "KMS key " + k.id }

func (k *KMSKey) unwraps(w Wrap) bool { return w == WrapKMSContext || w == WrapKMS }

// unwrap sends the whole map as it is stored: KMS authenticates it.
func (k *KMSKey) unwrap(ctx context.Context, e *Envelope) (dataKey, error) {
	if !sameContext(k.context, e) {
		return dataKey{}, wrong("object has another encryption context than is configured")
	}
	plain, err := k.kms.Decrypt(ctx, k.id, e.wrapped, maps.Clone(e.context))
	if err != nil {
		return dataKey{}, fmt.Errorf("decrypt the data key: %w", err)
	}
	return plain, nil
}

func (k *KMSKey) seal(ctx context.Context, cek string) (sealed, error) {
	c, err := k.full(cek)
	if err != nil {
		return sealed{}, err
	}
	plain, blob, err := k.kms.GenerateDataKey(ctx, k.id, maps.Clone(c))
	switch {
	case err != nil:
		return sealed{}, fmt.Errorf("generate a data key under %s: %w", k, err)
	case !usable(blob) || plain == [keySize]byte{}:
		return sealed{}, fmt.Errorf("%s: %w", k, errDataKey)
	}
	return sealed{key: plain, wrap: WrapKMSContext, wrapped: blob, context: c}, nil
}

func (k *KMSKey) wrap(ctx context.Context, key *dataKey, cek string) (sealed, error) {
	c, err := k.full(cek)
	if err != nil {
		return sealed{}, err
	}
	blob, err := k.kms.Encrypt(ctx, k.id, (*[keySize]byte)(key), maps.Clone(c))
	switch {
	case err != nil:
		return sealed{}, fmt.Errorf("encrypt the data key under %s: %w", k, err)
	case !usable(blob):
		return sealed{}, fmt.Errorf("%s: %w", k, errDataKey)
	}
	return sealed{wrap: WrapKMSContext, wrapped: blob, context: c}, nil
}

// full is the context that goes with a key for the suite of that name.
func (k *KMSKey) full(cek string) (map[string]string, error) {
	if err := checkWritable(k.context); err != nil {
		return nil, err
	}
	c := map[string]string{contextCEK: cek}
	maps.Copy(c, k.context)
	return c, nil
}
