package volume

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	logtest "github.com/sirupsen/logrus/hooks/test"
)

// damagedOver puts these contents at a, one after the other, and something damaged
// over them. It gives the IDs of the versions.
func damagedOver(f *fixture, contents ...string) (ids []string) {
	f.t.Helper()
	for _, text := range contents {
		f.put("a", text)
		o, _ := f.mem.Object("a")
		ids = append(ids, o.Info.VersionID)
	}
	f.mem.Tamper("a", flipAt(0))
	return ids
}

// shelf is a bucket in which reads of some versions fail, by their IDs, and of what
// lies at some keys now.
type shelf struct {
	*faulty.Store
	why map[string]error
}

// on is a tweak.
func (s *shelf) on(o *Options) { s.Store, o.Store = o.Store.(*faulty.Store), s }

func (s *shelf) Get(ctx context.Context, id objstore.ID, r objstore.Range) (objstore.Info, int64, io.ReadCloser, error) {
	if err := s.why[cmp.Or(id.VersionID, id.Key)]; err != nil {
		return objstore.Info{}, 0, nil, err
	}
	return s.Store.Get(ctx, id, r)
}

// TestRepairTellsWhatItPassesOver: nobody takes an older version for the newest
// that is kept, where newer ones only do not open now.
func TestRepairTellsWhatItPassesOver(t *testing.T) {
	m := mem.New(mem.Options{Versioned: true})
	kept := &shelf{}
	f := mountIdle(t, m, kept.on)
	ids := damagedOver(f, "one", "two", "three")
	for _, c := range []struct {
		why  map[string]error
		want []string
	}{
		{nil, nil},
		{map[string]error{ids[2]: ErrKeyDisabled}, []string{"a newer version was passed over", ErrKeyDisabled.Error()}},
		{map[string]error{ids[1]: ErrKeyAccess, ids[2]: ErrArchived}, []string{"2 newer versions were passed over", "(the newest: ", ErrArchived.Error()}},
	} {
		kept.why = c.why
		all, _ := f.verified(VerifyOptions{Data: true, Repair: true, Dry: true})
		if len(all) != 1 || all[0].Unmended != nil || !strings.Contains(all[0].Mended, "is taken") {
			t.Fatalf("%v", all)
		}
		for _, want := range c.want {
			if !strings.Contains(all[0].Mended, want) {
				t.Errorf("%q does not tell %q", all[0].Mended, want)
			}
		}
		if c.want == nil && strings.Contains(all[0].Mended, "passed over") {
			t.Error(all[0].Mended)
		}
	}
	kept.why = map[string]error{ids[0]: ErrNoKey, ids[1]: ErrKeyAccess, ids[2]: ErrArchived}
	all, _ := f.verified(VerifyOptions{Data: true, Repair: true})
	if len(all) != 1 || !errors.Is(all[0].Unmended, ErrNoVersion) || !strings.Contains(all[0].Unmended.Error(), "3 versions do not now") {
		t.Errorf("%v", all)
	}
}

// TestRepairWaitsForTheMoment: what is only in trouble now may be the version to
// take, and none that is older is taken instead.
func TestRepairWaitsForTheMoment(t *testing.T) {
	for _, why := range []error{objstore.ErrThrottled, objstore.ErrUnreachable, ErrAccess} {
		m := mem.New(mem.Options{Versioned: true})
		kept := &shelf{}
		f := mountIdle(t, m, kept.on)
		ids := damagedOver(f, "older", "newer")
		kept.why = map[string]error{ids[1]: why}
		before := m.Snapshot()
		all, _ := f.verified(VerifyOptions{Data: true, Repair: true})
		if len(all) != 1 || all[0].Mended != "" || !errors.Is(all[0].Unmended, why) {
			t.Errorf("%v: %v", why, all)
		}
		if now, _ := m.Object("a"); now.Info.VersionID != before["a"].Info.VersionID {
			t.Errorf("%v: it was replaced", why)
		}
		f.end()
	}
}

// TestBringBackTellsWhatItPassesOver: a name that is brought back has the newest
// content that opens, and whoever reads the log learns that there is a newer one.
// For what is only in trouble now none that is older is taken.
func TestBringBackTellsWhatItPassesOver(t *testing.T) {
	for name, c := range map[string]struct {
		why    map[int]error // by content; after the last comes what is there
		passed int
		text   string
		err    error
	}{
		"Damaged":        {nil, 0, "two", nil},
		"Archived":       {map[int]error{2: ErrArchived}, 1, "one", nil},
		"Current":        {map[int]error{3: ErrKeyDisabled}, 1, "two", nil},
		"Several":        {map[int]error{1: ErrKeyAccess, 2: ErrArchived}, 2, "zero", nil},
		"OfTheMoment":    {map[int]error{2: objstore.ErrThrottled}, 0, "", objstore.ErrThrottled},
		"OfAnotherBelow": {map[int]error{1: objstore.ErrThrottled}, 0, "two", nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := mem.New(mem.Options{Versioned: true})
			kept := &shelf{}
			log, lines := logtest.NewNullLogger()
			f := mountIdle(t, m, func(o *Options) { o.Log = log }, kept.on)
			f.put("h", "zero")
			f.link("h", "h2")
			link, _ := m.Object("h2")
			inode := m.Keys()[slices.IndexFunc(m.Keys(), func(key string) bool { return ownPart(key) == partInode })]
			id := func() string { o, _ := m.Object(inode); return o.Info.VersionID }
			ids := []string{id()}
			for _, text := range []string{"one", "two"} {
				f.put("h", text)
				ids = append(ids, id())
			}
			m.Tamper(inode, func(o *mem.Object) {
				if c.why[3] == nil { // else it does not open now
					flipSeal(o)
				}
			})
			kept.why = map[string]error{}
			for i, err := range c.why {
				kept.why[append(ids, id())[i]] = err
			}
			kept.why[inode] = c.why[3]
			f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
				if op.Verb == faulty.Copy && op.Key == inode {
					x.After = func(err error) error { delete(kept.why, inode); return err }
				}
				return x
			})
			f.must(m.Delete(f.ctx, objstore.ID{Key: "h2"}, objstore.Condition{}))
			_, err := f.bringOne("h2", link.Info.VersionID)
			if !errors.Is(err, c.err) {
				t.Fatalf("%v", err)
			}
			told := 0
			for _, e := range lines.AllEntries() {
				if n, ok := e.Data["passed"].(int); ok && e.Data["key"] == inode {
					told += n
				}
			}
			if told != c.passed {
				t.Errorf("%d were told of, not %d: %v", told, c.passed, lines.AllEntries())
			}
			if c.err == nil {
				mountIdle(t, m, host("there")).has("h2", c.text)
			}
		})
	}
}
