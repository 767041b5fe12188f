package mem_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// Under a lock objects are replaced and removed as ever, and each version stays.
func TestLocked(t *testing.T) {
	s := mem.New(mem.Options{Locked: true})
	put := func(text string) objstore.ID {
		t.Helper()
		got, err := s.Put(t.Context(), "k", strings.NewReader(text), int64(len(text)), objstore.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return got.ID
	}
	first, second := put("one"), put("two")
	if err := s.Delete(t.Context(), objstore.ID{Key: "k"}, objstore.Condition{IfMatch: second.ETag}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Head(t.Context(), objstore.ID{Key: "k"}); !errors.Is(err, objstore.ErrNotExist) {
		t.Errorf("after the removal: %v", err)
	}
	for _, id := range []objstore.ID{first, second} {
		if err := s.Delete(t.Context(), id, objstore.Condition{}); !errors.Is(err, objstore.ErrAccess) {
			t.Errorf("the version goes: %v", err)
		}
		if info, err := s.Head(t.Context(), id); err != nil || info.Size != 3 {
			t.Errorf("the version is gone: %+v, %v", info, err)
		}
	}
	if err := s.Delete(t.Context(), objstore.ID{Key: "k", VersionID: "absent"}, objstore.Condition{}); err != nil {
		t.Error(err)
	}
}
