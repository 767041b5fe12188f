package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// S3 does not remember which key an SSE-C object has, and tells nothing of it
// to who does not bring the key. So the key is looked for: the one remembered,
// the one that the policy has, none, the one that a tag names, all others.

// customer is a key that goes with requests (SSE-C); a nil one is none.
type customer struct {
	id   string
	want *asked
}

func (c *customer) headers() *objstore.Encryption {
	if c == nil {
		return nil
	}
	return c.want.enc
}

// KeyMemory remembers the IDs of objects' SSE-C keys between mounts; losing
// some costs requests only. Safe for concurrent use.
type KeyMemory interface {
	Recall(key string) (id string, ok bool)
	Remember(key, id string)
}

// noMemory remembers nothing.
type noMemory struct{}

func (noMemory) Recall(string) (string, bool) { return "", false }
func (noMemory) Remember(string, string)      {}

// asked gives what a mode asks for; the same for the same key of SSE-C.
func (v *Volume) asked(m *sse.Mode, assumed bool) *asked {
	if m == nil || m.Algorithm() != sse.SSEC {
		return newAsked(m, assumed)
	}
	c := v.customer(m.KeyID())
	if c == nil {
		c = &customer{id: m.KeyID(), want: newAsked(m, false)}
		v.customers = append(v.customers, c)
	}
	return c.want
}

// customerOf finds whose headers these are; nil if nobody's.
func (v *Volume) customerOf(enc *objstore.Encryption) *customer {
	for _, c := range v.customers {
		if c.want.enc == enc {
			return c
		}
	}
	return nil
}

func (v *Volume) customer(id string) *customer {
	for _, c := range v.customers {
		if c.id == id {
			return c
		}
	}
	return nil
}

// head asks for the metadata of what is at key, with whatever key it needs.
func (v *Volume) head(ctx context.Context, key string) (info objstore.Info, err error) {
	err = v.unlocked(ctx, key, func(enc *objstore.Encryption) (err error) {
		info, err = v.opt.Store.Head(ctx, objstore.ID{Key: key, Encryption: enc})
		return err
	})
	return info, err
}

// unlocked asks for the object at key with the SSE-C key that it has, or with
// none. ErrNoKey: it has one that this host lacks. ErrWrongKey: it has one, and
// none of this host's is it.
func (v *Volume) unlocked(ctx context.Context, key string, ask func(*objstore.Encryption) error) error {
	s := search{v: v, key: key, ask: ask}
	if done, err := s.try(s.first()); done {
		return err
	}
	for _, c := range []*customer{nil, v.customerOf(v.rule(key).want.headers())} {
		if done, err := s.try(c); done {
			return err
		}
	}
	id, err := s.tagged(ctx)
	if err != nil {
		return err
	}
	for _, c := range append([]*customer{v.customer(id)}, v.customers...) { // all of them: anybody may write a tag
		if done, err := s.try(c); done {
			return err
		}
	}
	if id != "" && v.customer(id) == nil {
		return fmt.Errorf("%s: encrypted by SSE-C under key %s, which is not configured: %w", key, id, ErrNoKey)
	}
	return s.failed()
}

// search is one such look.
type search struct {
	v      *Volume
	key    string
	ask    func(*objstore.Encryption) error
	tried  []*customer
	needed bool  // a key: so the store said
	denied error // a 403, which may mean a wrong key, or not
}

// first is the best guess.
func (s *search) first() *customer {
	if id, ok := s.v.opt.KeyMemory.Recall(s.key); ok {
		if id == "" {
			return nil
		}
		if c := s.v.customer(id); c != nil {
			return c
		}
	}
	return s.v.customerOf(s.v.rule(s.key).want.headers())
}

// try asks with c, once. Done: the answer does not depend on the key.
func (s *search) try(c *customer) (done bool, err error) {
	for _, t := range s.tried {
		if t == c {
			return false, nil
		}
	}
	s.tried = append(s.tried, c)
	err = s.ask(c.headers())
	switch {
	case errors.Is(err, objstore.ErrKeyNeeded):
		s.needed = true
		return false, nil
	case errors.Is(err, objstore.ErrKeyUnwanted):
		return false, nil
	case c != nil && (errors.Is(err, ErrAccess) || errors.Is(err, objstore.ErrInvalid)):
		s.denied = err // AWS and others say so of a wrong key
		return false, nil
	}
	if err == nil && (c != nil || len(s.tried) > 1) {
		s.v.remembers(s.key, c)
	}
	return true, err
}

// remembers which key, or that none, opens the object at key.
func (v *Volume) remembers(key string, c *customer) {
	id := ""
	if c != nil {
		id = c.id
	}
	if old, ok := v.opt.KeyMemory.Recall(key); !ok || old != id {
		v.opt.KeyMemory.Remember(key, id)
	}
}

// tagged gives the key ID in the object's tags; "" where there is none, or tags
// are not told: the keys are tried then.
func (s *search) tagged(ctx context.Context) (string, error) {
	tagger, ok := s.v.raw.(objstore.Tagger)
	if !ok || !s.needed {
		return "", nil
	}
	tags, err := tagger.Tags(ctx, objstore.ID{Key: s.key})
	if err != nil {
		return "", ctx.Err()
	}
	return tags[sse.KeyTag], nil
}

// failed says why no key opened the object.
func (s *search) failed() error {
	switch {
	case s.needed && len(s.v.customers) > 0:
		return fmt.Errorf("%s: encrypted by SSE-C, and none of the configured keys is the one: %w", s.key, ErrWrongKey)
	case s.needed:
		return fmt.Errorf("%s: encrypted by SSE-C, and no such key is configured: %w", s.key, ErrNoKey)
	case s.denied != nil:
		return s.denied
	}
	return fmt.Errorf("%s: the store wants an SSE-C key for it and refuses one: %w", s.key, objstore.ErrInvalid)
}

// newTags are those of a new object.
func (v *Volume) newTags(want *asked) map[string]string {
	c := v.customerOf(want.headers())
	if c == nil || v.untagged.Load() {
		return nil
	}
	return map[string]string{sse.KeyTag: c.id}
}

// movedTags are those of a copy of o; nil leaves them as they are. A multipart
// copy has none of its own.
func (v *Volume) movedTags(ctx context.Context, o *object, want *asked) (map[string]string, error) {
	from, to := v.customerOf(o.id.Encryption), v.customerOf(want.headers())
	if from == to && (o.length <= v.maxCopy || o.tags == 0) || v.untagged.Load() {
		return nil, nil
	}
	tags := map[string]string{}
	if tagger, ok := v.raw.(objstore.Tagger); ok && o.tags > 0 {
		old, err := tagger.Tags(ctx, o.id)
		if errors.Is(err, ErrAccess) || errors.Is(err, ErrUnsupported) {
			return nil, nil // a stale key ID costs requests, the others would be lost
		}
		if err != nil {
			return nil, err
		}
		maps.Copy(tags, old)
	}
	delete(tags, sse.KeyTag)
	if to != nil {
		tags[sse.KeyTag] = to.id
	}
	return tags, nil
}

// tagging writes, and goes on without tags where those are what is denied: they
// only help to find keys.
func (v *Volume) tagging(opt objstore.PutOptions, write func(objstore.PutOptions) (objstore.Receipt, error)) (objstore.Receipt, error) {
	got, err := write(opt)
	if opt.Tags == nil || !errors.Is(err, ErrAccess) && !errors.Is(err, ErrUnsupported) || errors.Is(err, ErrKeyAccess) || errors.Is(err, ErrKeyBlocked) {
		return got, err
	}
	denied := err
	opt.Tags = nil
	if got, err = write(opt); err == nil && !v.untagged.Swap(true) {
		v.opt.Log.WithError(denied).Warn("objects get no tag that names their SSE-C key: grant s3:PutObjectTagging, or keys have to be tried")
	}
	return got, err
}

// withTags gives the tags of kept and of set, which may be nil: then, with none
// kept, it is nil too.
func withTags(kept, set map[string]string) map[string]string {
	if len(kept) == 0 {
		return set
	}
	all := maps.Clone(kept)
	delete(all, sse.KeyTag)
	maps.Copy(all, set)
	return all
}

// taggingOf is tagging, but where tags are more than a help: those that d keeps
// are written or nothing is.
func (v *Volume) taggingOf(d draft, opt objstore.PutOptions, write func(objstore.PutOptions) (objstore.Receipt, error)) (objstore.Receipt, error) {
	if len(d.tags) > 0 {
		return write(opt)
	}
	return v.tagging(opt, write)
}
