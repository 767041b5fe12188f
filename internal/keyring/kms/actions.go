package kms

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/sigilfs/sigilfs/internal/awsclient"
	"github.com/sigilfs/sigilfs/internal/keyring"
)

// maxCiphertext is the most bytes of a CiphertextBlob (AWS KMS API Reference,
// Decrypt).
const maxCiphertext = 6144

// Resolve gives the ARN of a key. One that is a key's ARN already costs no
// request; a key id or an alias takes kms:DescribeKey.
func (c *Client) Resolve(ctx context.Context, keyID string) (string, error) {
	if a, err := arn.Parse(keyID); err == nil && a.Service == "kms" && strings.HasPrefix(a.Resource, "key/") {
		return keyID, nil
	}
	var out *awskms.DescribeKeyOutput
	err := c.do(ctx, describeKey, keyID, func(ctx context.Context, opt func(*awskms.Options)) (err error) {
		out, err = c.client.DescribeKey(ctx, &awskms.DescribeKeyInput{KeyId: &keyID}, opt)
		return err
	})
	if err != nil {
		return "", err
	}
	if out.KeyMetadata == nil || aws.ToString(out.KeyMetadata.Arn) == "" {
		return "", fmt.Errorf("kms: %s of %s: the answer names no key", describeKey, keyID)
	}
	key := *out.KeyMetadata.Arn
	if made := out.KeyMetadata.CreationDate; made != nil {
		c.made.Store(key, *made)
	}
	return key, nil
}

// Created is keyring.Dated's: known of keys for which KMS was asked.
func (c *Client) Created(arn string) time.Time {
	made, _ := c.made.Load(arn)
	at, _ := made.(time.Time)
	return at
}

// GenerateDataKey gives a new AES-256 key under keyID (an ARN, a key id or an
// alias), and its ciphertext, which opens under the same encryption context only.
func (c *Client) GenerateDataKey(ctx context.Context, keyID string, encryption map[string]string) (plain [keyring.KeySize]byte, blob []byte, err error) {
	var out *awskms.GenerateDataKeyOutput
	err = c.do(ctx, generateDataKey, keyID, func(ctx context.Context, opt func(*awskms.Options)) (err error) {
		out, err = c.client.GenerateDataKey(ctx, &awskms.GenerateDataKeyInput{
			KeyId: &keyID, KeySpec: types.DataKeySpecAes256, EncryptionContext: encryption,
		}, opt)
		return err
	})
	if err != nil {
		return plain, nil, err
	}
	defer clear(out.Plaintext)
	if err := checkAnswer(generateDataKey, keyID, aws.ToString(out.KeyId), out.CiphertextBlob); err != nil {
		return plain, nil, err
	}
	plain, err = dataKey(generateDataKey, keyID, out.Plaintext)
	return plain, out.CiphertextBlob, err
}

// Decrypt gives the data key of a ciphertext that keyID made under an encryption context.
// KMS itself refuses another key's and another context's.
func (c *Client) Decrypt(ctx context.Context, keyID string, blob []byte, encryption map[string]string) ([keyring.KeySize]byte, error) {
	var none [keyring.KeySize]byte
	if len(blob) == 0 || len(blob) > maxCiphertext {
		return none, fmt.Errorf("kms: %s with %s: a ciphertext of %d bytes: %w", decrypt, keyID, len(blob), keyring.ErrWrongKey)
	}
	var out *awskms.DecryptOutput
	err := c.do(ctx, decrypt, keyID, func(ctx context.Context, opt func(*awskms.Options)) (err error) {
		out, err = c.client.Decrypt(ctx, &awskms.DecryptInput{
			KeyId: &keyID, CiphertextBlob: blob, EncryptionContext: encryption, EncryptionAlgorithm: types.EncryptionAlgorithmSpecSymmetricDefault,
		}, opt)
		return err
	})
	if err != nil {
		return none, err
	}
	defer clear(out.Plaintext)
	if err := checkKey(decrypt, keyID, aws.ToString(out.KeyId)); err != nil {
		return none, err
	}
	return dataKey(decrypt, keyID, out.Plaintext)
}

// Encrypt gives a ciphertext of a key that was drawn elsewhere.
func (c *Client) Encrypt(ctx context.Context, keyID string, plain *[keyring.KeySize]byte, encryption map[string]string) ([]byte, error) {
	var out *awskms.EncryptOutput
	err := c.do(ctx, encrypt, keyID, func(ctx context.Context, opt func(*awskms.Options)) (err error) {
		out, err = c.client.Encrypt(ctx, &awskms.EncryptInput{KeyId: &keyID, Plaintext: plain[:], EncryptionContext: encryption}, opt)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out.CiphertextBlob, checkAnswer(encrypt, keyID, aws.ToString(out.KeyId), out.CiphertextBlob)
}

// Side is a key and the encryption context that goes with it.
type Side struct {
	KeyID   string
	Context map[string]string
}

// ReEncrypt puts a ciphertext under another key, or another context, within
// KMS: the plaintext does not come here. It takes kms:ReEncryptFrom and
// kms:ReEncryptTo; both keys are of one region.
func (c *Client) ReEncrypt(ctx context.Context, from Side, blob []byte, to Side) ([]byte, error) {
	if len(blob) == 0 || len(blob) > maxCiphertext {
		return nil, fmt.Errorf("kms: %s from %s: a ciphertext of %d bytes: %w", reEncrypt, from.KeyID, len(blob), keyring.ErrWrongKey)
	}
	var out *awskms.ReEncryptOutput
	err := c.do(ctx, reEncrypt, to.KeyID, func(ctx context.Context, opt func(*awskms.Options)) (err error) {
		out, err = c.client.ReEncrypt(ctx, &awskms.ReEncryptInput{
			CiphertextBlob: blob, SourceKeyId: &from.KeyID, SourceEncryptionContext: from.Context,
			DestinationKeyId: &to.KeyID, DestinationEncryptionContext: to.Context,
		}, opt)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := checkKey(reEncrypt, from.KeyID, aws.ToString(out.SourceKeyId)); err != nil {
		return nil, err
	}
	return out.CiphertextBlob, checkAnswer(reEncrypt, to.KeyID, aws.ToString(out.KeyId), out.CiphertextBlob)
}

// dataKey takes the key out of an answer.
func dataKey(a action, keyID string, plain []byte) ([keyring.KeySize]byte, error) {
	if len(plain) != keyring.KeySize {
		return [keyring.KeySize]byte{}, fmt.Errorf("kms: %s with %s: a data key of %d bytes, not %d: %w", a, keyID, len(plain), keyring.KeySize, keyring.ErrWrongKey)
	}
	return [keyring.KeySize]byte(plain), nil
}

func checkAnswer(a action, keyID, answered string, blob []byte) error {
	if len(blob) == 0 || len(blob) > maxCiphertext {
		return fmt.Errorf("kms: %s with %s: the answer has a ciphertext of %d bytes", a, keyID, len(blob))
	}
	return checkKey(a, keyID, answered)
}

// checkKey holds the key that KMS used to the one that was asked for, unless
// that was an alias.
func checkKey(a action, asked, answered string) error {
	ok := false
	switch {
	case strings.HasPrefix(asked, "alias/"), strings.Contains(asked, ":alias/"):
		ok = true
	case strings.HasPrefix(asked, "arn:"):
		ok = asked == answered
	default:
		ok = strings.HasSuffix(answered, ":key/"+asked)
	}
	if !ok {
		return fmt.Errorf("kms: %s with %s: KMS used the key %q: %w", a, asked, awsclient.OneLine(answered, 200), keyring.ErrWrongKey)
	}
	return nil
}
