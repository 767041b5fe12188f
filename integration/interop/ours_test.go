package interop

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/objcrypt"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
)

// ours is package s3ec, with a plain S3 client to move the bytes.
type ours struct {
	kms s3ec.KMS
}

var _ party = ours{}

func (o ours) write(ctx context.Context, key string, plaintext []byte, c config) error {
	master, err := o.master(c)
	if err != nil {
		return err
	}
	format := s3ec.FormatV2
	if c.Commit {
		format = s3ec.FormatV3
	}
	body, err := s3ec.NewBody(ctx, master.(s3ec.Sealer), format, memory(plaintext), int64(len(plaintext)))
	if err != nil {
		return err
	}
	metadata := body.Metadata()
	if c.Instruction {
		var file []byte
		metadata, file = body.Instruction()
		if err := put(ctx, s3ec.InstructionKey(key), file, instructionMark); err != nil {
			return err
		}
	}
	sealed, err := io.ReadAll(body.Section(ctx, 0, body.Size()))
	if err != nil {
		return err
	}
	return put(ctx, key, sealed, metadata)
}

func (o ours) read(ctx context.Context, key string, c config) ([]byte, error) {
	plaintext, err := o.open(ctx, key, c)
	return plaintext, named(err, map[error]error{
		objcrypt.ErrCorrupt: errRefused, objcrypt.ErrWrongKey: errRefused, objcrypt.ErrNoKey: errRefused, objcrypt.ErrDowngrade: errRefused,
		keyring.ErrWrongKey: errRefused, // of KMS
		objcrypt.ErrVersion: errUnknown,
	})
}

func (o ours) open(ctx context.Context, key string, c config) ([]byte, error) {
	sealed, metadata, err := fetch(ctx, key)
	if err != nil {
		return nil, err
	}
	file, err := instruction(ctx, key, metadata, c)
	if err != nil {
		return nil, err
	}
	envelope, err := s3ec.Parse(metadata, file)
	if err != nil {
		return nil, err
	}
	master, err := o.master(c)
	if err != nil {
		return nil, err
	}
	policy := s3ec.Policy{RequireCommitment: c.Policy == "require"}
	r, err := s3ec.Open(ctx, envelope, s3ec.Keyring{master}, policy, memory(sealed), int64(len(sealed)))
	if err != nil {
		return nil, err
	}
	plaintext := make([]byte, r.Size())
	if _, err := r.ReadAt(ctx, plaintext, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return plaintext, nil
}

// instruction fetches the instruction file of an object that needs one.
func instruction(ctx context.Context, key string, metadata map[string]string, c config) ([]byte, error) {
	kind, err := s3ec.Detect(metadata)
	if err != nil || kind != s3ec.KindNone && kind != s3ec.KindV3Instruction {
		return nil, err
	}
	if !c.Instruction {
		return nil, fmt.Errorf("%w: instruction files are not in use", objcrypt.ErrCorrupt)
	}
	file, _, err := fetch(ctx, s3ec.InstructionKey(key))
	var missing *types.NoSuchKey
	if errors.As(err, &missing) {
		return nil, fmt.Errorf("%w: no instruction file", objcrypt.ErrCorrupt)
	}
	return file, err
}

func (o ours) master(c config) (s3ec.Key, error) {
	if c.Keyring == "kms" {
		return s3ec.NewKMSKey(o.kms, c.Secret, c.Context)
	}
	secret, err := base64.StdEncoding.DecodeString(c.Secret)
	if err != nil {
		return nil, err
	}
	if c.Keyring == "rsa" {
		return s3ec.ParseRSAKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	}
	return s3ec.NewAESKey([32]byte(secret), c.Context)
}

// memory is a body in memory.
type memory []byte

func (m memory) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	return bytes.NewReader(m).ReadAt(p, off)
}
