package volume

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// countries are prefixes under one rule each.
var countries = strings.Fields("none kms ssec s3ec ca cb cc")

// world is a mount with a rule for each; its root is under client A. ca and cc
// seal for the same keys, cb for others.
func world(o *Options) {
	a, b := &fakeKeys{}, &fakeKeys{}
	a.epochs = append(a.epochs, epoch(1))
	b.epochs = append(b.epochs, epoch(2))
	o.Keys = &fakeKeys{epochs: append(slices.Clone(a.epochs), b.epochs...)}
	o.S3ECKeys = s3ec.Keyring{aesKey(1)}
	o.Rules = []Rule{
		{Mode: "client", Keys: a},
		{Prefix: "none/", Mode: "none"},
		{Prefix: "kms/", Mode: "sse-kms", Server: need(sse.KMS(kmsKey, nil, nil))},
		{Prefix: "ssec/", Mode: "sse-c", Server: ssecMode('a')},
		{Prefix: "s3ec/", Mode: "s3ec", S3EC: &S3EC{Key: aesKey(1)}},
		{Prefix: "ca/", Mode: "client", Keys: a},
		{Prefix: "cb/", Mode: "client", Keys: b},
		{Prefix: "cc/", Mode: "client", Keys: &fakeKeys{epochs: a.epochs}, Server: sse.S3()},
	}
}

// stays tells whether a body may go from one to the other as it is.
func stays(from, to string) bool {
	same := func(all ...string) bool { return slices.Contains(all, from) && slices.Contains(all, to) }
	return from == to || same("none", "kms", "ssec") || same("ca", "cc")
}

// lawful checks that what lies at key is as the rule of its prefix has it,
// by what the bucket itself says.
func (f *fixture) lawful(key, plaintext string) {
	f.t.Helper()
	o, ok := f.mem.Object(key)
	if !ok {
		f.t.Fatalf("%s is not there", key)
	}
	r := f.rule(key)
	if err := r.Server.Confirm(o.Info.Encrypted); err != nil {
		f.t.Errorf("%s: %v", key, err)
	}
	inClear := r.Keys == nil && r.S3EC == nil
	if plain := string(o.Body) == plaintext; plain != inClear {
		f.t.Errorf("%s lies in plaintext: %v", key, plain)
	}
	if r.Server == nil && len(o.Info.Encrypted) != 0 {
		f.t.Errorf("%s: %v", key, o.Info.Encrypted)
	}
}

func each(t *testing.T, test func(t *testing.T, from, to string)) {
	t.Helper()
	for _, from := range countries {
		for _, to := range countries {
			t.Run(from+" to "+to, func(t *testing.T) { test(t, from, to) })
		}
	}
}

// TestRenameAcross: a file that goes under another rule is the same file, lies as
// that rule has it, and moves no data through this host where it need not.
func TestRenameAcross(t *testing.T) {
	each(t, func(t *testing.T, from, to string) {
		f := mount(t, awsBucket(), world)
		f.mkdir(from)
		if to != from {
			f.mkdir(to)
		}
		text := noise(100<<10, 1)
		src, dst := from+"/a", to+"/b"
		f.put(src, text)
		f.put(dst, "in the way")
		f.must(errOf(f.SetAttr(f.ctx, src, Change{
			Mode: ptr[uint32](0o4711), UID: ptr[uint32](7), GID: ptr[uint32](8), Mtime: ptr[int64](12345), Xattrs: map[string][]byte{"user.x": []byte("y")},
		})))
		before := f.stat(src)
		file := f.open(src)
		f.s.Reset()
		f.rename(src, dst)
		n := f.s.Counts().Requests
		if n[faulty.Copy] != map[bool]int{true: 1}[stays(from, to)] || n[faulty.Put] != map[bool]int{false: 1}[stays(from, to)] || n[faulty.Delete] != 1 {
			t.Errorf("%v", n)
		}
		f.lawful(dst, text)
		f.absent(src)
		same := func(when string) {
			t.Helper()
			got := f.stat(dst)
			if got.FileID != before.FileID || got.Incarnation != before.Incarnation || got.Mode != before.Mode || got.UID != 7 || got.GID != 8 ||
				got.Mtime != 12345 || string(got.Xattrs["user.x"]) != "y" || got.Size != before.Size {
				t.Errorf("%s: %+v\nwas %+v", when, got, before)
			}
		}
		same("with a handle")
		if file.Path() != dst {
			t.Errorf("the handle is at %s", file.Path())
		}
		f.reads(file, text)
		f.write(file, "more", 0)
		f.must(file.Commit(f.ctx))
		f.must(errOf(f.SetAttr(f.ctx, dst, Change{Mtime: ptr[int64](12345)})))
		same("after a commit")
		file.Release()
		same("without a handle")
		f.lawful(dst, "more"+text[4:])
		other := mount(t, f.mem, world, host("there"))
		other.has(dst, "more"+text[4:])
		other.lists(to, "b")
		f.settle()
		f.noLeftovers()
	})
}

// TestRenameDirAcross moves a tree between rules, and into one that begins below.
func TestRenameDirAcross(t *testing.T) {
	each(t, func(t *testing.T, from, to string) {
		f := mount(t, awsBucket(), world)
		f.mkdir(from)
		f.mkdir(from + "/d")
		f.put(from+"/d/x", "text of x")
		f.put(from+"/d/imp/y", "text of y")
		f.must(errOf(f.Symlink(f.ctx, from+"/d/link", "x", Attr{})))
		f.must(errOf(f.SetAttr(f.ctx, from+"/d", Change{Mode: ptr[uint32](0o711), Mtime: ptr[int64](777), Xattrs: map[string][]byte{"user.d": []byte("e")}})))
		file := f.open(from + "/d/x")
		defer file.Release()
		x, y, dir := f.stat(from+"/d/x"), f.stat(from+"/d/imp/y"), f.stat(from+"/d")
		before := treeOf(f)
		f.s.Reset()
		f.rename(from+"/d", to+"/e")
		if n := f.s.Counts().Requests[faulty.Copy]; n != map[bool]int{true: 3}[stays(from, to)] {
			t.Errorf("%d copies", n)
		}
		want := movedTree(before, from+"/d", to+"/e")
		want[to] = "/"
		sameTree(t, treeOf(f), want)
		sameTree(t, treeOf(mount(t, f.mem, world, host("there"))), want)
		f.lawful(to+"/e/x", "text of x")
		f.lawful(to+"/e/imp/y", "text of y")
		for p, was := range map[string]Info{to + "/e/x": x, to + "/e/imp/y": y, to + "/e": dir} {
			if got := f.stat(p); got.FileID != was.FileID || got.Incarnation != was.Incarnation || got.Mode != was.Mode {
				t.Errorf("%s: %+v, was %+v", p, got, was)
			}
		}
		if got := f.stat(to + "/e"); got.Mtime != 777 || string(got.Xattrs["user.d"]) != "e" {
			t.Errorf("directory: %+v", got)
		}
		if got, err := f.Readlink(f.ctx, to+"/e/link"); err != nil || got != "x" {
			t.Errorf("link: %q, %v", got, err)
		}
		f.reads(file, "text of x")
		f.write(file, "TEXT", 0)
		f.must(file.Commit(f.ctx))
		f.has(to+"/e/x", "TEXT of x")
		f.lawful(to+"/e/x", "TEXT of x")
		f.noLeftovers()
	})
}

// TestRenameMixedTree: a directory that spans rules goes into one, and each of
// its objects with it.
func TestRenameMixedTree(t *testing.T) {
	f := mount(t, awsBucket(), world)
	texts := map[string]string{}
	for _, c := range countries {
		f.mkdir(c)
		f.put(c+"/x", "text of "+c)
		texts[c] = "text of " + c
	}
	f.mkdir("all")
	for _, c := range countries {
		f.rename(c, "all/"+c)
	}
	for c, text := range texts {
		f.has("all/"+c+"/x", text)
		f.lawful("all/"+c+"/x", text)
	}
	for _, c := range countries {
		f.rename("all/"+c, c)
		f.lawful(c+"/x", texts[c])
	}
	f.noLeftovers()
}

// TestRenameUnderFreshKey: a body whose data key somebody knows who must not
// know the new content, or has it under a retired epoch, is not carried along.
func TestRenameUnderFreshKey(t *testing.T) {
	f := mount(t, awsBucket(), world)
	f.put("ca/a", "text")
	before, _ := f.mem.Object("ca/a")
	for _, r := range f.policy.rules {
		if k, ok := r.Keys.(*fakeKeys); ok && r.Prefix == "cc/" {
			k.retired = true
		}
	}
	f.rename("ca/a", "cc/a")
	after, _ := f.mem.Object("cc/a")
	if string(before.Body) == string(after.Body) {
		t.Error("the body stayed under its data key")
	}
	f.has("cc/a", "text")
	f.must(errOf(f.SetAttr(f.ctx, "cc/a", Change{Mode: ptr[uint32](0o600)}))) // within a rule it stays
	if again, _ := f.mem.Object("cc/a"); string(again.Body) != string(after.Body) {
		t.Error("a chmod wrote the body anew")
	}
}

// TestRenameWithoutState: who remembers nothing moves no tree between rules;
// single files he does.
func TestRenameWithoutState(t *testing.T) {
	f := mount(t, awsBucket(), func(o *Options) { world(o); o.Moves = nil })
	f.put("none/d/x", "1")
	f.put("kms/d/x", "2")
	wants(t, f.Rename(f.ctx, "none/d", "kms/e", false), ErrCrossing)
	wants(t, f.Rename(f.ctx, "none", "other", false), ErrCrossing)
	f.rename("none/d", "none/e")
	f.rename("none/e/x", "kms/d/y")
	f.lawful("kms/d/y", "1")
	wants(t, f.Rename(f.ctx, "kms", "kms2", false), ErrCrossing)
	f.noLeftovers()
}

// TestRenameTooBigAcross: attributes that the new place cannot hold, or a body,
// stop the rename before anything has moved.
func TestRenameTooBigAcross(t *testing.T) {
	f := mount(t, awsBucket(), world)
	f.put("kms/d/a", "text")
	f.put("kms/d/b", "text")
	f.must(errOf(f.SetAttr(f.ctx, "kms/d/a", Change{Xattrs: map[string][]byte{"user.big": []byte(strings.Repeat("x", 1100))}})))
	for _, to := range []string{"ca", "cb"} {
		wants(t, f.Rename(f.ctx, "kms/d/a", to+"/a", false), ErrXattrs)
		wants(t, f.Rename(f.ctx, "kms/d", to+"/d", false), ErrXattrs)
		f.absent(to)
	}
	f.lists("kms/d", "a", "b")
	f.noLeftovers()
}

// TestCrashesAcross cuts renames between rules at every request.
func TestCrashesAcross(t *testing.T) {
	t.Parallel()
	w := &setup{name: "world", tweak: world}
	for _, pair := range []string{"none ca", "ca none", "ca cb", "kms ssec", "s3ec ca", "ssec s3ec", "cb none", "none s3ec"} {
		from, to, _ := strings.Cut(pair, " ")
		f := mount(t, awsBucket(), world)
		f.mkdir(from)
		f.mkdir(to)
		f.mkdir(from + "/d")
		f.put(from+"/a", "text of a")
		f.put(to+"/b", "text of b")
		f.put(from+"/d/x", "text of x")
		f.put(from+"/d/sub/y", "text of y")
		f.must(errOf(f.SetAttr(f.ctx, from+"/d/x", Change{Mode: ptr[uint32](0o600)})))
		f.settle()
		own := func(f *fixture) { f.put(from+"/d/own", "made by who crashes") } // which knows it by another file id
		before := bucketTree(t, w, f.mem)
		before[from+"/d/own"] = "made by who crashes"
		for _, op := range [][2]string{{"/a", "/new"}, {"/a", "/b"}, {"/d", "/e"}} {
			src, dst := from+op[0], to+op[1]
			both := maps.Clone(before)
			both[dst] = before[src]
			also := []map[string]string{before, both}
			if op[0] == "/d" {
				also = also[:1]
			}
			t.Run(fmt.Sprintf("%s to %s", src, dst), func(t *testing.T) {
				crashEverywhere(t, w, f.mem, own, func(f *fixture) error { return f.Rename(f.ctx, src, dst, false) }, also)
			})
		}
	}
}

// TestRenameAcrossFails: where the copy fails the source stays as it is, and
// what was at the destination too.
func TestRenameAcrossFails(t *testing.T) {
	each(t, func(t *testing.T, from, to string) {
		f := mount(t, awsBucket(), world)
		f.put(from+"/d/a", "text")
		f.put(from+"/d/b", "text")
		f.put(to+"/z", "there")
		before := treeOf(f)
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			if strings.HasPrefix(op.Key, to+"/") && (op.Verb == faulty.Put || op.Verb == faulty.Copy) && !strings.HasSuffix(op.Key, "/b") {
				return faulty.Fault{Err: objstore.ErrAccess}
			}
			return faulty.Fault{}
		})
		wants(t, f.Rename(f.ctx, from+"/d/a", to+"/z", false), ErrAccess)
		wants(t, f.Rename(f.ctx, from+"/d", to+"/dd", false), ErrAccess)
		f.healed()
		sameTree(t, treeOf(f), before)
		f.noLeftovers()
	})
}

// TestRenameDirtyAcross: what is not committed yet is committed where it is, and
// goes with the rest.
func TestRenameDirtyAcross(t *testing.T) {
	each(t, func(t *testing.T, from, to string) {
		f := mount(t, awsBucket(), world)
		file := f.create(from+"/a", "first", false)
		f.rename(from+"/a", to+"/b")
		f.write(file, " second", 5)
		f.must(file.Commit(f.ctx))
		file.Release()
		mount(t, f.mem, world, host("there")).has(to+"/b", "first second")
		f.lawful(to+"/b", "first second")
		f.noLeftovers()
	})
}
