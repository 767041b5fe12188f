package volume

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
)

// deaf is a server that takes what some requests ask for and does not do it.
type deaf struct {
	store
	to     []string // verbs: "put", "copy", "upload"
	mended atomic.Bool
}

func (d *deaf) hears(verb string, opt *objstore.PutOptions) {
	if !d.mended.Load() && slices.Contains(d.to, verb) {
		opt.Encryption = nil
	}
}

func (d *deaf) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, opt objstore.PutOptions) (objstore.Receipt, error) {
	enc := opt.Encryption
	d.hears("put", &opt)
	got, err := d.store.Put(ctx, key, body, size, opt)
	got.Encryption = enc
	return got, err
}

func (d *deaf) Copy(ctx context.Context, src objstore.ID, dst string, opt objstore.PutOptions) (objstore.Receipt, error) {
	enc := opt.Encryption
	d.hears("copy", &opt)
	got, err := d.store.Copy(ctx, src, dst, opt)
	got.Encryption = enc
	return got, err
}

func (d *deaf) Upload(ctx context.Context, key string, opt objstore.PutOptions) (objstore.Uploader, error) {
	enc := opt.Encryption
	d.hears("upload", &opt)
	up, err := d.store.Upload(ctx, key, opt)
	return deafUpload{up, enc}, err
}

type deafUpload struct {
	objstore.Uploader
	enc *objstore.Encryption
}

func (u deafUpload) Complete(ctx context.Context, cond objstore.Condition) (objstore.Receipt, error) {
	got, err := u.Uploader.Complete(ctx, cond)
	got.Encryption = u.enc
	return got, err
}

func (d *deaf) tweak(o *Options) { d.store, o.Store = o.Store.(store), d }

// logged is a log, and what was written to it.
func logged() (*logtest.Hook, tweak) {
	l, hook := logtest.NewNullLogger()
	l.SetLevel(logrus.DebugLevel)
	return hook, func(o *Options) { o.Log = l }
}

func said(h *logtest.Hook, level logrus.Level, text string) int {
	n := 0
	for _, e := range h.AllEntries() {
		if e.Level == level && strings.Contains(e.Message, text) {
			n++
		}
	}
	return n
}

// TestUnconfirmedWrites: what a server does not encrypt as asked is an error and
// does not stay; the data is kept here, and goes up once the server behaves.
func TestUnconfirmedWrites(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"sse-s3", "sse-kms silent", "sse-kms-customer", "sse-c", "client-sse"} {
		for _, verb := range []string{"put", "upload"} {
			for _, versioned := range []bool{false, true} {
				for _, old := range []bool{false, true} {
					name := strings.Join([]string{mode, verb, map[bool]string{true: "versioned"}[versioned], map[bool]string{true: "overwrite"}[old]}, " ")
					t.Run(name, func(t *testing.T) { testUnconfirmed(t, setupOf(mode), verb, versioned, old) })
				}
			}
		}
	}
}

func testUnconfirmed(t *testing.T, s setup, verb string, versioned, old bool) {
	m := kmsBucket(mem.Options{Versioned: versioned, SilentCopies: strings.Contains(s.name, "silent")})
	hook, log := logged()
	server := &deaf{to: []string{verb}}
	f := mount(t, m, s.on, inParts, server.tweak, log)
	text := "new"
	if verb == "upload" {
		text = noise(200<<10, 1)
	}
	if old {
		server.mended.Store(true)
		f.put("a", "old")
		server.mended.Store(false)
	}
	wants(t, f.tryPut("a", text), ErrNotEncrypted)
	o, there := m.Object("a")
	switch {
	case !versioned || !old:
		if there {
			t.Errorf("%d bytes are left, %v", len(o.Body), o.Info.Encrypted)
		}
	default:
		if got, err := mount(t, m, s.on, host("there")).get("a"); err != nil || got != "old" {
			t.Errorf("the version before does not show: %s, %v", brief(got), err)
		}
	}
	if said(hook, logrus.ErrorLevel, "removed again") == 0 {
		t.Error("nothing in the log")
	}
	f.has("a", text)
	if f.Dirty() != 1 {
		t.Errorf("%d dirty", f.Dirty())
	}
	wants(t, f.open("a").Commit(f.ctx), ErrNotEncrypted) // every time
	server.mended.Store(true)
	file := f.open("a")
	f.must(file.Commit(f.ctx))
	file.Release()
	other := mount(t, m, s.on, host("there"))
	other.has("a", text)
	other.lists("", "a") // and no conflict copy
}

// TestUnconfirmedCopies: an object whose attributes are changed stays, since it
// is nowhere else, but for what another version has kept; the copy of a rename
// goes, and the source stays.
func TestUnconfirmedCopies(t *testing.T) {
	for _, mode := range []string{"sse-s3", "sse-kms silent", "sse-c", "sse-c silent", "client-sse"} {
		for _, versioned := range []bool{false, true} {
			t.Run(mode+map[bool]string{true: " versioned"}[versioned], func(t *testing.T) {
				s := setupOf(mode)
				m := kmsBucket(mem.Options{Versioned: versioned, SilentCopies: strings.HasSuffix(mode, "silent")})
				hook, log := logged()
				server := &deaf{to: []string{"copy"}}
				f := mount(t, m, s.on, server.tweak, log)
				f.put("a", "text")
				wants(t, errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})), ErrNotEncrypted)
				f.has("a", "text")
				o, _ := m.Object("a")
				if stripped := s.rules[0].Server.Confirm(o.Info.Encrypted) != nil; stripped == versioned {
					t.Errorf("%v", o.Info.Encrypted)
				}
				if !versioned && said(hook, logrus.ErrorLevel, "not encrypted as it should be") != 1 {
					t.Error("nothing in the log")
				}
				f.put("b", "bb")
				f.put("e", "old")
				wants(t, f.Rename(f.ctx, "b", "c", false), ErrNotEncrypted)
				f.has("b", "bb")
				f.absent("c")
				f.must(errOf(f.Mkdir(f.ctx, "d", Attr{})))
				f.put("d/x", "x")
				f.put("d/y", "y")
				wants(t, f.Rename(f.ctx, "d", "dd", false), ErrNotEncrypted)
				f.absent("dd")
				f.lists("d", "x", "y")
				server.mended.Store(true)
				f.rename("b", "c")
				f.rename("d", "dd")
				f.has("dd/x", "x")
				f.has("c", "bb")
				f.noLeftovers()
			})
		}
	}
}

// TestUnconfirmableUpload: nothing is known of an upload whose Complete says
// nothing and whose HEAD fails; the next commit finds it, and there is neither
// a conflict nor a second file.
func TestUnconfirmableUpload(t *testing.T) {
	for _, mode := range []string{"sse-kms silent", "sse-c", "sse-s3 silent"} {
		for _, size := range []int{100, 200 << 10} {
			s := setupOf(mode)
			f := mount(t, s.store(), s.on, inParts)
			f.put("a", "old")
			file := f.open("a")
			f.must(file.Truncate(f.ctx, 0))
			f.write(file, noise(size, 1), 0)
			verb := faulty.Head
			if size == 100 { // whose answer is lost as well
				f.s.SetScript(func(op faulty.Op) faulty.Fault {
					return faulty.Fault{Lost: op.Verb == faulty.Put, Err: map[bool]error{true: objstore.ErrThrottled}[op.Verb == faulty.Head]}
				})
			} else {
				f.failing(objstore.ErrThrottled, false, verb)
			}
			err := file.Commit(f.ctx)
			if err == nil || errors.Is(err, ErrNotEncrypted) {
				t.Fatalf("%s: got %v", mode, err)
			}
			f.has("a", noise(size, 1))
			f.healed()
			f.must(file.Commit(f.ctx))
			file.Release()
			f.lists("", "a")
			mount(t, f.mem, s.on, host("there")).has("a", noise(size, 1))
		}
	}
}

// TestIgnoredEncryption: a server that ignores all of it gets nothing to keep.
func TestIgnoredEncryption(t *testing.T) {
	for _, s := range setups() {
		if s.rules[0].Server == nil {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			m := mem.New(mem.Options{IgnoreEncryption: true})
			f := mount(t, m, s.on, inParts)
			for _, op := range []func() error{
				func() error { return f.tryPut("a", "secret") },
				func() error { return errOf(f.Mkdir(f.ctx, "d", Attr{})) },
				func() error { return errOf(f.Symlink(f.ctx, "l", "secret", Attr{})) },
				func() error { return f.tryPut("big", noise(200<<10, 1)) },
			} {
				wants(t, op(), ErrNotEncrypted)
			}
			for key, o := range m.Snapshot() {
				if bytes.Contains(o.Body, []byte("secret")) || len(o.Body) > 100<<10 {
					t.Errorf("%s is left", key)
				}
			}
			f.has("a", "secret")
		})
	}
}

// TestRefusedUpload: a server that says at the beginning of an upload that it
// will not encrypt as asked is sent no data.
func TestRefusedUpload(t *testing.T) {
	for _, mode := range []string{"sse-kms", "sse-c"} {
		s := setupOf(mode)
		m := mem.New(mem.Options{DefaultEncryption: map[string]string{"x-amz-server-side-encryption": "AES256"}})
		f := mount(t, m, s.on, inParts, (&deaf{to: []string{"upload"}}).tweak)
		var parts atomic.Int32
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			if op.Verb == faulty.Part {
				parts.Add(1)
			}
			return faulty.Fault{}
		})
		wants(t, f.tryPut("a", noise(200<<10, 1)), ErrNotEncrypted)
		if _, there := m.Object("a"); there || len(m.Uploads()) > 0 || parts.Load() > 0 {
			t.Errorf("%s: object %v, uploads %v, %d parts sent", mode, there, m.Uploads(), parts.Load())
		}
	}
}

// TestStrongerMarker: a directory that was made under a stronger mode keeps it
// when its attributes change, as a file does.
func TestStrongerMarker(t *testing.T) {
	m := kmsBucket(mem.Options{})
	kms, s3 := setupOf("sse-kms"), setupOf("sse-s3")
	f := mount(t, m, kms.on)
	f.must(errOf(f.Mkdir(f.ctx, "d", Attr{})))
	f.put("a", "text")
	f = mount(t, m, s3.on)
	for path, key := range map[string]string{"d": "d/", "a": "a"} {
		before, _ := m.Object(key)
		f.must(errOf(f.SetAttr(f.ctx, path, Change{Mode: ptr[uint32](0o700)})))
		after, _ := m.Object(key)
		if before.Info.Encrypted == nil || !maps.Equal(before.Info.Encrypted, after.Info.Encrypted) {
			t.Errorf("%s: %v became %v", key, before.Info.Encrypted, after.Info.Encrypted)
		}
	}
}
