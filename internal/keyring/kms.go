package keyring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"unicode/utf8"
)

// KMS is a key management service, as AWS KMS has it: symmetric keys that never
// leave it, named by ARN. Every call passes the encryption context, to which a
// ciphertext is bound. Safe for concurrent use.
//
// Errors: ErrAccess, ErrNoKey (no such key), ErrWrongKey (disabled, pending
// deletion, or the ciphertext is another's); any other may pass.
type KMS interface {
	// Resolve gives the ARN of the key that an ARN, a key id or an alias names.
	Resolve(ctx context.Context, keyID string) (arn string, err error)

	// GenerateDataKey gives a new AES-256 key and its ciphertext.
	GenerateDataKey(ctx context.Context, keyID string, context map[string]string) (plain [KeySize]byte, blob []byte, err error)

	// Encrypt gives a ciphertext of plain.
	Encrypt(ctx context.Context, keyID string, plain *[KeySize]byte, context map[string]string) (blob []byte, err error)

	// Decrypt opens a ciphertext that keyID made under this context.
	Decrypt(ctx context.Context, keyID string, blob []byte, context map[string]string) ([KeySize]byte, error)
}

// Bounds of KMS (AWS KMS API Reference, Decrypt; Developer Guide, "Quotas").
const (
	maxCiphertext = 6144 // bytes of a CiphertextBlob
	maxContext    = 8192 // bytes of an encryption context
)

var (
	_ Master    = (*kmsMaster)(nil)
	_ generator = (*kmsMaster)(nil)
)

// kmsMaster is a KMS key under one encryption context.
type kmsMaster struct {
	service KMS
	id      string // ARN
	context map[string]string
}

// openKMS makes a key of what follows "kms:".
func openKMS(ctx context.Context, keyID string, context map[string]string, via Sources) (*kmsMaster, error) {
	switch err := checkContext(context); {
	case keyID == "":
		return nil, fmt.Errorf("%w: kms: needs the ARN, the id or the alias of a key", ErrKeySource)
	case err != nil:
		return nil, fmt.Errorf("%w: the encryption context of kms:%s %w", ErrKeySource, keyID, err)
	case via.KMS == nil:
		return nil, fmt.Errorf("%w: kms:%s: there is no KMS here", ErrKeySource, keyID)
	}
	arn, err := via.KMS.Resolve(ctx, keyID)
	if err != nil {
		return nil, fmt.Errorf("%w: kms:%s: %w", ErrKeySource, keyID, err)
	}
	if err := checkKeyID(KindKMS, arn); err != nil {
		return nil, fmt.Errorf("%w: kms:%s: what the KMS calls it is no ARN", ErrKeySource, keyID)
	}
	return &kmsMaster{via.KMS, arn, maps.Clone(context)}, nil
}

// checkContext refuses what KMS would. The error is a clause without values.
func checkContext(context map[string]string) error {
	size := 0
	for name, value := range context {
		size += len(name) + len(value)
		if name == "" || !utf8.ValidString(name) || !utf8.ValidString(value) {
			return errors.New("has a name that is empty, or text that is not UTF-8")
		}
	}
	if size > maxContext {
		return fmt.Errorf("has over %d bytes", maxContext)
	}
	return nil
}

func (m *kmsMaster) ID() string      { return m.id }
func (m *kmsMaster) Kind() string    { return KindKMS }
func (m *kmsMaster) CanUnwrap() bool { return true } // only KMS knows better

// Format shows the key's name alone.
func (m kmsMaster) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.id) }

func (m *kmsMaster) wrap(blob []byte) Wrap {
	return Wrap{Key: m.id, Type: KindKMS, Blob: blob, Context: maps.Clone(m.context)}
}

func (m *kmsMaster) Wrap(ctx context.Context, _ EpochID, key *[KeySize]byte) (Wrap, error) {
	blob, err := m.service.Encrypt(ctx, m.id, key, m.context)
	if err != nil {
		return Wrap{}, fmt.Errorf("wrap for %s: %w", m.id, err)
	}
	return m.wrap(blob), nil
}

// generate has KMS draw the key: one call gives it and its wrap.
func (m *kmsMaster) generate(ctx context.Context) (*[KeySize]byte, Wrap, error) {
	key, blob, err := m.service.GenerateDataKey(ctx, m.id, m.context)
	if err != nil {
		return nil, Wrap{}, fmt.Errorf("draw a key under %s: %w", m.id, err)
	}
	return &key, m.wrap(blob), nil
}

func (m *kmsMaster) Unwrap(ctx context.Context, _ EpochID, w Wrap) (*[KeySize]byte, error) {
	switch {
	case !maps.Equal(m.context, w.Context): // nil and empty are equal
		return nil, fmt.Errorf("open wrap for %s: it was made under another encryption context than is configured: %w", m.id, ErrNoKey)
	case len(w.Blob) == 0 || len(w.Blob) > maxCiphertext:
		return nil, fmt.Errorf("open wrap for %s: %d bytes: %w", m.id, len(w.Blob), ErrWrongKey)
	}
	key, err := m.service.Decrypt(ctx, m.id, w.Blob, m.context)
	if err != nil {
		return nil, fmt.Errorf("open wrap for %s: %w", m.id, err)
	}
	return &key, nil
}

// multiRegion takes the ARN of a multi-Region key apart, around its region (AWS
// KMS Developer Guide, "Multi-Region keys": replicas share key id and material,
// and each opens what another made).
var multiRegion = regexp.MustCompile(`^(arn:[^:]+:kms:)[^:]+(:[0-9]+:key/mrk-.+)$`)

// replicas tells whether two ARNs are of one multi-Region key.
func replicas(a, b string) bool {
	of, and := multiRegion.FindStringSubmatch(a), multiRegion.FindStringSubmatch(b)
	return of != nil && and != nil && slices.Equal(of[1:], and[1:])
}
