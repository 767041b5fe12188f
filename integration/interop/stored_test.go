package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
)

// stored is an object as the bucket has it.
type stored struct {
	body     []byte
	metadata map[string]string
	file     map[string]string // what the instruction file holds; nil without one
	raw      []byte            // what it holds instead
}

func load(ctx context.Context, key string) (stored, error) {
	body, metadata, err := fetch(ctx, key)
	if err != nil {
		return stored{}, err
	}
	o := stored{body: body, metadata: metadata}
	instruction, _, err := fetch(ctx, s3ec.InstructionKey(key))
	var missing *types.NoSuchKey
	switch {
	case errors.As(err, &missing):
		return o, nil
	case err != nil:
		return stored{}, err
	}
	return o, json.Unmarshal(instruction, &o.file)
}

func fetch(ctx context.Context, key string) ([]byte, map[string]string, error) {
	out, err := world.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: new(bucket), Key: &key})
	if err != nil {
		return nil, nil, err
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	return body, out.Metadata, err
}

// save writes the object, and its instruction file if it has one.
func (o stored) save(ctx context.Context, key string) error {
	if err := put(ctx, key, o.body, o.metadata); err != nil || o.file == nil {
		return err
	}
	instruction := o.raw
	if instruction == nil {
		var err error
		if instruction, err = json.Marshal(o.file); err != nil {
			return err
		}
	}
	return put(ctx, s3ec.InstructionKey(key), instruction, instructionMark)
}

func put(ctx context.Context, key string, body []byte, metadata map[string]string) error {
	_, err := world.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: new(bucket), Key: &key, Body: bytes.NewReader(body), Metadata: metadata,
	})
	return err
}

func (o stored) clone() stored {
	return stored{body: bytes.Clone(o.body), metadata: maps.Clone(o.metadata), file: maps.Clone(o.file)}
}

// holder is the map that has the field: the metadata or the instruction file.
func (o stored) holder(field string) map[string]string {
	if _, there := o.metadata[field]; !there && o.file != nil {
		return o.file
	}
	return o.metadata
}

// instructionMark is the metadata of an instruction file.
var instructionMark = map[string]string{s3ec.InstructionMark: ""}
