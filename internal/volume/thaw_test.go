package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

func (f *fixture) thawer(opt ThawOptions) *Thawer {
	f.t.Helper()
	if opt.Days == 0 {
		opt.Days = 3
	}
	if opt.Tier == "" {
		opt.Tier = TierStandard
	}
	x, err := f.NewThawer(opt)
	f.must(err)
	return x
}

// thaw orders all, and tells what came of each.
func (f *fixture) thaw(x *Thawer) map[string]ThawState {
	f.t.Helper()
	all := map[string]ThawState{}
	for e, err := range x.List(f.ctx, "") {
		f.must(err)
		got, err := x.Order(f.ctx, e)
		f.must(err)
		all[e.Key] = got.State
	}
	return all
}

func expect(t *testing.T, got, want map[string]ThawState) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

// lifecycle moves what is at key to the class, as a rule of the bucket does.
func (f *fixture) lifecycle(key, class, status string) {
	f.t.Helper()
	if !f.mem.Tamper(key, func(o *mem.Object) { o.Info.StorageClass = class }) {
		f.t.Fatalf("nothing at %s", key)
	}
	f.mem.Shelve(key, status)
}

// TestThawTree: all below a directory, each by what it needs; a second run
// orders nothing twice, and what is back for long enough is left.
func TestThawTree(t *testing.T) {
	f := mount(t, bucket(), archiving("GLACIER"))
	f.mkdir("cold")
	f.put("cold/a", "abc")
	f.put("cold/b", "def")
	f.put("cold-not", "x")
	f.put("cold/warm", "xyz")
	f.put("cold/tiered", strings.Repeat("t", 10))
	f.put("cold/tieredwarm", strings.Repeat("t", 10))
	f.lifecycle("cold/warm", "", "")
	f.lifecycle("cold/tiered", "INTELLIGENT_TIERING", "ARCHIVE_ACCESS")
	f.lifecycle("cold/tieredwarm", "INTELLIGENT_TIERING", "")
	x := f.thawer(ThawOptions{Path: "cold"})
	dry := f.thawer(ThawOptions{Path: "cold", Dry: true})
	want := map[string]ThawState{
		"cold/": ThawNeedless, "cold/warm": ThawNeedless, "cold/tieredwarm": ThawNeedless,
		"cold/a": ThawOrdered, "cold/b": ThawOrdered, "cold/tiered": ThawOrdered,
	}
	expect(t, f.thaw(dry), want)
	expect(t, f.thaw(x), want) // nothing was ordered by the dry run
	want["cold/a"], want["cold/b"], want["cold/tiered"] = ThawOngoing, ThawOngoing, ThawOngoing
	f.s.Reset()
	expect(t, f.thaw(x), want)
	if n := f.s.Counts().Requests[faulty.Restore]; n != 0 {
		t.Errorf("ordered %d times what is under way", n)
	}
	f.mem.Thaw()
	want["cold/a"], want["cold/b"], want["cold/tiered"] = ThawDone, ThawDone, ThawNeedless
	f.s.Reset()
	expect(t, f.thaw(x), want)
	if n := f.s.Counts().Requests[faulty.Restore]; n != 0 {
		t.Errorf("ordered %d times what is back", n)
	}
	f.has("cold/a", "abc")
	f.has("cold/tiered", strings.Repeat("t", 10))

	longer := f.thawer(ThawOptions{Path: "cold/a", Days: 30})
	expect(t, f.thaw(longer), map[string]ThawState{"cold/a": ThawDone})
	if o, _ := f.mem.Object("cold/a"); o.Info.Restoring == nil || o.Info.Restoring.Until.Before(time.Now().AddDate(0, 0, 30)) {
		t.Errorf("asked for 30 days: %+v", o.Info.Restoring)
	}
}

// TestThawLinks: the names of a file have its body restored, which lies in the
// inode; a name that a rule of the bucket has archived comes too.
func TestThawLinks(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", "content")
	f.link("a", "b")
	inode := ""
	for _, key := range f.mem.Keys() {
		if ownPart(key) == partInode {
			inode = key
		}
	}
	f.lifecycle(inode, "DEEP_ARCHIVE", "")
	f.lifecycle("b", "GLACIER", "")
	wants(t, errOf(f.get("a")), ErrArchived)
	wants(t, errOf(f.get("b")), ErrArchived)
	expect(t, f.thaw(f.thawer(ThawOptions{Path: "a"})), map[string]ThawState{"a": ThawOrdered})
	expect(t, f.thaw(f.thawer(ThawOptions{})), map[string]ThawState{"a": ThawOngoing, "b": ThawOrdered})
	f.mem.Thaw()
	f.has("a", "content")
	f.has("b", "content")

	g := mount(t, f.mem, func(o *Options) { o.Keys = &fakeKeys{} })
	for e, err := range g.thawer(ThawOptions{Path: "a"}).List(g.ctx, "") {
		g.must(err)
		_, err := g.thawer(ThawOptions{}).Order(g.ctx, e)
		wants(t, err, ErrNoKey) // whether it is a name is not known
	}
}

// TestThawRefusals: what cannot be had is said before anything is sent.
func TestThawRefusals(t *testing.T) {
	f := mount(t, bucket(), archiving("DEEP_ARCHIVE"))
	f.mkdir("cold")
	f.put("cold/a", "abc")
	x := f.thawer(ThawOptions{Path: "cold/a", Tier: TierExpedited})
	f.s.Reset()
	for e, err := range x.List(f.ctx, "") {
		f.must(err)
		_, err := x.Order(f.ctx, e)
		wants(t, err, ErrUnsupported)
	}
	if f.s.Counts().Requests[faulty.Restore] != 0 {
		t.Error("it was sent")
	}
	for _, opt := range []ThawOptions{{Days: 0, Tier: TierBulk}, {Days: -1, Tier: TierBulk}, {Days: 1, Tier: "fast"}, {Days: 1}} {
		wants(t, errOf(f.NewThawer(opt)), ErrInvalid)
	}
	// One that is removed while it is asked for needs nothing.
	gone := f.thawer(ThawOptions{Path: "cold"})
	for e, err := range gone.List(f.ctx, "") {
		f.must(err)
		if !isMarker(e.Key) {
			f.must(f.Remove(f.ctx, "cold/a"))
		}
		if got, err := gone.Order(f.ctx, e); err != nil || got.State != ThawNeedless {
			t.Errorf("%s: %v, %v", e.Key, got, err)
		}
	}
	ro := mount(t, f.mem, func(o *Options) { o.ReadOnly = true })
	ro.thawer(ThawOptions{Path: "cold"})
}

// TestAwait: it goes on when all is back, looks at few objects meanwhile, with
// pauses that grow, and sits out a store that does not answer.
func TestAwait(t *testing.T) {
	f := mount(t, bucket(), archiving("GLACIER"))
	f.mkdir("cold")
	const files = 20
	for i := range files {
		f.put(fmt.Sprintf("cold/%02d", i), "abc")
	}
	x := f.thawer(ThawOptions{Path: "cold"})
	f.thaw(x)
	f.put("cold/zz", "nobody ordered it")
	var pauses []time.Duration
	var ready, left []string
	heads := 0
	f.s.Reset()
	err := x.Await(f.ctx, ThawWait{
		Parallel: 4, Least: time.Second, Most: 3 * time.Second,
		Pause: func(_ context.Context, d time.Duration) error {
			pauses = append(pauses, d)
			heads = max(heads, f.s.Counts().Requests[faulty.Head])
			f.s.Reset()
			f.healed()
			switch len(pauses) {
			case 4:
				f.failing(objstore.ErrUnreachable, false, faulty.Head)
			case 5:
				f.failing(objstore.ErrThrottled, false, faulty.List)
			case 6:
				f.mem.Thaw()
			}
			return nil
		},
		Ready: func(e objstore.Entry, _ Thawed) { ready = append(ready, e.Key) },
		Left:  func(e objstore.Entry, _ error) { left = append(left, e.Key) },
		Waits: func(objstore.Entry, error, time.Duration) {},
	})
	f.must(err)
	want := []time.Duration{1000, 1500, 2250, 3000, 3000, 3000}
	for i := range want {
		want[i] *= time.Millisecond
	}
	if fmt.Sprint(pauses) != fmt.Sprint(want) {
		t.Errorf("paused %v, want %v", pauses, want)
	}
	if len(ready) != files+1 || len(left) != 1 || left[0] != "cold/zz" { // and the directory
		t.Errorf("%d ready: %v; left: %v", len(ready), ready, left)
	}
	if heads > 8 {
		t.Errorf("%d looks between two pauses", heads)
	}
}

func TestAwaitEnds(t *testing.T) {
	f := mount(t, bucket(), archiving("GLACIER"))
	f.mkdir("cold")
	f.put("cold/a", "abc")
	x := f.thawer(ThawOptions{Path: "cold"})
	f.thaw(x)
	ctx, cancel := context.WithCancel(f.ctx)
	none := ThawWait{
		Pause: func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() },
		Ready: func(objstore.Entry, Thawed) {}, Left: func(objstore.Entry, error) {}, Waits: func(objstore.Entry, error, time.Duration) {},
	}
	if err := x.Await(ctx, none); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	f.failing(objstore.ErrBucket, false, faulty.List)
	wants(t, x.Await(f.ctx, none), objstore.ErrBucket)
}
