package volume

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
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

// shelf is a bucket in which reads of some versions fail, by their IDs.
type shelf struct {
	*faulty.Store
	why map[string]error
}

// on is a tweak.
func (s *shelf) on(o *Options) { s.Store, o.Store = o.Store.(*faulty.Store), s }

func (s *shelf) Get(ctx context.Context, id objstore.ID, r objstore.Range) (objstore.Info, int64, io.ReadCloser, error) {
	if err := s.why[id.VersionID]; err != nil {
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
