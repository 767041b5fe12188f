package volume

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// copyTo copies a to b as cp does, up to the close.
func (f *fixture) copyTo(a, b string) (*File, error) {
	src, err := f.Open(f.ctx, a, OpenOptions{})
	if err != nil {
		return nil, err
	}
	defer src.Release()
	dst, err := f.Open(f.ctx, b, OpenOptions{Write: true, Truncate: true})
	if errors.Is(err, ErrNotExist) {
		dst, err = f.Create(f.ctx, b, Attr{Mode: 0o644}, false)
	}
	if err != nil {
		return nil, err
	}
	return dst, copyAll(f.ctx, src, dst, 20*mib)
}

// copyAll copies in calls of at most so much.
func copyAll(ctx context.Context, src, dst *File, most int64) error {
	for at := int64(0); ; {
		n, err := dst.CopyRange(ctx, src, at, at, most)
		if n == 0 || err != nil {
			return err
		}
		at += n
	}
}

func (f *fixture) cp(a, b string) error {
	dst, err := f.copyTo(a, b)
	if dst != nil {
		defer dst.Release()
		err = errors.Join(err, dst.Flush(f.ctx))
	}
	return err
}

// TestRequestsOfCopies: cp moves no content through this host, and sends exactly
// what a copy inside the store needs.
func TestRequestsOfCopies(t *testing.T) {
	t.Parallel()
	const (
		full = "sse-aws-kms-key-id=alias/backup sse-bucket-key-enabled=true sse-context=eyJ0ZWFtIjoiYmFja3VwIn0= sse=aws:kms"
		ssec = "sse-customer-algorithm=AES256 sse-customer-key-md5=Xsq sse-customer-key=YWF"
		from = "copy-source-sse-customer-algorithm=AES256 copy-source-sse-customer-key-md5=Xsq copy-source-sse-customer-key=YWF"
	)
	parts := func(o *Options) { o.Capabilities.CopyConditions = false }
	none := func(*Options) {}
	for _, tc := range []struct {
		name, setup string
		server      tweak
		want        []string
	}{
		{"", "none", none, []string{"copy a b:"}},
		{"", "client", none, []string{"copy a b:"}},
		{"", "client-sse", none, []string{"copy a b: sse=AES256"}},
		{"", "s3ec", none, []string{"copy a b:"}},
		{"", "sse-kms-customer", none, []string{"copy a b: " + full}},
		{"", "sse-kms silent", none, []string{"copy a b: sse=aws:kms", "head b:"}},
		{"", "sse-c", none, []string{"copy a b: " + from + " " + ssec}},
		{"without conditions", "client", parts, []string{"upload b:", "copypart a b:", "complete b:"}},
		{"without conditions", "sse-kms silent", parts, []string{"upload b: sse=aws:kms", "copypart a b:", "complete b:", "head b:"}},
		{"by hand", "none", func(o *Options) {
			o.Capabilities = objstore.Capabilities{PutConditions: true}
		}, []string{"head b:", "copy a b:"}},
	} {
		t.Run(strings.TrimSpace(tc.setup+" "+tc.name), func(t *testing.T) {
			s, r := setupOf(tc.setup), &recorder{}
			f := mount(t, s.store(), s.on, long, tc.server, record(r))
			text := noise(33*mib+12345, 1)
			f.put("a", text)
			f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600), Xattrs: map[string][]byte{"user.x": []byte("y")}})))
			f.stat("a")
			_, err := f.Stat(f.ctx, "b")
			wants(t, err, ErrNotExist)
			r.take()
			f.s.Reset()
			f.must(f.cp("a", "b"))
			got := slices.DeleteFunc(r.take(), func(s string) bool { return strings.HasPrefix(s, "get ") })
			if !slices.Equal(got, tc.want) {
				t.Errorf("sends %q, want %q", got, tc.want)
			}
			if c := f.s.Counts(); c.Up > 4<<10 || c.Down > 64<<10 {
				t.Errorf("%d bytes sent, %d received", c.Up, c.Down)
			}
			f.isCopy("a", "b", text)
			f.noLeftovers()
			again := mount(t, f.mem, s.on, host("there"))
			again.isCopy("a", "b", text)
			o, _ := f.mem.Object("b")
			if s.rules[0].Server.Confirm(o.Info.Encrypted) != nil {
				t.Errorf("encrypted as %v", o.Info.Encrypted)
			}
		})
	}
}

// isCopy checks that b is a new file with the content of a, and attributes of
// its own.
func (f *fixture) isCopy(a, b, text string) {
	f.t.Helper()
	f.has(b, text)
	f.has(a, text)
	x, y := f.stat(a), f.stat(b)
	if x.FileID == y.FileID || y.Mode&0o7777 != 0o644 || len(y.Xattrs) != 0 || y.Size != int64(len(text)) || y.Nlink != 1 {
		f.t.Errorf("the copy is %+v, of %+v", y, x)
	}
}

// TestCopiesInPart: what is not the same at the same place is sent, and no more
// than that; the rest is copied.
func TestCopiesInPart(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"client", "none", "sse-c"} {
		s := setupOf(name)
		t.Run(s.name, func(t *testing.T) {
			text := noise(33*mib+12345, 3)
			for _, c := range []struct {
				name string
				do   func(f *fixture, src, dst *File) string
				sent int64 // segments
			}{
				{"changed", func(f *fixture, src, dst *File) string {
					f.must(copyAll(f.ctx, src, dst, 64*mib))
					f.write(dst, "changed", 12*mib)
					return text[:12*mib] + "changed" + text[12*mib+7:]
				}, 1},
				{"longer", func(f *fixture, src, dst *File) string {
					f.must(copyAll(f.ctx, src, dst, 64*mib))
					f.write(dst, "more", int64(len(text)))
					return text + "more"
				}, 1},
				{"shorter", func(f *fixture, src, dst *File) string {
					f.must(copyAll(f.ctx, src, dst, 64*mib))
					f.must(dst.Truncate(f.ctx, 25*mib+1))
					return text[:25*mib+1]
				}, 1},
				{"a range", func(f *fixture, src, dst *File) string {
					n, err := dst.CopyRange(f.ctx, src, 8*mib, 8*mib, 20*mib)
					f.must(err)
					if n != 16*mib {
						t.Errorf("%d bytes copied", n)
					}
					return string(make([]byte, 8*mib)) + text[8*mib:24*mib]
				}, 1},
				{"around", func(f *fixture, src, dst *File) string {
					f.write(dst, "first", 0)
					f.write(dst, "last", 40*mib)
					n, err := dst.CopyRange(f.ctx, src, 8*mib, 8*mib, 16*mib)
					f.must(err)
					if n != 16*mib {
						t.Errorf("%d bytes copied", n)
					}
					want := make([]byte, 40*mib+4)
					copy(want, "first")
					copy(want[8*mib:], text[8*mib:24*mib])
					copy(want[40*mib:], "last")
					return string(want)
				}, 4},
			} {
				f := mount(t, s.store(), s.on)
				f.put("a", text)
				src, dst := f.open("a"), f.create("b", "", false)
				want := c.do(f, src, dst)
				f.reads(dst, want)
				f.s.Reset()
				f.must(dst.Commit(f.ctx))
				if counts := f.s.Counts(); counts.Up > c.sent*(sigil.SegmentSize+objstore.MinPartSize)+64<<10 {
					t.Errorf("%s: %d bytes sent", c.name, counts.Up)
				}
				f.reads(dst, want)
				src.Release()
				dst.Release()
				f.settle()
				f.noLeftovers()
				again := mount(t, f.mem, s.on)
				again.has("b", want)
				again.has("a", text)
				f.end()
				again.end()
			}
		})
	}
}

// TestCopiesThroughThisHost: what cannot be copied inside the store is a copy
// all the same.
func TestCopiesThroughThisHost(t *testing.T) {
	t.Parallel()
	text := noise(18*mib, 1)
	for _, tc := range []struct {
		name string
		do   func(f *fixture, src, dst *File) string
	}{
		{"moved", func(f *fixture, src, dst *File) string {
			f.copyRange(src, dst, 100, 3, 10*mib)
			return "\x00\x00\x00" + text[100:100+10*mib]
		}},
		{"short", func(f *fixture, src, dst *File) string {
			f.copyRange(src, dst, 0, 0, mib)
			return text[:mib]
		}},
		{"dirty", func(f *fixture, src, dst *File) string {
			f.write(src, "dirty", 9*mib)
			f.copyRange(src, dst, 0, 0, 18*mib)
			return text[:9*mib] + "dirty" + text[9*mib+5:]
		}},
		{"into what is there", func(f *fixture, src, dst *File) string {
			f.write(dst, noise(20*mib, 2), 0)
			f.must(dst.Commit(f.ctx))
			f.copyRange(src, dst, 8*mib, 8*mib, 8*mib)
			return noise(20*mib, 2)[:8*mib] + text[8*mib:16*mib] + noise(20*mib, 2)[16*mib:]
		}},
		{"within", func(f *fixture, src, dst *File) string {
			f.copyRange(src, src, 0, 18*mib, 9*mib)
			f.copyRange(src, dst, 0, 0, 27*mib)
			return text + text[:9*mib]
		}},
	} {
		for _, name := range []string{"client", "none", "s3ec"} {
			s := setupOf(name)
			t.Run(tc.name+" "+s.name, func(t *testing.T) {
				f := mount(t, s.store(), s.on)
				f.put("a", text)
				src, dst := f.open("a"), f.create("b", "", false)
				want := tc.do(f, src, dst)
				f.must(dst.Commit(f.ctx))
				f.reads(dst, want)
				src.Release()
				dst.Release()
				f.settle()
				mount(t, f.mem, s.on).has("b", want)
			})
		}
	}
}

// copyRange copies a range in as many calls as it takes.
func (f *fixture) copyRange(src, dst *File, in, off, n int64) {
	f.t.Helper()
	for n > 0 {
		done, err := dst.CopyRange(f.ctx, src, in, off, n)
		f.must(err)
		if done <= 0 || done > n {
			f.t.Fatalf("copied %d of %d", done, n)
		}
		in, off, n = in+done, off+done, n-done
	}
}

func TestCopyRangeRefusals(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", "0123456789")
	src, dst := f.open("a"), f.create("b", "", false)
	defer src.Release()
	defer dst.Release()
	for _, tc := range []struct {
		to         *File
		in, off, n int64
		err        error
	}{
		{src, 0, 5, 6, ErrInvalid},
		{src, 5, 0, 6, ErrInvalid},
		{src, 3, 3, 1, ErrInvalid},
		{dst, -1, 0, 1, ErrInvalid},
		{dst, 0, -1, 1, ErrInvalid},
		{dst, 0, 0, -1, ErrInvalid},
		{dst, 0, sigil.MaxSize, 1, ErrTooLarge},
		{dst, 10, 0, 5, nil},
		{dst, 1 << 40, 0, 5, nil},
		{dst, 0, 0, 0, nil},
	} {
		n, err := tc.to.CopyRange(f.ctx, src, tc.in, tc.off, tc.n)
		if wants(t, err, tc.err); n != 0 {
			t.Errorf("%+v: %d bytes", tc, n)
		}
	}
	n, err := src.CopyRange(f.ctx, src, 0, 5, 5)
	if f.must(err); n != 5 {
		t.Errorf("%d bytes", n)
	}
	f.reads(src, "0123401234")
}

// TestCopyRangeIntoAFullSpool: what could not be written is not taken for the end
// of the source, though more was asked for than that has.
func TestCopyRangeIntoAFullSpool(t *testing.T) {
	f := mount(t, bucket(), func(o *Options) { o.Spool = smallSpool(t) })
	f.put("a", noise(50<<10, 1))
	full := f.create("full", "", false)
	_, err := full.WriteAt(f.ctx, []byte(noise(1<<20, 2)), 0)
	wants(t, err, ErrSpoolFull)
	src, dst := f.open("a"), f.create("b", "", false)
	n, err := dst.CopyRange(f.ctx, src, 0, 0, copyPiece)
	if wants(t, err, ErrSpoolFull); n != 0 {
		t.Errorf("%d bytes", n)
	}
	for _, file := range []*File{src, dst, full} {
		file.Release()
	}
}

// TestCopyBetweenRules: what another rule asks for is done, inside the store
// where both sides are plaintext there.
func TestCopyBetweenRules(t *testing.T) {
	text := noise(18*mib, 1)
	ks := func(n byte) *fakeKeys { return &fakeKeys{epochs: []sigil.Epoch{epoch(n)}} }
	all := &fakeKeys{epochs: []sigil.Epoch{epoch(1), epoch(2)}}
	for _, tc := range []struct {
		name     string
		from, to Rule
		inside   bool
	}{
		{"none to sse-c", Rule{Mode: "none"}, Rule{Mode: "sse-c", Server: ssecMode('a')}, true},
		{"sse-c to another", Rule{Mode: "sse-c", Server: ssecMode('a')}, Rule{Mode: "sse-c", Server: ssecMode('b')}, true},
		{"client to none", Rule{Mode: "client", Keys: ks(1)}, Rule{Mode: "none"}, false},
		{"none to client", Rule{Mode: "none"}, Rule{Mode: "client", Keys: ks(1)}, false},
		{"client to other keys", Rule{Mode: "client", Keys: ks(1)}, Rule{Mode: "client", Keys: ks(2)}, false},
		{"client to the same keys", Rule{Mode: "client", Keys: ks(1)}, Rule{Mode: "client", Keys: ks(1)}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.to.Prefix = "to/"
			on := func(o *Options) { o.Keys, o.Rules = all, []Rule{tc.from, tc.to} }
			f := mount(t, awsBucket(), on)
			f.mkdir("to")
			f.put("a", text)
			f.s.Reset()
			f.must(f.cp("a", "to/b"))
			if sent := f.s.Counts().Up; (sent < mib) != tc.inside {
				t.Errorf("%d bytes were sent", sent)
			}
			f.isCopy("a", "to/b", text)
			if mode := f.stat("to/b").Sigil["mode"]; mode != tc.to.Mode {
				t.Errorf("is %s, not %s", mode, tc.to.Mode)
			}
			if !tc.inside && tc.to.Keys != nil && tc.from.Keys != nil && f.record("a").DEK == f.record("to/b").DEK {
				t.Error("the data key went to other master keys")
			}
			f.settle()
			mount(t, f.mem, on, host("there")).isCopy("a", "to/b", text)
		})
	}
}

// TestCopiedFromRetiredKey: what is written over a copy is not for who held a
// key that was taken away.
func TestCopiedFromRetiredKey(t *testing.T) {
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	f := mount(t, bucket(), keys(k))
	text := noise(20*mib, 4)
	f.put("a", text)
	k.retired = true
	dst, err := f.copyTo("a", "b")
	f.must(err)
	f.write(dst, "x", 0)
	f.must(dst.Commit(f.ctx))
	dst.Release()
	if f.record("a").DEK == f.record("b").DEK {
		t.Error("the data key stayed")
	}
	f.has("b", "x"+text[1:])
	f.must(f.cp("a", "c"))
	if f.record("a").DEK != f.record("c").DEK {
		t.Error("an unchanged copy was written anew")
	}
}

// TestCopyOfLinks: the body of a file of several names is copied, and what is
// copied over such a file is in all its names.
func TestCopyOfLinks(t *testing.T) {
	f := mount(t, bucket())
	text, other := noise(18*mib, 1), noise(19*mib, 2)
	f.put("a", text)
	f.must(errOf(f.Link(f.ctx, "a", "a2")))
	f.s.Reset()
	dst, err := f.copyTo("a2", "b")
	f.must(err)
	f.must(f.Remove(f.ctx, "a2"))
	f.must(f.Remove(f.ctx, "a"))
	f.must(dst.Flush(f.ctx))
	dst.Release()
	f.has("b", text)
	f.put("c", other)
	f.must(errOf(f.Link(f.ctx, "b", "b2")))
	f.s.Reset()
	f.must(f.cp("c", "b2"))
	if sent := f.s.Counts().Up; sent > mib {
		t.Errorf("%d bytes sent", sent)
	}
	for _, p := range []string{"b", "b2"} {
		f.has(p, other)
		if n := f.stat(p).Nlink; n != 2 {
			t.Errorf("%s has %d names", p, n)
		}
	}
	f.settle()
	again := mount(t, f.mem)
	again.has("b", other)
	again.has("b2", other)
}

// TestCopyOfAnotherForm: whatever the source is, its copy is a new file, which
// lies as the rule of its name has it.
func TestCopyOfAnotherForm(t *testing.T) {
	text := noise(300<<10, 1)
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	client := Rule{Mode: "client", Keys: k, AllowPlaintext: true}
	ec := func(n byte) Rule {
		return Rule{Mode: "s3ec", S3EC: &S3EC{Key: aesKey(n)}, AllowPlaintext: true}
	}
	none := Rule{Mode: "none"}
	for name, rules := range map[string][2]Rule{ // under which the source was made, and is copied
		"plain under client": {none, client},
		"plain under s3ec":   {none, ec(1)},
		"s3ec under client":  {ec(1), client},
		"client under none":  {client, none},
		"client under s3ec":  {client, ec(1)},
	} {
		t.Run(name, func(t *testing.T) {
			on := func(r Rule) tweak {
				return func(o *Options) {
					o.Keys, o.S3ECKeys, o.Rules = k, s3ec.Keyring{aesKey(1), aesKey(2)}, []Rule{r}
				}
			}
			m := bucket()
			mount(t, m, on(rules[0])).put("a", text)
			f := lending(mount(t, m, on(rules[1])))
			f.must(f.cp("a", "b"))
			f.isCopy("a", "b", text)
			if mode := f.stat("b").Sigil["mode"]; mode != rules[1].Mode {
				t.Errorf("is %s, not %s", mode, rules[1].Mode)
			}
			mount(t, m, on(rules[1]), host("there")).isCopy("a", "b", text)
		})
	}
}
