package volume

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// ruled are rules of every kind, over directories of their own.
func ruled(o *Options) {
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	o.Keys, o.S3ECKeys = k, s3ec.Keyring{aesKey(1)}
	o.Rules = []Rule{
		{Mode: "client", Keys: k},
		{Prefix: "plain/", Mode: "none"},
		{Prefix: "s3ec/", Mode: "s3ec", S3EC: &S3EC{Key: aesKey(1)}, Instructions: true},
		{Prefix: "ssec/", Mode: "sse-c", Server: ssecMode('a')},
	}
}

// hiding is a volume of which some names may be readable yet.
func hiding(o *Options) {
	was := make([]string, len(o.Rules))
	for i, r := range o.Rules {
		was[i] = r.Prefix
	}
	hiddenNames(o)
	for i := range o.Rules {
		o.Rules[i].Clear = was[i]
	}
}

// furnish makes some of everything, and gives what is to be there.
func furnish(f *fixture) map[string]string {
	f.t.Helper()
	for _, dir := range []string{"plain", "s3ec", "ssec", "d", "d/e", "d/empty"} {
		f.mkdir(dir)
	}
	for _, p := range []string{"a", "d/b", "d/e/ä", "plain/x", "ssec/x", "s3ec/x"} {
		f.put(p, "text of "+p)
	}
	f.put("d/large", noise(twoParts+100, 3))
	f.must(errOf(f.Link(f.ctx, "d/b", "d/e/linked")))
	f.must(errOf(f.Symlink(f.ctx, "link", "d/b", Attr{Mode: 0o777})))
	f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o4711), Xattrs: map[string][]byte{"user.x": []byte("y")}})))
	want := treeOf(f)
	if len(want) != 15 {
		f.t.Fatalf("%d paths", len(want))
	}
	return want
}

// hideAll walks until nothing is left.
func hideAll(ctx context.Context, h *Hiding) error {
	for range 5 {
		n := 0
		for e, err := range h.List(ctx, "") {
			if err != nil {
				return err
			}
			if _, err := h.Hide(ctx, e.Key); err != nil {
				return err
			}
			n++
		}
		if n == 0 {
			_, err := h.Clear(ctx)
			return err
		}
	}
	return errors.New("walks again and again find something")
}

func readable(t *testing.T, m *mem.Store) (keys []string) {
	t.Helper()
	g := &nameGuard{names: testNames}
	for e, err := range m.List(t.Context(), objstore.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if !g.mine(e.Key) {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

// TestHide: all is there under hidden names, as it was, and nothing under readable
// ones; bodies do not leave the store.
func TestHide(t *testing.T) {
	m := awsBucket()
	f := mount(t, m, ruled)
	want := furnish(f)
	before := f.stat("a")
	f.must(f.Close(f.ctx))

	h := mountIdle(t, m, ruled, hiding)
	work := need(h.NewHiding())
	for range 2 {
		h.must(work.Begin(h.ctx))
	}
	if now := need(m.Head(t.Context(), objstore.ID{Key: HidingKey})); now.Size == 0 {
		t.Error("nothing says that names are being encrypted")
	}
	h.must(hideAll(h.ctx, work))
	for range 2 {
		h.must(work.End(h.ctx))
	}
	for _, op := range h.s.Ops() {
		if op.Verb == faulty.Put && !strings.HasPrefix(op.Key, hidden) && !strings.HasSuffix(op.Key, "/") && h.rule(op.Key).Keys == nil {
			t.Errorf("%s %s: a body was sent again", op.Verb, op.Key)
		}
	}
	if left := readable(t, m); len(left) > 0 {
		t.Fatalf("%q are readable", left)
	}
	_, err := m.Head(t.Context(), objstore.ID{Key: HidingKey})
	wants(t, err, ErrNotExist)
	noTraces(t, m, want)
	after := mount(t, m, ruled, hiddenNames)
	sameTree(t, treeOf(after), want)
	got := after.stat("a")
	if got.Mode != before.Mode || got.FileID != before.FileID || got.Mtime != before.Mtime || string(got.Xattrs["user.x"]) != "y" {
		t.Errorf("%+v, was %+v", got, before)
	}
	if n := after.stat("d/b").Nlink; n != 2 {
		t.Errorf("%d links", n)
	}
	after.must(after.Remove(after.ctx, "d/e/linked"))
	if n := after.stat("d/b").Nlink; n != 1 {
		t.Errorf("%d links after one has gone", n)
	}
}

// noTraces looks for hashes of readable keys in what everybody can read.
func noTraces(t *testing.T, m *mem.Store, paths map[string]string) {
	t.Helper()
	for e, err := range m.List(t.Context(), objstore.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		info, err := m.Head(t.Context(), e.ID)
		if errors.Is(err, objstore.ErrKeyNeeded) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range info.Metadata {
			for p := range paths {
				for _, key := range []string{p, p + "/"} {
					sum := sha256.Sum256([]byte(HidingKey + "\x00" + key))
					if strings.Contains(value, hex.EncodeToString(sum[:8])) {
						t.Errorf("%s of %s tells of %s", name, e.Key, key)
					}
				}
			}
		}
	}
}

// TestHideCutAnywhere: whatever request is the last of a process, the next one ends
// with all there once.
func TestHideCutAnywhere(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			m := mem.New(mem.Options{})
			small := func(o *Options) { o.onePut = 100 << 10 }
			f := mount(t, m, small)
			f.mkdir("d")
			f.put("d/a", "1")
			f.put("b", "2")
			f.must(errOf(f.Link(f.ctx, "d/a", "c")))
			want := treeOf(f)
			f.must(f.Close(f.ctx))
			f.end()

			cut := mountIdle(t, m, small, hiding)
			ctx, kill := context.WithCancel(cut.ctx)
			cut.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
				switch {
				case op.N > n || op.N == n && !after:
					kill()
					x.Err = context.Canceled
				case op.N == n:
					x.After = func(error) error { kill(); return context.Canceled }
				}
				return x
			})
			err := hideAll(ctx, need(cut.NewHiding()))
			kill()
			cut.end()
			if err == nil {
				break
			}
			if n > 200 {
				t.Fatal("it never ends")
			}

			again := mountIdle(t, m, small, hiding)
			again.must(hideAll(again.ctx, need(again.NewHiding())))
			again.end()
			if left := readable(t, m); len(left) > 0 {
				t.Fatalf("cut at %d (%v): %q are readable", n, after, left)
			}
			done := mount(t, m, hiddenNames)
			if got := treeOf(done); !maps.Equal(got, want) {
				t.Fatalf("cut at %d (%v):\n%s\nwant\n%s", n, after, show(got), show(want))
			}
			if links := done.stat("c").Nlink; links != 2 && links != 3 { // one too many, as after any move of a link that was cut
				t.Fatalf("cut at %d (%v): %d links", n, after, links)
			}
			done.end()
		}
	}
}

// TestHideWhatChanges: what a host wrote under the readable name after it was
// copied is what counts; what lies under the hidden name by itself stays.
func TestHideWhatChanges(t *testing.T) {
	m := bucket()
	f := mount(t, m)
	f.put("a", "old")
	h := mountIdle(t, m, hiding)
	work := need(h.NewHiding())
	h.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		if op.Verb == faulty.Delete && op.Key == "a" {
			x.Err = objstore.ErrAccess
		}
		return x
	})
	_, err := work.Hide(h.ctx, "a")
	wants(t, err, objstore.ErrAccess)
	f.put("a", "new")
	h.s.SetScript(nil)
	h.must(errOf(work.Hide(h.ctx, "a")))
	h.has("a", "new")

	// An older state that has come back is not what counts.
	f.put("old", "one")
	was, _ := m.Object("old")
	f.put("old", "two")
	h.must(errOf(work.Hide(h.ctx, "old")))
	m.Plant("old", was)
	_, err = work.Hide(h.ctx, "old")
	wants(t, err, ErrExist)
	h.has("old", "two")

	f.put("b", "of one host")
	h.put("b", "of another")
	_, err = work.Hide(h.ctx, "b")
	wants(t, err, ErrExist)
	f.has("b", "of one host")
	h.has("b", "of another")
}

// TestNotHidden: what is no file of the volume, does not open, or does not fit
// keeps its name, and is told.
func TestNotHidden(t *testing.T) {
	m := bucket()
	f := mount(t, m, rules(Rule{Mode: "client", Keys: &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}}, Rule{Prefix: "plain/", Mode: "none"}))
	f.mkdir("plain")
	f.must(errOf(f.Symlink(f.ctx, "plain/link", "secret", Attr{Mode: 0o777})))
	deep := strings.Repeat(strings.Repeat("x", 200)+"/", 4)
	f.put("good", "1")
	for _, key := range []string{"planted", "a//b", "a/../b", "in/.sigil/epochs/x", deep + "x", strings.Repeat("y", 256)} {
		plant(m, key)
	}
	h := mountIdle(t, m, rules(Rule{Mode: "client", Keys: &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}}, Rule{Prefix: "plain/", Mode: "none"}), hiding)
	work := need(h.NewHiding())
	var kept []string
	for e, err := range work.List(h.ctx, "") {
		h.must(err)
		if _, err := work.Hide(h.ctx, e.Key); errors.Is(err, ErrNotHidden) {
			kept = append(kept, e.Key)
		} else {
			h.must(err)
		}
	}
	if want := []string{"a/../b", "a//b", "in/.sigil/epochs/x", "plain/link", "planted", deep + "x", strings.Repeat("y", 256)}; !slices.Equal(kept, want) {
		t.Errorf("%q keep their names, want %q", kept, want)
	}
	h.has("good", "1")
	open := mountIdle(t, m)
	_, err := open.NewHiding()
	wants(t, err, ErrInvalid)
}
