package objtest

import (
	"bytes"
	"errors"
	"maps"
	"strings"
	"sync"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

var none = objstore.PutOptions{Condition: objstore.Condition{IfNone: true}}

func match(etag string) objstore.PutOptions {
	return objstore.PutOptions{Condition: objstore.Condition{IfMatch: etag}}
}

func (t suite) putConditions() {
	if t.opt.IgnoresPutConditions {
		t.Skip("the server ignores them")
	}
	_, err := t.put("k", []byte("x"), match("0123456789abcdef0123456789abcdef"))
	t.is(err, objstore.ErrChanged)
	first, err := t.put("k", []byte("one"), none)
	t.ok(err)
	_, err = t.put("k", []byte("other"), none)
	t.is(err, objstore.ErrExist)
	t.holds("k", []byte("one"))
	second, err := t.put("k", []byte("two"), match(first.ETag))
	t.ok(err)
	_, err = t.put("k", []byte("other"), match(first.ETag))
	t.is(err, objstore.ErrChanged)
	t.holds("k", []byte("two"))
	t.ok(t.s.Delete(t.Context(), objstore.ID{Key: "k"}, objstore.Condition{}))
	_, err = t.put("k", []byte("other"), match(second.ETag))
	t.is(err, objstore.ErrChanged)
	_, err = t.put("k", []byte("three"), none)
	t.ok(err)
	t.holds("k", []byte("three"))
}

func (t suite) putRace() {
	if t.opt.IgnoresPutConditions || t.opt.RacesPuts {
		t.Skip("the server does not decide it")
	}
	for range 5 {
		t.ok(t.s.Delete(t.Context(), objstore.ID{Key: "k"}, objstore.Condition{}))
		const writers = 8
		var wg sync.WaitGroup
		errs := make([]error, writers)
		for i := range writers {
			wg.Go(func() { _, errs[i] = t.put("k", []byte{byte(i)}, none) })
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatal("two winners")
			case err == nil:
				winner = i
			case !errors.Is(err, objstore.ErrExist):
				t.Fatal(err)
			}
		}
		if winner < 0 {
			t.Fatal("no winner")
		}
		t.holds("k", []byte{byte(winner)})
	}
}

func (t suite) putSize() {
	for _, size := range []int64{0, 3, 5} {
		_, err := t.s.Put(t.Context(), "k", bytes.NewReader([]byte("four")), size, objstore.PutOptions{})
		t.is(err, objstore.ErrInvalid)
	}
	body := bytes.NewReader([]byte("four"))
	_, _ = body.ReadByte()
	_, err := t.s.Put(t.Context(), "k", body, 4, objstore.PutOptions{})
	t.ok(err)
	t.holds("k", []byte("four"))
}

func (t suite) metadata() {
	want := map[string]string{
		"sigil":      "1 0 abcdefghijklmnopqrstuvwxyz",
		"sigil-seal": strings.Repeat("Zm9v+/", 200),
		"blanks":     "a  b; c, d=\"e\"",
	}
	_, err := t.put("k", []byte("x"), objstore.PutOptions{Metadata: want, System: map[string]string{"content-type": "text/plain"}})
	t.ok(err)
	info, err := t.s.Head(t.Context(), objstore.ID{Key: "k"})
	t.ok(err)
	if !maps.Equal(info.Metadata, want) {
		t.Errorf("head gave %v", info.Metadata)
	}
	for _, r := range []objstore.Range{{}, {Suffix: 4096}, {Off: 7}} {
		info, _, _, err = t.get(objstore.ID{Key: "k"}, r)
		t.ok(err)
		if !maps.Equal(info.Metadata, want) {
			t.Errorf("get of %+v gave %v", r, info.Metadata)
		}
	}
	for name, value := range map[string]string{"Upper": "x", "": "x", "a b": "x", "latin": "ü", "line": "a\nb", "lead": " x", "trail": "x "} {
		_, err := t.put("bad", nil, objstore.PutOptions{Metadata: map[string]string{name: value}})
		t.is(err, objstore.ErrInvalid)
	}
	_, err = t.put("bad", nil, objstore.PutOptions{Metadata: map[string]string{"big": strings.Repeat("x", 2046)}})
	t.is(err, objstore.ErrTooLarge)
	_, err = t.s.Head(t.Context(), objstore.ID{Key: "bad"})
	t.is(err, objstore.ErrNotExist)
}

func (t suite) copy() {
	body := random(100_000)
	src, err := t.put("dir/a b+ü%41", body, objstore.PutOptions{Metadata: map[string]string{"old": "1"}})
	t.ok(err)
	for _, dst := range []string{"b", "dir/a b+ü%41"} { // onto itself too
		id, err := t.s.Copy(t.Context(), src, dst, objstore.PutOptions{Metadata: map[string]string{"new": "2"}})
		t.ok(err)
		t.holds(dst, body)
		info, err := t.s.Head(t.Context(), objstore.ID{Key: dst})
		t.ok(err)
		if !maps.Equal(info.Metadata, map[string]string{"new": "2"}) || info.ETag != id.ETag || id.Key != dst || id.VersionID != info.VersionID {
			t.Errorf("copy to %q gave %+v, head %+v", dst, id, info)
		}
	}
	id, err := t.s.Copy(t.Context(), objstore.ID{Key: "b"}, "c", objstore.PutOptions{})
	t.ok(err)
	if info, err := t.s.Head(t.Context(), objstore.ID{Key: "c"}); err != nil || len(info.Metadata) != 0 || info.ETag != id.ETag {
		t.Errorf("a copy without metadata has %v (%v)", info.Metadata, err)
	}
	t.mustPut("b", nil)
	_, err = t.s.Copy(t.Context(), objstore.ID{Key: "b"}, "c", objstore.PutOptions{})
	t.ok(err)
	t.holds("c", nil)
}

func (t suite) copyConditions() {
	old := t.mustPut("a", []byte("one"))
	now := t.mustPut("a", []byte("two"))
	_, err := t.s.Copy(t.Context(), objstore.ID{Key: "a", ETag: old.ETag}, "b", objstore.PutOptions{})
	t.is(err, objstore.ErrChanged)
	_, err = t.s.Copy(t.Context(), now, "b", objstore.PutOptions{})
	t.ok(err)
	if t.opt.IgnoresCopyConditions {
		t.Skip("the server ignores those of the destination")
	}
	_, err = t.s.Copy(t.Context(), now, "b", none)
	t.is(err, objstore.ErrExist)
	_, err = t.s.Copy(t.Context(), now, "b", match(old.ETag))
	t.is(err, objstore.ErrChanged)
	_, err = t.s.Copy(t.Context(), now, "b", match(now.ETag))
	t.ok(err)
	_, err = t.s.Copy(t.Context(), now, "c", match(now.ETag))
	t.is(err, objstore.ErrChanged)
	_, err = t.s.Copy(t.Context(), now, "c", none)
	t.ok(err)
	t.holds("c", []byte("two"))
}

func (t suite) delete() {
	t.mustPut("k", []byte("x"))
	t.mustPut("k2", []byte("y"))
	t.ok(t.s.Delete(t.Context(), objstore.ID{Key: "k"}, objstore.Condition{}))
	_, err := t.s.Head(t.Context(), objstore.ID{Key: "k"})
	t.is(err, objstore.ErrNotExist)
	t.holds("k2", []byte("y"))
	t.ok(t.s.Delete(t.Context(), objstore.ID{Key: "k"}, objstore.Condition{}))
	t.is(t.s.Delete(t.Context(), objstore.ID{Key: "k2"}, objstore.Condition{IfNone: true}), objstore.ErrInvalid)
}

func (t suite) deleteConditions() {
	old := t.mustPut("k", []byte("one"))
	t.ok(t.s.Delete(t.Context(), objstore.ID{Key: "absent"}, objstore.Condition{IfMatch: old.ETag}))
	now := t.mustPut("k", []byte("two"))
	if !t.opt.IgnoresDeleteConditions {
		t.is(t.s.Delete(t.Context(), objstore.ID{Key: "k"}, objstore.Condition{IfMatch: old.ETag}), objstore.ErrChanged)
		t.holds("k", []byte("two"))
	}
	t.ok(t.s.Delete(t.Context(), objstore.ID{Key: "k"}, objstore.Condition{IfMatch: now.ETag}))
	_, err := t.s.Head(t.Context(), objstore.ID{Key: "k"})
	t.is(err, objstore.ErrNotExist)
}
