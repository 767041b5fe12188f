package main

import (
	"context"
	"strings"

	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/keyring/kms"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// openKey opens a key for all that its kind can be of use for here.
func (m *mounting) openKey(ctx context.Context, from config.Key) (*key, error) {
	k := &key{Key: from}
	switch from.Kind {
	case config.SSE:
		return k, m.openCustomer(ctx, k)
	case config.RSA:
		return k, m.openRSA(ctx, k)
	case config.KMS:
		if serverOnly(m.set.policy, from.Name) {
			return k, nil
		}
		if err := m.openKMS(ctx); err != nil {
			return nil, err
		}
	}
	var err error
	if k.master, err = keyring.Open(ctx, spec(from), m.sources()); err != nil {
		return nil, err
	}
	return k, m.openS3EC(k)
}

// spec is a key as the key ring names it.
func spec(k config.Key) keyring.Spec {
	s := keyring.Spec{Source: k.Source, Kind: string(k.Kind), Context: k.Context}
	switch k.Kind {
	case config.KMS:
		s.Source = "kms:" + k.ID
	case config.Age:
		list := k.Recipients
		if k.Source != "" {
			list = append(list[:len(list):len(list)], k.Source)
		}
		s.Source = "age:" + strings.Join(list, ",")
	}
	return s
}

func (m *mounting) openCustomer(ctx context.Context, k *key) error {
	secret, err := keyring.OpenKey(ctx, k.Source, m.sources())
	if err != nil {
		return err
	}
	defer clear(secret[:])
	k.customer, err = sse.NewCustomerKey(secret[:])
	return err
}

func (m *mounting) openRSA(ctx context.Context, k *key) error {
	pem, err := keyring.OpenPEM(ctx, k.Source, m.sources())
	if err != nil {
		return err
	}
	defer clear(pem)
	k.s3ec, err = s3ec.ParseRSAKey(pem)
	return err
}

// openS3EC makes the S3 Encryption Client's key of a master key, since its
// objects may lie under any rule. One of age is none there.
func (m *mounting) openS3EC(k *key) error {
	switch k.master.Kind() {
	case keyring.KindKMS:
		made, err := m.s3ecKMS(k, k.Context)
		if err != nil {
			return err
		}
		k.s3ec = made
	case keyring.KindAES:
		secret, _ := keyring.AESKey(k.master) // its kind says that it has one
		defer clear(secret[:])
		made, err := s3ec.NewAESKey(secret, nil)
		if err != nil {
			return err
		}
		k.s3ec = made
	}
	return nil
}

// s3ecKMS is a key of KMS under a context. It is named by its ARN: an alias
// that is pointed elsewhere while this is mounted would be refused for all that
// was written before (KMS API Reference, Decrypt, IncorrectKeyException).
func (m *mounting) s3ecKMS(k *key, context map[string]string) (*s3ec.KMSKey, error) {
	return s3ec.NewKMSKey(dataKeys{m.kms}, k.master.ID(), context)
}

// dataKeys is KMS as mode s3ec needs it: with errors by the names that volume
// has for them.
type dataKeys struct{ kms *kms.Client }

var _ s3ec.KMS = dataKeys{}

func (d dataKeys) GenerateDataKey(ctx context.Context, keyID string, encryption map[string]string) ([keyring.KeySize]byte, []byte, error) {
	plain, blob, err := d.kms.GenerateDataKey(ctx, keyID, encryption)
	if err != nil {
		return plain, nil, keyError(err)
	}
	return plain, blob, nil
}

func (d dataKeys) Encrypt(ctx context.Context, keyID string, plain *[keyring.KeySize]byte, encryption map[string]string) ([]byte, error) {
	blob, err := d.kms.Encrypt(ctx, keyID, plain, encryption)
	if err != nil {
		return nil, keyError(err)
	}
	return blob, nil
}

func (d dataKeys) Decrypt(ctx context.Context, keyID string, blob []byte, encryption map[string]string) ([keyring.KeySize]byte, error) {
	plain, err := d.kms.Decrypt(ctx, keyID, blob, encryption)
	if err != nil {
		return plain, keyError(err)
	}
	return plain, nil
}

// openKMS makes the client of KMS, once.
func (m *mounting) openKMS(ctx context.Context) error {
	if m.kms != nil {
		return nil
	}
	s := m.set
	client, err := kms.New(ctx, kms.Config{
		Region: s.region, Profile: s.profile, CABundle: s.caBundle, PasswdFile: s.passwdFile, Bucket: s.target.Bucket, RetryTimeout: s.retryTimeout, OnCall: m.tellKMS,
	})
	if err == nil {
		m.kms = client
	}
	return err
}

// tellKMS logs and counts what was asked of KMS: it is paid for, and audited elsewhere.
func (m *mounting) tellKMS(c kms.Call) {
	m.seen.calledKMS(c)
	log := m.log.WithField("key", c.KeyID)
	if c.Err != nil {
		log.WithError(c.Err).Debugf("kms:%s failed after %d requests", c.Action, c.Attempts)
		return
	}
	log.Debugf("kms:%s in %v", c.Action, c.Took)
}
