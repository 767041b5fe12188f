package objtest

import (
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// odd are keys that clients and servers stumble over: what URLs, XML and paths
// give a meaning to.
var odd = []string{
	"a b", " lead", "trail ", "a+b", "a%41b", "a%2Fb", "a%", "ü/ß", "u\u0308", "日本語/ファイル",
	"a&b<c>\"d'", "a?x=1", "a#b", "a;b,c:d@e", "a\\b", "a\nb", "a\rb", "a\tb", "a\x7fb", "a\x01b", "\U0001F600", "\ufffd",
	"a//b", "/a", "a/", "a/./b", "a/../b", "..", "~", "(a)[b]{c}|^`$!*=", "-", "con.", "a\u2028b",
}

func (t suite) oddKeys() {
	var keys []string
	for _, key := range odd {
		if t.opt.RefusesKey != nil && t.opt.RefusesKey(key) {
			continue
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		// One at a time: a server over a filesystem cannot hold all of them at once.
		id, err := t.put(key, []byte(key), objstore.PutOptions{})
		if err != nil {
			t.Errorf("%q: %v", key, err)
			continue
		}
		if _, _, data, err := t.get(id, objstore.Range{}); err != nil || string(data) != key {
			t.Errorf("%q: got %q, %v", key, data, err)
		}
		if got := t.list(objstore.ListOptions{}); !slices.Equal(got, []string{key}) {
			t.Errorf("%q: listed %q", key, got)
		}
		if got := t.list(objstore.ListOptions{Prefix: key, Limit: 1}); !slices.Equal(got, []string{key}) {
			t.Errorf("%q: listed under itself %q", key, got)
		}
		if got := t.list(objstore.ListOptions{After: key}); len(got) != 0 {
			t.Errorf("%q: listed after itself %q", key, got)
		}
		if _, err := t.s.Copy(t.Context(), id, "copy", objstore.PutOptions{}); err != nil {
			t.Errorf("%q: %v", key, err)
		} else {
			t.holds("copy", []byte(key))
		}
		for _, k := range []string{key, "copy"} {
			if err := t.s.Delete(t.Context(), objstore.ID{Key: k}, objstore.Condition{}); err != nil {
				t.Errorf("%q: %v", key, err)
			}
		}
	}
	t.lists(objstore.ListOptions{})
}

func (t suite) longKey() {
	// Components of 200 bytes: servers over a filesystem hold at most 255.
	long := strings.Repeat(strings.Repeat("k", 199)+"/", 5)
	long += strings.Repeat("x", objstore.MaxKeyLen-len(long))
	if t.opt.RefusesKey == nil || !t.opt.RefusesKey(long) {
		t.mustPut(long, []byte("x"))
		t.holds(long, []byte("x"))
	}
	_, err := t.put(long+"y", nil, objstore.PutOptions{})
	t.is(err, objstore.ErrTooLong)
	_, err = t.s.Upload(t.Context(), long+"y", objstore.PutOptions{})
	t.is(err, objstore.ErrTooLong)
	_, err = t.put("", nil, objstore.PutOptions{})
	t.is(err, objstore.ErrInvalid)
}
