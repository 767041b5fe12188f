package volume

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// TestCrashedUploads cuts a multipart commit at every one of its requests: the
// next mount of this host aborts what was begun, that of another does not.
func TestCrashedUploads(t *testing.T) {
	text := noise(twoParts, 5)
	cuts, found := 0, 0
	for n := 1; ; n++ {
		for _, done := range []bool{false, true} {
			m := bucket()
			f := mount(t, m, inParts)
			f.s.CrashAt(n, done)
			err := f.tryPut("a", text)
			if !f.s.Crashed() {
				f.must(err)
				if cuts < 10 || found == 0 {
					t.Errorf("%d cuts, %d uploads", cuts, found)
				}
				f.noLeftovers()
				return
			}
			cuts++
			before := len(m.Uploads())
			recorded := slices.ContainsFunc(m.Keys(), func(key string) bool { return strings.Contains(key, "/uploads/") })
			if recorded {
				found += before
			}
			mount(t, m, host("there"))
			if after := len(m.Uploads()); after != before {
				t.Errorf("request %d, done %v: another host aborted it", n, done)
			}
			again := mount(t, m)
			again.must(again.Close(again.ctx))
			if recorded || before == 0 { // else it has no parts yet
				again.noLeftovers()
			}
		}
	}
}

// TestSilentUploads: an upload of another host is aborted when nothing has been
// heard of it for seven days by the clock of the store, whatever the own one
// says.
func TestSilentUploads(t *testing.T) {
	for _, c := range []struct {
		name          string
		passes, wrong time.Duration
		beats         bool
		aborted       bool
	}{
		{"a day", 24 * time.Hour, 0, false, false},
		{"eight days", 8 * 24 * time.Hour, 0, false, true},
		{"eight days with a part", 8 * 24 * time.Hour, 0, true, false},
		{"a clock that is wrong", 24 * time.Hour, 30 * 24 * time.Hour, false, false},
	} {
		clock := newClock()
		m := memAt(clock)
		f := mount(t, m, host("there"), func(o *Options) { o.Now = clock.now })
		up, err := f.beginUpload(f.ctx, draft{key: "a"}, objstore.PutOptions{})
		f.must(err)
		clock.pass(c.passes)
		if c.beats {
			f.must(up.Part(f.ctx, 3, strings.NewReader("x"), 1))
		}
		mount(t, m, func(o *Options) { o.Now = func() time.Time { return clock.now().Add(c.wrong) } })
		if aborted := len(m.Uploads()) == 0; aborted != c.aborted {
			t.Errorf("%s: aborted %v", c.name, aborted)
		}
		_ = up.giveUp(f.ctx, nil)
	}
}

// TestPausedUpload: an upload lives as long as its mount, however long nothing
// is written; what is left of it at the end is nothing.
func TestPausedUpload(t *testing.T) {
	for _, c := range []struct {
		name string
		d    draft
	}{
		{"recorded", draft{key: "a"}},
		{"noted", draft{key: "a", jot: func(uploading, bool) error { return nil }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := bucket()
				f := mount(t, m, host("there"))
				up, err := f.beginUpload(f.ctx, c.d, objstore.PutOptions{})
				f.must(err)
				pass(abandonment + 24*time.Hour)
				mount(t, m)
				if len(m.Uploads()) != 1 {
					t.Error("a living upload was aborted")
				}
				f.must(up.Part(f.ctx, 1, strings.NewReader("x"), 1))
				f.must(errOf(up.complete(f.ctx, objstore.Condition{})))
				pass(2 * heartbeat)
				f.must(f.Close(f.ctx))
				for _, key := range m.Keys() {
					if strings.Contains(key, "/uploads/there/") {
						t.Errorf("left behind: %s", key)
					}
				}
			})
		})
	}
}

// TestRenewedAtTheEnd: a record that is being renewed while its upload ends goes
// all the same.
func TestRenewedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mount(t, bucket())
		up, err := f.beginUpload(f.ctx, draft{key: "a"}, objstore.PutOptions{})
		f.must(err)
		gate := make(chan struct{})
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			if op.Verb == faulty.Put {
				return faulty.Fault{Wait: gate}
			}
			return faulty.Fault{}
		})
		pass(heartbeat + time.Minute)
		_ = up.giveUp(f.ctx, nil)
		close(gate)
		synctest.Wait()
		f.noLeftovers()
		f.must(f.Close(f.ctx))
	})
}

// TestUnrecordedUpload: an upload that cannot be recorded is not begun.
func TestUnrecordedUpload(t *testing.T) {
	f := mount(t, bucket(), inParts)
	f.failing(objstore.ErrQuota, false, faulty.Put)
	wants(t, f.tryPut("a", noise(200<<10, 5)), ErrQuota)
	if up := f.mem.Uploads(); len(up) != 0 {
		t.Errorf("%v", up)
	}
	f.healed()
}

// TestAbortFails: the record of an upload that could not be aborted stays for
// the next mount.
func TestAbortFails(t *testing.T) {
	f := mount(t, bucket(), inParts)
	f.failing(objstore.ErrQuota, false, faulty.Part, faulty.Abort)
	wants(t, f.tryPut("a", noise(200<<10, 5)), ErrQuota)
	f.s.SetScript(func(faulty.Op) faulty.Fault { return faulty.Fault{Err: objstore.ErrAccess} })
	_ = f.Close(f.ctx)
	if n := len(f.mem.Uploads()); n != 1 {
		t.Errorf("%d uploads", n)
	}
	again := mount(t, f.mem)
	again.must(again.Close(again.ctx))
	again.noLeftovers()
}

// TestForgedUpload: who can write to the bucket cannot have uploads aborted.
func TestForgedUpload(t *testing.T) {
	m := bucket()
	up, err := m.Upload(t.Context(), "a", objstore.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.Plant(".sigil/uploads/here/x", mem.Object{Body: []byte(`{"version":1,"key":"a","upload":"` + up.UploadID() + `"}`)})
	mount(t, m)
	if n := len(m.Uploads()); n != 1 {
		t.Errorf("%d uploads", n)
	}
}

func FuzzParseUploading(f *testing.F) {
	for _, s := range []string{`{"version":1,"key":"a","upload":"u"}`, `{"version":2,"key":"a","upload":"u"}`, `{"version":1}`, `[]`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if u, err := parseUploading(b); err == nil && (u.Key == "" || u.Upload == "" || u.Version != 1) {
			t.Errorf("%+v", u)
		}
	})
}

// TestRecordedUploads: whoever looks after the volume sees what any host has
// under way, and what of it these keys do not open.
func TestRecordedUploads(t *testing.T) {
	m := bucket()
	f, there := mount(t, m), mount(t, m, host("there/.."))
	here, err := f.beginUpload(f.ctx, draft{key: "a"}, objstore.PutOptions{})
	f.must(err)
	other, err := there.beginUpload(there.ctx, draft{key: "b"}, objstore.PutOptions{})
	there.must(err)
	looking := mountIdle(t, m, host("looking"))
	before := m.Keys()
	all, err := looking.RecordedUploads(looking.ctx)
	looking.must(err)
	got := map[string]string{}
	for _, r := range all {
		if r.Err != nil || r.Renewed.IsZero() {
			t.Errorf("%+v", r)
		}
		got[r.Host+" "+r.Key] = r.UploadID
	}
	if len(got) != 2 || got[f.opt.Host+" a"] != here.UploadID() || got["there/.. b"] != other.UploadID() {
		t.Errorf("recorded are %v", got)
	}
	if !slices.Equal(before, m.Keys()) {
		t.Error("looking changed the bucket")
	}
	m.Tamper(other.record, func(o *mem.Object) { o.Body[0] ^= 1 })
	looking = mountIdle(t, m, host("looking")) // which has nothing of it in its cache
	all, err = looking.RecordedUploads(looking.ctx)
	looking.must(err)
	bad := slices.DeleteFunc(all, func(r RecordedUpload) bool { return r.Err == nil })
	if len(bad) != 1 || bad[0].Host != "there/.." || bad[0].Key != "" {
		t.Errorf("not to be read are %+v", bad)
	}
	_ = here.giveUp(f.ctx, nil)
	_ = other.giveUp(there.ctx, nil)
}
