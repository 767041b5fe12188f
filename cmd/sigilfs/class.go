package main

import (
	"context"
	"io"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// classStore gives new objects a storage class. What a volume keeps for itself
// stays in the bucket's default, and copies stay what they are.
type classStore struct {
	objstore.Store
	class string
}

var _ objstore.Resumer = classStore{}

// withClass puts a classStore around store, where there is something to do.
func withClass(store objstore.Store, class string) objstore.Store {
	if class == "" {
		return store
	}
	return classStore{store, class}
}

func (c classStore) put(key string, opt objstore.PutOptions) objstore.PutOptions {
	if opt.StorageClass == "" && !strings.Contains("/"+key, "/.sigil/") {
		opt.StorageClass = c.class
	}
	return opt
}

func (c classStore) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, opt objstore.PutOptions) (objstore.ID, error) {
	return c.Store.Put(ctx, key, body, size, c.put(key, opt))
}

func (c classStore) Upload(ctx context.Context, key string, opt objstore.PutOptions) (objstore.Uploader, error) {
	return c.Store.Upload(ctx, key, c.put(key, opt))
}

// Resume is the inner store's, which must have it.
func (c classStore) Resume(key, uploadID string) objstore.Uploader {
	inner, ok := c.Store.(objstore.Resumer)
	if !ok {
		panic("sigilfs: a store that cannot resume uploads was given a storage class")
	}
	return inner.Resume(key, uploadID)
}
