package objtest

import (
	"bytes"
	"maps"
	"strings"
	"sync"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

func (t suite) begin(key string, opt objstore.PutOptions) objstore.Uploader {
	t.Helper()
	up, err := t.s.Upload(t.Context(), key, opt)
	t.ok(err)
	if up.UploadID() == "" {
		t.Error("an upload without an id")
	}
	return up
}

func (t suite) part(up objstore.Uploader, n int, body []byte) error {
	return up.Part(t.Context(), n, bytes.NewReader(body), int64(len(body)))
}

func (t suite) upload() {
	meta := map[string]string{"sigil": "1 0 x"}
	up := t.begin("dir/k", objstore.PutOptions{Metadata: meta})
	parts := [][]byte{random(t.opt.MinPartSize), random(t.opt.MinPartSize + 1), random(7)}
	numbers := []int{2, 5, 9} // gaps are allowed
	var wg sync.WaitGroup
	for i := len(parts) - 1; i >= 0; i-- {
		wg.Go(func() {
			if err := t.part(up, numbers[i], parts[i]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	parts[1] = random(t.opt.MinPartSize) // sent again: the later one counts
	t.ok(t.part(up, numbers[1], parts[1]))
	_, err := t.s.Head(t.Context(), objstore.ID{Key: "dir/k"})
	t.is(err, objstore.ErrNotExist)
	id, err := up.Complete(t.Context(), objstore.Condition{})
	t.ok(err)
	t.holds("dir/k", bytes.Join(parts, nil))
	info, err := t.s.Head(t.Context(), objstore.ID{Key: "dir/k"})
	t.ok(err)
	if info.ETag != id.ETag || !maps.Equal(info.Metadata, meta) || !strings.HasSuffix(id.ETag, "-3") || info.VersionID != id.VersionID {
		t.Errorf("complete gave %+v, head %+v", id, info)
	}
	// A part of its own may be the only one, and small.
	up = t.begin("small", objstore.PutOptions{})
	t.ok(t.part(up, 1, []byte("x")))
	_, err = up.Complete(t.Context(), objstore.Condition{})
	t.ok(err)
	t.holds("small", []byte("x"))
}

func (t suite) uploadCopyPart() {
	body := random(t.opt.MinPartSize + 1000)
	src := t.mustPut("a b+ü", body)
	up := t.begin("k", objstore.PutOptions{})
	t.ok(up.CopyPart(t.Context(), 1, src, objstore.Range{Off: 1000, Len: t.opt.MinPartSize}))
	t.ok(up.CopyPart(t.Context(), 2, src, objstore.Range{}))
	t.ok(up.CopyPart(t.Context(), 3, objstore.ID{Key: src.Key}, objstore.Range{Off: 500}))
	t.ok(up.CopyPart(t.Context(), 4, src, objstore.Range{Suffix: 10 + t.opt.MinPartSize}))
	t.ok(t.part(up, 5, []byte("tail")))
	t.is(up.CopyPart(t.Context(), 6, src, objstore.Range{Off: 1000, Len: int64(len(body))}), objstore.ErrInvalid)
	t.is(up.CopyPart(t.Context(), 6, objstore.ID{Key: "no"}, objstore.Range{}), objstore.ErrNotExist)
	t.mustPut(src.Key, []byte("changed"))
	t.is(up.CopyPart(t.Context(), 6, objstore.ID{Key: src.Key, ETag: src.ETag}, objstore.Range{}), objstore.ErrChanged)
	_, err := up.Complete(t.Context(), objstore.Condition{})
	t.ok(err)
	t.holds("k", bytes.Join([][]byte{body[1000:], body, body[500:], body[len(body)-10-int(t.opt.MinPartSize):], []byte("tail")}, nil))
}

func (t suite) uploadConditions() {
	_, err := t.s.Upload(t.Context(), "k", none)
	t.is(err, objstore.ErrInvalid)
	complete := func(cond objstore.Condition) (objstore.Receipt, error) {
		up := t.begin("k", objstore.PutOptions{})
		t.ok(t.part(up, 1, random(10)))
		id, err := up.Complete(t.Context(), cond)
		if err != nil {
			t.ok(up.Abort(t.Context()))
		}
		return id, err
	}
	if t.opt.IgnoresUploadConditions {
		t.Skip("the server ignores them")
	}
	_, err = complete(objstore.Condition{IfMatch: "0123456789abcdef0123456789abcdef"})
	t.is(err, objstore.ErrChanged)
	first, err := complete(objstore.Condition{IfNone: true})
	t.ok(err)
	_, err = complete(objstore.Condition{IfNone: true})
	t.is(err, objstore.ErrExist)
	_, err = complete(objstore.Condition{IfMatch: first.ETag})
	t.ok(err)
	_, err = complete(objstore.Condition{IfMatch: first.ETag})
	t.is(err, objstore.ErrChanged)
}

func (t suite) uploadErrors() {
	up := t.begin("k", objstore.PutOptions{})
	_, err := up.Complete(t.Context(), objstore.Condition{})
	t.is(err, objstore.ErrInvalid)
	for _, n := range []int{-1, 0, objstore.MaxParts + 1} {
		t.is(t.part(up, n, nil), objstore.ErrInvalid)
	}
	t.is(up.Part(t.Context(), 1, bytes.NewReader([]byte("four")), 5), objstore.ErrInvalid)
	t.ok(t.part(up, 1, []byte("small")))
	t.ok(t.part(up, 2, []byte("last")))
	if !t.opt.KeepsParts {
		_, err = up.Complete(t.Context(), objstore.Condition{})
		t.is(err, objstore.ErrInvalid)
	}
	_, err = t.s.Head(t.Context(), objstore.ID{Key: "k"})
	t.is(err, objstore.ErrNotExist)
	t.ok(up.Abort(t.Context()))

	up = t.begin("k", objstore.PutOptions{})
	t.ok(t.part(up, 1, []byte("x")))
	first, err := up.Complete(t.Context(), objstore.Condition{})
	t.ok(err)
	if again, err := up.Complete(t.Context(), objstore.Condition{}); !t.opt.CompletesTwice {
		t.is(err, objstore.ErrNoUpload)
	} else if t.ok(err); again.ID != first.ID {
		t.Errorf("completed as %+v, then as %+v", first, again)
	}
	t.is(t.part(up, 2, []byte("y")), objstore.ErrNoUpload)
	t.holds("k", []byte("x"))
}

func (t suite) uploadAbort() {
	up := t.begin("k", objstore.PutOptions{})
	t.ok(t.part(up, 1, []byte("x")))
	again := up
	if r, ok := t.s.(objstore.Resumer); ok {
		again = r.Resume("k", up.UploadID())
	}
	t.ok(again.Abort(t.Context()))
	t.ok(up.Abort(t.Context()))
	t.is(t.part(up, 2, []byte("x")), objstore.ErrNoUpload)
	_, err := up.Complete(t.Context(), objstore.Condition{})
	t.is(err, objstore.ErrNoUpload)
	_, err = t.s.Head(t.Context(), objstore.ID{Key: "k"})
	t.is(err, objstore.ErrNotExist)
	t.lists(objstore.ListOptions{})
}
