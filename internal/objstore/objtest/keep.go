package objtest

import (
	"bytes"
	"maps"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// systemMetadata: what S3 keeps comes back, and a copy has what it says alone.
func (t suite) systemMetadata() {
	all := map[string]string{
		"content-type": "text/x-test; charset=utf-8", "cache-control": "max-age=60", "content-disposition": `attachment; filename="a b"`, "content-encoding": "identity",
		"content-language": "de", "expires": "Sat, 21 Nov 2026 12:00:00 GMT", "x-amz-website-redirect-location": "/elsewhere",
	}
	for name := range all {
		if t.opt.LosesSystem != nil && t.opt.LosesSystem(name) {
			delete(all, name)
		}
	}
	_, err := t.put("put", []byte("x"), objstore.PutOptions{System: all})
	t.ok(err)
	t.keeps("put", all)
	up := t.begin("upload", objstore.PutOptions{System: all})
	t.ok(t.part(up, 1, []byte("x")))
	_, err = up.Complete(t.Context(), objstore.Condition{})
	t.ok(err)
	t.keeps("upload", all)
	for _, want := range []map[string]string{all, {"content-type": "text/plain"}, nil} {
		if len(want) != len(all) && t.opt.KeepsSystem {
			continue
		}
		_, err = t.s.Copy(t.Context(), objstore.ID{Key: "put"}, "copy", objstore.PutOptions{System: want})
		t.ok(err)
		t.keeps("copy", want)
	}
	for name, value := range map[string]string{"x-amz-acl": "public-read", "content-type": "a\r\nb: c"} {
		_, err = t.put("bad", nil, objstore.PutOptions{System: map[string]string{name: value}})
		t.is(err, objstore.ErrInvalid)
	}
}

// keeps asserts what is kept of system metadata, by HEAD and GET.
func (t suite) keeps(key string, want map[string]string) {
	t.Helper()
	want = maps.Clone(want)
	if want == nil {
		want = map[string]string{}
	}
	if want["content-type"] == "" {
		want["content-type"] = "application/octet-stream"
	}
	head, err := t.s.Head(t.Context(), objstore.ID{Key: key})
	t.ok(err)
	get, _, _, err := t.get(objstore.ID{Key: key}, objstore.Range{})
	t.ok(err)
	if !maps.Equal(head.System, want) || !maps.Equal(get.System, want) {
		t.Errorf("%s keeps %v and %v, not %v", key, head.System, get.System, want)
	}
}

func (t suite) tags() {
	tags := map[string]string{"sigil-key-id": "0123456789abcdef", "a b": "c+d=e:f@/"}
	tagger, ok := t.s.(objstore.Tagger)
	if !ok || t.opt.NoTags {
		t.Skip("none are kept")
	}
	asked := func(key string, want map[string]string) {
		t.Helper()
		got, err := tagger.Tags(t.Context(), objstore.ID{Key: key})
		t.ok(err)
		info, _, _, err := t.get(objstore.ID{Key: key}, objstore.Range{})
		t.ok(err)
		if len(got) != len(want) || len(want) > 0 && !maps.Equal(got, want) || info.Tags != len(want) {
			t.Errorf("%s has the tags %v (%d of them, says GET), not %v", key, got, info.Tags, want)
		}
	}
	_, err := t.put("k", []byte("x"), objstore.PutOptions{Tags: tags})
	t.ok(err)
	asked("k", tags)
	up := t.begin("up", objstore.PutOptions{Tags: tags})
	t.ok(t.part(up, 1, []byte("x")))
	_, err = up.Complete(t.Context(), objstore.Condition{})
	t.ok(err)
	asked("up", tags)
	for _, tc := range []struct {
		name       string
		given, got map[string]string
	}{{"kept", nil, tags}, {"replaced", map[string]string{"x": "y"}, map[string]string{"x": "y"}}, {"dropped", map[string]string{}, nil}} {
		_, err = t.s.Copy(t.Context(), objstore.ID{Key: "k"}, tc.name, objstore.PutOptions{Tags: tc.given})
		t.ok(err)
		asked(tc.name, tc.got)
	}
	if !t.opt.KeepsTags {
		_, err = t.put("k", []byte("y"), objstore.PutOptions{})
		t.ok(err)
		asked("k", nil)
	}
	_, err = tagger.Tags(t.Context(), objstore.ID{Key: "no"})
	t.is(err, objstore.ErrNotExist)
	t.tagsOfKeys(tagger)
}

// tagsOfKeys: they can be read without the key of the body.
func (t suite) tagsOfKeys(tagger objstore.Tagger) {
	if t.opt.NoCustomerKeys || t.opt.IgnoresEncryption {
		return
	}
	want := map[string]string{"sigil-key-id": "0123456789abcdef"}
	_, err := t.s.Put(t.Context(), "ssec", bytes.NewReader(nil), 0, objstore.PutOptions{Encryption: byKey().enc, Tags: want})
	t.ok(err)
	if got, err := tagger.Tags(t.Context(), objstore.ID{Key: "ssec"}); err != nil || !maps.Equal(got, want) {
		t.Errorf("tags of an object under a key: %v, %v", got, err)
	}
}

// versions: one that is deleted for good lets that before it show again.
func (t suite) versions() {
	if !t.opt.Versioned {
		t.Skip("the bucket keeps none")
	}
	first, second := t.mustPut("k", []byte("one")), t.mustPut("k", []byte("two"))
	if first.VersionID == "" || first.VersionID == second.VersionID {
		t.Fatalf("versions %q and %q", first.VersionID, second.VersionID)
	}
	t.ok(t.s.Delete(t.Context(), second, objstore.Condition{}))
	t.holds("k", []byte("one"))
	t.lists(objstore.ListOptions{}, "k")
	third := t.mustPut("k", []byte("three"))
	t.ok(t.s.Delete(t.Context(), first, objstore.Condition{})) // one below
	t.holds("k", []byte("three"))
	_, _, _, err := t.get(first, objstore.Range{})
	t.is(err, objstore.ErrChanged)
	t.ok(t.s.Delete(t.Context(), third, objstore.Condition{}))
	_, err = t.s.Head(t.Context(), objstore.ID{Key: "k"})
	t.is(err, objstore.ErrNotExist)
	t.ok(t.s.Delete(t.Context(), third, objstore.Condition{})) // what is gone is gone
	t.lists(objstore.ListOptions{})
}
