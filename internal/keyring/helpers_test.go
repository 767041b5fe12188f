package keyring

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeBucket is a Bucket in memory, which counts its requests.
type fakeBucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	etags   map[string]int
	gets    []string
	writes  int
	fail    error // of every request, if set
	denied  bool  // no Get is allowed
	lose    bool  // the answer of the next Create is lost, and it is sent again

	// replacing is asked before each Replace, without the lock: what it gives
	// is the answer, of a request that was done nonetheless or was not.
	replacing func(key string) (answer error, done bool)
}

func newBucket() *fakeBucket {
	return &fakeBucket{objects: map[string][]byte{}, etags: map[string]int{}}
}

func (b *fakeBucket) Get(_ context.Context, key string) ([]byte, string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gets = append(b.gets, key)
	if b.fail != nil {
		return nil, "", b.fail
	}
	data, ok := b.objects[key]
	if !ok || b.denied {
		return nil, "", fmt.Errorf("get %s: %w", key, ErrNotExist)
	}
	return slices.Clone(data), strconv.Itoa(b.etags[key]), nil
}

func (b *fakeBucket) Create(_ context.Context, key string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes++
	if b.fail != nil {
		return b.fail
	}
	if _, ok := b.objects[key]; ok {
		return fmt.Errorf("create %s: %w", key, ErrExist)
	}
	b.put(key, data)
	if b.lose {
		b.lose = false
		return fmt.Errorf("create %s: %w", key, ErrExist)
	}
	return nil
}

func (b *fakeBucket) Replace(_ context.Context, key string, data []byte, etag string) error {
	var answer error
	if b.replacing != nil {
		var done bool
		if answer, done = b.replacing(key); answer != nil && !done {
			return answer
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes++
	if _, ok := b.objects[key]; !ok || strconv.Itoa(b.etags[key]) != etag {
		return fmt.Errorf("replace %s: %w", key, ErrChanged)
	}
	b.put(key, data)
	return answer
}

// List is of a store that has "/" for its delimiter.
func (b *fakeBucket) List(_ context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		last := ""
		for _, key := range b.keys() {
			rest, ok := strings.CutPrefix(key, prefix)
			if !ok {
				continue
			}
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				key = prefix + rest[:i+1]
			}
			if key != last && !yield(key, nil) {
				return
			}
			last = key
		}
	}
}

func (b *fakeBucket) put(key string, data []byte) {
	b.objects[key] = slices.Clone(data)
	b.etags[key]++
}

// set writes over an object, as an attacker or another host may.
func (b *fakeBucket) set(key string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(key, data)
}

func (b *fakeBucket) delete(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, key)
}

func (b *fakeBucket) object(key string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.objects[key]
}

func (b *fakeBucket) keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var keys []string
	for k := range b.objects {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (b *fakeBucket) requests() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.gets) + b.writes
}

// clock is a settable time.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// reports collects what a ring says.
type reports struct {
	mu    sync.Mutex
	texts []string
}

func (r *reports) add(_ EpochID, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, text)
}

func (r *reports) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.texts)
}

// aesKey gives a master key made of a seed.
func aesKey(seed byte) *aesMaster {
	var key [KeySize]byte
	for i := range key {
		key[i] = seed + byte(i)
	}
	return newAES(key)
}

// agePair gives one age key twice: with its identity, and recipients only.
func agePair(t *testing.T) (full, public *ageMaster, id *age.X25519Identity) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	r := recipient{id.Recipient(), id.Recipient().String()}
	if full, err = newAge(nil, []identity{{id, &r}}); err != nil {
		t.Fatal(err)
	}
	if public, err = newAge([]recipient{r}, nil); err != nil {
		t.Fatal(err)
	}
	return full, public, id
}

// conf is what a test mounts with: Options, and the keys that write.
type conf struct {
	WriteSet, Masters []Master
	Bucket            Bucket
	Older             Older
	VolumeRoot        string
	ReadOnly          bool
	Dir               *Dir
	Host              string
	Now               func() time.Time
	Report            func(EpochID, string)
	Revoked           func(EpochID, error)
	Signers           []Signer
	Sign              *SigningKey
	Lease             time.Duration
}

// mounted is a ring and its one key set.
type mounted struct {
	*Ring
	*Set
}

func mustRing(t *testing.T, c conf) mounted {
	t.Helper()
	r, err := New(Options{
		Masters: slices.Concat(c.WriteSet, c.Masters), Bucket: c.Bucket, Older: c.Older, VolumeRoot: c.VolumeRoot, ReadOnly: c.ReadOnly,
		Dir: c.Dir, Host: c.Host, Now: c.Now, Report: c.Report, Revoked: c.Revoked,
		Signers: c.Signers, Sign: c.Sign, Lease: c.Lease,
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.WriteSet == nil { // it only reads
		c.WriteSet = c.Masters
	}
	return mounted{r, mustSet(t, r, c.WriteSet...)}
}

func mustSet(t *testing.T, r *Ring, write ...Master) *Set {
	t.Helper()
	s, err := r.Set(write)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// memory is a directory whose files are synced at once, where there is such a
// thing: every record is.
func memory(t *testing.T) string {
	t.Helper()
	base, err := os.MkdirTemp("/dev/shm", "keyring")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	return base
}

// few runs fewer checks of a slow property than the default: rapid has the number
// in a flag only.
func few(t *testing.T, checks string, test func()) {
	t.Helper()
	number := flag.Lookup("rapid.checks")
	if number.Value.String() != number.DefValue { // asked for by hand
		test()
		return
	}
	if err := number.Value.Set(checks); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = number.Value.Set(number.DefValue) }()
	test()
}

func mustDir(t *testing.T) *Dir {
	t.Helper()
	d, err := OpenDir(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustCurrent(t *testing.T, r interface {
	Current(ctx context.Context) (EpochID, [KeySize]byte, error)
},
) (EpochID, [KeySize]byte) {
	t.Helper()
	id, key, err := r.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id, key
}

// is gives the check of a seal under key.
func is(key [KeySize]byte) func(*[KeySize]byte) bool {
	return func(k *[KeySize]byte) bool { return *k == key }
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// change gives an epoch object with one more revision and what edit does.
func change(t *testing.T, id EpochID, key [KeySize]byte, stored []byte, edit func(*Epoch)) []byte {
	t.Helper()
	e, err := ParseEpoch(id, stored)
	if err != nil {
		t.Fatal(err)
	}
	e.Revision++
	edit(e)
	data, err := e.Marshal(&key)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(data)
}

func writeFile(t *testing.T, data []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "k")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// second gives the error of a pair.
func second[T any](_ T, err error) error { return err }
