package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/keyring/kmstest"
)

// store is a Bucket in memory.
type store struct {
	mu      sync.Mutex // guards all below
	objects map[string][]byte
	gets    int
}

func newStore() *store { return &store{objects: map[string][]byte{}} }

func (s *store) Get(_ context.Context, key string) ([]byte, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	data, ok := s.objects[key]
	if !ok {
		return nil, "", keyring.ErrNotExist
	}
	return data, "1", nil
}

func (s *store) Create(_ context.Context, key string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[key]; ok {
		return keyring.ErrExist
	}
	s.objects[key] = data
	return nil
}

func (s *store) Replace(context.Context, string, []byte, string) error { return keyring.ErrChanged }

func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.objects)
}

// host is what outlives the mounts of a test.
type host struct {
	t     *testing.T
	kms   *kmstest.Fake
	store *store
	dir   *keyring.Dir
	now   time.Time

	mu      sync.Mutex
	revoked []string
	said    []string
}

func newHost(t *testing.T) *host {
	t.Helper()
	dir, err := keyring.OpenDir(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	return &host{t: t, kms: kmstest.New(), store: newStore(), dir: dir, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
}

func (h *host) arn() string {
	arn, err := h.kms.Key(h.t.Context(), "")
	if err != nil {
		h.t.Fatal(err)
	}
	return arn
}

var backup = map[string]string{"team": "backup"}

// master opens a KMS key under the context that most tests have.
func (h *host) master(keyID string) keyring.Master {
	return h.open(keyring.Spec{Source: "kms:" + keyID, Context: backup})
}

func (h *host) open(spec keyring.Spec) keyring.Master {
	h.t.Helper()
	m, err := keyring.Open(h.t.Context(), spec, keyring.Sources{KMS: h.kms})
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

// escrow gives an age key with its identity, and its recipient alone.
func (h *host) escrow() (full, public keyring.Master) {
	h.t.Helper()
	path := filepath.Join(h.t.TempDir(), "key")
	p, err := keyring.Generate(keyring.KindAge, path, h.now)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.open(keyring.Spec{Source: "file:" + path}), h.open(keyring.Spec{Source: "age:" + p.Recipient})
}

// mount makes a ring over all keys, whose first set is of them all.
func (h *host) mount(masters ...keyring.Master) (*keyring.Ring, *keyring.Set) {
	h.t.Helper()
	r, err := keyring.New(keyring.Options{
		Masters: masters, Bucket: h.store, Dir: h.dir, Now: func() time.Time { return h.now },
		Report:  func(id keyring.EpochID, text string) { h.note(&h.said, text) },
		Revoked: func(id keyring.EpochID, cause error) { h.note(&h.revoked, fmt.Sprint(id, " ", cause)) },
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return r, h.set(r, masters...)
}

func (h *host) set(r *keyring.Ring, write ...keyring.Master) *keyring.Set {
	h.t.Helper()
	s, err := r.Set(write)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *host) note(list *[]string, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*list = append(*list, text)
}

func (h *host) current(s *keyring.Set) (keyring.EpochID, [32]byte) {
	h.t.Helper()
	id, key, err := s.Current(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return id, key
}

func (h *host) calls(want map[string]int) {
	h.t.Helper()
	if diff := cmp.Diff(want, h.kms.Calls()); diff != "" {
		h.t.Errorf("KMS calls: %s", diff)
	}
}

// reads opens an epoch as an object sealed under key does.
func reads(ctx context.Context, r *keyring.Ring, object string, id keyring.EpochID, key [32]byte) error {
	got, err := r.Open(ctx, object, id, func(k *[32]byte) bool { return *k == key })
	if err == nil && got != key {
		err = errors.New("another key")
	}
	return err
}

func wants(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// TestKMSCalls: 10,000 new files cost one GenerateDataKey, and a cold mount
// that reads them one Decrypt.
func TestKMSCalls(t *testing.T) {
	h := newHost(t)
	m := h.master(h.arn())
	_, s := h.mount(m)
	id, key := h.current(s)
	for range 10_000 {
		h.current(s)
	}
	h.calls(map[string]int{"GenerateDataKey": 1})

	cold := newHost(t) // another host's state, the same bucket
	cold.kms, cold.store = h.kms, h.store
	r, _ := cold.mount(m)
	_, err := r.Open(t.Context(), "", id, func(*[32]byte) bool { return false }) // as a mount tries its keys
	wants(t, err, keyring.ErrCorrupt)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 1250 {
				if err := reads(t.Context(), r, fmt.Sprintf("d%d/%d/f", w, i), id, key); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	h.calls(map[string]int{"GenerateDataKey": 1, "Decrypt": 1})

	r, s = h.mount(m) // the first host again: its own epoch is found, not made
	if again, _ := h.current(s); again != id {
		t.Error("another epoch was made")
	}
	h.calls(map[string]int{"GenerateDataKey": 1, "Decrypt": 2})
	if got := fmt.Sprintf("%v %+v %#v %s", m, s, r, m); strings.Contains(got, string(key[:])) || !strings.Contains(got, m.ID()) {
		t.Errorf("prints %q", got)
	}
}

// TestSeveralWraps: one key, drawn by the first KMS key, under all of the set.
func TestSeveralWraps(t *testing.T) {
	h := newHost(t)
	one, two := h.master(h.arn()), h.open(keyring.Spec{Source: "kms:" + h.arn(), Context: map[string]string{"of": "two"}})
	full, public := h.escrow()
	_, s := h.mount(one, public, two)
	id, key := h.current(s)
	h.calls(map[string]int{"GenerateDataKey": 1, "Encrypt": 1})
	e, err := keyring.ParseEpoch(id, h.store.objects[".sigil/epochs/"+id.String()])
	if err != nil {
		t.Fatal(err)
	}
	if e.Wraps[0].Key != one.ID() || !maps.Equal(e.Wraps[0].Context, backup) || e.Wraps[2].Key != two.ID() || e.Wraps[2].Context["of"] != "two" {
		t.Errorf("wraps %v", e.Wraps)
	}
	for _, m := range []keyring.Master{one, two, full} {
		r, _ := newHost(t).mountOver(h, m)
		if err := reads(t.Context(), r, "f", id, key); err != nil {
			t.Errorf("%v alone: %v", m, err)
		}
	}
	h.calls(map[string]int{"GenerateDataKey": 1, "Encrypt": 1, "Decrypt": 2})
	// Where a key is at hand, KMS is not asked, at a recheck neither.
	r, _ := newHost(t).mountOver(h, one, full)
	if err := errors.Join(reads(t.Context(), r, "f", id, key), r.Recheck(t.Context())); err != nil {
		t.Error(err)
	}
	h.calls(map[string]int{"GenerateDataKey": 1, "Encrypt": 1, "Decrypt": 2})
}

// mountOver mounts another host on the bucket and the KMS of o.
func (h *host) mountOver(o *host, masters ...keyring.Master) (*keyring.Ring, *keyring.Set) {
	h.kms, h.store = o.kms, o.store
	return h.mount(masters...)
}

// TestEpochOfNoKey: an epoch that could be wrapped for some keys only is not
// made.
func TestEpochOfNoKey(t *testing.T) {
	h := newHost(t)
	_, s := h.mount(h.master(h.arn()), h.master(h.arn()))
	h.kms.Deny(kmstest.Encrypt)
	_, _, err := s.Current(t.Context())
	wants(t, err, keyring.ErrAccess)
	if h.store.count() != 0 {
		t.Error("an epoch was stored")
	}
}

// TestContextDiffers: a wrap under another context than the configured one is
// not tried.
func TestContextDiffers(t *testing.T) {
	h := newHost(t)
	arn := h.arn()
	_, s := h.mount(h.master(arn))
	id, key := h.current(s)
	for _, c := range []map[string]string{nil, {"team": "other"}, {"team": "backup", "more": "x"}} {
		r, _ := newHost(t).mountOver(h, h.open(keyring.Spec{Source: "kms:" + arn, Context: c}))
		wants(t, reads(t.Context(), r, "f", id, key), keyring.ErrNoKey)
	}
	h.calls(map[string]int{"GenerateDataKey": 1})
}

// TestRevoked: what KMS opens no more is not read any more after a recheck, and
// is again when KMS opens it again.
func TestRevoked(t *testing.T) {
	tests := []struct {
		name     string
		do, undo func(h *host, arn string) error
		want     error
	}{
		{
			"disabled", func(h *host, arn string) error { return h.kms.Disable(h.t.Context(), arn) },
			func(h *host, arn string) error { return h.kms.Enable(h.t.Context(), arn) }, keyring.ErrWrongKey,
		},
		{
			"pending deletion", func(h *host, arn string) error { return h.kms.ScheduleDeletion(h.t.Context(), arn) },
			func(h *host, arn string) error { return h.kms.Enable(h.t.Context(), arn) }, keyring.ErrWrongKey,
		},
		{
			"denied", func(h *host, _ string) error { h.kms.Deny(kmstest.Decrypt); return nil },
			func(h *host, _ string) error { h.kms.Deny(); return nil }, keyring.ErrAccess,
		},
		{"deleted", func(h *host, _ string) error {
			h.kms.Fault(func(string, string) error { return keyring.ErrNoKey })
			return nil
		}, func(h *host, _ string) error { h.kms.Deny(); return nil }, keyring.ErrNoKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			arn := h.arn()
			r, s := h.mount(h.master(arn))
			id, key := h.current(s)
			if err := errors.Join(r.Recheck(t.Context()), reads(t.Context(), r, "f", id, key)); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(tt.do(h, arn), reads(t.Context(), r, "f", id, key), r.Recheck(t.Context())); err != nil {
				t.Fatal(err)
			}
			wants(t, reads(t.Context(), r, "f", id, key), tt.want)
			if len(h.revoked) != 1 || !strings.HasPrefix(h.revoked[0], id.String()) || !slices.ContainsFunc(h.said, func(s string) bool { return strings.Contains(s, "revoked") }) {
				t.Errorf("told %v, said %v", h.revoked, h.said)
			}
			if _, _, err := s.Current(t.Context()); !errors.Is(err, tt.want) {
				t.Errorf("sealed under it still: %v", err)
			}
			if h.store.count() != 1 {
				t.Error("another epoch was made, which nobody here opens")
			}
			if err := tt.undo(h, arn); err != nil {
				t.Fatal(err)
			}
			h.now = h.now.Add(time.Minute)
			if err := reads(t.Context(), r, "f", id, key); err != nil {
				t.Errorf("did not come back: %v", err)
			}
			if again, _ := h.current(s); again != id {
				t.Error("another epoch was made")
			}
		})
	}
}

var errDown = errors.New("no answer in time")

func (h *host) down() { h.kms.Fault(func(string, string) error { return errDown }) }

// TestKMSDown: what is open stays open, the recheck tells.
func TestKMSDown(t *testing.T) {
	h := newHost(t)
	one, two := h.master(h.arn()), h.master(h.arn())
	r, s := h.mount(one, two)
	id, key := h.current(s)
	h.current(h.set(r, one))
	h.current(h.set(r, two))
	h.calls(map[string]int{"GenerateDataKey": 3, "Encrypt": 1})
	h.down()
	wants(t, r.Recheck(t.Context()), errDown)
	if n := h.kms.Calls()["Decrypt"]; n > 2 {
		t.Errorf("a KMS that is down was asked %d times for two keys", n)
	}
	if err := reads(t.Context(), r, "f", id, key); err != nil {
		t.Error(err)
	}
	if again, _ := h.current(s); again != id || len(h.revoked) != 0 {
		t.Errorf("another epoch, or revoked: %v", h.revoked)
	}
}

// TestDownIsNotAskedByAll: a crowd that waits for an epoch shares the one
// answer, which is forgotten soon.
func TestDownIsNotAskedByAll(t *testing.T) {
	h := newHost(t)
	m := h.master(h.arn())
	_, s := h.mount(m)
	id, key := h.current(s)
	cold := newHost(t)
	r, writes := cold.mountOver(h, m)
	h.down()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if err := reads(t.Context(), r, fmt.Sprintf("d%d/f", i), id, key); !errors.Is(err, errDown) {
				t.Errorf("error %v", err)
			}
		})
	}
	wg.Wait()
	h.calls(map[string]int{"GenerateDataKey": 1, "Decrypt": 1})
	for range 50 {
		wg.Go(func() {
			if _, _, err := writes.Current(t.Context()); !errors.Is(err, errDown) {
				t.Errorf("error %v", err)
			}
		})
	}
	wg.Wait()
	h.calls(map[string]int{"GenerateDataKey": 2, "Decrypt": 1})
	h.kms.Deny()
	cold.now = cold.now.Add(5 * time.Second)
	if err := reads(t.Context(), r, "f", id, key); err != nil {
		t.Errorf("after KMS came back: %v", err)
	}
	h.current(writes)
}

// TestInterruptedIsNotRemembered: one reader's end is not another's.
func TestInterruptedIsNotRemembered(t *testing.T) {
	h := newHost(t)
	m := h.master(h.arn())
	_, s := h.mount(m)
	id, key := h.current(s)
	r, cold := newHost(t).mountOver(h, m)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wants(t, reads(ctx, r, "f", id, key), context.Canceled)
	_, _, err := cold.Current(ctx)
	wants(t, err, context.Canceled)
	if err := reads(t.Context(), r, "f", id, key); err != nil {
		t.Error(err)
	}
	h.current(cold)
}

// TestDeniedIsNotAskedAgain: not at once, by those who read beside it.
func TestDeniedIsNotAskedAgain(t *testing.T) {
	h := newHost(t)
	m := h.master(h.arn())
	_, s := h.mount(m)
	id, key := h.current(s)
	h.kms.Deny(kmstest.Decrypt)
	r, _ := newHost(t).mountOver(h, m)
	wants(t, reads(t.Context(), r, "d/1", id, key), keyring.ErrAccess)
	before := h.store.gets
	wants(t, reads(t.Context(), r, "d/2", id, key), keyring.ErrAccess)
	if h.store.gets != before {
		t.Error("the bucket was asked again")
	}
	wants(t, reads(t.Context(), r, "e/3", id, key), keyring.ErrAccess)
	h.calls(map[string]int{"GenerateDataKey": 1, "Decrypt": 1})
}

// TestDeniedRemount: a host that may make keys and not open them does not seal
// what it could not read.
func TestDeniedRemount(t *testing.T) {
	h := newHost(t)
	m := h.master(h.arn())
	_, s := h.mount(m)
	h.current(s)
	h.kms.Deny(kmstest.Decrypt)
	_, s = h.mount(m)
	_, _, err := s.Current(t.Context())
	wants(t, err, keyring.ErrAccess)
	if h.store.count() != 1 {
		t.Error("an epoch was made")
	}
}

// TestReplica: another region's replica of a multi-Region key reads.
func TestReplica(t *testing.T) {
	h := newHost(t)
	primary, replica, err := h.kms.Replicas(t.Context(), "us-west-2")
	if err != nil {
		t.Fatal(err)
	}
	_, s := h.mount(h.master(primary))
	id, key := h.current(s)
	r, there := newHost(t).mountOver(h, h.master(replica))
	if err := reads(t.Context(), r, "f", id, key); err != nil {
		t.Error(err)
	}
	if keep, err := there.MayKeep(t.Context(), "f", id); err != nil || keep {
		t.Errorf("MayKeep of another key set: %v, %v", keep, err)
	}
	other, _ := newHost(t).mountOver(h, h.master(h.arn()))
	wants(t, reads(t.Context(), other, "f", id, key), keyring.ErrNoKey)
}

func TestOpenKMS(t *testing.T) {
	h := newHost(t)
	arn := h.arn()
	if err := h.kms.Alias(t.Context(), "main", arn); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{arn, "alias/main", arn[strings.LastIndexByte(arn, '/')+1:]} {
		if m := h.master(name); m.ID() != arn || m.Kind() != keyring.KindKMS || !m.CanUnwrap() {
			t.Errorf("%s opened as %v", name, m)
		}
	}
	file := filepath.Join(t.TempDir(), "k")
	if _, err := keyring.Generate(keyring.KindAES, file, h.now); err != nil {
		t.Fatal(err)
	}
	with := keyring.Sources{KMS: h.kms}
	for _, tt := range []struct {
		spec keyring.Spec
		via  keyring.Sources
		want string
		is   error
	}{
		{keyring.Spec{Source: "kms:" + arn}, keyring.Sources{}, "there is no KMS here", nil},
		{keyring.Spec{Source: "kms:"}, with, "needs the ARN", nil},
		{keyring.Spec{Source: "kms:alias/none"}, with, "alias/none", keyring.ErrNoKey},
		{keyring.Spec{Source: "kms:" + arn, Kind: keyring.KindAES}, with, "is of kind kms, not aes", nil},
		{keyring.Spec{Source: "file:" + file, Kind: keyring.KindAge}, with, "is of kind aes, not age", nil},
		{keyring.Spec{Source: "file:" + file, Context: backup}, with, "only a kms: key has an encryption context", nil},
		{keyring.Spec{Source: "kms:" + arn, Context: map[string]string{"": "x"}}, with, "a name that is empty", nil},
		{keyring.Spec{Source: "kms:" + arn, Context: map[string]string{"a": "\xff"}}, with, "not UTF-8", nil},
		{keyring.Spec{Source: "kms:" + arn, Context: map[string]string{"a": strings.Repeat("x", 9000)}}, with, "over 8192 bytes", nil},
	} {
		m, err := keyring.Open(t.Context(), tt.spec, tt.via)
		if m != nil || !errors.Is(err, keyring.ErrKeySource) || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%v: %v", tt.spec, err)
		}
	}
	h.kms.Deny(kmstest.DescribeKey)
	if _, err := keyring.Open(t.Context(), keyring.Spec{Source: "kms:" + arn}, with); err != nil {
		t.Errorf("a whole ARN needs no kms:DescribeKey: %v", err)
	}
}

// TestSpecPrintsNoKey: a key may stand in the place of its source.
func TestSpecPrintsNoKey(t *testing.T) {
	const secret = "AGE-SECRET-KEY-1QQQSECRET"
	for _, spec := range []keyring.Spec{{Source: secret}, {Source: secret + ":x"}, {Source: "file:" + secret}} {
		if got := fmt.Sprintf("%v %+v %#v %q %s", spec, &spec, spec, spec, []keyring.Spec{spec}); strings.Contains(got, "SECRET") {
			t.Errorf("prints %q", got)
		}
	}
}

// TestSets: every rule of a policy has its own epoch, and data keys do not go
// from one to another.
func TestSets(t *testing.T) {
	h := newHost(t)
	m1, m2 := h.master(h.arn()), h.master(h.arn())
	r, both := h.mount(m1, m2)
	first, second := h.set(r, m1), h.set(r, m2)
	ids := map[*keyring.Set]keyring.EpochID{}
	for _, s := range []*keyring.Set{both, first, second} {
		ids[s], _ = h.current(s)
	}
	for a := range ids {
		for b, id := range ids {
			if keep, err := a.MayKeep(t.Context(), "f", id); err != nil || keep != (a == b) {
				t.Errorf("MayKeep of %v in %v: %v, %v", b, a, keep, err)
			}
		}
	}
	r, again := h.mount(m2, m1) // the order means nothing
	if got, _ := h.current(again); got != ids[both] {
		t.Error("the set of both made another epoch")
	}
	if got, _ := h.current(h.set(r, m1)); got != ids[first] {
		t.Error("the set of the first made another epoch")
	}
	if h.store.count() != 3 {
		t.Errorf("%d epochs", h.store.count())
	}
}
