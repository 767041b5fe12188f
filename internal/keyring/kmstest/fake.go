// Package kmstest has a KMS in memory, and the conformance suite that it, and
// the client of AWS KMS with a real server behind it, pass. It is for tests.
package kmstest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/sigilfs/sigilfs/internal/keyring"
)

// Kinds of calls, as Fake counts and refuses them.
const (
	GenerateDataKey = "GenerateDataKey"
	Encrypt         = "Encrypt"
	Decrypt         = "Decrypt"
	DescribeKey     = "DescribeKey"
)

const region = "eu-central-1"

// Fake is a KMS in memory. Safe for concurrent use.
type Fake struct {
	mu      sync.Mutex      // guards all below
	keys    map[string]*key // by ARN
	aliases map[string]string
	calls   map[string]int
	fault   func(action, keyID string) error
}

var (
	_ keyring.KMS = (*Fake)(nil)
	_ Owner       = (*Fake)(nil)
)

// key is a KMS key. Replicas share their material.
type key struct {
	arn      string
	state    string      // "" is enabled
	material *[][32]byte // of every rotation
}

// New makes a KMS without keys.
func New() *Fake {
	return &Fake{keys: map[string]*key{}, aliases: map[string]string{}, calls: map[string]int{}}
}

// Key makes a key and gives its ARN.
func (f *Fake) Key(_ context.Context, in string) (string, error) {
	if in == "" {
		in = region
	}
	return f.add("", in, &[][32]byte{random32()}), nil
}

// Replicas makes a multi-Region key and a replica of it.
func (f *Fake) Replicas(_ context.Context, in string) (primary, replica string, err error) {
	id, material := "mrk-"+hexID(16), &[][32]byte{random32()}
	return f.add(id, region, material), f.add(id, in, material), nil
}

func (f *Fake) add(id, in string, material *[][32]byte) string {
	if id == "" {
		h := hexID(16)
		id = strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
	}
	k := &key{arn: "arn:aws:kms:" + in + ":111122223333:key/" + id, material: material}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[k.arn] = k
	return k.arn
}

// Alias names a key.
func (f *Fake) Alias(_ context.Context, name, arn string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.aliases["alias/"+name] = arn
	return nil
}

func (f *Fake) set(arn, state string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[arn].state = state
	return nil
}

// Disable makes a key unusable until Enable.
func (f *Fake) Disable(_ context.Context, arn string) error { return f.set(arn, "disabled") }

// Enable undoes Disable.
func (f *Fake) Enable(_ context.Context, arn string) error { return f.set(arn, "") }

// ScheduleDeletion makes a key unusable until CancelDeletion, which leaves it
// disabled.
func (f *Fake) ScheduleDeletion(_ context.Context, arn string) error {
	return f.set(arn, "pending deletion")
}

// CancelDeletion undoes ScheduleDeletion.
func (f *Fake) CancelDeletion(_ context.Context, arn string) error { return f.set(arn, "disabled") }

// Rotate gives a key new material.
func (f *Fake) Rotate(_ context.Context, arn string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.keys[arn]
	*k.material = append(*k.material, random32())
	return nil
}

// Fault has every later call judged: an error is its result. Nil ends it.
func (f *Fake) Fault(judge func(action, keyID string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = judge
}

// Deny refuses actions as a key policy does; none ends it.
func (f *Fake) Deny(actions ...string) {
	f.Fault(func(action, keyID string) error {
		for _, a := range actions {
			if a == action {
				return fmt.Errorf("grant kms:%s on %s to this identity: %w", a, keyID, keyring.ErrAccess)
			}
		}
		return nil
	})
}

// Calls counts calls by action, whatever became of them.
func (f *Fake) Calls() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.calls)
}

// use counts a call and finds its key.
func (f *Fake) use(ctx context.Context, action, keyID string) (*key, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.calls[action]++
	fault := f.fault
	k := f.find(keyID)
	f.mu.Unlock()
	if fault != nil {
		if err := fault(action, keyID); err != nil {
			return nil, err
		}
	}
	switch {
	case k == nil:
		return nil, fmt.Errorf("%s: %s: %w", action, keyID, keyring.ErrNoKey)
	case k.state != "" && action != DescribeKey:
		return nil, fmt.Errorf("%s: %s is %s: %w", action, k.arn, k.state, keyring.ErrWrongKey)
	}
	return k, nil
}

// find gives a copy of the key that an ARN, an alias or a key id names.
func (f *Fake) find(keyID string) *key {
	if arn, ok := f.aliases[keyID]; ok {
		keyID = arn
	}
	for arn, k := range f.keys {
		if arn == keyID || strings.HasSuffix(arn, region+":111122223333:key/"+keyID) {
			copied := *k
			all := append([][32]byte(nil), *k.material...)
			copied.material = &all
			return &copied
		}
	}
	return nil
}

// Resolve is keyring.KMS's.
func (f *Fake) Resolve(ctx context.Context, keyID string) (string, error) {
	if strings.HasPrefix(keyID, "arn:") && strings.Contains(keyID, ":key/") {
		return keyID, nil
	}
	k, err := f.use(ctx, DescribeKey, keyID)
	if err != nil {
		return "", err
	}
	return k.arn, nil
}

// GenerateDataKey is keyring.KMS's.
func (f *Fake) GenerateDataKey(ctx context.Context, keyID string, encryption map[string]string) ([32]byte, []byte, error) {
	k, err := f.use(ctx, GenerateDataKey, keyID)
	if err != nil {
		return [32]byte{}, nil, err
	}
	plain := random32()
	return plain, k.seal(&plain, encryption), nil
}

// Encrypt is keyring.KMS's.
func (f *Fake) Encrypt(ctx context.Context, keyID string, plain *[32]byte, encryption map[string]string) ([]byte, error) {
	k, err := f.use(ctx, Encrypt, keyID)
	if err != nil {
		return nil, err
	}
	return k.seal(plain, encryption), nil
}

// Decrypt is keyring.KMS's.
func (f *Fake) Decrypt(ctx context.Context, keyID string, blob []byte, encryption map[string]string) ([32]byte, error) {
	k, err := f.use(ctx, Decrypt, keyID)
	if err != nil {
		return [32]byte{}, err
	}
	if len(blob) == 12+32+16 {
		for _, m := range *k.material {
			plain, err := gcm(m).Open(nil, blob[:12], blob[12:], aad(encryption))
			if err == nil {
				return [32]byte(plain), nil
			}
		}
	}
	return [32]byte{}, fmt.Errorf("%s with %s: the ciphertext is not valid: %w", Decrypt, keyID, keyring.ErrWrongKey)
}

// seal gives nonce(12) || AES-256-GCM(plain) under the newest material.
func (k *key) seal(plain *[32]byte, encryption map[string]string) []byte {
	nonce := make([]byte, 12, 60)
	_, _ = rand.Read(nonce)
	all := *k.material
	return gcm(all[len(all)-1]).Seal(nonce, nonce, plain[:], aad(encryption))
}

func gcm(material [32]byte) cipher.AEAD {
	block, err := aes.NewCipher(material[:])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// aad is the context with its names in order; none and an empty one are alike.
func aad(encryption map[string]string) []byte {
	if len(encryption) == 0 {
		return nil
	}
	b, err := json.Marshal(encryption)
	if err != nil {
		panic(err)
	}
	return b
}

func random32() (b [32]byte) {
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return b
}

func hexID(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
