package mem_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/internal/objstore/objtest"
)

func TestConformance(t *testing.T) {
	for _, tc := range []struct {
		name string
		opt  mem.Options
		test objtest.Options
	}{
		{"Plain", mem.Options{PageSize: 7, MinPartSize: 100}, objtest.Options{Objects: 30, MinPartSize: 100}},
		{"VersionsByPages", mem.Options{Versioned: true, PageSize: 7, MinPartSize: 100}, objtest.Options{Versioned: true, Objects: 30, MinPartSize: 100}},
		{"OneByOne", mem.Options{PageSize: 1}, objtest.Options{Objects: 5}},
		{"Versioned", mem.Options{Versioned: true}, objtest.Options{Versioned: true}},
		{"Careless", mem.Options{IgnorePutConditions: true, IgnoreCopyConditions: true, IgnoreDeleteConditions: true}, objtest.Options{
			IgnoresPutConditions: true, IgnoresUploadConditions: true, IgnoresCopyConditions: true, IgnoresDeleteConditions: true,
		}},
		{"Ignorant", mem.Options{MinPartSize: 100, IgnoreEncryption: true, NoTags: true}, objtest.Options{MinPartSize: 100, IgnoresEncryption: true, NoDefault: true, NoTags: true}},
		{"Silent", mem.Options{MinPartSize: 100, SilentCopies: true, NoDSSE: true, NoBucketKeys: true}, objtest.Options{MinPartSize: 100, SilentCopies: true, NoDSSE: true, NoBucketKeys: true}},
		{"ByDefault", mem.Options{MinPartSize: 100, DefaultEncryption: byDefault}, objtest.Options{MinPartSize: 100, Default: byDefault}},
		{"Curt", mem.Options{MinPartSize: 100, PendingByKey: true}, objtest.Options{MinPartSize: 100, PendingByKey: true}},
		{"NoKMS", mem.Options{MinPartSize: 100, NoKMS: true}, objtest.Options{MinPartSize: 100, NoKMS: true}},
	} {
		if !tc.opt.NoKMS {
			tc.test.KMSKey = aKey
		}
		tc.test.Locks = func(*testing.T) objstore.Store { return mem.New(mem.Options{Locks: true}) }
		tc.test.Suspend = func(_ *testing.T, s objstore.Store) { hands(s).SetVersioning(objstore.VersionsStopped) }
		tc.test.Thaw = func(_ *testing.T, s objstore.Store) { hands(s).Thaw() }
		tc.test.NoBucket = func(*testing.T) objstore.Store { s := mem.New(tc.opt); s.Drop(); return s }
		t.Run(tc.name, func(t *testing.T) {
			objtest.Run(t, func(*testing.T) objstore.Store { return open(tc.opt) }, tc.test)
		})
		t.Run(tc.name+"Decorated", func(t *testing.T) {
			objtest.Run(t, func(*testing.T) objstore.Store {
				m := open(tc.opt)
				return decorated{faulty.New(m, faulty.Options{PageSize: max(tc.opt.PageSize, 10)}), m}
			}, tc.test)
		})
	}
}

// decorated is a store that knows what lies inside of it.
type decorated struct {
	*faulty.Store
	inside *mem.Store
}

func hands(s objstore.Store) *mem.Store {
	if d, ok := s.(decorated); ok {
		return d.inside
	}
	return s.(*mem.Store)
}

const (
	sse  = "x-amz-server-side-encryption"
	aKey = "1234abcd-12ab-34cd-56ef-1234567890ab"
)

var byDefault = objstore.Header{sse: "AES256"}

// open makes a bucket, and a key for it.
func open(opt mem.Options) *mem.Store {
	s := mem.New(opt)
	s.SetKey(aKey, mem.KeyEnabled)
	return s
}

func TestLimits(t *testing.T) {
	s := mem.New(mem.Options{MaxPartSize: 10, MaxParts: 3})
	put := func(body string) error {
		_, err := s.Put(t.Context(), "k", strings.NewReader(body), int64(len(body)), objstore.PutOptions{})
		return err
	}
	if err := put(strings.Repeat("x", 11)); !errors.Is(err, objstore.ErrTooLarge) {
		t.Errorf("put: %v", err)
	}
	if err := put("x"); err != nil {
		t.Fatal(err)
	}
	s.Plant("big", mem.Object{Body: make([]byte, 11)})
	if _, err := s.Copy(t.Context(), objstore.ID{Key: "big"}, "l", objstore.PutOptions{}); !errors.Is(err, objstore.ErrTooLarge) {
		t.Errorf("copy: %v", err)
	}
	up, err := s.Upload(t.Context(), "m", objstore.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Part(t.Context(), 4, strings.NewReader(""), 0); !errors.Is(err, objstore.ErrInvalid) {
		t.Errorf("part: %v", err)
	}
}

func TestTamperChangesOnlyWhatItSays(t *testing.T) {
	s := mem.New(mem.Options{})
	for _, key := range []string{"a", "b"} {
		if _, err := s.Put(t.Context(), key, strings.NewReader("body"), 4, objstore.PutOptions{Metadata: map[string]string{"m": "1"}}); err != nil {
			t.Fatal(err)
		}
	}
	before := s.Snapshot()
	clone := s.Clone()
	if !s.Tamper("a", func(o *mem.Object) { o.Body[0] ^= 1; o.Info.Metadata["m"] = "2" }) {
		t.Fatal("nothing at a")
	}
	after := s.Snapshot()
	if string(after["a"].Body) != "cody" || after["a"].Info.Metadata["m"] != "2" || after["a"].Info.ETag == before["a"].Info.ETag {
		t.Errorf("tampered: %+v", after["a"])
	}
	if string(after["b"].Body) != "body" || string(before["a"].Body) != "body" {
		t.Error("another object changed")
	}
	if o, _ := clone.Object("a"); string(o.Body) != "body" {
		t.Error("the clone changed")
	}
	if s.Tamper("c", func(*mem.Object) {}) {
		t.Error("there is no c")
	}
}

func put(t *testing.T, s *mem.Store, key, body string, h objstore.Header) (objstore.Receipt, error) {
	t.Helper()
	return s.Put(t.Context(), key, strings.NewReader(body), int64(len(body)), objstore.PutOptions{Encryption: &objstore.Encryption{Write: h}})
}

var byKMS = objstore.Header{sse: "aws:kms", sse + "-aws-kms-key-id": aKey, sse + "-context": "e30="}

func TestKeysOfKMS(t *testing.T) {
	s := open(mem.Options{})
	s.SetAlias("alias/a", aKey)
	for _, name := range []string{aKey, mem.KeyHome + "key/" + aKey, "alias/a", mem.KeyHome + "alias/a"} {
		got, err := put(t, s, "k", "x", objstore.Header{sse: "aws:kms", sse + "-aws-kms-key-id": name})
		if err != nil || got.Encrypted[sse+"-aws-kms-key-id"] != mem.KeyHome+"key/"+aKey {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := put(t, s, "k", "x", byKMS); err != nil {
		t.Fatal(err)
	}
	for state, want := range map[mem.KeyState]error{
		mem.KeyMissing: objstore.ErrKeyMissing, mem.KeyDisabled: objstore.ErrKeyDisabled, mem.KeyDenied: objstore.ErrKeyAccess, mem.KeyThrottled: objstore.ErrThrottled, mem.KeyEnabled: nil,
	} {
		s.SetKey(aKey, state)
		_, errPut := put(t, s, "l", "x", byKMS)
		_, _, _, errGet := s.Get(t.Context(), objstore.ID{Key: "k"}, objstore.Range{})
		_, errCopy := s.Copy(t.Context(), objstore.ID{Key: "k"}, "m", objstore.PutOptions{})
		for verb, err := range map[string]error{"put": errPut, "get": errGet, "copy": errCopy} {
			if !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%v, %s: %v", state, verb, err)
			}
		}
		if _, err := s.Head(t.Context(), objstore.ID{Key: "k"}); err != nil {
			t.Errorf("%v, head: %v", state, err)
		}
	}
}

func TestWhatTestsSee(t *testing.T) {
	s := open(mem.Options{})
	if _, err := put(t, s, "k", "x", byKMS); err != nil {
		t.Fatal(err)
	}
	o, _ := s.Object("k")
	if o.Info.Encrypted[sse] != "aws:kms" || o.Info.Encrypted[sse+"-context"] != "e30=" {
		t.Errorf("%v", map[string]string(o.Info.Encrypted))
	}
	info, err := s.Head(t.Context(), objstore.ID{Key: "k"})
	if err != nil || info.Encrypted[sse+"-context"] != "" {
		t.Errorf("the context is told: %v, %v", map[string]string(info.Encrypted), err)
	}
	s.Tamper("k", func(o *mem.Object) { o.Body = []byte("y"); o.Tags = map[string]string{"a": "b"} })
	if o, _ := s.Clone().Object("k"); o.Info.Encrypted[sse] != "aws:kms" || o.Info.Tags != 1 || o.Tags["a"] != "b" {
		t.Errorf("tampering changed %+v", o)
	}
}

func TestETagsOfCiphertext(t *testing.T) {
	s := open(mem.Options{})
	etag := func(h objstore.Header) string {
		got, err := put(t, s, "k", "x", h)
		if err != nil {
			t.Fatal(err)
		}
		return got.ETag
	}
	plain, first, before := etag(nil), etag(byKMS), etag(byKMS)
	if etag(byDefault) != plain || first == plain || first == before {
		t.Error("only those of KMS are no MD5")
	}
	if _, err := put(t, s, "k", "x", byKMS); err != nil {
		t.Fatal(err)
	}
	got, err := s.Copy(t.Context(), objstore.ID{Key: "k"}, "k", objstore.PutOptions{Encryption: &objstore.Encryption{Write: byKMS}})
	if err != nil || got.ETag == before {
		t.Errorf("%v, %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	customer := objstore.Header{sse + "-customer-algorithm": "AES256", sse + "-customer-key": "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=", sse + "-customer-key-md5": "Xsqb0+sHwAbNQ65I395/0w=="}
	both := objstore.Header{sse: "AES256"}
	maps.Copy(both, customer)
	for _, tc := range []struct {
		name string
		opt  mem.Options
		h    objstore.Header
		want error
	}{
		{"key", mem.Options{}, customer, nil},
		{"blocked", mem.Options{BlockCustomerKeys: true}, customer, objstore.ErrKeyBlocked},
		{"both", mem.Options{}, both, objstore.ErrInvalid},
		{"short key", mem.Options{}, objstore.Header{sse + "-customer-algorithm": "AES256", sse + "-customer-key": "YWE=", sse + "-customer-key-md5": "x"}, objstore.ErrInvalid},
		{"unknown", mem.Options{}, objstore.Header{sse: "aes256"}, objstore.ErrInvalid},
		{"key without kms", mem.Options{}, objstore.Header{sse: "AES256", sse + "-aws-kms-key-id": aKey}, objstore.ErrInvalid},
		{"context", mem.Options{}, objstore.Header{sse: "aws:kms", sse + "-context": "{}"}, objstore.ErrInvalid},
		{"no KMS", mem.Options{NoKMS: true}, byKMS, objstore.ErrUnsupported},
	} {
		if _, err := put(t, open(tc.opt), "k", "x", tc.h); !errors.Is(err, tc.want) || tc.want == nil && err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	for opt, want := range map[*mem.Options]error{{NoTags: true}: objstore.ErrUnsupported, {RefuseTags: true}: objstore.ErrAccess} {
		s := open(*opt)
		_, err := s.Put(t.Context(), "k", strings.NewReader(""), 0, objstore.PutOptions{Tags: map[string]string{"a": "b"}})
		if !errors.Is(err, want) || len(s.Keys()) != 0 {
			t.Errorf("%v, not %v", err, want)
		}
		if _, err := put(t, s, "k", "x", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Tags(t.Context(), objstore.ID{Key: "k"}); !errors.Is(err, want) {
			t.Errorf("%v, not %v", err, want)
		}
	}
	// Only keys go with a read.
	s := open(mem.Options{})
	if _, err := put(t, s, "k", "x", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Head(t.Context(), objstore.ID{Key: "k", Encryption: &objstore.Encryption{Read: byDefault}}); !errors.Is(err, objstore.ErrInvalid) {
		t.Error(err)
	}
}

// A clone has the uploads that stand, as old as they are.
func TestCloneKeepsUploads(t *testing.T) {
	s := mem.New(mem.Options{})
	if _, err := s.Upload(t.Context(), "k", objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	pending := func(s *mem.Store) (all []objstore.Pending) {
		for p, err := range s.Pending(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
		return all
	}
	if was, is := pending(s), pending(s.Clone()); len(is) != 1 || is[0] != was[0] {
		t.Errorf("%+v became %+v", was, is)
	}
}
