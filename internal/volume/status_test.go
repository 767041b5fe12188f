package volume

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
)

// What is not in the bucket is told, with why and since when, until it is.
func TestStatusOfWhatFails(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	f := mountIdle(t, bucket(), func(o *Options) { o.Now = func() time.Time { return now } })
	if s := f.Stats(); s != (Stats{}) || len(f.Unfinished()) != 0 {
		t.Fatalf("at the beginning: %+v", s)
	}
	file := f.create("b", "", false)
	f.write(file, "content", 0)
	if s := f.Stats(); s.Dirty != 1 || s.DirtySize != 7 || s.Failing != 0 || !s.FailingSince.IsZero() {
		t.Errorf("dirty: %+v", s)
	}
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Put {
			return faulty.Fault{Err: objstore.ErrAccess}
		}
		return faulty.Fault{}
	})
	began := now
	for range 3 {
		if err := file.Commit(f.ctx); !errors.Is(err, ErrAccess) {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
	}
	s, all := f.Stats(), f.Unfinished()
	if s.Failing != 1 || !s.FailingSince.Equal(began) || len(all) != 1 {
		t.Fatalf("%+v, %+v", s, all)
	}
	u := all[0]
	if u.Path != "b" || u.Size != 7 || !u.Open || u.Uploading || !errors.Is(u.Err, ErrAccess) || !u.Since.Equal(began) || !u.Next.After(began) {
		t.Errorf("%+v", u)
	}
	f.s.SetScript(nil)
	f.must(file.Commit(f.ctx))
	if s := f.Stats(); s != (Stats{}) || len(f.Unfinished()) != 0 {
		t.Errorf("after all is there: %+v", s)
	}
}

// So are attributes that cannot be written: chmod(2) has said that all is well.
func TestStatusOfAttributesThatFail(t *testing.T) {
	f := mountIdle(t, bucket(), gathering)
	f.put("a", "content")
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Copy {
			return faulty.Fault{Err: objstore.ErrAccess}
		}
		return faulty.Fault{}
	})
	file := f.open("a")
	mode := uint32(0o600)
	if _, err := file.SetAttr(f.ctx, Change{Mode: &mode}); err != nil {
		t.Fatal(err)
	}
	if s := f.Stats(); s != (Stats{}) {
		t.Errorf("while they wait: %+v", s)
	}
	if err := file.Commit(f.ctx); !errors.Is(err, ErrAccess) {
		t.Fatal(err)
	}
	if s, all := f.Stats(), f.Unfinished(); s.Failing != 1 || s.FailingSince.IsZero() || s.Dirty != 0 || s.DirtySize != 0 || len(all) != 1 || !all[0].AttrsOnly {
		t.Errorf("%+v, %+v", s, all)
	}
	f.s.SetScript(nil)
	f.must(file.Commit(f.ctx))
	if s := f.Stats(); s != (Stats{}) {
		t.Errorf("after all is there: %+v", s)
	}
}

func TestStatusOfADirectoryThatFails(t *testing.T) {
	f := mountIdle(t, bucket(), gathering)
	f.mkdir("d")
	mode := uint32(0o700)
	if _, err := f.SetAttr(f.ctx, "d", Change{Mode: &mode}); err != nil {
		t.Fatal(err)
	}
	if s := f.Stats(); s != (Stats{}) || len(f.Unfinished()) != 0 {
		t.Errorf("while they wait: %+v, %+v", s, f.Unfinished())
	}
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Copy || op.Verb == faulty.Put {
			return faulty.Fault{Err: objstore.ErrAccess}
		}
		return faulty.Fault{}
	})
	if err := f.SyncDir(f.ctx, "d"); !errors.Is(err, ErrAccess) {
		t.Fatal(err)
	}
	s, all := f.Stats(), f.Unfinished()
	if s.Failing != 1 || s.FailingSince.IsZero() || s.Dirty != 0 || len(all) != 1 || all[0].Path != "d" || !all[0].AttrsOnly || !errors.Is(all[0].Err, ErrAccess) {
		t.Errorf("%+v, %+v", s, all)
	}
	f.s.SetScript(nil)
	f.must(f.SyncDir(f.ctx, "d"))
	if s := f.Stats(); s != (Stats{}) {
		t.Errorf("after all is there: %+v", s)
	}
}

// The progress of a multipart upload is what parts have come.
func TestStatusOfAnUpload(t *testing.T) {
	f := mountIdle(t, bucket(), inParts)
	content := strings.Repeat("x", twoParts)
	file := f.create("large", content, false)
	var during []Unfinished
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Complete {
			during = f.Unfinished()
			if s := f.Stats(); s.Uploading != 1 || s.Uploads != 1 {
				t.Errorf("%+v", s)
			}
		}
		return faulty.Fault{}
	})
	f.must(file.Commit(f.ctx))
	if len(during) != 1 || !during[0].Uploading || during[0].Uploaded != int64(len(content)) {
		t.Errorf("%+v", during)
	}
}

// A conflict is counted once, whatever becomes of the data.
func TestStatusCountsConflicts(t *testing.T) {
	for _, c := range []OnConflict{ConflictCopy, ConflictFail, ConflictOverwrite} {
		m := bucket()
		here, there := mountIdle(t, m, onConflict(c)), mountIdle(t, m, host("there"))
		there.put("file", "theirs")
		file := here.open("file")
		here.write(file, "ours", 0)
		there.put("file", "theirs again")
		for range 2 {
			if err := file.Commit(here.ctx); err != nil && !errors.Is(err, ErrChanged) {
				t.Fatal(err)
			}
		}
		want := uint64(1)
		if c == ConflictOverwrite {
			want = 0
		}
		if got := here.Stats().Conflicts; got != want {
			t.Errorf("%v: %d conflicts, want %d", c, got, want)
		}
	}
}
