package files

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

func bucket(t *testing.T) *Bucket {
	t.Helper()
	path := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	return New(map[string]Object{
		"a/b/c": {Path: path, Metadata: map[string]string{"x": "y"}},
		"a/b/d": {Path: path}, "a/e": {Path: path}, "gone": {Path: path + ".none"},
	})
}

func TestRanges(t *testing.T) {
	b := bucket(t)
	for _, c := range []struct {
		r    objstore.Range
		off  int64
		want string
	}{
		{objstore.Range{}, 0, "0123456789"},
		{objstore.Range{Off: 3, Len: 4}, 3, "3456"},
		{objstore.Range{Off: 8}, 8, "89"},
		{objstore.Range{Off: 8, Len: 100}, 8, "89"},
		{objstore.Range{Off: 20, Len: 1}, 10, ""},
		{objstore.Range{Suffix: 3}, 7, "789"},
		{objstore.Range{Suffix: 30}, 0, "0123456789"},
	} {
		info, off, body, err := b.Get(t.Context(), objstore.ID{Key: "a/b/c"}, c.r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if err != nil || body.Close() != nil || string(got) != c.want || off != c.off || info.Size != 10 || info.Metadata["x"] != "y" {
			t.Errorf("%+v: %q at %d, %+v, %v", c.r, got, off, info, err)
		}
	}
}

func TestErrors(t *testing.T) {
	b := bucket(t)
	if _, err := b.Head(t.Context(), objstore.ID{Key: "none"}); !errors.Is(err, objstore.ErrNotExist) {
		t.Error(err)
	}
	if _, _, _, err := b.Get(t.Context(), objstore.ID{Key: "a/e", ETag: "another"}, objstore.Range{}); !errors.Is(err, objstore.ErrChanged) {
		t.Error(err)
	}
	if _, err := b.Head(t.Context(), objstore.ID{Key: "gone"}); err == nil {
		t.Error("a file that is not there has a head")
	}
	_, err := b.Put(t.Context(), "x", strings.NewReader(""), 0, objstore.PutOptions{})
	_, cerr := b.Copy(t.Context(), objstore.ID{Key: "a/e"}, "x", objstore.PutOptions{})
	_, uerr := b.Upload(t.Context(), "x", objstore.PutOptions{})
	for _, err := range []error{err, cerr, uerr, b.Delete(t.Context(), objstore.ID{Key: "a/e"}, objstore.Condition{})} {
		if !errors.Is(err, objstore.ErrUnsupported) {
			t.Error(err)
		}
	}
}

func TestList(t *testing.T) {
	b := bucket(t)
	for opt, want := range map[objstore.ListOptions]string{
		{Prefix: "a/"}:                             "a/b/c a/b/d a/e",
		{Prefix: "a/", Delimiter: "/"}:             "a/b/ a/e",
		{Prefix: "a/", After: "a/b/c", Limit: 1}:   "a/b/d",
		{Prefix: "a/b/", Delimiter: "/", Limit: 1}: "a/b/c",
		{Prefix: "x"}:                              "",
	} {
		var got []string
		for e, err := range b.List(t.Context(), opt) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Key+e.Prefix)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%+v: %q, want %q", opt, got, want)
		}
	}
}
