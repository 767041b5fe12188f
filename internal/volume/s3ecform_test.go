package volume

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/cache/scratch"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

func scratchSize(n int64) tweak { return func(o *Options) { o.ScratchSize = n } }

// TestVerifiedBeforeTheFirstByte: a bit flipped anywhere is ErrCorrupt wherever
// one reads, and nothing can be built on such an object.
func TestVerifiedBeforeTheFirstByte(t *testing.T) {
	for _, format := range []string{"s3ec", "s3ec-v2"} {
		s := setupOf(format)
		text := noise(200<<10, 1)
		for _, at := range []int{0, 100 << 10, len(text) + s3ec.TagSize - 1} {
			f := mount(t, s.store(), s.on)
			f.put("a", text)
			f.mem.Tamper("a", func(o *mem.Object) { o.Body[at] ^= 1 })
			file := f.open("a")
			for _, off := range []int64{0, 150 << 10} {
				n, err := file.ReadAt(f.ctx, make([]byte, 10), off)
				wants(t, err, ErrCorrupt)
				if n != 0 {
					t.Errorf("%d bytes were given", n)
				}
			}
			wants(t, errOf(file.WriteAt(f.ctx, []byte("x"), 5)), ErrCorrupt)
			wants(t, errOf(file.Append(f.ctx, []byte("x"))), ErrCorrupt)
			file.Release()
			wants(t, f.Rename(f.ctx, "a", "b", false), nil) // which looks at no body
			f.put("b", "new")                               // nor does who wants none of it
			f.has("b", "new")
		}
	}
}

// TestCutToATag: a body cut to the length of a tag looks like that of an empty
// file, which nobody would read.
func TestCutToATag(t *testing.T) {
	for _, format := range []string{"s3ec", "s3ec-v2"} {
		s := setupOf(format)
		f := mount(t, s.store(), s.on)
		f.put("a", "content")
		f.put("empty", "")
		f.mem.Tamper("a", func(o *mem.Object) { o.Body = o.Body[:s3ec.TagSize] })
		_, err := f.Open(f.ctx, "a", OpenOptions{})
		wants(t, err, ErrCorrupt)
		again := mount(t, f.mem, s.on)
		file := again.open("empty")
		again.reads(file, "")
		file.Release()
	}
}

// TestFetchedOnce: however a version is read, by however many, its body comes
// once; a new version comes once more, and a chmod or rename not at all.
func TestFetchedOnce(t *testing.T) {
	s := setupOf("s3ec")
	f := mount(t, s.store(), s.on, long)
	text := noise(1<<20, 1)
	f.put("a", text)
	f.s.Reset()
	file := f.open("a")
	defer file.Release()
	var g sync.WaitGroup
	for n := range 8 {
		g.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			for range 20 {
				off, p := r.IntN(len(text)), make([]byte, 1+r.IntN(100<<10))
				n, err := file.ReadAt(f.ctx, p, int64(off))
				if err != nil && off+len(p) <= len(text) || string(p[:n]) != text[off:min(len(text), off+len(p))] {
					t.Errorf("at %d: %d bytes, %v", off, n, err)
				}
			}
		})
	}
	g.Wait()
	f.requests("get")
	f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
	f.rename("a", "b")
	f.reads(file, text)
	f.requests("copy get list copy delete") // the look at b
	f.write(file, "more", 0)
	f.must(file.Commit(f.ctx))
	f.requests("put")
	f.reads(file, "more"+text[4:])
	f.requests("get")
}

// TestScratchSpace: a body that can never fit says so, those that fit take
// turns, and those that are read at the same time wait for each other.
func TestScratchSpace(t *testing.T) {
	s := setupOf("s3ec")
	const body = 300 << 10
	f := mount(t, s.store(), s.on, long, scratchSize(2*scratch.Sealed(body+s3ec.TagSize)))
	for i := range 6 {
		f.put(fmt.Sprint("f", i), noise(body, byte(i)))
	}
	big := noise(3*body, 9)
	f.put("big", big)
	_, err := f.get("big")
	wants(t, err, ErrTooLarge)
	if info := f.stat("big"); info.Err != nil || info.Size != 3*body {
		t.Errorf("%+v", info)
	}
	f.put("big", "smaller") // what is not read need not fit
	f.has("big", "smaller")
	f.must(errOf(f.SetAttr(f.ctx, "big", Change{Mode: ptr[uint32](0o600)})))
	f.s.Reset()
	for range 2 {
		f.has("f0", noise(body, 0))
		f.has("f1", noise(body, 1))
	}
	f.requests("get get")
	f.has("f2", noise(body, 2)) // f0, or f1, goes
	f.has("f1", noise(body, 1))
	f.requests("get")
	var g sync.WaitGroup
	for n := range 12 {
		g.Go(func() {
			for i := range 6 {
				i = (i + n) % 6
				if got, err := f.get(fmt.Sprint("f", i)); err != nil || got != noise(body, byte(i)) {
					t.Errorf("f%d: %s, %v", i, brief(got), err)
				}
			}
		})
	}
	g.Wait()
	if k := f.copies; k.budget.Used() > k.budget.Limit() || k.taken > k.budget.Limit() || k.taken < 0 {
		t.Errorf("used %d, taken %d of %d", k.budget.Used(), k.taken, k.budget.Limit())
	}
	f.settle()
	if f.copies.budget.Used() != 0 || f.copies.taken != 0 {
		t.Errorf("used %d, taken %d after the end", f.copies.budget.Used(), f.copies.taken)
	}
}

// TestCloseWhileFetching: the end of the mount does not wait for a body that
// does not come, and nothing is left behind.
func TestCloseWhileFetching(t *testing.T) {
	s := setupOf("s3ec")
	f := mount(t, s.store(), s.on)
	f.put("a", noise(300<<10, 1))
	file := f.open("a")
	defer file.Release()
	began := make(chan struct{})
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Get {
			close(began)
			return faulty.Fault{Wait: make(chan struct{})}
		}
		return faulty.Fault{}
	})
	read := make(chan error)
	go func() {
		_, err := file.ReadAt(f.ctx, make([]byte, 10), 0)
		read <- err
	}()
	<-began
	f.settle()
	wants(t, <-read, ErrClosed)
	wants(t, errOf(file.ReadAt(f.ctx, make([]byte, 10), 0)), ErrClosed)
}

// TestInterruptedReader: who stops waiting does not stop the others.
func TestInterruptedReader(t *testing.T) {
	s := setupOf("s3ec")
	f := mount(t, s.store(), s.on)
	f.put("a", "text")
	file := f.open("a")
	defer file.Release()
	began, hold := make(chan struct{}), make(chan struct{})
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Get {
			close(began)
			return faulty.Fault{Wait: hold}
		}
		return faulty.Fault{}
	})
	ctx, cancel := context.WithCancel(f.ctx)
	read := make(chan error)
	go func() {
		_, err := file.ReadAt(ctx, make([]byte, 10), 0)
		read <- err
	}()
	<-began
	cancel()
	wants(t, <-read, context.Canceled)
	close(hold)
	f.reads(file, "text")
}

// TestScratchFailure: a store that fails says so, and the next read tries again.
func TestScratchFailure(t *testing.T) {
	s := setupOf("s3ec")
	f := mount(t, s.store(), s.on)
	f.put("a", noise(300<<10, 1))
	file := f.open("a")
	defer file.Release()
	f.failing(objstore.ErrThrottled, false, faulty.Get)
	wants(t, errOf(textOf(f.ctx, file)), ErrThrottled)
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		return faulty.Fault{Body: func(r io.Reader) io.Reader { return faulty.Cut(100 << 10)(r) }}
	})
	wants(t, errOf(textOf(f.ctx, file)), io.ErrUnexpectedEOF)
	f.healed()
	f.reads(file, noise(300<<10, 1))
}

// instructed is a policy where instruction files are in use.
func instructed(o *Options) {
	setupOf("s3ec").with(func(r *Rule) { r.Instructions = true }).on(o)
}

// plantInstructed puts an object there whose wrapped key lies in a file beside.
func plantInstructed(t *testing.T, m *mem.Store, key, text string, format s3ec.Format) {
	t.Helper()
	b, err := s3ec.NewBody(t.Context(), aesKey(1), format, sigil.Bytes(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := io.ReadAll(b.Section(t.Context(), 0, b.Size()))
	if err != nil {
		t.Fatal(err)
	}
	md, file := b.Instruction()
	m.Plant(s3ec.InstructionKey(key), mem.Object{Body: file})
	m.Plant(key, mem.Object{Body: sealed, Info: objstore.Info{Metadata: md}})
}

// TestInstructionFiles: they are read, are no files of their own, and go where
// their object goes.
func TestInstructionFiles(t *testing.T) {
	for _, format := range []s3ec.Format{s3ec.FormatV3, s3ec.FormatV2} {
		begin := func(t *testing.T) *fixture {
			m := awsBucket()
			plantInstructed(t, m, "a", "text of a", format)
			plantInstructed(t, m, "d/b", "text of b", format)
			return mountIdle(t, m, instructed)
		}
		holds := func(f *fixture, want ...string) {
			f.t.Helper()
			if got := f.mem.Keys(); strings.Join(got, " ") != strings.Join(want, " ") {
				f.t.Errorf("the bucket holds %q, want %q", got, want)
			}
		}
		for name, do := range map[string]func(t *testing.T, f *fixture){
			"Hidden": func(t *testing.T, f *fixture) {
				f.lists("", "a", "d")
				f.lists("d", "b")
				f.absent("a.instruction")
				f.has("a", "text of a")
				f.has("d/b", "text of b")
				_, err := f.Create(f.ctx, "x.instruction", Attr{}, false)
				wants(t, err, ErrName)
				wants(t, f.Rename(f.ctx, "a", "x.instruction", false), ErrName)
				wants(t, errOf(f.Symlink(f.ctx, "x.instruction", "t", Attr{})), ErrName)
				wants(t, f.Remove(f.ctx, "a.instruction"), ErrNotExist)
				f.mkdir("dir.instruction")
				f.lists("", "a", "d", "dir.instruction")
			},
			"Chmod": func(t *testing.T, f *fixture) {
				f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
				f.has("a", "text of a")
				holds(f, "a", "a.instruction", "d/b", "d/b.instruction")
			},
			"Rename": func(t *testing.T, f *fixture) {
				f.rename("a", "new")
				f.has("new", "text of a")
				holds(f, "d/b", "d/b.instruction", "new", "new.instruction")
			},
			"RenameOverInstructed": func(t *testing.T, f *fixture) {
				f.rename("a", "d/b")
				f.has("d/b", "text of a")
				holds(f, "d/b")
			},
			"RenameOverOther": func(t *testing.T, f *fixture) {
				f.put("c", "text of c")
				f.rename("a", "c")
				f.has("c", "text of a")
				holds(f, "c", "c.instruction", "d/b", "d/b.instruction")
			},
			"OtherOverIt": func(t *testing.T, f *fixture) {
				f.put("c", "text of c")
				f.rename("c", "a")
				f.has("a", "text of c")
				holds(f, "a", "d/b", "d/b.instruction")
			},
			"Remove": func(t *testing.T, f *fixture) {
				f.must(f.Remove(f.ctx, "a"))
				holds(f, "d/b", "d/b.instruction")
			},
			"RemoveOpen": func(t *testing.T, f *fixture) {
				file := f.open("a")
				f.must(f.Remove(f.ctx, "a"))
				f.reads(file, "text of a")
				file.Release()
				f.must(f.doChores(f.ctx))
				holds(f, "d/b", "d/b.instruction")
			},
			"Overwrite": func(t *testing.T, f *fixture) {
				file := f.open("a")
				f.write(file, "TEXT", 0)
				f.must(file.Commit(f.ctx))
				file.Release()
				f.has("a", "TEXT of a")
				holds(f, "a", "d/b", "d/b.instruction")
			},
			"RenameDir": func(t *testing.T, f *fixture) {
				f.rename("d", "e")
				f.has("e/b", "text of b")
				holds(f, "a", "a.instruction", "e/b", "e/b.instruction")
			},
			"RenameDirFails": func(t *testing.T, f *fixture) {
				f.s.SetScript(func(op faulty.Op) faulty.Fault {
					if op.Verb == faulty.Copy && op.Key == "e/b" {
						return faulty.Fault{Err: ErrAccess}
					}
					return faulty.Fault{}
				})
				wants(t, f.Rename(f.ctx, "d", "e", false), ErrAccess)
				f.healed()
				f.absent("e")
				f.has("d/b", "text of b")
			},
		} {
			t.Run(fmt.Sprintf("%s/%d", name, format), func(t *testing.T) {
				f := begin(t)
				do(t, f)
				f.noLeftovers()
				sameTree(t, treeOf(mount(t, f.mem, instructed, host("there"))), treeOf(f))
			})
		}
	}
}

// TestInstructionFilesAcross: under another rule the object needs none.
func TestInstructionFilesAcross(t *testing.T) {
	m := awsBucket()
	for _, key := range []string{"s3ec/a", "s3ec/d/b"} {
		plantInstructed(t, m, key, "text of "+key, s3ec.FormatV3)
	}
	f := mount(t, m, world, func(o *Options) {
		for i := range o.Rules {
			o.Rules[i].Instructions = o.Rules[i].S3EC != nil
		}
	})
	f.rename("s3ec/a", "ca/a")
	f.rename("s3ec/d", "none/d")
	f.has("ca/a", "text of s3ec/a")
	f.has("none/d/b", "text of s3ec/d/b")
	if got := strings.Join(m.Keys(), " "); got != "ca/a none/d/b" {
		t.Errorf("the bucket holds %s", got)
	}
}

// TestLikeInstructionFiles: a file that only has the name of one is not hidden by
// a rename, nor lost.
func TestLikeInstructionFiles(t *testing.T) {
	m := awsBucket()
	f := mount(t, m, world, func(o *Options) {
		for i := range o.Rules {
			o.Rules[i].Instructions = o.Rules[i].S3EC != nil
		}
	})
	f.put("ca/d/x.instruction", "text")
	wants(t, f.Rename(f.ctx, "ca/d", "s3ec/d", false), ErrName)
	f.has("ca/d/x.instruction", "text")
	f.put("s3ec/e/x", "text of x")
	m.Plant("s3ec/e/manual.instruction", mem.Object{Body: []byte("how to")})
	f.rename("s3ec/e", "ca/e")
	f.has("ca/e/x", "text of x")
	if o, ok := m.Object("s3ec/e/manual.instruction"); !ok || string(o.Body) != "how to" {
		t.Error("the manual is lost")
	}
}

// TestMissingInstructionFile: an object without its key is damaged, never
// plaintext, and V2's, which nothing tells from plaintext, is so only where the
// policy allows plaintext.
func TestMissingInstructionFile(t *testing.T) {
	m := awsBucket()
	plantInstructed(t, m, "v3", "text", s3ec.FormatV3)
	plantInstructed(t, m, "v2", "text", s3ec.FormatV2)
	plantInstructed(t, m, "bad", "text", s3ec.FormatV2)
	f := mount(t, m, instructed)
	f.must(m.Delete(f.ctx, objstore.ID{Key: "v3.instruction"}, objstore.Condition{}))
	f.must(m.Delete(f.ctx, objstore.ID{Key: "v2.instruction"}, objstore.Condition{}))
	m.Tamper("bad.instruction", func(o *mem.Object) { o.Body = bytes.Repeat([]byte("{"), 100<<10) })
	wants(t, errOf(f.get("v3")), ErrCorrupt)
	wants(t, errOf(f.get("v2")), ErrDowngrade)
	wants(t, errOf(f.get("bad")), ErrCorrupt)
	f.lists("", "bad", "v2", "v3")
}

// plantV1 puts an object there as the first version of AWS's client wrote it.
func plantV1(m *mem.Store, key, text string) {
	ecb := func(b cipher.Block, p []byte) []byte {
		p = pad(p)
		out := make([]byte, len(p))
		for i := 0; i < len(p); i += aes.BlockSize {
			b.Encrypt(out[i:], p[i:])
		}
		return out
	}
	data, iv := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{9}, aes.BlockSize)
	master := [32]byte{1, 1, 2}
	body := pad([]byte(text))
	cipher.NewCBCEncrypter(need(aes.NewCipher(data)), iv).CryptBlocks(body, body)
	b64 := base64.StdEncoding.EncodeToString
	m.Plant(key, mem.Object{Body: body, Info: objstore.Info{Metadata: map[string]string{
		"x-amz-key": b64(ecb(need(aes.NewCipher(master[:])), data)), "x-amz-iv": b64(iv), "x-amz-matdesc": "{}",
	}}})
}

func pad(p []byte) []byte {
	n := aes.BlockSize - len(p)%aes.BlockSize
	return append(bytes.Clone(p), bytes.Repeat([]byte{byte(n)}, n)...)
}

// TestLegacySwitches: the old formats read where they are switched on, with
// their size by the padding, and are ErrDowngrade where not.
func TestLegacySwitches(t *testing.T) {
	for _, tc := range []struct {
		name   string
		policy s3ec.Policy
		want   error
	}{
		{"Off", s3ec.Policy{}, ErrDowngrade},
		{"WrappingOnly", s3ec.Policy{LegacyWrapping: true}, ErrDowngrade},
		{"CBCOnly", s3ec.Policy{LegacyCBC: true}, ErrDowngrade},
		{"Both", s3ec.Policy{LegacyWrapping: true, LegacyCBC: true}, nil},
		{"Committing", s3ec.Policy{LegacyWrapping: true, LegacyCBC: true, RequireCommitment: true}, ErrDowngrade},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := awsBucket()
			texts := map[string]string{}
			for _, n := range []int{0, 1, 15, 16, 17, 100 << 10} {
				p := fmt.Sprint("f", n)
				texts[p] = noise(n, byte(n))
				plantV1(m, p, texts[p])
			}
			f := mount(t, m, setupOf("s3ec").with(func(r *Rule) { r.Reading = tc.policy }).on)
			for p, text := range texts {
				info := f.stat(p)
				wants(t, info.Err, tc.want)
				_, err := f.get(p)
				wants(t, err, tc.want)
				if tc.want != nil {
					continue
				}
				f.has(p, text)
				if info.Size != int64(len(text)) {
					t.Errorf("%s: size %d", p, info.Size)
				}
				file := f.open(p)
				f.must(errOf(file.Append(f.ctx, []byte("more"))))
				f.must(file.Commit(f.ctx))
				file.Release()
				f.has(p, text+"more")
				if o, _ := m.Object(p); o.Info.Metadata["x-amz-c"] != "115" || o.Info.Metadata["x-amz-key"] != "" {
					t.Errorf("%s is now %v", p, o.Info.Metadata)
				}
			}
		})
	}
}

// TestWrongMasterKey: another key is told from none, and from damage.
func TestWrongMasterKey(t *testing.T) {
	s := setupOf("s3ec")
	m := s.store()
	f := mount(t, m, s.on)
	f.put("a", "text")
	for want, ring := range map[error]s3ec.Keyring{ErrWrongKey: {aesKey(2)}, ErrNoKey: nil} {
		other := mount(t, m, s.on, func(o *Options) { o.S3ECKeys = ring })
		if info := other.stat("a"); info.Size != 4 { // which the metadata show
			t.Errorf("%+v", info)
		}
		wants(t, errOf(other.get("a")), want)
		other.must(errOf(other.SetAttr(other.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
		other.rename("a", "b")
		f.has("b", "text")
		f.rename("b", "a")
	}
}

// TestLimits: no file grows beyond what its format holds, and the error comes
// before anything is lost.
func TestLimits(t *testing.T) {
	for name, limit := range map[string]int64{"s3ec": 1<<36 - 33, "none": 5 << 40, "client": sigil.MaxSize} {
		t.Run(name, func(t *testing.T) {
			s := setupOf(name)
			f := mount(t, s.store(), s.on)
			f.put("a", "text")
			file := f.open("a")
			for _, err := range []error{
				file.Truncate(f.ctx, limit+1),
				errOf(file.WriteAt(f.ctx, []byte("xx"), limit-1)),
				file.Allocate(f.ctx, limit, 1, AllocOptions{}),
			} {
				wants(t, err, ErrTooLarge)
			}
			f.reads(file, "text")
			f.must(file.Truncate(f.ctx, limit))
			wants(t, errOf(file.Append(f.ctx, []byte("x"))), ErrTooLarge)
			f.must(file.Truncate(f.ctx, 2))
			f.must(file.Commit(f.ctx))
			file.Release()
			f.has("a", "te")
		})
	}
}

// TestS3ECOverServerSide: the server is asked too.
func TestS3ECOverServerSide(t *testing.T) {
	s := setupOf("s3ec").with(func(r *Rule) { r.Server = sse.S3() })
	f := mount(t, s.store(), s.on)
	f.put("a", "text")
	f.rename("a", "b")
	f.has("b", "text")
	if o, _ := f.mem.Object("b"); sse.S3().Confirm(o.Info.Encrypted) != nil {
		t.Errorf("%v", o.Info.Encrypted)
	}
	f.sealed("text")
}
