package volume

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
)

// TestMain has the models draw the same each time where SIGILFS_SEED says so: what
// they find by chance is for who looks for it, not for whose change is tested.
func TestMain(m *testing.M) {
	flag.Parse()
	if seed := os.Getenv("SIGILFS_SEED"); seed != "" && flag.Lookup("rapid.seed").Value.String() == "0" {
		if err := flag.Set("rapid.seed", seed); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// fakeKeys is a key ring in memory: the first epoch seals, all open.
type fakeKeys struct {
	epochs []sigil.Epoch
	fail   error // of Open, where no epoch fits

	retired bool // all epochs are
}

func epoch(n byte) sigil.Epoch {
	return sigil.Epoch{ID: sigil.EpochID{n}, Key: sigil.Key{n, 1, 2, 3}}
}

func (k *fakeKeys) Current(context.Context) (sigil.Epoch, error) {
	if len(k.epochs) == 0 {
		return sigil.Epoch{}, ErrNoKey
	}
	return k.epochs[0], nil
}

func (k *fakeKeys) MayKeep(_ context.Context, _ string, id sigil.EpochID) (bool, error) {
	return slices.ContainsFunc(k.epochs, func(e sigil.Epoch) bool { return e.ID == id }) && !k.retired, nil
}

func (k *fakeKeys) KeyIDs(sigil.EpochID) []string { return []string{"aes:1", "age:2"} }

func (k *fakeKeys) Open(_ context.Context, _ string, id sigil.EpochID, check func(sigil.Epoch) bool) (sigil.Epoch, error) {
	for _, e := range k.epochs {
		if e.ID == id && check(e) {
			return e, nil
		}
	}
	if k.fail != nil {
		return sigil.Epoch{}, k.fail
	}
	return sigil.Epoch{}, ErrNoKey
}

// fixture is one host's mount on a bucket.
type fixture struct {
	t   testing.TB
	mem *mem.Store
	s   *faulty.Store
	*Volume
	ctx context.Context
	end func() // of all this; at the end of the test in any case
}

type tweak func(*Options)

func noTimeout(o *Options)          { o.AttrTimeout = -1 }
func long(o *Options)               { o.AttrTimeout = time.Hour }
func host(name string) tweak        { return func(o *Options) { o.Host = name } }
func onConflict(c OnConflict) tweak { return func(o *Options) { o.OnConflict = c } }
func keys(k *fakeKeys) tweak {
	return func(o *Options) { o.Keys, o.Rules = k, []Rule{{Mode: "client", Keys: k}} }
}
func rules(r ...Rule) tweak { return func(o *Options) { o.Rules = r } }

// inParts has bodies over 100 KiB go up in parts: large ones are slow under the
// race detector.
func inParts(o *Options) { o.onePut = 100 << 10 }

// twoParts is about the shortest body that goes up in two, in bytes.
const twoParts = sealedSegment + objstore.MinPartSize

func under(prefix, root string) tweak { return func(o *Options) { o.Prefix, o.Root = prefix, root } }

func silentLog() logrus.FieldLogger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

// mount makes a volume of one host on m and starts it; it is closed with the
// test. The default believes nothing without asking.
func mount(t testing.TB, m *mem.Store, tweaks ...tweak) *fixture {
	t.Helper()
	f := mountIdle(t, m, tweaks...)
	if err := f.Start(f.ctx); err != nil {
		t.Fatal(err)
	}
	f.s.Reset()
	return f
}

func mountIdle(t testing.TB, m *mem.Store, tweaks ...tweak) *fixture {
	t.Helper()
	s := faulty.New(m, faulty.Options{})
	c := cache.New(cache.Options{Bytes: 4 << 20, Ahead: -1})
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	opt := Options{
		Moves: movesOf(m), Store: s, Keys: k, Rules: []Rule{{Mode: "client", Keys: k}}, ScratchDir: os.TempDir(), Cache: c, Log: silentLog(), Host: "here", AttrTimeout: -1, AttrDelay: -1,
		Capabilities: objstore.Capabilities{PutConditions: true, UploadConditions: true, CopyConditions: true, DeleteConditions: true, CopyParts: true},
	}
	for _, tw := range tweaks {
		tw(&opt)
	}
	compressAll(t, &opt)
	if opt.Spool == nil && !opt.ReadOnly {
		sp, err := spool.Open(filepath.Join(t.TempDir(), "spool"), spool.Options{Limit: 256 << 20, Reserve: -1, Key: &[32]byte{7}})
		if err != nil {
			t.Fatal(err)
		}
		opt.Spool = sp
	}
	// Not t.Context(): cleaning up comes after that has ended.
	ctx, cancel := context.WithCancel(context.Background())
	f := &fixture{t: t, mem: m, s: s, Volume: New(opt), ctx: ctx}
	f.end = func() {
		if f.Volume == nil {
			return
		}
		s.SetScript(nil)
		_ = f.Close(ctx)
		cancel()
		f.done.Wait()
		_ = c.Close()
		if opt.Spool != nil {
			_ = opt.Spool.Close()
		}
		f.mem, f.s, f.Volume, s, c, opt = nil, nil, nil, nil, nil, Options{} // tests make many
	}
	t.Cleanup(f.end)
	return f
}

// compressAll has every rule that may compress do so, where SIGILFS_COMPRESS asks
// for it: most tests hold then, too.
func compressAll(t testing.TB, opt *Options) {
	t.Helper()
	if os.Getenv("SIGILFS_COMPRESS") == "" {
		return
	}
	opt.Rules = slices.Clone(opt.Rules)
	for i := range opt.Rules {
		if opt.Rules[i].Keys != nil && opt.Rules[i].Compress == nil {
			opt.Rules[i].Compress = compressor(t)
		}
	}
}

func compressor(t testing.TB) *sigil.Compressor {
	t.Helper()
	c, err := sigil.NewCompressor(sigil.MinLevel)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func bucket() *mem.Store { return mem.New(mem.Options{}) }

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// wants checks an error against a sentinel; nil wants success.
func wants(t testing.TB, err, want error) {
	t.Helper()
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

// put writes a whole file, as open(O_CREAT|O_TRUNC), write, close do.
func (f *fixture) put(p, content string) {
	f.t.Helper()
	f.must(f.tryPut(p, content))
}

func (f *fixture) tryPut(p, content string) error {
	file, err := f.Open(f.ctx, p, OpenOptions{Write: true, Truncate: true})
	if errors.Is(err, ErrNotExist) {
		file, err = f.Create(f.ctx, p, Attr{Mode: 0o644}, false)
	}
	if err != nil {
		return err
	}
	defer file.Release()
	if content != "" {
		if _, err := file.WriteAt(f.ctx, []byte(content), 0); err != nil {
			return err
		}
	}
	return file.Commit(f.ctx)
}

// create makes an uncommitted file with content.
func (f *fixture) create(p, content string, excl bool) *File {
	f.t.Helper()
	file, err := f.Create(f.ctx, p, Attr{Mode: 0o644}, excl)
	f.must(err)
	f.write(file, content, 0)
	return file
}

func (f *fixture) open(p string) *File {
	f.t.Helper()
	file, err := f.Open(f.ctx, p, OpenOptions{Write: true})
	f.must(err)
	return file
}

func (f *fixture) write(file *File, content string, off int64) {
	f.t.Helper()
	n, err := file.WriteAt(f.ctx, []byte(content), off)
	f.must(err)
	if n != len(content) {
		f.t.Fatalf("wrote %d bytes", n)
	}
}

func textOf(ctx context.Context, file *File) (string, error) {
	p := make([]byte, file.Info().Size+10)
	n, err := file.ReadAt(ctx, p, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return string(p[:n]), err
}

func (f *fixture) reads(file *File, want string) {
	f.t.Helper()
	got, err := textOf(f.ctx, file)
	f.must(err)
	if got != want {
		f.t.Fatalf("read %s, want %s", brief(got), brief(want))
	}
}

func brief(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q… (%d bytes)", s[:80], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// get reads a whole file by its path.
func (f *fixture) get(p string) (string, error) {
	file, err := f.Open(f.ctx, p, OpenOptions{})
	if err != nil {
		return "", err
	}
	defer file.Release()
	return textOf(f.ctx, file)
}

// holds checks that p reads as content.
func (f *fixture) has(p, want string) {
	f.t.Helper()
	got, err := f.get(p)
	f.must(err)
	if got != want {
		f.t.Fatalf("%s reads %s, want %s", p, brief(got), brief(want))
	}
}

func (f *fixture) absent(p string) {
	f.t.Helper()
	_, err := f.Stat(f.ctx, p)
	wants(f.t, err, ErrNotExist)
}

func (f *fixture) stat(p string) Info {
	f.t.Helper()
	info, err := f.Stat(f.ctx, p)
	f.must(err)
	return info
}

// list gives the names in p, directories with a slash.
func (f *fixture) list(p string) []string {
	f.t.Helper()
	names := []string{}
	for e, err := range f.List(f.ctx, p, "") {
		f.must(err)
		names = append(names, e.Name)
	}
	return names
}

func (f *fixture) lists(p string, want ...string) {
	f.t.Helper()
	if got := f.list(p); !slices.Equal(got, want) {
		f.t.Fatalf("%q lists %q, want %q", p, got, want)
	}
}

// requests checks what was asked of the store since the last reset, as
// "put get list", in any order, and resets.
func (f *fixture) requests(want string) {
	f.t.Helper()
	var got []string
	for _, op := range f.s.Ops() {
		got = append(got, string(op.Verb))
	}
	slices.Sort(got)
	expect := strings.Fields(want)
	slices.Sort(expect)
	if !slices.Equal(got, expect) {
		f.t.Fatalf("requests %v, want %v", got, expect)
	}
	f.s.Reset()
}

// failing makes the requests of these verbs fail with err; done says that they
// are done nonetheless.
func (f *fixture) failing(err error, done bool, verbs ...faulty.Verb) {
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if !slices.Contains(verbs, op.Verb) {
			return faulty.Fault{}
		}
		if done {
			return faulty.Fault{After: func(e error) error { return errors.Join(e, err) }}
		}
		return faulty.Fault{Err: err}
	})
}

func (f *fixture) healed() { f.s.SetScript(nil) }

// noise is n bytes that compress badly and depend on seed.
func noise(n int, seed byte) string {
	p := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return string(p)
}

// noLeftovers checks that nothing of the volume's own is left in the bucket.
func (f *fixture) noLeftovers() {
	f.t.Helper()
	for _, key := range f.mem.Keys() {
		if strings.Contains(key, hidden+"/") {
			f.t.Errorf("left behind: %s", key)
		}
	}
	if up := f.mem.Uploads(); len(up) != 0 {
		f.t.Errorf("uploads left behind: %v", up)
	}
}

// sealed checks that plaintext is nowhere in the bucket.
func (f *fixture) sealed(plaintext string) {
	f.t.Helper()
	for key, o := range f.mem.Snapshot() {
		if bytes.Contains(o.Body, []byte(plaintext)) || strings.Contains(fmt.Sprint(o.Info.Metadata), plaintext) {
			f.t.Errorf("%s shows %s", key, brief(plaintext))
		}
	}
}

func ptr[T any](x T) *T { return &x }

// clock is a time that passes when a test says so. It begins on a whole second.
type clock struct {
	mu sync.Mutex // guards t
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Unix(1_800_000_000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func memAt(c *clock) *mem.Store { return mem.New(mem.Options{Now: c.now}) }

// careless is a bucket that takes conditions and does not look at them.
func careless() *mem.Store {
	return mem.New(mem.Options{IgnorePutConditions: true, IgnoreCopyConditions: true, IgnoreDeleteConditions: true})
}

// pass lets time go by in a bubble of synctest, where nothing else moves it.
func pass(d time.Duration) { <-time.After(d) }
