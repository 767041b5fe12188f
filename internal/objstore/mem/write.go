package mem

import (
	"context"
	"crypto/md5" //nolint:gosec // the ETag that S3 gives, no security rests on it
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"strconv"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Put is objstore.Store's.
func (s *Store) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, opt objstore.PutOptions) (objstore.ID, error) {
	id, err := s.put(ctx, key, body, size, opt)
	return id, wrap("put", key, err)
}

func (s *Store) put(ctx context.Context, key string, body io.ReadSeeker, size int64, opt objstore.PutOptions) (objstore.ID, error) {
	if err := check(ctx, key, opt); err != nil {
		return objstore.ID{}, err
	}
	data, err := s.read(body, size)
	if err != nil {
		return objstore.ID{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return objstore.ID{}, objstore.ErrBucket
	}
	if !s.opt.IgnorePutConditions {
		if err := s.allow(key, opt.Condition); err != nil {
			return objstore.ID{}, err
		}
	}
	return s.store(key, data, etag(data), opt), nil
}

// check does what is done of a write before the bucket is looked at.
func check(ctx context.Context, key string, opt objstore.PutOptions) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := objstore.CheckKey(key); err != nil {
		return err
	}
	return objstore.CheckMetadata(opt.Metadata)
}

// read takes a request's body, which is size bytes long.
func (s *Store) read(body io.ReadSeeker, size int64) ([]byte, error) {
	if size > s.opt.MaxPartSize {
		return nil, objstore.ErrTooLarge
	}
	if err := objstore.Rewind(body, size); err != nil {
		return nil, err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(body, data); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	return data, nil
}

func etag(data []byte) string {
	sum := md5.Sum(data) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}

// store makes a new version of key. s.mu is held, and body is the store's.
func (s *Store) store(key string, body []byte, etag string, opt objstore.PutOptions) objstore.ID {
	o := &object{body: body}
	o.info = objstore.Info{
		ID:           objstore.ID{Key: key, ETag: etag},
		Size:         int64(len(body)),
		Modified:     s.opt.Now().UTC().Truncate(time.Second),
		StorageClass: opt.StorageClass,
		Metadata:     maps.Clone(opt.Metadata),
	}
	if o.info.Metadata == nil {
		o.info.Metadata = map[string]string{}
	}
	if o.info.StorageClass == "STANDARD" {
		o.info.StorageClass = ""
	}
	s.push(key, o)
	s.insert(key)
	return o.info.ID
}

// push puts o on top of the versions of key. s.mu is held.
func (s *Store) push(key string, o *object) {
	if !s.opt.Versioned {
		s.objects[key] = []*object{o}
		return
	}
	s.serial++
	o.info.VersionID = "v" + strconv.Itoa(s.serial)
	s.objects[key] = append(s.objects[key], o)
}

// Copy is objstore.Store's.
func (s *Store) Copy(ctx context.Context, src objstore.ID, dst string, opt objstore.PutOptions) (objstore.ID, error) {
	id, err := s.copy(ctx, src, dst, opt)
	return id, wrap("copy", dst, err)
}

func (s *Store) copy(ctx context.Context, src objstore.ID, dst string, opt objstore.PutOptions) (objstore.ID, error) {
	if err := check(ctx, dst, opt); err != nil {
		return objstore.ID{}, err
	}
	if err := objstore.CheckKey(src.Key); err != nil {
		return objstore.ID{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.find(src)
	if err != nil {
		return objstore.ID{}, err
	}
	if o.info.Size > s.opt.MaxPartSize {
		return objstore.ID{}, objstore.ErrTooLarge
	}
	if !s.opt.IgnoreCopyConditions {
		if err := s.allow(dst, opt.Condition); err != nil {
			return objstore.ID{}, err
		}
	}
	return s.store(dst, o.body, etag(o.body), opt), nil
}

// Delete is objstore.Store's.
func (s *Store) Delete(ctx context.Context, key string, cond objstore.Condition) error {
	return wrap("delete", key, s.delete(ctx, key, cond))
}

func (s *Store) delete(ctx context.Context, key string, cond objstore.Condition) error {
	if err := check(ctx, key, objstore.PutOptions{}); err != nil {
		return err
	}
	if cond.IfNone {
		return objstore.ErrInvalid
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return objstore.ErrBucket
	}
	if s.current(key) == nil {
		return nil
	}
	if !s.opt.IgnoreDeleteConditions {
		if err := s.allow(key, cond); err != nil {
			return err
		}
	}
	s.remove(key)
	if s.opt.Versioned {
		s.push(key, &object{marker: true})
	} else {
		delete(s.objects, key)
	}
	return nil
}
