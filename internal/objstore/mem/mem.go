// Package mem is an object store in memory, for tests. It is as strict as S3
// at its strictest: every condition is honoured, part sizes, key lengths and
// metadata are checked, an unknown upload is an error, listings come in pages.
//
// It retries nothing and answers at once; latency and faults come from
// objstore/faulty around it.
package mem

import (
	"fmt"
	"sync"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Options of a Store. The zero value is a plain unversioned bucket with the
// limits of S3.
type Options struct {
	Versioned bool // keep old bodies, and give VersionIDs; see SetVersioning
	Locked    bool // as Versioned, and removing a version is ErrAccess: object lock keeps each for ever
	Locks     bool // as Versioned, and the locks that writes ask for are kept; else they are ErrInvalid

	// Limits that tests make small; 0 is that of package objstore. PageSize is
	// the number of entries that a listing sees of one state of the bucket (0 is 1000).
	MinPartSize int64
	MaxPartSize int64 // of a part, a Put and a Copy
	MaxParts    int
	PageSize    int

	// What lesser servers do: they take a condition and do not look at it.
	IgnorePutConditions    bool // Put and Complete
	IgnoreCopyConditions   bool // of the destination
	IgnoreDeleteConditions bool
	KeyedConditions        bool // Put and Complete look at one with a key of SSE-C, any, where what is there has one, and only then, as MinIO's

	// Encryption: see encryption.go.
	DefaultEncryption  objstore.Header // of bodies whose writers ask for nothing; nil is none
	BlockCustomerKeys  bool            // writes that bring a key of their own are ErrKeyBlocked
	IgnoreEncryption   bool            // all that requests ask for is taken and not done, as versitygw does
	SilentCopies       bool            // the answers to Copy, and those of uploads, do not tell, as MinIO's
	NoKMS, NoDSSE      bool            // ErrUnsupported
	NoBucketKeys       bool            // the wish is taken and not done, as MinIO does
	NoTags, RefuseTags bool            // a write with tags, and asking for them, is ErrUnsupported, ErrAccess

	// What the bucket tells of itself: see bucket.go.
	Lifecycle    []objstore.LifecycleRule
	NoSettings   bool // ErrUnsupported
	PendingByKey bool // uploads are told of by their whole key only, as MinIO does

	Now func() time.Time // nil is time.Now
}

// Store is a bucket. It is safe for concurrent use, and every request is
// atomic.
type Store struct {
	opt Options

	mu      sync.Mutex // guards all below, and the contents of uploads
	keys    []string   // of objects, sorted bytewise
	known   []string   // of all that have a version, sorted bytewise
	objects map[string][]*object
	uploads map[string]*upload
	keyring map[string]KeyState
	aliases map[string]string
	serial  int // of versions, uploads and secret ETags
	made    int // versions, and delete markers
	keeping objstore.Versioning
	gone    bool
}

// object is one version of a key, immutable but for the tests' own hands.
type object struct {
	info   objstore.Info
	body   []byte
	kept   protection
	tags   map[string]string
	lock   objstore.Lock
	days   int  // for which an order restores it
	nth    int  // of all that were made
	marker bool // a delete marker
}

// version is the ID that a listing gives it.
func (o *object) version() string {
	if o.info.VersionID == "" {
		return objstore.NullVersion
	}
	return o.info.VersionID
}

var (
	_ objstore.Store     = (*Store)(nil)
	_ objstore.Resumer   = (*Store)(nil)
	_ objstore.Tagger    = (*Store)(nil)
	_ objstore.Defaulter = (*Store)(nil)
	_ objstore.Bucket    = (*Store)(nil)

	_ objstore.Versioner   = (*Store)(nil)
	_ objstore.Restorer    = (*Store)(nil)
	_ objstore.Locker      = (*Store)(nil)
	_ objstore.Checksummer = (*Store)(nil)
)

// New makes an empty bucket.
func New(opt Options) *Store {
	if opt.MinPartSize == 0 {
		opt.MinPartSize = objstore.MinPartSize
	}
	if opt.MaxPartSize == 0 {
		opt.MaxPartSize = objstore.MaxPartSize
	}
	if opt.MaxParts == 0 {
		opt.MaxParts = objstore.MaxParts
	}
	if opt.PageSize == 0 {
		opt.PageSize = 1000
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	keeping := objstore.VersionsNone
	if opt.Versioned || opt.Locked || opt.Locks {
		keeping = objstore.VersionsKept
	}
	return &Store{opt: opt, keeping: keeping, objects: map[string][]*object{}, uploads: map[string]*upload{}, keyring: map[string]KeyState{}, aliases: map[string]string{}}
}

// wrap names the verb and the key of a failed request.
func wrap(verb, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q: %w", verb, key, err)
}

// current gives the latest version of key, or nil. s.mu is held.
func (s *Store) current(key string) *object {
	versions := s.objects[key]
	if len(versions) == 0 || versions[len(versions)-1].marker {
		return nil
	}
	return versions[len(versions)-1]
}

// find gives the body that id names. s.mu is held.
func (s *Store) find(id objstore.ID) (*object, error) {
	if s.gone {
		return nil, objstore.ErrBucket
	}
	if id.VersionID == "" {
		o := s.current(id.Key)
		switch {
		case o == nil:
			return nil, objstore.ErrNotExist
		case id.ETag != "" && id.ETag != o.info.ETag:
			return nil, objstore.ErrChanged
		}
		return o, nil
	}
	for _, o := range s.objects[id.Key] {
		if o.version() == id.VersionID && !o.marker && (id.ETag == "" || id.ETag == o.info.ETag) {
			return o, nil
		}
	}
	return nil, objstore.ErrChanged
}

// allowMade is allow of a body that is made with these headers. s.mu is held.
func (s *Store) allowMade(key string, cond objstore.Condition, h objstore.Header) error {
	o, keyed := s.current(key), h[customerPrefix+"-key"] != ""
	if s.opt.KeyedConditions && o != nil && cond != (objstore.Condition{}) {
		switch {
		case o.kept.customer != "" && !keyed:
			return objstore.ErrKeyNeeded
		case o.kept.customer == "" && keyed:
			return objstore.ErrKeyUnwanted
		}
	}
	return s.allow(key, cond)
}

// allow checks cond against what key holds now. s.mu is held.
func (s *Store) allow(key string, cond objstore.Condition) error {
	o := s.current(key)
	switch {
	case cond.IfNone && cond.IfMatch != "":
		return objstore.ErrInvalid
	case cond.IfNone && o != nil:
		return objstore.ErrExist
	case cond.IfMatch != "" && (o == nil || o.info.ETag != cond.IfMatch):
		return objstore.ErrChanged
	}
	return nil
}
