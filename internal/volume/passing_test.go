package volume

import (
	"context"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
)

func passing(o *Options) { o.Passing = true }

func former(hosts ...string) tweak { return func(o *Options) { o.Former = hosts } }

// What is discarded was never written: not the name, not the parts, and what
// stood there before shows again.
func TestDiscard(t *testing.T) {
	m := bucket()
	v := mount(t, m, passing, inParts)
	v.put("old", "before")
	big := noise(3*8<<20+5, 1)
	for _, p := range []string{"old", "new"} {
		f, err := v.Open(t.Context(), p, OpenOptions{Write: true, Truncate: true})
		if p == "new" {
			f, err = v.Create(t.Context(), p, Attr{Mode: 0o600}, false)
		}
		v.must(err)
		v.write(f, big, 0)
		f.Discard(t.Context())
	}
	v.has("old", "before")
	v.absent("new")
	if n := v.Dirty(); n != 0 {
		t.Errorf("%d files are dirty", n)
	}
	v.noLeftovers()
	v.put("new", "after") // the name is free
	v.has("new", "after")
}

// The end of who asked for a commit ends it, and leaves nothing.
func TestPassingCommitEnds(t *testing.T) {
	m := bucket()
	v := mount(t, m, passing)
	f := v.create("file", "content", false)
	ctx, cancel := context.WithCancel(t.Context())
	v.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb != faulty.Put {
			return faulty.Fault{}
		}
		cancel()
		return faulty.Fault{Wait: make(chan struct{})} // until its context ends
	})
	if err := f.Commit(ctx); err == nil {
		t.Error("it was committed")
	}
	v.healed()
	f.Discard(t.Context())
	v.absent("file")
}

// A command that was killed in the middle of an upload: the next one ends that,
// whoever else is at work.
func TestFormerUploads(t *testing.T) {
	m := bucket()
	dead := mount(t, m, passing, host("h-dead"))
	up, err := dead.Volume.beginUpload(t.Context(), draft{key: "x"}, objstore.PutOptions{})
	dead.must(err)
	if !strings.Contains(up.record, "/uploads/h-dead/") {
		t.Fatalf("the record is %q", up.record)
	}
	living := mount(t, m, host("h"))
	living.must(up.Part(t.Context(), 1, strings.NewReader("part"), 4)) // a mount of the host leaves it alone
	next := mount(t, m, passing, host("h-next"), former("h-dead"))
	next.must(next.Close(t.Context()))
	if err := up.Part(t.Context(), 2, strings.NewReader("part"), 4); err == nil {
		t.Error("it goes on")
	}
	for e, err := range m.List(t.Context(), objstore.ListOptions{Prefix: ".sigil/uploads/"}) {
		t.Errorf("%s is left, %v", e.Key, err)
	}
}
