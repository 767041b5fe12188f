package objtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// versioner skips the test where no versions are told of.
func (t suite) versioner() objstore.Versioner {
	s, ok := t.s.(objstore.Versioner)
	if !ok || t.opt.NoHistory {
		t.Skip("cannot be asked for")
	}
	return s
}

// root is where these tests write: a probe may have left versions beside it.
const root = "root/"

// history gives the lines of a listing: key, what was in the body (by its size),
// and what it is.
func (t suite) history(opt objstore.ListOptions) (lines []string) {
	t.Helper()
	opt.Prefix = root + opt.Prefix
	if opt.After != "" {
		opt.After = root + opt.After
	}
	for v, err := range t.versioner().Versions(t.Context(), opt) {
		t.ok(err)
		if !strings.HasPrefix(v.Key+v.Prefix, root) {
			t.Fatalf("%+v was not asked for", v)
		}
		v.Key, v.Prefix = strings.TrimPrefix(v.Key, root), strings.TrimPrefix(v.Prefix, root)
		switch {
		case v.Prefix != "":
			lines = append(lines, v.Prefix)
			continue
		case v.VersionID == "" || v.Key == "":
			t.Fatalf("%+v has no key or version", v)
		case v.Modified.IsZero() || time.Since(v.Modified).Abs() > time.Hour:
			t.Errorf("%q is of %v", v.Key, v.Modified)
		}
		line := fmt.Sprintf("%s %d", v.Key, v.Size)
		if v.Deleted {
			line = v.Key + " deleted"
		}
		if v.Latest {
			line += " now"
		}
		lines = append(lines, line)
	}
	return lines
}

func (t suite) tells(opt objstore.ListOptions, want ...string) {
	t.Helper()
	if got := t.history(opt); !slices.Equal(got, want) {
		t.Errorf("%+v gives %q, not %q", opt, got, want)
	}
}

// unversioned: a bucket that keeps no versions has its objects.
func (t suite) unversioned() {
	if t.opt.Versioned {
		t.Skip("the bucket keeps versions")
	}
	t.versioner()
	t.tells(objstore.ListOptions{})
	t.mustPut(root+"b", []byte("one"))
	t.mustPut(root+"b", []byte("again"))
	t.mustPut(root+"a/c", []byte("x"))
	t.tells(objstore.ListOptions{}, "a/c 1 now", "b 5 now")
	id := objstore.ID{Key: root + "b", VersionID: objstore.NullVersion}
	info, _, data, err := t.get(id, objstore.Range{})
	t.ok(err)
	if string(data) != "again" || info.VersionID != objstore.NullVersion {
		t.Errorf("version null is %q, %+v", data, info.ID)
	}
	info, err = t.s.Head(t.Context(), objstore.ID{Key: root + "b"})
	t.ok(err)
	if info.VersionID != "" {
		t.Errorf("what has no version has %q", info.VersionID)
	}
}

// ofVersions: every version and every deletion is told of, of one key from the
// newest on, though all of it was done within a second.
func (t suite) ofVersions() {
	if !t.opt.Versioned {
		t.Skip("the bucket keeps none")
	}
	t.versioner()
	drop := func(key string) { t.ok(t.s.Delete(t.Context(), objstore.ID{Key: root + key}, objstore.Condition{})) }
	for n := 1; n <= 3; n++ {
		t.mustPut(root+"k", random(int64(n)))
	}
	drop("k")
	t.mustPut(root+"k", random(4))
	t.mustPut(root+"dir/a b+%c", random(1))
	t.mustPut(root+"dir/a b+%c", random(2))
	t.mustPut(root+"dir/sub/x", random(1))
	drop("dir/sub/x")
	t.mustPut(root+"z", nil)
	all := []string{"dir/a b+%c 2 now", "dir/a b+%c 1", "dir/sub/x deleted now", "dir/sub/x 1", "k 4 now", "k deleted", "k 3", "k 2", "k 1", "z 0 now"}
	t.tells(objstore.ListOptions{}, all...)
	t.tells(objstore.ListOptions{Prefix: "dir/"}, all[:4]...)
	t.tells(objstore.ListOptions{Prefix: "k"}, all[4:9]...)
	t.tells(objstore.ListOptions{After: "dir/a b+%c"}, all[2:]...)
	t.tells(objstore.ListOptions{After: "dir/sub"}, all[2:]...)
	t.tells(objstore.ListOptions{After: "k"}, all[9])
	t.tells(objstore.ListOptions{After: "z"})
	t.tells(objstore.ListOptions{Limit: 3}, all[:3]...)
	t.tells(objstore.ListOptions{Limit: 6}, all[:6]...)
	t.tells(objstore.ListOptions{Delimiter: "/"}, append([]string{"dir/"}, all[4:]...)...)
	t.tells(objstore.ListOptions{Delimiter: "/", Prefix: "dir/"}, all[0], all[1], "dir/sub/")
	t.tells(objstore.ListOptions{Delimiter: "/", After: "dir/"}, all[4:]...)
	t.tells(objstore.ListOptions{Prefix: "none"})
}

// versionPages: what one page does not hold stands on the next, of one key too.
func (t suite) versionPages() {
	if !t.opt.Versioned {
		t.Skip("the bucket keeps none")
	}
	t.versioner()
	keys := max(3, t.opt.Objects/21)
	each := t.opt.Objects / keys
	for k := range keys {
		for n := range each {
			if n%2 == 1 && n != each-1 {
				t.ok(t.s.Delete(t.Context(), objstore.ID{Key: fmt.Sprintf(root+"dir/k%03d", k)}, objstore.Condition{}))
				continue
			}
			t.mustPut(fmt.Sprintf(root+"dir/k%03d", k), random(int64(n)))
		}
	}
	var want []string
	for k := range keys {
		for n := each - 1; n >= 0; n-- {
			line := fmt.Sprintf("dir/k%03d %d", k, n)
			if n%2 == 1 && n != each-1 {
				line = fmt.Sprintf("dir/k%03d deleted", k)
			}
			if n == each-1 {
				line += " now"
			}
			want = append(want, line)
		}
	}
	got := t.history(objstore.ListOptions{Prefix: "dir/"})
	if !slices.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Errorf("%d lines, not %d; the first other one is %d: %q, not %q", len(got), len(want), at, got[at:min(at+3, len(got))], want[at:min(at+3, len(want))])
	}
}

// byVersion: a version is read, copied back and removed by its ID; a delete
// marker is removed so, and nothing to read.
func (t suite) byVersion() {
	if !t.opt.Versioned {
		t.Skip("the bucket keeps none")
	}
	s := t.versioner()
	first, err := t.put(root+"k", []byte("first"), objstore.PutOptions{Metadata: map[string]string{"a": "b"}})
	t.ok(err)
	t.mustPut(root+"k", []byte("garbage"))
	t.ok(t.s.Delete(t.Context(), objstore.ID{Key: root + "k"}, objstore.Condition{}))
	info, err := t.s.Head(t.Context(), objstore.ID{Key: root + "k", VersionID: first.VersionID})
	t.ok(err)
	if info.ID.VersionID != first.VersionID || info.ETag != first.ETag || info.Metadata["a"] != "b" {
		t.Errorf("the first version is %+v", info)
	}
	var marker objstore.ID
	for v, err := range s.Versions(t.Context(), objstore.ListOptions{Prefix: root}) {
		t.ok(err)
		if v.Deleted {
			marker = v.ID
		}
	}
	_, err = t.s.Head(t.Context(), marker)
	t.is(err, objstore.ErrChanged)
	_, _, _, err = t.get(marker, objstore.Range{})
	t.is(err, objstore.ErrChanged)
	_, err = t.s.Head(t.Context(), objstore.ID{Key: root + "k", VersionID: t.absentVersion()})
	if !errors.Is(err, objstore.ErrChanged) && !errors.Is(err, objstore.ErrInvalid) {
		t.Errorf("a version that never was: %v", err)
	}
	got, err := t.s.Copy(t.Context(), first, root+"k", objstore.PutOptions{Metadata: info.Metadata})
	t.ok(err)
	if got.VersionID == "" || got.VersionID == first.VersionID {
		t.Errorf("the copy back is version %q", got.VersionID)
	}
	t.holds(root+"k", []byte("first"))
	t.tells(objstore.ListOptions{}, "k 5 now", "k deleted", "k 7", "k 5")
	t.ok(t.s.Delete(t.Context(), got.ID, objstore.Condition{}))
	t.tells(objstore.ListOptions{}, "k deleted now", "k 7", "k 5")
	t.ok(t.s.Delete(t.Context(), marker, objstore.Condition{}))
	t.tells(objstore.ListOptions{}, "k 7 now", "k 5")
	t.holds(root+"k", []byte("garbage"))
}

// absentVersion is an ID as servers make them.
func (t suite) absentVersion() string { return "8d7e9d4a-1c9d-4c7e-9a3f-" + strings.Repeat("0", 12) }

// suspended: once the bucket keeps no more versions there is one without an ID,
// beside those that were kept.
func (t suite) suspended() {
	if !t.opt.Versioned || t.opt.Suspend == nil {
		t.Skip("cannot be suspended")
	}
	t.versioner()
	kept := t.mustPut(root+"k", []byte("kept"))
	t.opt.Suspend(t.T, t.s)
	id := t.mustPut(root+"k", []byte("x"))
	if id.VersionID != "" {
		t.Errorf("written without versions, it has %q", id.VersionID)
	}
	t.mustPut(root+"k", []byte("xx"))
	t.tells(objstore.ListOptions{}, "k 2 now", "k 4")
	_, _, data, err := t.get(objstore.ID{Key: root + "k", VersionID: objstore.NullVersion}, objstore.Range{})
	t.ok(err)
	if string(data) != "xx" {
		t.Errorf("version null is %q", data)
	}
	t.ok(t.s.Delete(t.Context(), objstore.ID{Key: root + "k"}, objstore.Condition{}))
	t.tells(objstore.ListOptions{}, "k deleted now", "k 4")
	t.ok(t.s.Delete(t.Context(), objstore.ID{Key: root + "k", VersionID: objstore.NullVersion}, objstore.Condition{}))
	t.tells(objstore.ListOptions{}, "k 4 now")
	t.holds(root+"k", []byte("kept"))
	t.ok(t.s.Delete(t.Context(), kept, objstore.Condition{}))
	t.tells(objstore.ListOptions{})
}

// locks: they are as they were asked for, keep a version from being removed, and
// no more than that.
func (t suite) locks() {
	locker, ok := t.s.(objstore.Locker)
	if !ok {
		t.Skip("cannot be asked for")
	}
	id := t.mustPut("free", []byte("x"))
	l, err := locker.Lock(t.Context(), id)
	if t.opt.NoLocks {
		t.is(err, objstore.ErrUnsupported)
		return
	}
	t.ok(err)
	if l != (objstore.Lock{}) {
		t.Errorf("nobody asked for %+v", l)
	}
	if t.opt.Locks == nil {
		return
	}
	t.s = t.opt.Locks(t.T)
	locker = t.s.(objstore.Locker)
	want := objstore.Lock{Mode: objstore.Governance, Until: time.Now().Add(time.Hour).UTC().Truncate(time.Second), LegalHold: true}
	put, err := t.put("put", []byte("x"), objstore.PutOptions{Lock: &want})
	t.ok(err)
	up := t.begin("up", objstore.PutOptions{Lock: &want})
	t.ok(t.part(up, 1, []byte("x")))
	got, err := up.Complete(t.Context(), objstore.Condition{})
	t.ok(err)
	copied, err := t.s.Copy(t.Context(), put, "copy", objstore.PutOptions{Lock: &want})
	t.ok(err)
	bare, err := t.s.Copy(t.Context(), put, "bare", objstore.PutOptions{})
	t.ok(err)
	for _, id := range []objstore.ID{put, got.ID, copied.ID} {
		if l, err := locker.Lock(t.Context(), id); err != nil || l.Mode != want.Mode || l.LegalHold != want.LegalHold || !l.Until.Equal(want.Until) {
			t.Errorf("%s: %+v, %v, not %+v", id.Key, l, err, want)
		}
		info, err := t.s.Head(t.Context(), id)
		t.ok(err)
		if info.Lock == nil || !info.Lock.LegalHold || info.Lock.Mode != want.Mode || !info.Lock.Until.Equal(want.Until) {
			t.Errorf("HEAD of %s: %+v", id.Key, info.Lock)
		}
		t.is(t.s.Delete(t.Context(), id, objstore.Condition{}), objstore.ErrAccess)
		t.ok(t.s.Delete(t.Context(), objstore.ID{Key: id.Key}, objstore.Condition{}))
	}
	if l, err := locker.Lock(t.Context(), bare.ID); err != nil || l != (objstore.Lock{}) {
		t.Errorf("inherited: %+v, %v", l, err)
	}
	t.ok(t.s.Delete(t.Context(), bare.ID, objstore.Condition{}))
	_, err = locker.Lock(t.Context(), bare.ID)
	t.is(err, objstore.ErrChanged)
}

// archives: an archived body is told of, and cannot be read or copied before it
// was restored; an order for what is not archived is none.
func (t suite) archives() {
	restorer, ok := t.s.(objstore.Restorer)
	if !ok || t.opt.Thaw == nil {
		t.Skip("nothing is archived")
	}
	id, err := t.put("cold", []byte("x"), objstore.PutOptions{StorageClass: objstore.Glacier, Metadata: map[string]string{"a": "b"}})
	t.ok(err)
	state := func() objstore.Info {
		t.Helper()
		info, err := t.s.Head(t.Context(), objstore.ID{Key: "cold"})
		t.ok(err)
		if info.Metadata["a"] != "b" || !info.Frozen() {
			t.Errorf("%+v", info)
		}
		return info
	}
	if !state().Archived() || state().Restoring != nil {
		t.Errorf("at first it is %+v", state().Restoring)
	}
	_, _, _, err = t.get(id, objstore.Range{})
	t.is(err, objstore.ErrArchived)
	_, err = t.s.Copy(t.Context(), id, "copy", objstore.PutOptions{})
	t.is(err, objstore.ErrArchived)
	t.ok(restorer.Restore(t.Context(), id, 2, "Bulk"))
	if t.opt.Thaw(t.T, t.s); state().Archived() || state().Restoring == nil || time.Until(state().Restoring.Until) < 24*time.Hour {
		t.Errorf("at last it is %+v", state().Restoring)
	}
	t.holds("cold", []byte("x"))
	t.ok(restorer.Restore(t.Context(), objstore.ID{Key: "cold"}, 5, ""))
	_, err = t.s.Copy(t.Context(), id, "copy", objstore.PutOptions{})
	t.ok(err)
	t.holds("copy", []byte("x"))
	t.is(restorer.Restore(t.Context(), objstore.ID{Key: "copy"}, 1, ""), objstore.ErrInvalid)
	t.is(restorer.Restore(t.Context(), objstore.ID{Key: "none"}, 1, ""), objstore.ErrNotExist)
}

// checksums: those that are kept of a body are right.
func (t suite) checksums() {
	s, ok := t.s.(objstore.Checksummer)
	if !ok {
		t.Skip("cannot be asked for")
	}
	got, err := s.Checksums(t.Context(), t.mustPut("k", []byte("123456789")))
	t.ok(err)
	for name, sum := range got.Sums {
		if want := checks[name]; fmt.Sprintf("%x", sum) != want || got.Parts {
			t.Errorf("%s is %x, not %s (%+v)", name, sum, want, got)
		}
	}
	_, err = s.Checksums(t.Context(), objstore.ID{Key: "none"})
	t.is(err, objstore.ErrNotExist)
}

// checks are those of "123456789", as the catalogues of CRCs have them.
var checks = map[string]string{
	"crc64nvme": "ae8b14860a799888", "crc32": "cbf43926", "crc32c": "e3069283",
	"sha1":   "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
	"sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
}
