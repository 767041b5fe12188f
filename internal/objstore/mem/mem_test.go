package mem_test

import (
	"errors"
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
		{"OneByOne", mem.Options{PageSize: 1}, objtest.Options{Objects: 5}},
		{"Versioned", mem.Options{Versioned: true}, objtest.Options{}},
		{"Careless", mem.Options{IgnorePutConditions: true, IgnoreCopyConditions: true, IgnoreDeleteConditions: true}, objtest.Options{
			IgnoresPutConditions: true, IgnoresUploadConditions: true, IgnoresCopyConditions: true, IgnoresDeleteConditions: true,
		}},
	} {
		tc.test.NoBucket = func(*testing.T) objstore.Store { s := mem.New(tc.opt); s.Drop(); return s }
		t.Run(tc.name, func(t *testing.T) {
			objtest.Run(t, func(*testing.T) objstore.Store { return mem.New(tc.opt) }, tc.test)
		})
		t.Run(tc.name+"Decorated", func(t *testing.T) {
			objtest.Run(t, func(*testing.T) objstore.Store {
				return faulty.New(mem.New(tc.opt), faulty.Options{PageSize: max(tc.opt.PageSize, 10)})
			}, tc.test)
		})
	}
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
