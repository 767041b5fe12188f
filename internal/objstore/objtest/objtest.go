// Package objtest is the conformance suite of object stores: it asserts what
// the comments of package objstore promise. Every implementation passes it,
// and so do the real servers, save for what Options says that they lack.
package objtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Options say what the store at hand lacks, and its limits. The zero value is
// a complete S3.
type Options struct {
	// NoBucket opens a bucket that does not exist; without it that is not tested.
	NoBucket func(t *testing.T) objstore.Store

	MinPartSize int64 // of a part that is not the last; 0 is objstore.MinPartSize
	Objects     int   // how many make several pages of a listing; 0 is 1,050

	IgnoresPutConditions    bool // of Put
	IgnoresUploadConditions bool // of Complete
	IgnoresCopyConditions   bool // of the destination
	IgnoresDeleteConditions bool
	RacesPuts               bool // two Puts at once with IfNone may both win

	KeepsParts     bool                  // parts of any size are taken
	CompletesTwice bool                  // and gives the same answer again, instead of ErrNoUpload
	RefusesKey     func(key string) bool // odd keys that the server cannot hold
	ListsUnordered bool                  // keys with bytes below '/' stand in another order than bytewise

	Versioned bool                             // the bucket keeps versions
	Suspend   func(*testing.T, objstore.Store) // makes it keep no more; nil: that is not tested
	NoHistory bool                             // which ones it keeps cannot be asked for
	Locks     func(*testing.T) objstore.Store  // opens a bucket that keeps locks; nil: that is not tested
	NoLocks   bool                             // they cannot be asked for
	Thaw      func(*testing.T, objstore.Store) // carries out what was ordered of Restore; nil: nothing is archived

	// Encryption at rest.
	IgnoresEncryption bool            // what requests ask for is taken and not done
	KMSKey            string          // the ID of a key that KMS has; without it none is tried by name
	NoKMS, NoDSSE     bool            // refused
	NoBucketKeys      bool            // taken and not done
	NoCustomerKeys    bool            // SSE-C is refused
	SilentCopies      bool            // the answers to Copy, and those of uploads, do not tell
	TakesAnySource    bool            // CopyPart takes a key for a source that has none
	Default           objstore.Header // of bodies whose writers ask for nothing
	NoDefault         bool            // it cannot be asked for

	// What the bucket tells of itself.
	NoLifecycle, NoVersioning bool // it cannot be asked for
	PendingByKey              bool // uploads are told of by their whole key only, if at all by another prefix

	// What is kept with an object.
	NoTags      bool                   // refused
	KeepsTags   bool                   // those of an object that Put replaces stay
	LosesSystem func(name string) bool // system metadata that does not come back
	KeepsSystem bool                   // a copy has that of its source too
}

// Run runs the suite; open gives an empty bucket to each test.
func Run(t *testing.T, open func(t *testing.T) objstore.Store, opt Options) {
	if opt.MinPartSize == 0 {
		opt.MinPartSize = objstore.MinPartSize
	}
	if opt.Objects == 0 {
		opt.Objects = 1050
	}
	for _, tc := range []struct {
		name string
		run  func(suite)
	}{
		{"RoundTrip", suite.roundTrip},
		{"Empty", suite.empty},
		{"Absent", suite.absent},
		{"Ranges", suite.ranges},
		{"GetIfMatch", suite.getIfMatch},
		{"PutConditions", suite.putConditions},
		{"PutRace", suite.putRace},
		{"PutSize", suite.putSize},
		{"Metadata", suite.metadata},
		{"Copy", suite.copy},
		{"CopyConditions", suite.copyConditions},
		{"Delete", suite.delete},
		{"DeleteConditions", suite.deleteConditions},
		{"ListOrder", suite.listOrder},
		{"ListPages", suite.listPages},
		{"ListEmpty", suite.listEmpty},
		{"OddKeys", suite.oddKeys},
		{"LongKey", suite.longKey},
		{"Upload", suite.upload},
		{"UploadCopyPart", suite.uploadCopyPart},
		{"UploadConditions", suite.uploadConditions},
		{"UploadErrors", suite.uploadErrors},
		{"UploadAbort", suite.uploadAbort},
		{"SystemMetadata", suite.systemMetadata},
		{"Tags", suite.tags},
		{"Versions", suite.versions},
		{"DefaultEncryption", suite.defaultEncryption},
		{"Encryption", suite.encryption},
		{"EncryptionIgnored", suite.encryptionIgnored},
		{"CustomerKeys", suite.customerKeys},
		{"CustomerKeyParts", suite.customerKeyParts},
		{"MissingKey", suite.missingKey},
		{"Settings", suite.settings},
		{"Pending", suite.pending},
		{"Unversioned", suite.unversioned},
		{"OfVersions", suite.ofVersions},
		{"VersionPages", suite.versionPages},
		{"ByVersion", suite.byVersion},
		{"Suspended", suite.suspended},
		{"Locks", suite.locks},
		{"Archives", suite.archives},
		{"Checksums", suite.checksums},
		{"Cancel", suite.cancel},
		{"NoBucket", suite.noBucket},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.run(suite{T: t, opt: opt, open: open, s: open(t)})
		})
	}
}

// suite is one test and its bucket.
type suite struct {
	*testing.T
	opt  Options
	open func(*testing.T) objstore.Store
	s    objstore.Store
}

func (t suite) put(key string, body []byte, opt objstore.PutOptions) (objstore.ID, error) {
	got, err := t.s.Put(t.Context(), key, bytes.NewReader(body), int64(len(body)), opt)
	return got.ID, err
}

func (t suite) mustPut(key string, body []byte) objstore.ID {
	t.Helper()
	id, err := t.put(key, body, objstore.PutOptions{})
	t.ok(err)
	return id
}

func (t suite) get(id objstore.ID, r objstore.Range) (info objstore.Info, off int64, data []byte, err error) {
	info, off, body, err := t.s.Get(t.Context(), id, r)
	if err != nil {
		return info, 0, nil, err
	}
	data, err = io.ReadAll(body)
	return info, off, data, errors.Join(err, body.Close())
}

// holds asserts that key's body is want.
func (t suite) holds(key string, want []byte) {
	t.Helper()
	info, _, data, err := t.get(objstore.ID{Key: key}, objstore.Range{})
	t.ok(err)
	if !bytes.Equal(data, want) || info.Size != int64(len(want)) {
		t.Fatalf("%q holds %d bytes (said %d), not the %d expected", key, len(data), info.Size, len(want))
	}
}

func (t suite) ok(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// is asserts that err wraps want, or is nil for nil.
func (t suite) is(err, want error) {
	t.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func random(n int64) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func (t suite) cancel() {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := t.s.Head(ctx, objstore.ID{Key: "k"})
	t.is(err, context.Canceled)
	_, _, _, err = t.s.Get(ctx, objstore.ID{Key: "k"}, objstore.Range{})
	t.is(err, context.Canceled)
	_, err = t.s.Put(ctx, "k", bytes.NewReader(nil), 0, objstore.PutOptions{})
	t.is(err, context.Canceled)
	for _, err := range t.s.List(ctx, objstore.ListOptions{}) {
		t.is(err, context.Canceled)
	}
	_, err = t.s.Head(t.Context(), objstore.ID{Key: "k"})
	t.is(err, objstore.ErrNotExist)
}

func (t suite) noBucket() {
	if t.opt.NoBucket == nil {
		t.Skip("no such bucket to open")
	}
	t.s = t.opt.NoBucket(t.T)
	_, err := t.s.Head(t.Context(), objstore.ID{Key: "k"})
	t.is(err, objstore.ErrBucket)
	_, _, _, err = t.get(objstore.ID{Key: "k"}, objstore.Range{})
	t.is(err, objstore.ErrBucket)
	_, err = t.put("k", []byte("x"), objstore.PutOptions{})
	t.is(err, objstore.ErrBucket)
	_, err = t.s.Copy(t.Context(), objstore.ID{Key: "k"}, "l", objstore.PutOptions{})
	t.is(err, objstore.ErrBucket)
	t.is(t.s.Delete(t.Context(), objstore.ID{Key: "k"}, objstore.Condition{}), objstore.ErrBucket)
	_, err = t.s.Upload(t.Context(), "k", objstore.PutOptions{})
	t.is(err, objstore.ErrBucket)
	n := 0
	for _, err := range t.s.List(t.Context(), objstore.ListOptions{}) {
		t.is(err, objstore.ErrBucket)
		n++
	}
	if n != 1 {
		t.Errorf("the listing gave %d errors", n)
	}
}
