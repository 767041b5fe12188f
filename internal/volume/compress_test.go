package volume

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// halves is text of n bytes of which about a half compresses.
func halves(n int, seed byte) string {
	p := []byte(noise(n, seed))
	for i := range p {
		if i%64 >= 32 {
			p[i] = ' '
		}
	}
	return string(p)
}

// prose is text of n bytes that compresses well, and is nowhere the same.
func prose(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %d of a log that says the same again and again, or nearly: %x\n", i, i*i)
	}
	return b.String()[:n]
}

// compressed is the length of what lies at key, which is of layout 1.
func compressed(t *testing.T, m *mem.Store, key string) int64 {
	t.Helper()
	info, err := m.Head(t.Context(), objstore.ID{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(info.Metadata[sigil.MetaSigil], "1 1 ") {
		t.Fatalf("%s: %q", key, info.Metadata[sigil.MetaSigil])
	}
	return info.Size
}

// TestCompressed: what is written under a rule that compresses takes less room,
// reads as it was written, on every host, and shows its own size everywhere; only
// files are compressed.
func TestCompressed(t *testing.T) {
	s := setupOf("client-zstd")
	f := mount(t, s.store(), s.on, inParts)
	texts := map[string]string{"empty": "", "small": "small text", "text": prose(3 * mib), "long": prose(sigil.SegmentSize + 77), "noise": noise(mib, 3)}
	for p, text := range texts {
		f.put(p, text)
		f.has(p, text)
	}
	f.mkdir("d")
	f.must(errOf(f.Symlink(f.ctx, "link", "small", Attr{})))
	f.must(errOf(f.Link(f.ctx, "text", "d/other")))
	f.rename("small", "d/renamed")
	f.must(errOf(f.SetAttr(f.ctx, "noise", Change{Mode: ptr(uint32(0o600))})))
	f.settle()
	if n := compressed(t, f.mem, "long"); n > sigil.SegmentSize/4 {
		t.Errorf("text takes %d bytes", n)
	}
	if n := compressed(t, f.mem, "noise"); n < mib || n > mib+1000 {
		t.Errorf("noise takes %d bytes", n)
	}
	for _, key := range []string{"d/", "link", "text", "d/other"} {
		info := need(f.mem.Head(t.Context(), objstore.ID{Key: key}))
		if !strings.HasPrefix(info.Metadata[sigil.MetaSigil], "1 0 ") {
			t.Errorf("%s: %q", key, info.Metadata[sigil.MetaSigil])
		}
	}
	plain := setupOf("client") // which does not compress
	there := mount(t, f.mem, plain.on, host("there"))
	for from, to := range map[string]string{"small": "d/renamed", "text": "d/other"} {
		texts[to] = texts[from]
	}
	delete(texts, "small")
	for p, text := range texts {
		there.has(p, text)
		if got := there.stat(p); got.Size != int64(len(text)) || got.Sigil["compression"] != "zstd" {
			t.Errorf("%s: %d bytes, %v", p, got.Size, got.Sigil)
		}
	}
	if sound, _ := there.auditor().verified(VerifyOptions{Data: true}); len(sound) > 0 {
		t.Errorf("verify: %v", sound)
	}
}

// TestCompressedChanges: of a large file that is compressed a change sends the
// segments that it touches, and the others are copied to where they come to lie.
func TestCompressedChanges(t *testing.T) {
	text := halves(42*mib+12345, 3)
	for _, c := range []struct {
		name string
		sent int64 // segments of plaintext
		do   func(f *fixture, file *File) string
	}{
		{"middle", 1, func(f *fixture, file *File) string {
			f.write(file, "changed", 12*mib)
			return text[:12*mib] + "changed" + text[12*mib+7:]
		}},
		{"noise", 1, func(f *fixture, file *File) string { // everything behind moves
			n := noise(6*mib, 9)
			f.write(file, n, 8*mib)
			return text[:8*mib] + n + text[14*mib:]
		}},
		{"zeros", 1, func(f *fixture, file *File) string { // a segment too small for a part
			z := string(make([]byte, 8*mib))
			f.write(file, z, 16*mib)
			return text[:16*mib] + z + text[24*mib:]
		}},
		{"append", 1, func(f *fixture, file *File) string {
			f.write(file, "more", int64(len(text)))
			return text + "more"
		}},
		{"truncate", 1, func(f *fixture, file *File) string {
			f.must(file.Truncate(f.ctx, 33*mib+1))
			return text[:33*mib+1]
		}},
	} {
		for _, rule := range []string{"client-zstd", "client"} {
			if (rule == "client" || raced) && c.name != "noise" {
				continue // large bodies are slow under the race detector
			}
			t.Run(c.name+" "+rule, func(t *testing.T) {
				s, now := setupOf("client-zstd"), setupOf(rule)
				f := mount(t, s.store(), s.on, inParts)
				f.put("a", text)
				f.settle()
				f = mount(t, f.mem, now.on, inParts)
				file := f.open("a")
				want := c.do(f, file)
				f.s.Reset()
				f.must(file.Commit(f.ctx))
				counts := f.s.Counts()
				if most := c.sent*sigil.SegmentSize + 2*objstore.MinPartSize + 64<<10; counts.Up > most || counts.Requests[faulty.CopyPart] == 0 {
					t.Errorf("%d bytes sent, at most %d are due; %v", counts.Up, most, counts.Requests)
				}
				f.reads(file, want)
				file.Release()
				f.settle()
				f.noLeftovers()
				if n := compressed(t, f.mem, "a"); n > int64(len(want))*3/4 {
					t.Errorf("%d bytes are stored", n)
				}
				mount(t, f.mem, s.on, host("there")).has("a", want)
			})
		}
	}
}

// TestCompressedStream: what compresses well goes up while it is written in parts
// that are long enough, and through a spool that is smaller.
func TestCompressedStream(t *testing.T) {
	for name, text := range map[string]string{"prose": prose(70 * mib), "halves": halves(50*mib+5, 1), "noise then prose": noise(26*mib, 2) + prose(30*mib)} {
		for _, space := range []int64{256, 40} {
			if raced && (space == 40) != (name == "prose") {
				continue
			}
			t.Run(fmt.Sprint(name, " ", space), func(t *testing.T) {
				s := setupOf("client-zstd")
				f := mount(t, s.store(), s.on, spoolOf(t, space))
				file := f.began("a", text)
				flown(file)
				if st := file.streamOf(); st == nil {
					t.Fatal("nothing was streamed")
				}
				f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr(uint32(0o640))})))
				f.must(file.Commit(f.ctx))
				info := file.Info()
				file.Release()
				f.settle()
				f.shows(&s, "a", text, info)
				f.noLeftovers()
				if n := compressed(t, f.mem, "a"); name == "prose" && space == 256 && n > int64(len(text))/5 {
					t.Errorf("%d bytes are stored", n)
				}
			})
		}
	}
}

// TestCompressedDamage: verify names the frames that are damaged.
func TestCompressedDamage(t *testing.T) {
	s := setupOf("client-zstd")
	f := mount(t, s.store(), s.on, inParts)
	text := halves(2*mib+99, 4)
	f.put("a", text)
	f.must(f.Close(f.ctx))
	frame := need(f.mem.Head(t.Context(), objstore.ID{Key: "a"})).Size / 9
	for name, c := range map[string]struct {
		change func(*mem.Object)
		fault  Fault
		damage []objstore.Range
	}{
		"a frame":         {flipAt(int(frame / 2)), FaultContent, []objstore.Range{{Off: 0, Len: sigil.FrameSize}}},
		"the last":        {func(o *mem.Object) { o.Body[len(o.Body)-296-16-27-5] ^= 1 }, FaultContent, []objstore.Range{{Off: 2 * mib, Len: 99}}},
		"a length":        {func(o *mem.Object) { o.Body[len(o.Body)-297] ^= 1 }, FaultTail, nil},
		"late attributes": {func(o *mem.Object) { o.Body[len(o.Body)-100] ^= 1 }, FaultTail, nil},
		"cut":             {func(o *mem.Object) { o.Body = o.Body[:len(o.Body)-1] }, FaultTail, nil},
		"cut to nothing":  {func(o *mem.Object) { o.Body = nil }, FaultSize, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := f.mem.Clone()
			m.Tamper("a", c.change)
			a := mountIdle(t, m, s.on, host("auditor"), func(o *Options) { o.ReadOnly = true })
			got, _ := a.verified(VerifyOptions{Data: true})
			if len(got) != 1 || got[0].Fault != c.fault || !slices.Equal(got[0].Damage, c.damage) {
				t.Errorf("%v", got)
			}
			if got, err := a.get("a"); err == nil || got != "" {
				t.Errorf("read %s, %v", brief(got), err)
			}
		})
	}
}

// TestCompressedIndex: a listing shows sizes of what is compressed without a
// request for each.
func TestCompressedIndex(t *testing.T) {
	s := setupOf("client-zstd")
	m, c := indexBed(t, 20, s.on)
	f := mount(t, m, s.on, indexing(c))
	got := f.looks("d")
	f.requests("list get")
	for i := range 20 {
		name := strings.TrimPrefix(nameOf(i), "d/")
		if want := int64(len(fmt.Sprint("content ", i))); got[name].Size != want || compressed(t, m, nameOf(i)) == want {
			t.Errorf("%s: %d bytes", name, got[name].Size)
		}
	}
}

// TestCompressedStreamsShareASpool: files of which none has enough for a part that
// compresses to 5 MiB give up room all the same, in parts that are stored as far as
// they must be.
func TestCompressedStreamsShareASpool(t *testing.T) {
	s := setupOf("client-zstd")
	f := mount(t, s.store(), s.on, spoolOf(t, 256))
	text := prose(31 * mib) // of 32 that a part would have
	var files []*File
	for i := range 9 {
		files = append(files, f.began(fmt.Sprint(i), text))
	}
	for i, file := range files {
		f.must(file.Commit(f.ctx))
		file.Release()
		f.has(fmt.Sprint(i), text)
	}
	f.noLeftovers()
}
