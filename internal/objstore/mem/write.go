package mem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Put is objstore.Store's.
func (s *Store) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, opt objstore.PutOptions) (objstore.Receipt, error) {
	got, err := s.put(ctx, key, body, size, opt)
	return got, wrap("put", key, err)
}

func (s *Store) put(ctx context.Context, key string, body io.ReadSeeker, size int64, opt objstore.PutOptions) (objstore.Receipt, error) {
	if err := s.check(ctx, key, opt); err != nil {
		return objstore.Receipt{}, err
	}
	data, err := s.read(body, size)
	if err != nil {
		return objstore.Receipt{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return objstore.Receipt{}, objstore.ErrBucket
	}
	if !s.opt.IgnorePutConditions {
		if err := s.allowMade(key, opt.Condition, opt.Encryption.Writes()); err != nil {
			return objstore.Receipt{}, err
		}
	}
	p, err := s.protect(opt.Encryption.Writes())
	if err != nil {
		return objstore.Receipt{}, err
	}
	return s.store(key, data, s.tag(data, p), opt, p, p.made()), nil
}

// check does what is done of a write before the bucket is looked at.
func (s *Store) check(ctx context.Context, key string, opt objstore.PutOptions) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := objstore.CheckKey(key); err != nil {
		return err
	}
	return errors.Join(objstore.CheckMetadata(opt.Metadata), objstore.CheckSystem(opt.System), s.checkTags(opt.Tags), s.checkLock(opt.Lock))
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

// store makes a new version of key, whose receipt tells what is given. s.mu is
// held, and body is the store's.
func (s *Store) store(key string, body []byte, etag string, opt objstore.PutOptions, p protection, told objstore.Header) objstore.Receipt {
	o := &object{body: body, kept: p, tags: maps.Clone(opt.Tags)}
	o.info = objstore.Info{
		ID:           objstore.ID{Key: key, ETag: etag},
		Size:         int64(len(body)),
		Modified:     s.clock(),
		StorageClass: opt.StorageClass,
		Metadata:     maps.Clone(opt.Metadata),
		System:       system(opt.System),
		Encrypted:    p.headers(),
		Tags:         len(opt.Tags),
	}
	if o.info.Metadata == nil {
		o.info.Metadata = map[string]string{}
	}
	if o.info.StorageClass == "STANDARD" {
		o.info.StorageClass = ""
	}
	if opt.Lock != nil {
		o.lock = *opt.Lock
	}
	s.push(key, o)
	s.insert(key)
	id := o.info.ID
	id.Encryption = opt.Encryption
	return objstore.Receipt{ID: id, Answered: o.info.Modified, Encrypted: told}
}

// system is what is kept of system metadata.
func system(given map[string]string) map[string]string {
	kept := map[string]string{"content-type": "application/octet-stream"}
	for name, value := range given {
		if value != "" {
			kept[name] = value
		}
	}
	return kept
}

// push puts o on top of the versions of key. s.mu is held.
func (s *Store) push(key string, o *object) {
	s.made++
	o.nth = s.made
	s.known = with(s.known, key)
	switch s.keeping {
	case objstore.VersionsNone:
		s.objects[key] = []*object{o}
		return
	case objstore.VersionsKept:
		s.serial++
		o.info.VersionID = "v" + strconv.Itoa(s.serial)
	default: // one without an ID takes the place of the other
		s.objects[key] = slices.DeleteFunc(s.objects[key], func(o *object) bool { return o.info.VersionID == "" })
	}
	s.objects[key] = append(s.objects[key], o)
}

// Copy is objstore.Store's.
func (s *Store) Copy(ctx context.Context, src objstore.ID, dst string, opt objstore.PutOptions) (objstore.Receipt, error) {
	got, err := s.copy(ctx, src, dst, opt)
	return got, wrap("copy", dst, err)
}

func (s *Store) copy(ctx context.Context, src objstore.ID, dst string, opt objstore.PutOptions) (objstore.Receipt, error) {
	if err := s.check(ctx, dst, opt); err != nil {
		return objstore.Receipt{}, err
	}
	if err := objstore.CheckKey(src.Key); err != nil {
		return objstore.Receipt{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.find(src)
	if err != nil {
		return objstore.Receipt{}, err
	}
	if o.info.Size > s.opt.MaxPartSize {
		return objstore.Receipt{}, objstore.ErrTooLarge
	}
	if s.frozen(o) {
		return objstore.Receipt{}, objstore.ErrArchived
	}
	if !s.opt.IgnoreCopyConditions {
		if err := s.allow(dst, opt.Condition); err != nil {
			return objstore.Receipt{}, err
		}
	}
	if err := s.decrypt(o.kept, src.Encryption.Sources(), sourcePrefix); err != nil {
		return objstore.Receipt{}, err
	}
	p, err := s.protect(opt.Encryption.Writes())
	if err != nil {
		return objstore.Receipt{}, err
	}
	if opt.Tags == nil {
		opt.Tags = o.tags
	}
	told := p.made()
	if s.opt.SilentCopies {
		told = nil
	}
	return s.store(dst, o.body, s.tag(o.body, p), opt, p, told), nil
}

// Delete is objstore.Store's.
func (s *Store) Delete(ctx context.Context, id objstore.ID, cond objstore.Condition) error {
	return wrap("delete", id.Key, s.delete(ctx, id, cond))
}

func (s *Store) delete(ctx context.Context, id objstore.ID, cond objstore.Condition) error {
	key := id.Key
	if err := s.check(ctx, key, objstore.PutOptions{}); err != nil {
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
	if id.VersionID != "" {
		if slices.ContainsFunc(s.objects[id.Key], func(o *object) bool { return o.version() == id.VersionID && s.keeps(o) }) {
			return objstore.ErrAccess
		}
		s.removeVersion(id)
		return nil
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
	if s.keeping == objstore.VersionsNone {
		delete(s.objects, key)
		s.known = without(s.known, key)
		return nil
	}
	o := &object{marker: true}
	o.info.Key, o.info.Modified = key, s.clock()
	s.push(key, o)
	return nil
}

// removeVersion drops one version for good; the one before it, if it was the
// last, shows again. s.mu is held.
func (s *Store) removeVersion(id objstore.ID) {
	versions := slices.DeleteFunc(s.objects[id.Key], func(o *object) bool { return o.version() == id.VersionID })
	s.objects[id.Key] = versions
	if len(versions) == 0 {
		s.known = without(s.known, id.Key)
	}
	switch o := s.current(id.Key); {
	case o != nil:
		s.insert(id.Key)
	default:
		s.remove(id.Key)
	}
}
