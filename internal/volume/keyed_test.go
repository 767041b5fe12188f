package volume

import (
	"strings"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// keyedBucket looks at conditions as MinIO does.
func keyedBucket() *mem.Store {
	return kmsBucket(mem.Options{SilentCopies: true, KeyedConditions: true, IgnoreCopyConditions: true, IgnoreDeleteConditions: true})
}

// likeMinIO says so, has the rule to, and knows the SSE-C key of what is there.
func likeMinIO(to setup) tweak {
	return func(o *Options) {
		to.on(o)
		inParts(o)
		o.Customers = []*sse.Mode{ssecMode('a')}
		o.Capabilities.CopyConditions, o.Capabilities.DeleteConditions = false, false
		for i := range o.Rules {
			o.Rules[i].AllowPlaintext = true
		}
	}
}

// putText is another client.
func putText(t *testing.T, m *mem.Store, key, text string, opt objstore.PutOptions) error {
	return errOf(m.Put(t.Context(), key, strings.NewReader(text), int64(len(text)), opt))
}

// underA puts a file there under SSE-C.
func underA(t *testing.T, m *mem.Store, p, text string) {
	t.Helper()
	f := mount(t, m, ssec('a'), host("before"))
	f.put(p, text)
	f.must(f.Close(f.ctx))
	f.end()
}

// TestOverwriteUnderCustomerKeys: where a server wants the SSE-C key of what a
// condition is about, files of another mode are written over, renamed over and
// removed all the same, and end as their rule says; on the way what is written is
// never under neither.
func TestOverwriteUnderCustomerKeys(t *testing.T) {
	for _, name := range []string{"client", "sse-s3", "none", "s3ec"} {
		for _, size := range []int{10, 150 << 10} {
			t.Run(name, func(t *testing.T) {
				to, text := setupOf(name), noise(size, 7)
				m := keyedBucket()
				for _, p := range []string{"a", "b", "c"} {
					underA(t, m, p, "old")
				}
				f := mount(t, m, likeMinIO(to))
				f.put("a", text)
				f.has("a", text)
				f.put("n", text)
				f.rename("n", "b")
				f.must(f.Remove(f.ctx, "c"))
				f.must(f.Close(f.ctx))
				f.end()
				for _, key := range []string{"a", "b"} {
					o, _ := m.Object(key)
					if keyOf(t, m, key) != "" || o.Tags[sse.KeyTag] != "" {
						t.Errorf("%s: encrypted %v, tags %v", key, o.Info.Encrypted, o.Tags)
					}
					if want := to.rules[0].Server; want != nil && want.Confirm(o.Info.Encrypted) != nil {
						t.Errorf("%s: encrypted %v", key, o.Info.Encrypted)
					}
				}
				f = mount(t, m, to.on, inParts)
				f.has("a", text)
				f.has("b", text)
				f.absent("c")
				f.end()
			})
		}
	}
}

// TestOverwriteUnderCustomerKeysMeetsWriters: who writes before the first step, or
// between the two, does not have his data lost.
func TestOverwriteUnderCustomerKeysMeetsWriters(t *testing.T) {
	for name, at := range map[string]faulty.Verb{"Before": faulty.Put, "Between": faulty.Copy} {
		for _, his := range []byte{'a', 0} {
			t.Run(name, func(t *testing.T) {
				m := keyedBucket()
				underA(t, m, "f", "old")
				f := mount(t, m, likeMinIO(setupOf("client")), onConflict(ConflictCopy), noTimeout)
				f.has("f", "old")
				once := false
				f.s.SetScript(func(op faulty.Op) faulty.Fault {
					if op.Verb == at && op.Key == "f" && !once {
						once = true
						put := objstore.PutOptions{}
						if his != 0 {
							put.Encryption = &objstore.Encryption{Write: ssecMode(his).Write()}
						}
						wants(t, putText(t, m, "f", "his text", put), nil)
					}
					return faulty.Fault{}
				})
				err := f.tryPut("f", "new text")
				if !once {
					t.Fatal("nobody wrote")
				}
				f.s.SetScript(nil)
				if name == "Before" {
					wants(t, err, ErrChanged)
				} else {
					f.must(err)
				}
				f.has("f", "his text")
				if saved := len(f.mem.Keys()) > 1; saved != (name == "Before") {
					t.Errorf("the bucket holds %v", f.mem.Keys())
				}
				f.end()
			})
		}
	}
}

// TestOverwriteUnderCustomerKeysCut: cut anywhere, or an answer lost, it is the old
// file or the new one, and a commit that goes on ends well.
func TestOverwriteUnderCustomerKeysCut(t *testing.T) {
	for n, cut := 1, true; cut; n++ {
		for _, done := range []bool{false, true} {
			m := keyedBucket()
			underA(t, m, "f", "old")
			f := mount(t, m, likeMinIO(setupOf("client")))
			f.s.CrashAt(n, done)
			_ = f.tryPut("f", "new text")
			cut = f.s.Crashed()
			f.end()
			f = mount(t, m, likeMinIO(setupOf("client")), host("reader"))
			if got, err := f.get("f"); err != nil || got != "old" && got != "new text" {
				t.Fatalf("request %d, done %v: %q, %v", n, done, got, err)
			}
			f.end()
		}
	}
	m := keyedBucket()
	underA(t, m, "f", "old")
	f := mount(t, m, likeMinIO(setupOf("client")))
	var lost sync.Map // the mount has work of its own, too
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if !op.Verb.Writes() {
			return faulty.Fault{}
		}
		_, again := lost.LoadOrStore(op.Verb, true)
		return faulty.Fault{Lost: !again}
	})
	f.put("f", "new text")
	f.has("f", "new text")
	if keyOf(t, m, "f") != "" {
		t.Error("it is under the old key")
	}
	f.end()
}

// TestReencryptFromCustomerKeysCut: where only the first step of two was done, the
// next run takes the object for one under SSE-C yet, and does the other.
func TestReencryptFromCustomerKeysCut(t *testing.T) {
	to, from := setupOf("client"), ReencryptOptions{From: []string{"sse-c"}}
	for n, cut := 1, true; cut; n++ {
		m := keyedBucket()
		underA(t, m, "f", "text")
		f := mountIdle(t, m, likeMinIO(to))
		f.s.CrashAt(n, true)
		_, err := f.Reencrypt(from).Do(f.ctx, "f")
		if cut = f.s.Crashed(); !cut {
			f.must(err)
		}
		f.end()
		f = mountIdle(t, m, likeMinIO(to))
		if did, err := f.Reencrypt(from).Do(f.ctx, "f"); err != nil || keyOf(t, m, "f") != "" {
			t.Fatalf("request %d: %v, %v; under key %q", n, did, err, keyOf(t, m, "f"))
		}
		f.end()
		f = mount(t, m, to.on, inParts)
		f.has("f", "text")
		f.end()
	}
}

// TestNewFileOverCustomerKeys: a name that another host took first is a conflict
// there, too.
func TestNewFileOverCustomerKeys(t *testing.T) {
	m := keyedBucket()
	f := mount(t, m, likeMinIO(setupOf("client")))
	h := f.create("f", "mine", true)
	wants(t, putText(t, m, "f", "his", objstore.PutOptions{Encryption: &objstore.Encryption{Write: ssecMode('a').Write()}}), nil)
	wants(t, h.Commit(f.ctx), ErrExist)
	h.Release()
	f.has("f", "his")
}
