package volume

import (
	"errors"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/cache/disk"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// onDisk is a read cache in dir, of which each mount has its own.
func onDisk(t *testing.T, dir string) (with tweak, end func()) {
	t.Helper()
	d, err := disk.Claim(t.Context(), dir, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := disk.Open(d, disk.Options{Key: [32]byte{9}, Size: disk.MinSize, Report: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	c := cache.New(cache.Options{Bytes: 1 << 20, Disk: blocks})
	end = sync.OnceFunc(func() {
		if err := errors.Join(c.Close(), blocks.Close(), d.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return func(o *Options) { o.Cache = c }, end
}

// TestServerKeys: what is cached of an object under a key of KMS is not read
// any more after the next recheck when S3 refuses the key, by who has it open
// neither; it is when the key is back. A KMS that does not answer takes nothing.
func TestServerKeys(t *testing.T) {
	for _, form := range []string{"sse-kms", "client", "s3ec"} {
		for _, lasting := range []bool{false, true} {
			t.Run(form, func(t *testing.T) {
				s := setupOf(form).with(func(r *Rule) { r.Server = need(sse.KMS(kmsKey, nil, nil)) })
				m := awsBucket()
				with := func(*Options) {}
				if lasting {
					with, _ = onDisk(t, t.TempDir())
				}
				f := mount(t, m, s.on, with)
				text := noise(300<<10, 1)
				f.put("a", text)
				file := f.open("a")
				defer file.Release()
				f.reads(file, text)
				f.must(f.RecheckKeys(f.ctx))
				f.s.Reset()
				f.reads(file, text)
				if n := f.s.Counts().Requests[faulty.Get]; n != 0 {
					t.Fatalf("%d GETs for what is cached", n)
				}
				m.SetKey(kmsKey, mem.KeyThrottled)
				if err := f.RecheckKeys(f.ctx); !errors.Is(err, ErrThrottled) {
					t.Errorf("a KMS that does not answer: %v", err)
				}
				f.reads(file, text)
				for state, want := range kmsErrors {
					if state == mem.KeyThrottled {
						continue
					}
					m.SetKey(kmsKey, state)
					f.reads(file, text) // until the next look
					f.must(f.RecheckKeys(f.ctx))
					for range 2 {
						_, err := textOf(f.ctx, file)
						wants(t, err, want)
					}
					f.must(f.RecheckKeys(f.ctx)) // which has nothing to ask for
					m.SetKey(kmsKey, mem.KeyEnabled)
					f.s.Reset()
					f.reads(file, text)
					// The server gives what a client has sealed as it is, under any key.
					if n := f.s.Counts().Down; form == "sse-kms" && n < int64(len(text)) {
						t.Errorf("%v: of what was to be dropped all but %d bytes were still here", want, n)
					}
				}
			})
		}
	}
}

// TestServerKeysAtMount: of blocks that an earlier mount left nothing is read
// under a key that S3 refuses now; and one look is enough for all.
func TestServerKeysAtMount(t *testing.T) {
	s, dir := setupOf("sse-kms"), t.TempDir()
	s = *s.with(func(r *Rule) { r.Server = need(sse.KMS(kmsKey, nil, nil)) })
	m := awsBucket()
	with, end := onDisk(t, dir)
	f := mount(t, m, s.on, with)
	text := noise(300<<10, 1)
	for _, name := range []string{"a", "b"} {
		f.put(name, text)
		f.has(name, text)
	}
	f.end()
	end()

	m.SetKey(kmsKey, mem.KeyEnabled)
	with, end = onDisk(t, dir)
	f = mount(t, m, s.on, with)
	for _, name := range []string{"a", "b"} {
		f.stat(name)
		f.s.Reset()
		f.has(name, text)
		if n := f.s.Counts().Requests[faulty.Get]; name == "b" && n > 1 {
			t.Errorf("%d GETs for what is on disk", n)
		}
	}
	f.end()
	end()

	with, _ = onDisk(t, dir)
	f = mount(t, m, s.on, with, long)
	file := f.open("a") // its lookup was allowed
	defer file.Release()
	m.SetKey(kmsKey, mem.KeyDenied)
	_, err := textOf(f.ctx, file)
	wants(t, err, ErrKeyAccess)
	m.SetKey(kmsKey, mem.KeyEnabled)
	f.reads(file, text)
}

// TestNoServerKey: without a key of KMS nothing is asked for.
func TestNoServerKey(t *testing.T) {
	for _, form := range []string{"client", "none", "sse-s3", "sse-c"} {
		s := setupOf(form)
		with, _ := onDisk(t, t.TempDir())
		f := mount(t, awsBucket(), s.on, with)
		f.put("a", "text")
		f.has("a", "text")
		f.s.Reset()
		f.must(f.RecheckKeys(f.ctx))
		if n := f.s.Counts().Total(); n != 0 {
			t.Errorf("%s: %d requests", form, n)
		}
	}
}

// TestKeysOfS3EC: what was fetched, verified and is here is read no more once
// its key is refused; and is when the key is back. A KMS that does not answer
// takes nothing.
func TestKeysOfS3EC(t *testing.T) {
	kms := &fakeKMS{}
	key := need(s3ec.NewKMSKey(kms, "alias/main", map[string]string{"team": "backup"}))
	s := s3ecSetup("s3ec-kms", key, s3ec.FormatV3)
	f := mount(t, s.store(), s.on)
	f.put("a", "text")
	file := f.open("a")
	defer file.Release()
	f.reads(file, "text")
	kms.fail = errors.New("KMS is away")
	if err := f.RecheckKeys(f.ctx); !errors.Is(err, kms.fail) {
		t.Errorf("a KMS that does not answer: %v", err)
	}
	f.reads(file, "text")
	kms.fail = ErrKeyAccess
	f.reads(file, "text") // until the next look
	f.must(f.RecheckKeys(f.ctx))
	_, err := textOf(f.ctx, file)
	wants(t, err, ErrKeyAccess)
	kms.fail = nil
	f.reads(file, "text")
}

// TestS3ECOnDisk: a body that is verified whole comes off the disk in the next
// mount.
func TestS3ECOnDisk(t *testing.T) {
	s, dir := setupOf("s3ec"), t.TempDir()
	m := s.store()
	text := noise(3<<20, 1)
	for round := range 3 {
		with, end := onDisk(t, dir)
		f := mount(t, m, s.on, with)
		if round == 0 {
			f.put("a", text)
		}
		f.stat("a")
		f.s.Reset()
		f.has("a", text)
		if n := f.s.Counts().Down; (n > 1<<20) != (round == 0) {
			t.Errorf("round %d: %d bytes came", round, n)
		}
		f.end()
		end()
	}
}
