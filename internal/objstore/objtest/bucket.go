package objtest

import (
	"slices"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// settings: a bucket that nobody has set up has no rules, and says whether it
// keeps versions.
func (t suite) settings() {
	b, ok := t.s.(objstore.Bucket)
	if !ok {
		t.Skip("cannot be asked for")
	}
	rules, err := b.Lifecycle(t.Context())
	if t.opt.NoLifecycle {
		t.is(err, objstore.ErrUnsupported)
	} else {
		t.ok(err)
	}
	if len(rules) != 0 {
		t.Errorf("the new bucket has rules: %+v", rules)
	}
	got, err := b.Versioning(t.Context())
	if t.opt.NoVersioning {
		t.is(err, objstore.ErrUnsupported)
		return
	}
	t.ok(err)
	if kept := got == objstore.VersionsKept; kept != t.opt.Versioned {
		t.Errorf("versioning is %q", got)
	}
}

// pending: uploads are told of from their beginning to their end, under any
// name.
func (t suite) pending() {
	b, ok := t.s.(objstore.Bucket)
	if !ok {
		t.Skip("cannot be asked for")
	}
	const first, second, other = "dir/a b+c", "dir/d", "elsewhere"
	want := map[string][]string{}
	var ups []objstore.Uploader
	for _, key := range []string{first, first, second, other} {
		up := t.begin(key, objstore.PutOptions{})
		want[key] = append(want[key], up.UploadID())
		ups = append(ups, up)
	}
	t.ok(t.part(ups[0], 1, []byte("x")))
	under := map[string][]string{first: {first}, second: {second}, "dir/": {first, second}, "": {first, second, other}, "none": nil}
	for prefix, keys := range under {
		if t.opt.PendingByKey && want[prefix] == nil {
			continue
		}
		got := map[string][]string{}
		for p, err := range b.Pending(t.Context(), prefix) {
			t.ok(err)
			got[p.Key] = append(got[p.Key], p.UploadID)
			if age := time.Since(p.Began); age < -time.Hour || age > time.Hour {
				t.Errorf("%s began at %v", p.Key, p.Began)
			}
		}
		if len(got) != len(keys) {
			t.Errorf("under %q are %v", prefix, got)
		}
		for _, key := range keys {
			slices.Sort(got[key])
			slices.Sort(want[key])
			if !slices.Equal(got[key], want[key]) {
				t.Errorf("to %q under %q are %v, not %v", key, prefix, got[key], want[key])
			}
		}
	}
	_, err := ups[0].Complete(t.Context(), objstore.Condition{})
	t.ok(err)
	for _, up := range ups[1:] {
		t.ok(up.Abort(t.Context()))
	}
	for _, prefix := range []string{first, second, other} {
		for p, err := range b.Pending(t.Context(), prefix) {
			t.Errorf("after the end there is %v, %v", p, err)
		}
	}
}
