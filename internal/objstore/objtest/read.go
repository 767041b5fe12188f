package objtest

import (
	"bytes"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

func (t suite) roundTrip() {
	for _, size := range []int64{1, 4096, 100_001, 3 << 20} {
		body := random(size)
		made, err := t.s.Put(t.Context(), "dir/k", bytes.NewReader(body), size, objstore.PutOptions{})
		t.ok(err)
		id := made.ID
		if id.Key != "dir/k" || id.ETag == "" || id.ETag[0] == '"' {
			t.Errorf("put gave %+v", id)
		}
		t.holds("dir/k", body)
		info, err := t.s.Head(t.Context(), objstore.ID{Key: "dir/k"})
		t.ok(err)
		if info.ETag != id.ETag || info.VersionID != id.VersionID || info.Key != "dir/k" || info.Size != size || info.StorageClass != "" {
			t.Errorf("head gave %+v, put %+v", info, id)
		}
		if age := time.Since(info.Modified); age < -time.Hour || age > time.Hour {
			t.Errorf("modified %v", info.Modified)
		}
		if age := info.Answered.Sub(info.Modified); age < -time.Second || age > time.Hour {
			t.Errorf("answered %v, modified %v", info.Answered, info.Modified)
		}
		if age := made.Answered.Sub(info.Modified); age < -time.Second || age > time.Hour {
			t.Errorf("put at %v, modified %v", made.Answered, info.Modified)
		}
	}
}

func (t suite) empty() {
	t.mustPut("k", nil)
	for _, r := range []objstore.Range{{}, {Off: 0, Len: 10}, {Off: 5}, {Off: 5, Len: 3}, {Suffix: 1}, {Suffix: 4096}} {
		info, off, data, err := t.get(objstore.ID{Key: "k"}, r)
		t.ok(err)
		if len(data) != 0 || info.Size != 0 || off != 0 || info.ETag == "" {
			t.Errorf("%+v: %d bytes at %d, %+v", r, len(data), off, info)
		}
	}
}

func (t suite) absent() {
	_, err := t.s.Head(t.Context(), objstore.ID{Key: "no"})
	t.is(err, objstore.ErrNotExist)
	_, _, _, err = t.get(objstore.ID{Key: "no"}, objstore.Range{Suffix: 4096})
	t.is(err, objstore.ErrNotExist)
	_, err = t.s.Copy(t.Context(), objstore.ID{Key: "no"}, "k", objstore.PutOptions{})
	t.is(err, objstore.ErrNotExist)
	t.ok(t.s.Delete(t.Context(), objstore.ID{Key: "no"}, objstore.Condition{}))
	_, _, _, err = t.get(objstore.ID{Key: ""}, objstore.Range{})
	t.is(err, objstore.ErrInvalid)
}

func (t suite) ranges() {
	const size = 10_000
	body := random(size)
	t.mustPut("k", body)
	for _, tc := range []struct {
		r       objstore.Range
		from, n int64
	}{
		{objstore.Range{}, 0, size},
		{objstore.Range{Len: 1}, 0, 1},
		{objstore.Range{Off: 1, Len: 1}, 1, 1},
		{objstore.Range{Off: 4096, Len: 4096}, 4096, 4096},
		{objstore.Range{Off: 9_999}, 9_999, 1},
		{objstore.Range{Off: 9_999, Len: 1}, 9_999, 1},
		{objstore.Range{Off: 9_000, Len: 5_000}, 9_000, 1_000},
		{objstore.Range{Off: 0, Len: size}, 0, size},
		{objstore.Range{Off: 0, Len: 1 << 40}, 0, size},
		{objstore.Range{Off: size}, size, 0},
		{objstore.Range{Off: size, Len: 1}, size, 0},
		{objstore.Range{Off: 1 << 40, Len: 5}, size, 0},
		{objstore.Range{Suffix: 1}, 9_999, 1},
		{objstore.Range{Suffix: 4096}, size - 4096, 4096},
		{objstore.Range{Suffix: size}, 0, size},
		{objstore.Range{Suffix: size + 1}, 0, size},
	} {
		info, off, data, err := t.get(objstore.ID{Key: "k"}, tc.r)
		t.ok(err)
		if off != tc.from || info.Size != size || info.ETag == "" || !bytes.Equal(data, body[tc.from:tc.from+tc.n]) {
			t.Errorf("%+v: %d bytes at %d of %d", tc.r, len(data), off, info.Size)
		}
	}
	for _, r := range []objstore.Range{{Off: -1}, {Len: -1}, {Suffix: -1}, {Off: 1, Suffix: 1}} {
		_, _, _, err := t.get(objstore.ID{Key: "k"}, r)
		t.is(err, objstore.ErrInvalid)
	}
}

func (t suite) getIfMatch() {
	first := t.mustPut("k", []byte("one"))
	_, _, data, err := t.get(first, objstore.Range{Len: 2})
	t.ok(err)
	if string(data) != "on" {
		t.Errorf("got %q", data)
	}
	second := t.mustPut("k", []byte("two!"))
	if first.ETag == second.ETag {
		t.Fatal("two bodies, one ETag")
	}
	for _, r := range []objstore.Range{{}, {Len: 2}, {Suffix: 2}, {Off: 100}} {
		_, _, _, err = t.get(objstore.ID{Key: "k", ETag: first.ETag}, r)
		t.is(err, objstore.ErrChanged)
	}
	_, _, data, err = t.get(first, objstore.Range{})
	if first.VersionID == "" {
		t.is(err, objstore.ErrChanged)
	} else if t.ok(err); string(data) != "one" {
		t.Errorf("old version: %q", data)
	}
	t.ok(t.s.Delete(t.Context(), objstore.ID{Key: "k"}, objstore.Condition{}))
	_, _, _, err = t.get(objstore.ID{Key: "k", ETag: second.ETag}, objstore.Range{})
	t.is(err, objstore.ErrNotExist)
}
