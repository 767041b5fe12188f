package volume

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// wrapping is a policy of s3ec under to, which can also read what is under the
// keys before; there may be instruction files.
func wrapping(format s3ec.Format, to s3ec.Sealer, before ...s3ec.Key) tweak {
	return func(o *Options) {
		o.Rules = []Rule{{Mode: "s3ec", S3EC: &S3EC{Key: to, Format: format}, Instructions: true, AllowPlaintext: true}}
		o.S3ECKeys = append(s3ec.Keyring{to}, before...)
	}
}

// plantS3EC is an object under aesKey(1) that has a wrapping of its own, with
// metadata of others beside.
func plantS3EC(t *testing.T, m *mem.Store, key, text string, format s3ec.Format, instructed bool) {
	t.Helper()
	b := need(s3ec.NewBody(t.Context(), aesKey(1), format, sigil.Bytes(text), int64(len(text))))
	sealed := need(io.ReadAll(b.Section(t.Context(), 0, b.Size())))
	md, file := b.Metadata(), []byte(nil)
	if instructed {
		md, file = b.Instruction()
		m.Plant(s3ec.InstructionKey(key), mem.Object{Body: file, Info: objstore.Info{Metadata: map[string]string{s3ec.InstructionMark: ""}, StorageClass: "STANDARD_IA"}})
	}
	md["poem"] = "a"
	m.Plant(key, mem.Object{Body: sealed, Tags: map[string]string{"team": "backup"}, Info: objstore.Info{
		Metadata: md, Tags: 1, System: map[string]string{"content-type": "text/x-poem"},
	}})
}

// countGot counts bytes of bodies that the store gives.
func countGot(f *fixture) *int {
	n := new(int)
	f.s.SetScript(func(faulty.Op) faulty.Fault {
		return faulty.Fault{Body: func(r io.Reader) io.Reader { return io.TeeReader(r, counter{n}) }}
	})
	return n
}

type counter struct{ n *int }

func (c counter) Write(b []byte) (int, error) {
	*c.n += len(b)
	return len(b), nil
}

// TestReencryptRewraps: where only the master key of s3ec is another one, the
// body stays where it is: a copy inside the store, or a write of the instruction
// file alone. Whatever else there is, is written anew.
func TestReencryptRewraps(t *testing.T) {
	text := noise(150<<10, 5)
	for _, format := range []s3ec.Format{s3ec.FormatV3, s3ec.FormatV2} {
		for name, to := range map[string]s3ec.Sealer{"AES": aesKey(2), "KMS": fakeKMSKey()} {
			for _, instructed := range []bool{false, true} {
				t.Run(fmt.Sprintf("V%d/%s/%v", 3-int(format), name, instructed), func(t *testing.T) {
					m := awsBucket()
					plantS3EC(t, m, "f", text, format, instructed)
					before, _ := m.Object("f")
					f := mountIdle(t, m, inParts, wrapping(format, to, aesKey(1)))
					got := countGot(f)
					for _, dry := range []bool{true, false} {
						f.s.Reset()
						did, err := f.Reencrypt(ReencryptOptions{Dry: dry}).Do(f.ctx, "f")
						if err != nil || did.Did != Rewrapped || dry && writes(f) != 0 {
							t.Fatal(did, err, f.s.Ops())
						}
					}
					var sent []string
					for _, op := range f.s.Ops() {
						if op.Verb.Writes() {
							sent = append(sent, fmt.Sprint(op.Verb, " ", op.Key))
						}
					}
					want := "copy f"
					if instructed {
						want = "put f.instruction"
					}
					if strings.Join(sent, ", ") != want || len(f.s.Ops()) > 5 || *got > 16<<10 {
						t.Errorf("wrote %v, in %d requests, and read %d bytes", sent, len(f.s.Ops()), *got)
					}
					f.s.SetScript(nil)
					after, _ := m.Object("f")
					if !bytes.Equal(after.Body, before.Body) || after.Info.Metadata["poem"] != "a" || after.Tags["team"] != "backup" || after.Info.System["content-type"] != "text/x-poem" {
						t.Errorf("it is %+v now", after.Info)
					}
					if instructed {
						file, _ := m.Object("f.instruction")
						if _, mark := file.Info.Metadata[s3ec.InstructionMark]; !mark || file.Info.StorageClass != "STANDARD_IA" || !maps.Equal(before.Info.Metadata, after.Info.Metadata) {
							t.Errorf("the file is %+v now, its object %+v", file.Info, after.Info)
						}
					}
					did, err := passOver(f, ReencryptOptions{})
					if err != nil || did[Rewrapped]+did[Copied]+did[Rewritten]+did[Removed] != 0 {
						t.Errorf("again: %v, %v", did, err)
					}
					f.end()
					mount(t, m, wrapping(format, to)).has("f", text)
				})
			}
		}
	}
}

// TestReencryptRewrapsNothingElse: another format, a fresh data key or a wrapping
// that binds nothing have the body read to its end and written anew.
func TestReencryptRewrapsNothingElse(t *testing.T) {
	for _, instructed := range []bool{false, true} {
		for name, c := range map[string]struct {
			from, to s3ec.Format
			fresh    bool
			flip     bool
		}{
			"V2ToV3": {from: s3ec.FormatV2, to: s3ec.FormatV3}, "V3ToV2": {from: s3ec.FormatV3, to: s3ec.FormatV2},
			"Fresh": {fresh: true}, "Damaged": {fresh: true, flip: true},
		} {
			t.Run(fmt.Sprint(name, instructed), func(t *testing.T) {
				m := awsBucket()
				plantS3EC(t, m, "f", "some text", c.from, instructed)
				if c.flip {
					m.Tamper("f", func(o *mem.Object) { o.Body[0] ^= 1 })
				}
				before := m.Snapshot()
				f := mountIdle(t, m, wrapping(c.to, aesKey(2), aesKey(1)))
				did, err := f.Reencrypt(ReencryptOptions{Fresh: c.fresh}).Do(f.ctx, "f")
				if c.flip {
					wants(t, err, ErrCorrupt)
					if now := m.Snapshot(); now["f"].Info.ETag != before["f"].Info.ETag || len(now) != len(before) {
						t.Error("it was written")
					}
					return
				}
				now, _ := m.Object("f")
				if err != nil || did.Did != Rewritten || bytes.Equal(now.Body, before["f"].Body) || len(m.Keys()) != 1 {
					t.Fatal(did, err, m.Keys())
				}
				f.end()
				mount(t, m, wrapping(c.to, aesKey(2))).has("f", "some text")
			})
		}
	}
}

// TestReencryptRewrapCut: cut at every request, or its answer lost, the object
// opens at every moment, and the next run does the rest.
func TestReencryptRewrapCut(t *testing.T) {
	for _, instructed := range []bool{false, true} {
		source := awsBucket()
		plantS3EC(t, source, "f", "some text", s3ec.FormatV3, instructed)
		both := wrapping(s3ec.FormatV3, aesKey(2), aesKey(1))
		for n, cut := 1, true; cut; n++ {
			for _, done := range []bool{false, true} {
				m := source.Clone()
				f := mountIdle(t, m, both)
				f.s.CrashAt(n, done)
				_, _ = passOver(f, ReencryptOptions{})
				cut = f.s.Crashed()
				f.end()
				f = mountIdle(t, m, both)
				f.has("f", "some text")
				_, err := passOver(f, ReencryptOptions{})
				f.must(err)
				f.end()
				f = mount(t, m, wrapping(s3ec.FormatV3, aesKey(2)))
				f.has("f", "some text")
				f.end()
			}
		}
		m := source.Clone()
		f := mountIdle(t, m, both)
		f.s.SetScript(func(op faulty.Op) faulty.Fault { return faulty.Fault{Lost: op.Verb.Writes()} })
		did, err := f.Reencrypt(ReencryptOptions{}).Do(f.ctx, "f")
		if err != nil || did.Did != Rewrapped {
			t.Errorf("a lost answer: %v, %v", did, err)
		}
		f.end()
	}
}

// TestReencryptRewrapMeetsWriters: who replaces the object, or removes its
// instruction file, between the look at it and the write wins.
func TestReencryptRewrapMeetsWriters(t *testing.T) {
	for _, instructed := range []bool{false, true} {
		for _, into := range []bool{false, true} {
			m := awsBucket()
			plantS3EC(t, m, "f", "some text", s3ec.FormatV3, instructed)
			f := mountIdle(t, m, wrapping(s3ec.FormatV3, aesKey(2), aesKey(1)))
			once := false
			f.s.SetScript(func(op faulty.Op) faulty.Fault {
				if op.Verb.Writes() && !once {
					once = true
					if !into { // its key lies in its metadata now
						wants(t, m.Delete(t.Context(), objstore.ID{Key: "f.instruction"}, objstore.Condition{}), nil)
					}
					plantS3EC(t, m, "f", "his text", s3ec.FormatV3, into)
				}
				return faulty.Fault{}
			})
			did, err := f.Reencrypt(ReencryptOptions{}).Do(f.ctx, "f")
			if err != nil || did.Did != Rewrapped || !once {
				t.Errorf("from %v into %v: %v, %v", instructed, into, did, err)
			}
			f.end()
			f = mountIdle(t, m, wrapping(s3ec.FormatV3, aesKey(2)))
			f.has("f", "his text")
			f.end()
		}
	}
}

// TestReencryptRewrapReadsTwoStates: an object that was replaced, with its file,
// between the looks at them is taken as it is then; a file that is not of its
// object is a failure.
func TestReencryptRewrapReadsTwoStates(t *testing.T) {
	m := awsBucket()
	plantS3EC(t, m, "f", "some text", s3ec.FormatV3, true)
	f := mountIdle(t, m, wrapping(s3ec.FormatV3, aesKey(2), aesKey(1)))
	files := 0
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Get && op.Key == "f.instruction" {
			if files++; files == 2 {
				plantS3EC(t, m, "f", "his text", s3ec.FormatV3, true)
			}
		}
		return faulty.Fault{}
	})
	did, err := f.Reencrypt(ReencryptOptions{}).Do(f.ctx, "f")
	if err != nil || did.Did != Rewrapped || files < 3 {
		t.Errorf("%v, %v; the file was read %d times", did, err, files)
	}
	f.s.SetScript(nil)
	f.has("f", "his text")
	plantS3EC(t, m, "g", "other", s3ec.FormatV3, true)
	file, _ := m.Object("g.instruction")
	m.Plant("f.instruction", file)
	before := m.Snapshot()
	_, err = f.Reencrypt(ReencryptOptions{}).Do(f.ctx, "f")
	wants(t, err, ErrCorrupt)
	if now, _ := m.Object("f.instruction"); now.Info.ETag != before["f.instruction"].Info.ETag {
		t.Error("the file was written")
	}
}

// TestReencryptKeepsAttributesOfOthers: what another host changes of an object
// between a look at it that was a while ago and its copy, or the write of its body,
// stays, though its ETag is the same; also where old versions are kept. A look just
// before is not repeated.
func TestReencryptKeepsAttributesOfOthers(t *testing.T) {
	for _, versioned := range []bool{false, true} {
		for _, fresh := range []bool{false, true} {
			for _, late := range []bool{false, true} {
				m, now := mem.New(mem.Options{Versioned: versioned}), newClock()
				plantS3EC(t, m, "f", "some text", s3ec.FormatV3, false)
				f := mountIdle(t, m, wrapping(s3ec.FormatV3, aesKey(2), aesKey(1)), func(o *Options) { o.Now = now.now })
				var once sync.Once
				heads, wrote := 0, false
				f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
					switch {
					case op.Verb.Writes():
						wrote = true
					case op.Verb == faulty.Head && !wrote: // behind it the write is confirmed
						heads++
					case op.Verb == faulty.Get && late:
						x.After = func(err error) error {
							once.Do(func() {
								now.pass(2 * time.Second)
								m.Tamper("f", func(o *mem.Object) { o.Info.Metadata["poem"], o.Info.Metadata["mode"] = "his", "0100600" })
							})
							return err
						}
					}
					return x
				})
				did, err := f.Reencrypt(ReencryptOptions{Fresh: fresh}).Do(f.ctx, "f")
				if err != nil || !did.Changed() {
					t.Fatalf("versioned %v, fresh %v, late %v: %v, %v", versioned, fresh, late, did, err)
				}
				poem, mode := "a", uint32(0o644)
				if late {
					poem, mode = "his", 0o600
				}
				o, _ := m.Object("f")
				if fresh { // a body under a fresh data key takes attributes along, and nothing of other programs: that is in the old version
					if got, ok := o.Info.Metadata["poem"]; ok {
						t.Errorf("versioned %v, late %v: poem %q under a fresh data key", versioned, late, got)
					}
					o.Info.Metadata = nil
					for ver, err := range m.Versions(f.ctx, objstore.ListOptions{Prefix: "f"}) {
						f.must(err)
						if !ver.Latest && o.Info.Metadata == nil { // the newest of the old ones
							o.Info = need(m.Head(f.ctx, ver.ID))
						}
					}
				}
				if (!fresh || versioned) && o.Info.Metadata["poem"] != poem {
					t.Errorf("versioned %v, fresh %v, late %v: %v", versioned, fresh, late, o.Info.Metadata)
				}
				if got := f.stat("f").Attr.Mode & 0o777; got != mode {
					t.Errorf("versioned %v, fresh %v, late %v: mode %o, want %o", versioned, fresh, late, got, mode)
				}
				if !late && !fresh && heads > 0 || late && heads == 0 {
					t.Errorf("versioned %v, fresh %v, late %v: %d looks", versioned, fresh, late, heads)
				}
				f.has("f", "some text")
				f.end()
			}
		}
	}
}

// TestReencryptLeavesFilesToCome: a client puts an instruction file there before
// its object. It stays where the object before was re-encrypted meanwhile, or else
// nobody could read what comes.
func TestReencryptLeavesFilesToCome(t *testing.T) {
	m, his := awsBucket(), awsBucket()
	plantS3EC(t, m, "f", "some text", s3ec.FormatV2, true)
	plantS3EC(t, his, "f", "his text", s3ec.FormatV2, true)
	object, _ := his.Object("f")
	file, _ := his.Object("f.instruction")
	file.Info.Modified = time.Now().Add(time.Minute)
	f := mountIdle(t, m, wrapping(s3ec.FormatV3, aesKey(2), aesKey(1)))
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Put && op.Key == "f" {
			m.Plant("f.instruction", file)
		}
		return faulty.Fault{}
	})
	for _, c := range [][2]string{{"f", Rewritten}, {"f.instruction", Left}} {
		if did, err := f.Reencrypt(ReencryptOptions{}).Do(f.ctx, c[0]); err != nil || did.Did != c[1] {
			t.Errorf("%s: %v, %v, want %s", c[0], did, err, c[1])
		}
	}
	f.end()
	m.Plant("f", object)
	mountIdle(t, m, wrapping(s3ec.FormatV3, aesKey(2), aesKey(1))).has("f", "his text")
}

// TestReencryptInstructionFilesForTheServer: a file that stays is encrypted as
// its object is, under today's key of SSE-C too.
func TestReencryptInstructionFilesForTheServer(t *testing.T) {
	m := awsBucket()
	plantS3EC(t, m, "f", "some text", s3ec.FormatV3, true)
	today := func(o *Options) {
		wrapping(s3ec.FormatV3, aesKey(1))(o)
		o.Rules[0].Server = ssecMode('b')
		o.Customers = []*sse.Mode{ssecMode('a')}
	}
	f := mountIdle(t, m, today)
	if _, err := passOver(f, ReencryptOptions{}); err != nil {
		t.Fatal(err)
	}
	if keyOf(t, m, "f") != "b" || keyOf(t, m, "f.instruction") != "b" {
		t.Errorf("keys %s and %s", keyOf(t, m, "f"), keyOf(t, m, "f.instruction"))
	}
	f.has("f", "some text")
}
