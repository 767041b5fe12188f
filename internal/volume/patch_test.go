package volume

import (
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

const mib = 1 << 20

// TestSmallChangeOfLargeFile: what stays is copied inside the store; what is
// sent is a segment, or 5 MiB where there are none, and the tail.
func TestSmallChangeOfLargeFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"client", "client-sse", "none", "sse-kms silent", "sse-c"} {
		s := setupOf(name)
		t.Run(s.name, func(t *testing.T) {
			text := noise(33*mib+12345, 3)
			for _, c := range []struct {
				name string
				do   func(f *fixture, file *File) string
				sent int64 // segments
			}{
				{"middle", func(f *fixture, file *File) string {
					f.write(file, "changed", 12*mib)
					return text[:12*mib] + "changed" + text[12*mib+7:]
				}, 1},
				{"beginning", func(f *fixture, file *File) string {
					f.write(file, "changed", 0)
					return "changed" + text[7:]
				}, 1},
				{"end", func(f *fixture, file *File) string {
					f.write(file, "changed", int64(len(text)-7))
					return text[:len(text)-7] + "changed"
				}, 1},
				{"append", func(f *fixture, file *File) string {
					f.write(file, "more", int64(len(text)))
					return text + "more"
				}, 1},
				{"truncate", func(f *fixture, file *File) string {
					f.must(file.Truncate(f.ctx, 25*mib+1))
					return text[:25*mib+1]
				}, 1},
				{"grow", func(f *fixture, file *File) string {
					f.must(file.Truncate(f.ctx, 40*mib))
					return text + string(make([]byte, 40*mib-len(text)))
				}, 2},
				{"two places", func(f *fixture, file *File) string {
					f.write(file, "changed", 25*mib)
					f.write(file, "changed", mib)
					return text[:mib] + "changed" + text[mib+7:25*mib] + "changed" + text[25*mib+7:]
				}, 2},
			} {
				if name != "client" && c.name != "middle" && c.name != "truncate" {
					continue // large bodies are slow under the race detector
				}
				f := mount(t, s.store(), s.on)
				f.put("a", text)
				file := f.open("a")
				want := c.do(f, file)
				f.s.Reset()
				f.must(file.Commit(f.ctx))
				counts := f.s.Counts()
				if most := c.sent*(sigil.SegmentSize+objstore.MinPartSize) + 64<<10; counts.Up > most || counts.Requests[faulty.CopyPart] == 0 {
					t.Errorf("%s: %d bytes sent, at most %d are due; %v", c.name, counts.Up, most, counts.Requests)
				}
				f.reads(file, want)
				file.Release()
				f.settle()
				f.noLeftovers()
				again := mount(t, f.mem, s.on)
				again.has("a", want)
				again.must(errOf(again.SetAttr(again.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
				again.has("a", want)
				f.end()
				again.end()
			}
		})
	}
}

// TestRetiredKeyIsNotKept: who held a key that was taken away does not read
// what is written after, so such a body is written anew as a whole.
func TestRetiredKeyIsNotKept(t *testing.T) {
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	f := mount(t, bucket(), keys(k))
	text := noise(20*mib, 4)
	f.put("a", text)
	dek := f.record("a").DEK
	k.retired = true
	file := f.open("a")
	f.write(file, "x", 0)
	f.s.Reset()
	f.must(file.Commit(f.ctx))
	file.Release()
	if n := f.s.Counts().Requests[faulty.CopyPart]; n != 0 || f.record("a").DEK == dek {
		t.Errorf("%d ranges were copied, or the data key stayed", n)
	}
	f.has("a", "x"+text[1:])
}

// TestPatchMeetsAnotherHost: nothing of another host's version is mixed in.
func TestPatchMeetsAnotherHost(t *testing.T) {
	f := mount(t, mem.New(mem.Options{Versioned: true}))
	text := noise(20*mib, 5)
	f.put("a", text)
	file := f.open("a")
	f.write(file, "x", 0)
	mount(t, f.mem, host("there")).put("a", noise(30*mib, 6))
	wants(t, file.Commit(f.ctx), ErrChanged)
	file.Release()
	f.has("a", noise(30*mib, 6))
	if _, got := f.conflictCopy(); got != "x"+text[1:] {
		t.Error("the copy is not what was written")
	}
}

// record is the sealed record of what is at p.
func (f *fixture) record(p string) *sigil.Record {
	f.t.Helper()
	o, err := f.fetch(f.ctx, f.fileKey(p))
	f.must(err)
	return o.form.(*sealedForm).rec
}
