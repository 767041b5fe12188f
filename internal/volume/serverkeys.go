package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// S3 asks KMS whenever it gives a body that it has encrypted under a key of
// KMS. Who has blocks of the body here does not ask S3, and would go on reading
// when the key is denied or disabled. So S3 is asked now and then for one byte
// under each key, and before the first read of blocks that an earlier mount
// left.

// serverKeys are the keys of KMS beneath what this mount reads. Safe for
// concurrent use.
type serverKeys struct {
	mu  sync.Mutex
	all map[string]*serverKey
}

// serverKey is one of them.
type serverKey struct {
	last    *content // what was read under it last
	trusted bool     // S3 has read under it since it was last in doubt
}

// maxServerKeys bounds those that are known; S3 says what their names are.
const maxServerKeys = 1024

// readable tells whether S3 still gives what is under the server's key of c,
// if there is one. What is wrong with the key is the error.
func (v *Volume) readable(ctx context.Context, c *content) error {
	id := c.obj.state.KMSKeyID
	if id == "" || c.obj.length == 0 || v.server.trusts(id, c, v.opt.Cache.Lasting()) {
		return nil
	}
	err := c.located(ctx, func(at objstore.ID) error { return v.oneByte(ctx, at) })
	if err != nil {
		v.distrustKey(id, err)
		return fmt.Errorf("%s: key %s: %w", c.id.Load().Key, id, err)
	}
	v.server.trust(id, c)
	return nil
}

// oneByte has S3 read a byte of a body.
func (v *Volume) oneByte(ctx context.Context, id objstore.ID) error {
	_, _, body, err := v.opt.Store.Get(ctx, id, objstore.Range{Off: 0, Len: 1})
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(body, 1))
	return err
}

// trusts notes that c is about to be read. A key that was not met before is
// trusted unless the cache has blocks that this mount did not read.
func (s *serverKeys) trusts(id string, c *content, lasting bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.all[id]
	if k == nil {
		if s.all == nil || len(s.all) >= maxServerKeys {
			s.all = map[string]*serverKey{}
		}
		k = &serverKey{trusted: !lasting}
		s.all[id] = k
	}
	if k.trusted || k.last == nil {
		k.last = c
	}
	return k.trusted
}

func (s *serverKeys) trust(id string, c *content) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.all[id]; k != nil {
		k.trusted, k.last = true, c
	}
}

// doubt has the next read under a key ask S3. It tells whether that is news.
func (s *serverKeys) doubt(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.all[id]
	if k == nil || !k.trusted {
		return false
	}
	k.trusted, k.last = false, nil
	return true
}

// distrustKey takes what S3 said of a key: where that is that it may not be
// used, blocks under it go.
func (v *Volume) distrustKey(id string, err error) {
	news := v.server.doubt(id)
	if !keyRefused(err) {
		return
	}
	v.opt.Cache.DropKey(id)
	if news {
		v.opt.Log.WithField("key", id).WithError(err).Warn("the server gives nothing under this key any more, and what was cached of that is dropped")
	}
}

// keyRefused tells the errors that say that a key may not be used.
func keyRefused(err error) bool {
	return errors.Is(err, ErrKeyMissing) || errors.Is(err, ErrKeyDisabled) || errors.Is(err, ErrAccess)
}

// RecheckKeys asks again for the keys under which this mount has read what
// needs no epoch: S3 for those of KMS that it uses, and for each s3ec object
// that is here its data key. What is here under one that is refused is
// forgotten, and reads under it fail until it is given again. An error may pass,
// and takes nothing.
func (v *Volume) RecheckKeys(ctx context.Context) error {
	return errors.Join(v.recheckServerKeys(ctx), v.copies.recheck(ctx))
}

func (v *Volume) recheckServerKeys(ctx context.Context) error {
	v.server.mu.Lock()
	asked := map[string]*content{}
	for id, k := range v.server.all {
		if k.trusted && k.last != nil {
			asked[id] = k.last
		}
	}
	v.server.mu.Unlock()
	var first error
	for id, c := range asked {
		err := v.oneByte(ctx, *c.id.Load())
		switch {
		case err == nil:
		case keyRefused(err), errors.Is(err, ErrNotExist), errors.Is(err, ErrChanged):
			v.distrustKey(id, err)
		case first == nil:
			first = fmt.Errorf("ask for an object under key %s: %w", id, err)
		}
	}
	return first
}
