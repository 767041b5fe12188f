package volume

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
	"pgregory.net/rapid"
)

// survey gives all that one tells, by key; old versions under KEY@VERSION.
func (f *fixture) survey(opt SurveyOptions) map[string]Surveyed {
	f.t.Helper()
	all := map[string]Surveyed{}
	last := ""
	for o, err := range f.Survey(f.ctx, opt) {
		f.must(err)
		if o.Key < last {
			f.t.Errorf("%q after %q", o.Key, last)
		}
		last = o.Key
		name := o.Key
		if o.Old {
			name += "@" + o.Version
		}
		all[name] = o
	}
	return all
}

// flaws gives the kinds, under the key that each is of.
func flaws(all map[string]Surveyed) map[string][]FlawKind {
	found := map[string][]FlawKind{}
	for name, o := range all {
		for _, f := range o.Flaws {
			at := name
			if f.Key != "" {
				at = f.Key
			}
			found[at] = append(found[at], f.Kind)
			slices.Sort(found[at])
		}
	}
	return found
}

func wantFlaws(t *testing.T, all map[string]Surveyed, want map[string][]FlawKind) {
	t.Helper()
	if diff := cmp.Diff(want, flaws(all)); diff != "" {
		t.Errorf("flaws (-want +got):\n%s", diff)
	}
}

// foreign puts an object as another tool does.
func putForeign(t *testing.T, m *mem.Store, key, body string, enc *sse.Mode, metadata map[string]string) {
	t.Helper()
	opt := objstore.PutOptions{Metadata: metadata}
	if enc != nil {
		opt.Encryption = &objstore.Encryption{Write: objstore.Header(enc.Write())}
	}
	if _, err := m.Put(t.Context(), key, strings.NewReader(body), int64(len(body)), opt); err != nil {
		t.Fatal(err)
	}
}

// TestSurveyTellsEveryMode: what this program writes by each rule is told as
// what it is, and nothing is wrong with it.
func TestSurveyTellsEveryMode(t *testing.T) {
	t.Parallel()
	f := mount(t, awsBucket(), world)
	for _, dir := range []string{"none", "kms", "ssec", "s3ec", "ca", "cb", "cc"} {
		f.mkdir(dir)
		f.put(dir+"/file", "text")
	}
	f.settle()
	type row struct{ Mode, Algorithm, KeyID, Commitment, Server string }
	got := map[string]row{}
	all := f.survey(SurveyOptions{})
	for key, o := range all {
		if strings.HasSuffix(key, "/file") {
			got[key] = row{o.Mode, o.Algorithm, o.KeyID, o.Commitment, o.Server}
			if o.Plain != 4 || o.Modified.IsZero() {
				t.Errorf("%s: %d bytes of %v", key, o.Plain, o.Modified)
			}
		}
	}
	a := ssecMode('a').KeyID()
	want := map[string]row{
		"none/file": {Mode: "none"},
		"kms/file":  {"sse-kms", gcm, "arn:aws:kms:us-east-1:111122223333:key/" + kmsKey, "", ""},
		"ssec/file": {"sse-c", gcm, a, "", ""},
		"s3ec/file": {"s3ec", "ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY AES/GCM", "", "yes", "none"},
		"ca/file":   {"client", gcm, "aes:1,age:2", "yes", "none"},
		"cb/file":   {"client", gcm, "aes:1,age:2", "yes", "none"},
		"cc/file":   {"client", gcm, "aes:1,age:2", "yes", "sse-s3"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(row{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantFlaws(t, all, map[string][]FlawKind{})
	if n := f.s.Counts().Writes(); n == 0 {
		t.Error("nothing was written to begin with")
	}
	f.s.Reset()
	f.survey(SurveyOptions{})
	if n := f.s.Counts().Writes(); n != 0 {
		t.Errorf("a survey writes: %v", f.s.Counts().Requests)
	}
}

// TestSurveyOfInstructionFiles: a wrapped key beside its object is no plaintext,
// and what only has such a name is.
func TestSurveyOfInstructionFiles(t *testing.T) {
	t.Parallel()
	m := kmsBucket(mem.Options{Versioned: true})
	plantInstructed(t, m, "a", "text of a", s3ec.FormatV3)
	plantInstructed(t, m, "b", "text of b", s3ec.FormatV2)
	putForeign(t, m, "c.instruction", `{"x-amz-key-v2":"AAAA","note":"secret"}`, nil, nil)
	putForeign(t, m, "d.instruction", "secret", nil, nil)
	f := mount(t, m, instructed)
	all := f.survey(SurveyOptions{Versions: true})
	wantFlaws(t, all, map[string][]FlawKind{"c.instruction": {FlawPlaintext}, "d.instruction": {FlawPlaintext}})
	if o := all["a.instruction"]; o.Mode != SurveyInternal {
		t.Errorf("an instruction file is told as %+v", o)
	}
	if all["a"].Mode != "s3ec" || all["b"].Mode != "s3ec" {
		t.Errorf("told as %+v and %+v", all["a"], all["b"])
	}

	// An older version is not corrupt because its file went with the current one.
	for _, key := range []string{"a", "a.instruction"} {
		if err := m.Delete(t.Context(), objstore.ID{Key: key}, objstore.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, o := range f.survey(SurveyOptions{Versions: true, Prefix: "a"}) {
		if len(o.Flaws) != 0 {
			t.Errorf("%s: %v", name, o.Flaws)
		}
	}
}

// TestSurveyTellsOfS3ECKeys as far as the headers do.
func TestSurveyTellsOfS3ECKeys(t *testing.T) {
	t.Parallel()
	m := awsBucket()
	wrapped := base64.StdEncoding.EncodeToString(make([]byte, 48))
	put := func(key, wrap, matdesc string) {
		putForeign(t, m, key, strings.Repeat("x", 20), nil, map[string]string{
			"x-amz-key-v2": wrapped, "x-amz-iv": "AAAAAAAAAAAAAAAA", "x-amz-tag-len": "128", "x-amz-cek-alg": "AES/GCM/NoPadding",
			"x-amz-wrap-alg": wrap, "x-amz-matdesc": matdesc,
		})
	}
	put("context", "kms+context", `{"aws:x-amz-cek-alg":"AES/GCM/NoPadding","team":"backup"}`)
	put("id", "kms", `{"kms_cmk_id":"alias/main"}`)
	put("none", "kms+context", `{"aws:x-amz-cek-alg":"AES/GCM/NoPadding"}`)
	f := mount(t, m, keys0)
	got := map[string]string{}
	for key, o := range f.survey(SurveyOptions{Unstated: true}) {
		got[key] = o.KeyID
	}
	if diff := cmp.Diff(map[string]string{"context": `{"team":"backup"}`, "id": "alias/main", "none": ""}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSurveyFindsWhatIsWeak: what others have put there is held against the rule.
func TestSurveyFindsWhatIsWeak(t *testing.T) {
	t.Parallel()
	m := awsBucket()
	f := mount(t, m, world)
	other := need(sse.KMS(kmsOther, nil, nil))
	putForeign(t, m, "plain", "x", nil, nil)
	putForeign(t, m, "sse", "x", sse.S3(), nil)
	putForeign(t, m, "none/plain", "x", nil, nil)
	putForeign(t, m, "kms/plain", "x", nil, nil)
	putForeign(t, m, "kms/s3", "x", sse.S3(), nil)
	putForeign(t, m, "kms/other", "x", other, nil)
	putForeign(t, m, "kms/dsse", "x", need(sse.DSSE(kmsKey, nil)), nil)
	putForeign(t, m, "s3ec/plain", "x", nil, nil)
	putForeign(t, m, "s3ec/dir/", "", nil, nil)
	putForeign(t, m, "ssec/plain", "x", nil, nil)
	putForeign(t, m, "broken", "x", nil, map[string]string{"x-amz-key-v2": "AA"})
	f.mkdir("ca")
	f.put("ca/file", "text")
	got, _ := m.Object("ca/file")
	if _, err := m.Copy(t.Context(), objstore.ID{Key: "ca/file"}, "cc/file", objstore.PutOptions{Metadata: got.Info.Metadata}); err != nil {
		t.Fatal(err)
	}
	f.mkdir("cc")
	f.put("cc/bare", "text")
	strip(t, m, "cc/bare")

	all := f.survey(SurveyOptions{})
	wantFlaws(t, all, map[string][]FlawKind{
		"plain":      {FlawPlaintext},
		"sse":        {FlawWeaker},
		"kms/plain":  {FlawPlaintext},
		"kms/s3":     {FlawWeaker},
		"kms/other":  {FlawRetired},
		"s3ec/plain": {FlawPlaintext},
		"ssec/plain": {FlawPlaintext},
		"broken":     {FlawCorrupt, FlawWeaker},
		"cc/file":    {FlawMoved, FlawWeaker},
		"cc/bare":    {FlawWeaker},
	})
	if text := all["sse"].Flaws[0].Text; text != "sse-s3 where the policy has client" {
		t.Errorf("text: %s", text)
	}

	// Nobody's policy: only what nobody encrypts is said.
	bare := mount(t, m, rules(Rule{Mode: "none"}), keys0)
	wantFlaws(t, bare.survey(SurveyOptions{Unstated: true}), map[string][]FlawKind{
		"plain": {FlawPlaintext}, "kms/plain": {FlawPlaintext}, "none/plain": {FlawPlaintext}, "s3ec/plain": {FlawPlaintext},
		"s3ec/dir/": {FlawPlaintext}, "ssec/plain": {FlawPlaintext}, "broken": {FlawCorrupt},
	})
}

// keys0 has no key at all.
func keys0(o *Options) { o.Keys = &fakeKeys{} }

// strip takes the server's encryption away from an object, as a careless copy does.
func strip(t *testing.T, m *mem.Store, key string) {
	t.Helper()
	got, _ := m.Object(key)
	if _, err := m.Copy(t.Context(), objstore.ID{Key: key}, key, objstore.PutOptions{Metadata: got.Info.Metadata}); err != nil {
		t.Fatal(err)
	}
}

// TestSurveyFindsKeys: keys that are not here, and that are the rule's no more.
func TestSurveyFindsKeys(t *testing.T) {
	t.Parallel()
	m := generations(t, mem.Options{})
	f := mount(t, m, ssec('a', 'b'))
	all := f.survey(SurveyOptions{})
	wantFlaws(t, all, map[string][]FlawKind{
		"gen-b1": {FlawRetired}, "gen-b2": {FlawRetired}, "gen-c1": {FlawUnknownKey}, "gen-c2": {FlawUnknownKey}, "plain": {FlawPlaintext},
	})
	if got, want := all["gen-c1"].KeyID, ssecMode('c').KeyID(); got != want || all["gen-c1"].Mode != "sse-c" {
		t.Errorf("an object whose key is not here is %s under %q, not %q", all["gen-c1"].Mode, got, want)
	}
}

// TestSurveyFindsEpochs: ones that do not open, and ones that are retired.
func TestSurveyFindsEpochs(t *testing.T) {
	t.Parallel()
	m := bucket()
	old := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	mount(t, m, keys(old)).put("old", "text")
	lost := &fakeKeys{epochs: []sigil.Epoch{epoch(9)}}
	mount(t, m, keys(lost)).put("lost", "text")

	now := &fakeKeys{epochs: []sigil.Epoch{epoch(2)}}
	reads := &phasedKeys{fakeKeys{epochs: []sigil.Epoch{epoch(1), epoch(2)}}, map[byte]string{1: "retired", 2: "open"}}
	f := mount(t, m, func(o *Options) { o.Keys, o.Rules = reads, []Rule{{Mode: "client", Keys: now}} })
	f.put("new", "text")
	f.put("resealed", "text")
	all := f.survey(SurveyOptions{})
	wantFlaws(t, all, map[string][]FlawKind{"old": {FlawRetired}, "lost": {FlawUnreachable}})
	if o := all["old"]; o.EpochState != "retired" || o.Epoch != epoch(1).ID.String() {
		t.Errorf("the retired epoch is told as %q %q", o.Epoch, o.EpochState)
	}
	if o := all["lost"]; o.Mode != "client" || o.Epoch != epoch(9).ID.String() || o.Plain != 4 {
		t.Errorf("what does not open is %+v", o)
	}
}

// TestSurveyFindsOldDataKeys: a seal of today over a data key that a retired
// epoch has sealed first.
func TestSurveyFindsOldDataKeys(t *testing.T) {
	t.Parallel()
	m := bucket()
	mount(t, m, keys(&fakeKeys{epochs: []sigil.Epoch{epoch(1)}})).put("file", "text")
	now := &fakeKeys{epochs: []sigil.Epoch{epoch(2)}}
	reads := &fakeKeys{epochs: []sigil.Epoch{epoch(1), epoch(2)}}
	f := mount(t, m, func(o *Options) { o.Keys, o.Rules = reads, []Rule{{Mode: "client", Keys: now}} })
	mode := uint32(0o600)
	_, err := f.SetAttr(f.ctx, "file", Change{Mode: &mode})
	f.must(err)
	f.settle()
	all := f.survey(SurveyOptions{})
	wantFlaws(t, all, map[string][]FlawKind{"file": {FlawRetired}})
	if o := all["file"]; o.Epoch != epoch(2).ID.String() || !strings.Contains(o.Flaws[0].Text, epoch(1).ID.String()) {
		t.Errorf("told as %+v", o)
	}
}

// phasedKeys knows the states of epochs.
type phasedKeys struct {
	fakeKeys
	states map[byte]string
}

func (k *phasedKeys) EpochState(id sigil.EpochID) string { return k.states[id[0]] }

// TestSurveyFindsTampering: an object of another key, cut, of another type.
func TestSurveyFindsTampering(t *testing.T) {
	t.Parallel()
	m := bucket()
	f := mount(t, m)
	f.mkdir("d")
	for _, p := range []string{"a", "b", "c", "e"} {
		f.put(p, "text of "+p)
	}
	f.settle()
	meta := func(key string) map[string]string {
		o, _ := m.Object(key)
		return o.Info.Metadata
	}
	sealed := meta("a")
	putForeign(t, m, "b", "text of b", nil, sealed)
	half := meta("c")
	delete(half, "sigil-seal")
	putForeign(t, m, "c", "whatever", nil, half)
	flipped := meta("e")
	flipped["sigil-seal"] = strings.Map(func(r rune) rune {
		if r == 'A' {
			return 'B'
		}
		return r
	}, flipped["sigil-seal"][:100]) + flipped["sigil-seal"][100:]
	putForeign(t, m, "e", "text", nil, flipped)
	putForeign(t, m, "d/", "body", nil, meta("d/"))
	putForeign(t, m, "f", "length that no plaintext has", nil, map[string]string{"sigil": "1 0 nonsense"})
	got := flaws(f.survey(SurveyOptions{}))
	for key, want := range map[string][]FlawKind{"b": {FlawMoved}, "c": {FlawCorrupt}, "d/": {FlawCorrupt}, "f": {FlawCorrupt}} {
		if diff := cmp.Diff(want, got[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
	if len(got["a"]) != 0 || len(got["e"]) != 1 {
		t.Errorf("a: %v, e: %v", got["a"], got["e"])
	}
}

// TestSurveyFindsNames: keys that no path expresses, that others shadow, and
// imitations of a volume's own.
func TestSurveyFindsNames(t *testing.T) {
	t.Parallel()
	m := bucket()
	f := mount(t, m, rules(Rule{Mode: "none"}), under("web/", "web/"))
	id := epoch(1).ID.String()
	for _, key := range []string{
		"web/ok", "web/a//b", "web/./c", "web/../d", "web/" + strings.Repeat("n", 256), "web/nul\x00",
		"web/file", "web/file.txt", "web/file/below", "web/file/other", "web/dir/", "web/dir/x", "web/twice", "web/twice/",
		"web/.sigil/epochs/" + id, "web/.sigil/volume", "web/.sigil/doctor/probe", "web/.sigil/inodes/" + id, "web/.sigil/index/" + strings.Repeat("a", 32),
		"web/.sigil/epochs/evil", "web/.sigil/evil", "web/.sigil/", "web/.sigil/volume/x", "web/.sigil/index/x", "web/.sigil/inodes/x",
		"web/sub/.sigil/epochs/" + id, "web/sub/.sigil/evil", "web/sub/.sigil", "web/.sigil/journal/.sigil/x",
	} {
		putForeign(t, m, key, "", nil, nil)
	}
	all := f.survey(SurveyOptions{Prefix: "web/"})
	wantFlaws(t, all, map[string][]FlawKind{
		"web/a//b": {FlawName}, "web/./c": {FlawName}, "web/../d": {FlawName}, "web/" + strings.Repeat("n", 256): {FlawName}, "web/nul\x00": {FlawName},
		"web/file": {FlawShadowed}, "web/twice": {FlawShadowed},
		"web/.sigil/epochs/evil": {FlawForeign}, "web/.sigil/evil": {FlawForeign}, "web/.sigil/": {FlawForeign}, "web/.sigil/volume/x": {FlawForeign},
		"web/.sigil/index/x": {FlawForeign}, "web/.sigil/inodes/x": {FlawForeign}, "web/.sigil/volume": {FlawShadowed},
		"web/sub/.sigil/evil": {FlawForeign}, "web/sub/.sigil": {FlawForeign, FlawShadowed}, "web/.sigil/journal/.sigil/x": {FlawForeign},
	})
	for key, want := range map[string]string{"web/.sigil/epochs/" + id: SurveyInternal, "web/.sigil/volume": SurveyInternal, "web/.sigil/evil": "none", "web/ok": "none"} {
		if got := all[key].Mode; got != want {
			t.Errorf("%s is %s, not %s", key, got, want)
		}
	}
}

// TestSurveyFindsWhatIsPlanted: below a root that seals, what is not sealed is
// nobody's of ours.
func TestSurveyFindsWhatIsPlanted(t *testing.T) {
	t.Parallel()
	m := bucket()
	f := mount(t, m)
	putForeign(t, m, ".sigil/journal/x", "{}", nil, nil)
	wantFlaws(t, f.survey(SurveyOptions{}), map[string][]FlawKind{".sigil/journal/x": {FlawForeign}})
}

// TestShadows holds the stack against the plain definition.
func TestShadows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfDistinct(rapid.StringMatching(`[ab!/]{1,6}`), func(s string) string { return s }).Draw(t, "keys")
		slices.Sort(keys)
		var s Shadows
		var got []string
		for _, k := range keys {
			got = append(got, s.meet(k)...)
		}
		var want []string
		for _, k := range keys {
			if !isMarker(k) && slices.ContainsFunc(keys, func(other string) bool { return strings.HasPrefix(other, k+"/") }) {
				want = append(want, k)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("of %q %q are shadowed, not %q", keys, got, want)
		}
	})
}

// TestSurveyLooksAtOldVersions: what was plaintext can be read still.
func TestSurveyLooksAtOldVersions(t *testing.T) {
	t.Parallel()
	m := mem.New(mem.Options{Versioned: true})
	putForeign(t, m, "file", "secret", nil, nil)
	putForeign(t, m, "gone", "secret", nil, nil)
	first, _ := m.Object("file")
	if err := m.Delete(t.Context(), objstore.ID{Key: "gone"}, objstore.Condition{}); err != nil {
		t.Fatal(err)
	}
	if err := m.Delete(t.Context(), objstore.ID{Key: "file"}, objstore.Condition{}); err != nil {
		t.Fatal(err)
	}
	f := mount(t, m)
	f.put("file", "sealed")
	f.put("file", "sealed again")
	all := f.survey(SurveyOptions{Versions: true})
	got := flaws(all)
	if len(all) != 4 || len(got) != 2 || !slices.Equal(got["file@"+first.Info.VersionID], []FlawKind{FlawOldVersion}) {
		t.Errorf("%d objects; flaws %v", len(all), got)
	}
	if o := all["file"]; o.Old || o.Mode != "client" || o.Version == "" {
		t.Errorf("the current version is %+v", o)
	}
	if all := f.survey(SurveyOptions{}); len(all) != 1 {
		t.Errorf("%d objects without versions", len(all))
	}
}

// TestSurveyWithoutVersions: whoever may not ask for them is told so, and the
// current objects are looked at.
func TestSurveyWithoutVersions(t *testing.T) {
	t.Parallel()
	f := mount(t, bucket())
	f.put("file", "text")
	f.s.SetScript(func(op faulty.Op) (fault faulty.Fault) {
		if op.Verb == faulty.Versions {
			fault.Err = ErrAccess
		}
		return fault
	})
	var told error
	all := f.survey(SurveyOptions{Versions: true, Untold: func(err error) { told = err }})
	if !errors.Is(told, ErrAccess) || len(all) != 1 {
		t.Errorf("told %v, %d objects", told, len(all))
	}
}

// TestSurveyUsesTheIndex: an indexed directory costs its listing, the objects
// that open an epoch, and one request.
func TestSurveyUsesTheIndex(t *testing.T) {
	t.Parallel()
	m, c := indexBed(t, 500)
	f := mount(t, m, indexing(c), func(o *Options) { o.Keys = &openedKeys{fakeKeys: o.Keys.(*fakeKeys), opened: map[byte]bool{}} })
	all := f.survey(SurveyOptions{Index: true, Workers: 1})
	n := f.s.Counts().Requests
	// Heads: d/, the index itself, and the files before the index is asked for.
	if n[faulty.List] != 1 || n[faulty.Get] != 1 || n[faulty.Head] != 2+surveyIndexFrom-1 {
		t.Errorf("it took %v", n)
	}
	if o := all[nameOf(499)]; o.Mode != "client" || o.Plain != int64(len("content 499")) || o.Commitment != "yes" || len(o.Flaws) != 0 {
		t.Errorf("told as %+v", o)
	}
	f.s.Reset()
	without := f.survey(SurveyOptions{})
	if n := f.s.Counts().Requests[faulty.Head]; n != 502 {
		t.Errorf("%d heads without the index", n)
	}
	for key, o := range without {
		o.Server = all[key].Server // which the index does not tell
		if diff := cmp.Diff(o, all[key]); diff != "" {
			t.Errorf("%s by the index (-without +with):\n%s", key, diff)
		}
	}

	// What was changed since is asked for.
	putForeign(t, m, nameOf(7), "plain", nil, nil)
	if got := f.survey(SurveyOptions{Index: true})[nameOf(7)]; got.Mode != "none" {
		t.Errorf("what replaced a file is told as %+v", got)
	}
}

// openedKeys names the keys of the epochs alone that it has opened.
type openedKeys struct {
	*fakeKeys
	mu     sync.Mutex // guards opened
	opened map[byte]bool
}

func (k *openedKeys) Open(ctx context.Context, key string, id sigil.EpochID, check func(sigil.Epoch) bool) (sigil.Epoch, error) {
	k.mu.Lock()
	k.opened[id[0]] = true
	k.mu.Unlock()
	return k.fakeKeys.Open(ctx, key, id, check)
}

func (k *openedKeys) KeyIDs(id sigil.EpochID) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.opened[id[0]] {
		return nil
	}
	return k.fakeKeys.KeyIDs(id)
}

// TestSurveyStopsAsking: where no directory has an index, not each is asked.
func TestSurveyStopsAsking(t *testing.T) {
	t.Parallel()
	m := bucket()
	f := mount(t, m)
	for d := range 200 {
		for i := range surveyIndexFrom {
			putForeign(t, m, fmt.Sprintf("%03d/%d", d, i), "", nil, nil)
		}
	}
	f.survey(SurveyOptions{Index: true, Workers: 1})
	if n := f.s.Counts().Requests[faulty.Get]; n != surveyIndexVain {
		t.Errorf("%d requests for indexes", n)
	}
}

// TestSurveyEnds: with the error of the bucket, of the caller's context, or
// where the caller has enough; and no goroutine outlives it.
func TestSurveyEnds(t *testing.T) {
	t.Parallel()
	m := bucket()
	f := mount(t, m, rules(Rule{Mode: "none"}))
	for i := range 3000 {
		putForeign(t, m, fmt.Sprintf("%04d", i), "", nil, nil)
	}
	for _, err := range f.Survey(f.ctx, SurveyOptions{}) {
		f.must(err)
		break
	}
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	n, last := 0, error(nil)
	for _, err := range f.Survey(ctx, SurveyOptions{}) {
		if n++; n == 10 {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("a survey that is interrupted ends with %v", last)
	}
	f.s.SetScript(func(op faulty.Op) (fault faulty.Fault) {
		if op.Verb == faulty.Head && op.Key == "2000" {
			fault.Err = ErrThrottled
		}
		return fault
	})
	n = 0
	for o, err := range f.Survey(f.ctx, SurveyOptions{}) {
		if last = err; err == nil {
			n++
			_ = o
		}
	}
	if !errors.Is(last, ErrThrottled) || n != 2000 {
		t.Errorf("after %d objects: %v", n, last)
	}
	f.s.SetScript(func(op faulty.Op) (fault faulty.Fault) {
		if op.Verb == faulty.List {
			fault.Err = objstore.ErrUnreachable
		}
		return fault
	})
	for _, err := range f.Survey(f.ctx, SurveyOptions{}) {
		last = err
	}
	if !errors.Is(last, objstore.ErrUnreachable) {
		t.Errorf("no listing: %v", last)
	}
}

// TestSurveyGoesOn: one object's trouble is a flaw; what has gone meanwhile is none.
func TestSurveyGoesOn(t *testing.T) {
	t.Parallel()
	m := bucket()
	f := mount(t, m, rules(Rule{Mode: "none"}))
	for _, key := range []string{"denied", "fine", "gone", "odd", "kms-off"} {
		putForeign(t, m, key, "", nil, nil)
	}
	f.s.SetScript(func(op faulty.Op) (fault faulty.Fault) {
		if op.Verb == faulty.Head {
			fault.Err = map[string]error{
				"denied": ErrAccess, "gone": ErrNotExist, "odd": objstore.ErrUnknown, "kms-off": ErrKeyDisabled,
			}[op.Key]
		}
		return fault
	})
	all := f.survey(SurveyOptions{})
	wantFlaws(t, all, map[string][]FlawKind{"denied": {FlawDenied}, "odd": {FlawUnlooked}, "kms-off": {FlawUnknownKey}})
	if _, there := all["gone"]; there || len(all) != 4 {
		t.Errorf("told of %d objects", len(all))
	}
}

// TestSurveyAfter goes on where another ended, and keeps to its prefix.
func TestSurveyAfter(t *testing.T) {
	t.Parallel()
	m := bucket()
	f := mount(t, m, rules(Rule{Mode: "none"}))
	for _, key := range []string{"a", "a/1", "a/2", "a/3", "ab", "b"} {
		putForeign(t, m, key, "", nil, nil)
	}
	for name, tc := range map[string]struct {
		opt  SurveyOptions
		want int
	}{
		"all": {SurveyOptions{}, 6}, "after": {SurveyOptions{After: "a/2"}, 3}, "prefix": {SurveyOptions{Prefix: "a/"}, 3},
		"object": {SurveyOptions{Prefix: "a"}, 4}, "both": {SurveyOptions{Prefix: "a/", After: "a/2"}, 1}, "versions": {SurveyOptions{Prefix: "a/", After: "a/2", Versions: true}, 1},
	} {
		if got := len(f.survey(tc.opt)); got != tc.want {
			t.Errorf("%s: %d objects, want %d", name, got, tc.want)
		}
	}
}

// TestSurveyGoesOnAnywhere: what two surveys tell, the second behind the last key
// that the first has told wholly, is what one tells, each thing once.
func TestSurveyGoesOnAnywhere(t *testing.T) {
	m := mem.New(mem.Options{Versioned: true})
	for range 2 {
		for _, key := range []string{"a", "a!", "a!/x", "a/b", "a/b/c", "d", "d/e", "d/e/f", "g//h"} {
			putForeign(t, m, key, "", nil, nil)
		}
	}
	f := mount(t, m, rules(Rule{Mode: "none"}))
	told := func(o Surveyed) string { return fmt.Sprint(o.Key, o.Version, o.Old, o.Flaws) }
	var whole []string
	for o, err := range f.Survey(f.ctx, SurveyOptions{Versions: true}) {
		f.must(err)
		whole = append(whole, told(o))
	}
	if n, err := f.SurveySize(f.ctx, SurveyOptions{Versions: true}); err != nil || n != int64(len(whole)) {
		t.Errorf("%d rows counted, %v; %d told", n, err, len(whole))
	}
	for stop := range whole {
		var got, sure []string
		var shadows, kept Shadows
		after := ""
		for o, err := range f.Survey(f.ctx, SurveyOptions{Versions: true, Shadows: &shadows}) {
			f.must(err)
			got = append(got, told(o))
			if o.Last {
				after, sure, kept = o.Key, slices.Clone(got), Shadows{slices.Clone(shadows.Files)}
			}
			if len(got) > stop {
				break
			}
		}
		for o, err := range f.Survey(f.ctx, SurveyOptions{Versions: true, After: after, Shadows: &kept}) {
			f.must(err)
			sure = append(sure, told(o))
		}
		if diff := cmp.Diff(whole, sure); diff != "" {
			t.Errorf("stopped behind row %d (-whole +in two):\n%s", stop, diff)
		}
	}
}

// TestSurveyOfManyObjects: two hundred thousand, each asked for once, in memory
// that does not grow with them.
func TestSurveyOfManyObjects(t *testing.T) {
	n := 200_000
	if raced {
		n = 20_000
	}
	m := bucket()
	body := strings.NewReader("")
	for i := range n {
		if _, err := m.Put(t.Context(), fmt.Sprintf("%03d/%06d", i/400, i), body, 0, objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	f := mount(t, m, rules(Rule{Mode: "none"}))
	var most uint64
	before, count := inUse(), 0
	start := time.Now()
	for _, err := range f.Survey(f.ctx, SurveyOptions{Index: true}) {
		f.must(err)
		if count++; count%(n/4) == 0 {
			most = max(most, inUse())
		}
	}
	t.Logf("%v for %d objects", time.Since(start), count)
	req := f.s.Counts().Requests
	if count != n || req[faulty.Head] != n || req[faulty.List] != n/1000 || f.s.Counts().Total() != n+n/1000 {
		t.Errorf("%d objects by %v", count, req)
	}
	if grown := int64(most) - int64(before); grown > 64<<20 {
		t.Errorf("%d MiB more in memory", grown>>20)
	}
}

func inUse() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
