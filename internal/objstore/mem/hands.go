package mem

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Object is a stored object as tests see it, past all requests and keys.
// Info.Encrypted tells the encryption context too.
type Object struct {
	Info objstore.Info
	Body []byte
	Tags map[string]string
}

// see copies o.
func (o *object) see() Object {
	info := o.tell(nil, time.Time{})
	info.Encrypted = o.kept.made()
	return Object{Info: info, Body: bytes.Clone(o.body), Tags: maps.Clone(o.tags)}
}

// Keys gives the keys that hold an object, in bytewise order.
func (s *Store) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.keys)
}

// Snapshot gives every current object by key, as copies.
func (s *Store) Snapshot() map[string]Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]Object, len(s.keys))
	for _, key := range s.keys {
		all[key] = s.current(key).see()
	}
	return all
}

// Object gives a copy of what is at key.
func (s *Store) Object(key string) (Object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.current(key)
	if o == nil {
		return Object{}, false
	}
	return o.see(), true
}

// Tamper lets change rewrite what is at key, as an attacker with access to the
// bucket would; Size and ETag follow the body. It reports whether there was
// something at key.
func (s *Store) Tamper(key string, change func(*Object)) bool {
	o, found := s.Object(key)
	if !found {
		return false
	}
	change(&o)
	s.Plant(key, o)
	return true
}

// Plant puts an object at key as it is, unchecked, with a new version where
// the bucket keeps them. Key, Size, ETag and VersionID of Info are made up
// here, Modified only if it is zero.
func (s *Store) Plant(key string, o Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body := bytes.Clone(o.Body)
	p := planted(o.Info.Encrypted)
	s.store(key, body, s.tag(body, p), objstore.PutOptions{
		Metadata: o.Info.Metadata, System: o.Info.System, StorageClass: o.Info.StorageClass, Tags: o.Tags,
	}, p, nil)
	if !o.Info.Modified.IsZero() {
		s.current(key).info.Modified = o.Info.Modified
	}
}

// planted is the encryption that the headers of an answer tell of.
func planted(h objstore.Header) protection {
	return protection{
		algorithm: h[algorithmHeader], keyID: h[keyIDHeader], context: h[contextHeader],
		bucketKey: h[bucketKeyHeader] == "true", customer: h[customerPrefix+"-key-md5"],
	}
}

// SetVersioning turns the keeping of versions on, or off again.
func (s *Store) SetVersioning(v objstore.Versioning) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keeping = v
}

// Shelve puts the body at key where S3 Intelligent-Tiering puts what nobody has
// read for long: ARCHIVE_ACCESS or DEEP_ARCHIVE_ACCESS; "" takes it back.
func (s *Store) Shelve(key, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.current(key); o != nil {
		o.info.ArchiveStatus = status
	}
}

// Thaw carries out what was ordered of Restore.
func (s *Store) Thaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, versions := range s.objects {
		for _, o := range versions {
			if o.info.Restoring != nil && o.info.Restoring.Ongoing {
				o.info.Restoring = s.until(o.days)
				o.info.ArchiveStatus = ""
			}
		}
	}
}

// Uploads gives the multipart uploads that stand, key by upload id.
func (s *Store) Uploads() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]string{}
	for id, up := range s.uploads {
		all[id] = up.key
	}
	return all
}

// Clone makes an independent bucket of the same state, uploads included: what
// a crash harness starts from again and again.
func (s *Store) Clone() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := New(s.opt)
	c.keys, c.known, c.serial, c.made, c.keeping, c.gone = slices.Clone(s.keys), slices.Clone(s.known), s.serial, s.made, s.keeping, s.gone
	c.keyring, c.aliases = maps.Clone(s.keyring), maps.Clone(s.aliases)
	for key, versions := range s.objects {
		for _, o := range versions { // bodies are never written to
			o := *o
			c.objects[key] = append(c.objects[key], &o)
		}
	}
	for id, up := range s.uploads {
		c.uploads[id] = &upload{key: up.key, opt: up.opt, kept: up.kept, parts: maps.Clone(up.parts), began: up.began}
	}
	return c
}

// Drop deletes the bucket itself: every request is ErrBucket from now on.
func (s *Store) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
}
