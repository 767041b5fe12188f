package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// bucket is the store, as far as the key ring needs one.
type bucket struct {
	store   objstore.Store
	beneath *objstore.Encryption // what S3 is asked to do with epochs; nil: nothing
}

var _ keyring.Lister = bucket{}

// Get takes "access denied" for absence: a prefix that this host may not read
// holds no epoch for it, and the search goes on at the next. So it does where a
// long prefix leaves no room for an epoch's key. But an epoch that S3 cannot
// decrypt is there: one under a key that is denied, or gone, does not open, and
// one under a key that is disabled (ErrKeyDisabled) may open again.
func (b bucket) Get(ctx context.Context, key string) ([]byte, string, error) {
	info, _, body, err := b.store.Get(ctx, objstore.ID{Key: key}, objstore.Range{Len: keyring.MaxEpochSize + 1})
	switch {
	case errors.Is(err, objstore.ErrKeyAccess): // which is an ErrAccess
		return nil, "", fmt.Errorf("%w (%w)", keyring.ErrAccess, err)
	case errors.Is(err, objstore.ErrKeyMissing):
		return nil, "", fmt.Errorf("%w (%w)", keyring.ErrNoKey, err)
	case errors.Is(err, objstore.ErrNotExist), errors.Is(err, objstore.ErrAccess), errors.Is(err, objstore.ErrTooLong):
		return nil, "", fmt.Errorf("%w (%w)", keyring.ErrNotExist, err)
	case err != nil:
		return nil, "", err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, keyring.MaxEpochSize+1))
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", key, err)
	}
	return data, info.ETag, nil
}

// List has access denied for absence, as Get.
func (b bucket) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for e, err := range b.store.List(ctx, objstore.ListOptions{Prefix: prefix, Delimiter: "/"}) {
			if errors.Is(err, objstore.ErrAccess) || errors.Is(err, objstore.ErrTooLong) {
				err = fmt.Errorf("%w (%w)", keyring.ErrNotExist, err)
			}
			if !yield(e.Prefix+e.Key, err) || err != nil { // one of them is empty
				return
			}
		}
	}
}

func (b bucket) Create(ctx context.Context, key string, data []byte) error {
	err := b.put(ctx, key, data, objstore.Condition{IfNone: true})
	if errors.Is(err, objstore.ErrExist) {
		return fmt.Errorf("%w (%w)", keyring.ErrExist, err)
	}
	return err
}

func (b bucket) Replace(ctx context.Context, key string, data []byte, etag string) error {
	err := b.put(ctx, key, data, objstore.Condition{IfMatch: etag})
	if errors.Is(err, objstore.ErrChanged) {
		return fmt.Errorf("%w (%w)", keyring.ErrChanged, err)
	}
	return err
}

func (b bucket) put(ctx context.Context, key string, data []byte, cond objstore.Condition) error {
	_, err := b.store.Put(ctx, key, bytes.NewReader(data), int64(len(data)), objstore.PutOptions{
		Condition: cond, System: map[string]string{"content-type": "application/json"}, Encryption: b.beneath,
	})
	return err
}

// unwritten is a bucket that forgets what is written to it.
type unwritten struct{ keyring.Bucket }

func (unwritten) Create(context.Context, string, []byte) error          { return nil }
func (unwritten) Replace(context.Context, string, []byte, string) error { return nil }
