package volume

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// statefulKeys are fakeKeys that know of a closed epoch.
type statefulKeys struct {
	*fakeKeys
	closed sigil.EpochID
}

func (k statefulKeys) EpochState(id sigil.EpochID) string {
	if id == k.closed {
		return "closed"
	}
	return "open"
}

// needed gives the epochs that all that is stored needs, by the first byte of
// their ids, and what could not be told, by key.
func needed(t *testing.T, v *Volume) (need map[string][]byte, failed map[string]error) {
	t.Helper()
	need, failed = map[string][]byte{}, map[string]error{}
	for ver, err := range v.Stored(t.Context(), "") {
		wants(t, err, nil)
		name := ver.Key
		if !ver.Latest {
			name += "@old"
		}
		ids, err := v.EpochsOf(t.Context(), ver)
		if err != nil {
			failed[name] = err
		}
		for _, id := range ids {
			need[name] = append(need[name], id[0])
		}
	}
	return need, failed
}

// TestEpochsOf: each epoch that something needs is told: of current objects, of
// versions that are kept, of hard links and what lies parked, of data keys that
// are older than their seal, and of the volume object. What passes by itself needs
// none once it is past, and what nobody encrypts here needs none at all.
func TestEpochsOf(t *testing.T) {
	t.Parallel()
	m := mem.New(mem.Options{Versioned: true})
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	f := mount(t, m, keys(k))
	for _, name := range []string{"old", "deleted", "replaced", "chmod", "linked"} {
		f.put(name, "text")
	}
	f.mkdir("dir")
	f.must(errOf(f.Link(f.ctx, "linked", "other")))
	f.must(errOf(f.putOwn(f.ctx, draft{key: f.journalDir() + "past"}, nil)))
	f.must(f.delete(f.ctx, f.journalDir()+"past", ""))
	f.must(errOf(f.putOwn(f.ctx, draft{key: f.indexDir() + "now"}, nil)))

	k.epochs = []sigil.Epoch{epoch(2), epoch(1)} // as after a rotation
	f.put("replaced", "again")
	f.put("new", "text")
	f.must(f.Remove(f.ctx, "deleted"))
	f.must(errOf(f.SetAttr(f.ctx, "chmod", Change{Mode: ptr(uint32(0o600))})))
	f.settle()
	putForeign(t, m, "plain", "text", nil, nil)
	putForeign(t, m, ".sigil/volume", `{"version":1,"id":"x","epoch":"`+epoch(3).ID.String()+`","names":""}`, nil, nil)
	putForeign(t, m, ".sigil/epochs/"+epoch(1).ID.String(), "{}", nil, nil)

	f.s.SetScript(func(op faulty.Op) (fault faulty.Fault) {
		if strings.HasPrefix(op.Key, epochDir) {
			t.Errorf("asked for an epoch: %s %s", op.Verb, op.Key)
		}
		return fault
	})
	need, failed := needed(t, f.Volume)
	f.s.SetScript(nil)
	if len(failed) > 0 {
		t.Error(failed)
	}
	for _, key := range slices.Collect(maps.Keys(need)) { // whose names are random
		for _, dir := range []string{inodeDir + rollDir, inodeDir} {
			if strings.HasPrefix(key, dir) {
				need[dir] = append(need[dir], need[key]...)
				slices.Sort(need[dir])
				need[dir] = slices.Compact(need[dir])
				delete(need, key)
				break
			}
		}
	}
	want := map[string][]byte{
		"old": {1}, "dir/": {1}, "deleted@old": {1}, "replaced@old": {1}, "replaced": {2}, "new": {2}, "chmod@old": {1}, "chmod": {2, 1},
		"linked": {1}, "linked@old": {1}, "other": {1}, inodeDir: {1}, inodeDir + rollDir: {1}, ".sigil/index/now": {1}, ".sigil/volume": {3},
	}
	if diff := cmp.Diff(want, need); diff != "" {
		t.Errorf("needed (-want +got):\n%s", diff)
	}
}

// TestEpochsOfWhatIsNotSeen: what does not open, or cannot be asked, is an error,
// and so is an upload, whatever it carries. Only what lies under a closed epoch
// needs nothing else.
func TestEpochsOfWhatIsNotSeen(t *testing.T) {
	t.Parallel()
	m := mem.New(mem.Options{})
	k := statefulKeys{&fakeKeys{epochs: []sigil.Epoch{epoch(1)}}, epoch(9).ID}
	f := mount(t, m, func(o *Options) { o.Keys, o.Rules = k, []Rule{{Mode: "client", Keys: k}} })
	for _, name := range []string{"good", "denied", "flipped", "moved", "header", "unknown", "closed"} {
		f.put(name, "text")
	}
	f.must(errOf(f.putOwn(f.ctx, draft{key: f.uploadsOf("another") + "1"}, nil)))
	m.Tamper("flipped", func(o *mem.Object) { flipSeal(o) })
	m.Tamper("header", func(o *mem.Object) { o.Info.Metadata[sigil.MetaSigil] = "1 0 x" })
	for name, n := range map[string]byte{"unknown": 8, "closed": 9} {
		m.Tamper(name, func(o *mem.Object) { o.Info.Metadata[sigil.MetaSigil] = "1 0 " + epoch(n).ID.String() })
	}
	good, _ := m.Object("good")
	m.Plant("moved", good)
	putForeign(t, m, "in/.sigil/volume", `{"version":2}`, nil, nil)
	f.s.SetScript(func(op faulty.Op) (fault faulty.Fault) {
		if op.Verb == faulty.Head && op.Key == "denied" {
			fault.Err = ErrAccess
		}
		return fault
	})

	need, failed := needed(t, f.Volume)
	if diff := cmp.Diff(map[string][]byte{"good": {1}, "closed": {9}}, need); diff != "" {
		t.Errorf("needed (-want +got):\n%s", diff)
	}
	for name, want := range map[string]error{
		"denied": ErrAccess, "flipped": ErrCorrupt, "moved": ErrCorrupt, "header": ErrCorrupt, "unknown": ErrNoKey,
		".sigil/uploads/another/1": ErrUploading, "in/.sigil/volume": ErrVersion,
	} {
		if !errors.Is(failed[name], want) {
			t.Errorf("%s: %v, want %v", name, failed[name], want)
		}
		delete(failed, name)
	}
	if len(failed) > 0 {
		t.Error(failed)
	}
}

// TestEpochsOfReplacedMeanwhile: what is replaced between the listing and the look
// is looked at as it was listed, where that is kept.
func TestEpochsOfReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	for _, before := range []objstore.Versioning{objstore.VersionsNone, objstore.VersionsKept} {
		m := mem.New(mem.Options{})
		m.SetVersioning(before)
		k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
		f := mount(t, m, keys(k))
		f.put("a", "text")
		var listed []objstore.Version
		for ver, err := range f.Stored(f.ctx, "") {
			f.must(err)
			if ver.Key == "a" {
				listed = append(listed, ver)
			}
		}
		m.SetVersioning(objstore.VersionsKept)
		k.epochs = []sigil.Epoch{epoch(2), epoch(1)}
		f.put("a", "again")
		ids, err := f.EpochsOf(f.ctx, listed[0])
		if len(listed) != 1 || err != nil || fmt.Sprint(ids) != fmt.Sprint([]sigil.EpochID{epoch(1).ID}) {
			t.Errorf("versions %v: %v, %v", before, ids, err)
		}
	}
}

// FuzzEpochOfNames has no volume object break who looks for its epoch.
func FuzzEpochOfNames(f *testing.F) {
	f.Add([]byte(`{"version":1,"id":"aaaaaaaaaaaaaaaaaaaaaaaaaa"}` + "\n"))
	f.Add([]byte(`{"version":1,"epoch":"aaaaaaaaaaaaaaaaaaaaaaaaaa","names":""}`))
	f.Add([]byte(`{"version":1,"epoch":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		ids, err := parseEpochOfNames(b)
		if err == nil && len(ids) == 1 && !bytes.Contains(b, []byte(`"`)) || len(ids) > 1 {
			t.Errorf("%q gives %v", b, ids)
		}
	})
}
