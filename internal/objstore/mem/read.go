package mem

import (
	"bytes"
	"context"
	"io"
	"iter"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Head is objstore.Store's.
func (s *Store) Head(ctx context.Context, id objstore.ID) (objstore.Info, error) {
	info, err := s.head(ctx, id)
	return info, wrap("head", id.Key, err)
}

func (s *Store) head(ctx context.Context, id objstore.ID) (objstore.Info, error) {
	if err := ctx.Err(); err != nil {
		return objstore.Info{}, err
	}
	if err := objstore.CheckKey(id.Key); err != nil {
		return objstore.Info{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.find(id)
	if err != nil {
		return objstore.Info{}, err
	}
	if err := s.open(o.kept, id.Encryption.Reads(), customerPrefix); err != nil {
		return objstore.Info{}, err
	}
	return o.answer(id, s.clock()), nil
}

// clock is what the Date of an answer says.
func (s *Store) clock() time.Time { return s.opt.Now().UTC().Truncate(time.Second) }

// tell copies the info, so that nobody writes to the bucket's own maps, for a
// request with that encryption.
func (o *object) tell(e *objstore.Encryption, answered time.Time) objstore.Info {
	info := o.info
	info.Answered = answered
	info.Metadata, info.System, info.Encrypted = maps.Clone(info.Metadata), maps.Clone(info.System), maps.Clone(info.Encrypted)
	info.Encryption = e
	if info.Restoring != nil {
		r := *info.Restoring
		info.Restoring = &r
	}
	if o.lock != (objstore.Lock{}) {
		l := o.lock
		info.Lock = &l
	}
	return info
}

// answer is tell for what was asked by id.
func (o *object) answer(id objstore.ID, answered time.Time) objstore.Info {
	info := o.tell(id.Encryption, answered)
	if id.VersionID != "" {
		info.VersionID = id.VersionID
	}
	return info
}

// Get is objstore.Store's.
func (s *Store) Get(ctx context.Context, id objstore.ID, r objstore.Range) (objstore.Info, int64, io.ReadCloser, error) {
	info, off, body, err := s.get(ctx, id, r)
	if err != nil {
		return objstore.Info{}, 0, nil, wrap("get", id.Key, err)
	}
	return info, off, io.NopCloser(bytes.NewReader(body)), nil
}

func (s *Store) get(ctx context.Context, id objstore.ID, r objstore.Range) (objstore.Info, int64, []byte, error) {
	if err := ctx.Err(); err != nil {
		return objstore.Info{}, 0, nil, err
	}
	if err := objstore.CheckKey(id.Key); err != nil {
		return objstore.Info{}, 0, nil, err
	}
	if err := r.Check(); err != nil {
		return objstore.Info{}, 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.find(id)
	if err != nil {
		return objstore.Info{}, 0, nil, err
	}
	if err := s.decrypt(o.kept, id.Encryption.Reads(), customerPrefix); err != nil {
		return objstore.Info{}, 0, nil, err
	}
	off, n := r.Of(int64(len(o.body)))
	if s.frozen(o) {
		return objstore.Info{}, 0, nil, objstore.ErrArchived
	}
	return o.answer(id, s.clock()), off, o.body[off : off+n : off+n], nil
}

// List is objstore.Store's. Each page is one state of the bucket; writes
// between pages show or do not, as on S3.
func (s *Store) List(ctx context.Context, opt objstore.ListOptions) iter.Seq2[objstore.Entry, error] {
	return func(yield func(objstore.Entry, error) bool) {
		after, left := opt.After, opt.Limit
		for {
			size := s.opt.PageSize
			if opt.Limit > 0 {
				size = min(size, left)
			}
			page, more, err := s.page(ctx, opt, after, size)
			if err != nil {
				yield(objstore.Entry{}, wrap("list", opt.Prefix, err))
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				after = name(e)
			}
			left -= len(page)
			if !more || opt.Limit > 0 && left == 0 {
				return
			}
		}
	}
}

func name(e objstore.Entry) string {
	if e.Prefix != "" {
		return e.Prefix
	}
	return e.Key
}

// page gives up to size entries after the name given, and whether more follow.
func (s *Store) page(ctx context.Context, opt objstore.ListOptions, after string, size int) (page []objstore.Entry, more bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return nil, false, objstore.ErrBucket
	}
	for i := sort.SearchStrings(s.keys, max(opt.Prefix, after)); i < len(s.keys); {
		key := s.keys[i]
		if !strings.HasPrefix(key, opt.Prefix) {
			return page, false, nil
		}
		e, next := s.entry(i, opt)
		if name(e) > after {
			if len(page) == size {
				return page, true, nil
			}
			page = append(page, e)
		}
		i = next
	}
	return page, false, nil
}

// entry makes the entry that begins at key i, and finds the key behind it.
func (s *Store) entry(i int, opt objstore.ListOptions) (objstore.Entry, int) {
	key := s.keys[i]
	if opt.Delimiter != "" {
		rest := key[len(opt.Prefix):]
		if at := strings.Index(rest, opt.Delimiter); at >= 0 {
			prefix := opt.Prefix + rest[:at+len(opt.Delimiter)]
			next := i + sort.Search(len(s.keys)-i, func(j int) bool {
				k := s.keys[i+j]
				return k > prefix && !strings.HasPrefix(k, prefix)
			})
			return objstore.Entry{Prefix: prefix}, next
		}
	}
	info := s.current(key).info
	info.Metadata, info.System, info.Encrypted, info.Tags, info.VersionID = nil, nil, nil, 0, "" // as ListObjectsV2 has it
	info.Answered, info.Restoring, info.ArchiveStatus = s.clock(), nil, ""
	return objstore.Entry{Info: info}, i + 1
}

// insert notes that key holds an object now. s.mu is held.
func (s *Store) insert(key string) { s.keys = with(s.keys, key) }

// remove notes that key holds nothing now. s.mu is held.
func (s *Store) remove(key string) { s.keys = without(s.keys, key) }

func with(keys []string, key string) []string {
	if i, found := slices.BinarySearch(keys, key); !found {
		return slices.Insert(keys, i, key)
	}
	return keys
}

func without(keys []string, key string) []string {
	if i, found := slices.BinarySearch(keys, key); found {
		return slices.Delete(keys, i, i+1)
	}
	return keys
}
