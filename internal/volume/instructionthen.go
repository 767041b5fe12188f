package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
)

// Which instruction file an older version of an object had nothing says but the
// times of both, and not even they: one client writes the file first and another
// the object, and a file may be replaced later to wrap the same key anew. Only
// who verifies the body knows.

// instructionsThen bounds the files on either side of that time that are tried.
const instructionsThen = 2

// formerInstructions reads the instruction files that the version of the object
// at key which was made at that time may have had, the likeliest first. Errors:
// ErrNotExist, those of the store.
func (v *Volume) formerInstructions(ctx context.Context, key string, at time.Time) ([][]byte, error) {
	near, err := v.instructionsNear(ctx, s3ec.InstructionKey(key), at)
	if err != nil {
		return nil, err
	}
	var files [][]byte
	for _, id := range near {
		_, file, err := v.readInstruction(ctx, id)
		switch {
		case err == nil:
			files = append(files, file)
		case !unopenable(err) && !errors.Is(err, ErrNotExist) && !errors.Is(err, ErrChanged):
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: %w", s3ec.InstructionKey(key), ErrNotExist)
	}
	return files, nil
}

// instructionsNear gives the versions next to a time, those before it first.
func (v *Volume) instructionsNear(ctx context.Context, key string, at time.Time) ([]objstore.ID, error) {
	store, ok := v.raw.(objstore.Versioner)
	if !ok || len(key) > objstore.MaxKeyLen {
		return nil, nil
	}
	var before, after []objstore.ID
	for ver, err := range store.Versions(ctx, objstore.ListOptions{Prefix: key}) {
		if err != nil {
			return nil, err
		}
		if ver.Key != key || len(before) == instructionsThen {
			break
		}
		id := objstore.ID{Key: key, VersionID: ver.VersionID}
		switch {
		case ver.Deleted:
		case ver.Modified.After(at):
			after = append([]objstore.ID{id}, after[:min(len(after), instructionsThen-1)]...)
		default:
			before = append(before, id)
		}
	}
	return append(before, after...), nil
}

// decodeThen is decode of an older version: with the likeliest instruction file
// by which it is something.
func (v *Volume) decodeThen(ctx context.Context, info objstore.Info, suffix []byte) (*object, error) {
	var files [][]byte
	o, err := v.decodeBy(ctx, info, suffix, func(ctx context.Context, key string) (_ []byte, err error) {
		if files, err = v.formerInstructions(ctx, key, info.Modified); err != nil {
			return nil, err
		}
		return files[0], nil
	})
	for len(files) > 1 && err == nil && o.err != nil {
		files = files[1:]
		var other *object
		if other, err = v.decodeBy(ctx, info, suffix, given(files[0])); err == nil && other.err == nil {
			return other, nil
		}
	}
	return o, err
}

// given gives a file that is at hand.
func given(file []byte) instructions {
	return func(context.Context, string) ([]byte, error) { return file, nil }
}

// proven verifies every byte of an older version that opens. What has its key in
// an instruction file comes with that in its own metadata, of the file by which
// the body authenticates: what lies beside it now may be another one. An error
// without a Fault is of the moment.
func (x *Verifier) proven(ctx context.Context, s sight) (sight, Fault, error) {
	if !s.instruction() {
		fault, _, err := x.prove(ctx, s, true)
		return s, fault, err
	}
	files, err := x.v.formerInstructions(ctx, s.id.Key, s.info.Modified)
	if err != nil {
		return s, "", err
	}
	fault, cause := FaultContent, error(nil)
	for _, file := range files {
		o, err := x.v.decodeBy(ctx, s.info, s.suffix, given(file))
		if err != nil {
			return s, "", err
		}
		if err = o.err; err == nil && o.instruction() {
			fault, _, err = x.prove(ctx, sight{object: o, info: s.info, suffix: s.suffix}, true)
			if err != nil && fault == "" {
				return s, "", err
			}
			if err == nil {
				s.object, err = integrated(o, file)
				return s, "", err
			}
		}
		if cause == nil {
			cause = err
		}
	}
	return s, fault, cause
}
