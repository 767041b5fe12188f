package volume

import (
	"strings"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
	"github.com/sirupsen/logrus"
)

// keyNotes is a KeyMemory.
type keyNotes struct {
	mu sync.Mutex // guards m
	m  map[string]string
}

func (k *keyNotes) Recall(key string) (string, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	id, ok := k.m[key]
	return id, ok
}

func (k *keyNotes) Remember(key, id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m == nil {
		k.m = map[string]string{}
	}
	k.m[key] = id
}

func keyMemory(k KeyMemory) tweak { return func(o *Options) { o.KeyMemory = k } }

// ssec is a policy of SSE-C under a key, with others to read.
func ssec(letter byte, others ...byte) tweak {
	return func(o *Options) {
		o.Rules = []Rule{{Mode: "sse-c", Server: ssecMode(letter)}}
		for _, l := range others {
			o.Customers = append(o.Customers, ssecMode(l))
		}
	}
}

// keyOf is the key that the object at key has by the server's word: its letter,
// or "" for none.
func keyOf(t *testing.T, m *mem.Store, key string) string {
	t.Helper()
	o, ok := m.Object(key)
	if !ok {
		t.Fatalf("%s is not there", key)
	}
	for _, l := range []byte("abcdz") {
		if ssecMode(l).Confirm(o.Info.Encrypted) == nil {
			return string(l)
		}
	}
	return ""
}

// generations is a bucket with objects of three keys and one of none.
func generations(t *testing.T, o mem.Options) *mem.Store {
	m := mem.New(o)
	for _, l := range []byte("abc") {
		f := mount(t, m, ssec(l))
		for _, n := range []string{"1", "2"} {
			f.put("gen-"+string(l)+n, "text "+string(l)+n)
		}
		f.settle()
	}
	mount(t, m, rules(Rule{Mode: "none"})).put("plain", "plain text")
	return m
}

// TestGenerations: objects of three keys and plain ones in one bucket read,
// whatever tells of the keys; the next look costs one request.
func TestGenerations(t *testing.T) {
	for name, o := range map[string]mem.Options{"Tagged": {}, "TagsDenied": {RefuseTags: true}, "NoTags": {NoTags: true}} {
		t.Run(name, func(t *testing.T) {
			m := generations(t, o)
			notes := &keyNotes{}
			f := mount(t, m, ssec('c', 'b', 'a'), keyMemory(notes))
			want := map[string]string{"plain": "plain text"}
			for _, n := range strings.Fields("a1 a2 b1 b2 c1 c2") {
				want["gen-"+n] = "text " + n
			}
			sameTree(t, treeOf(f), want)
			for p := range want {
				o, _ := m.Object(p)
				if tagged := o.Tags[sse.KeyTag]; tagged != "" != (name == "Tagged" && p != "plain") {
					t.Errorf("%s is tagged %q", p, tagged)
				}
			}
			f.settle()
			again := mount(t, m, ssec('c', 'b', 'a'), keyMemory(notes))
			for p := range want {
				again.s.Reset()
				again.stat(p)
				again.requests("get list")
			}
		})
	}
}

// TestOldGenerations: what is changed of an object of an earlier key is then
// under that of the rule, and so is all of it.
func TestOldGenerations(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(f *fixture, p string) (now string)
		want string
	}{
		{"Chmod", func(f *fixture, p string) string {
			f.must(errOf(f.SetAttr(f.ctx, p, Change{Mode: ptr[uint32](0o600)})))
			return p
		}, ""},
		{"Rename", func(f *fixture, p string) string { f.rename(p, "new"); return "new" }, ""},
		{"RenameOver", func(f *fixture, p string) string { f.rename(p, "gen-b1"); return "gen-b1" }, ""},
		{"Append", func(f *fixture, p string) string {
			file := f.open(p)
			defer file.Release()
			f.must(errOf(file.Append(f.ctx, []byte(" more"))))
			f.must(file.Commit(f.ctx))
			return p
		}, " more"},
		{"Overwrite", func(f *fixture, p string) string {
			file := f.open(p)
			defer file.Release()
			f.write(file, "TEXT", 0)
			f.must(file.Commit(f.ctx))
			return p
		}, "TEXT"},
		{"RenameDir", func(f *fixture, p string) string {
			f.mkdir("dir")
			f.rename(p, "dir/x")
			f.rename("dir", "dir2")
			return "dir2/x"
		}, ""},
	} {
		for name, o := range map[string]mem.Options{"": {}, "Silent": {SilentCopies: true}, "TagsDenied": {RefuseTags: true}, "NoTags": {NoTags: true}} {
			t.Run(tc.name+name, func(t *testing.T) {
				m := generations(t, o)
				hook, log := logged()
				f := mount(t, m, ssec('c', 'b', 'a'), log)
				for _, p := range []string{"gen-a1", "plain"} {
					before, err := f.get(p)
					f.must(err)
					open := f.open(p) // by the old key, while the new one comes
					now := tc.do(f, p)
					want := before + tc.want
					if tc.want == "TEXT" {
						want = "TEXT" + before[4:]
					}
					f.has(now, want)
					f.reads(open, want)
					open.Release()
					mount(t, m, ssec('c'), host("there")).has(now, want)
					if key := keyOf(t, m, now); key != "c" {
						t.Errorf("%s is under %q", now, key)
					}
					if o, _ := m.Object(now); name == "" && o.Tags[sse.KeyTag] != ssecMode('c').KeyID() {
						t.Errorf("tags %v", o.Tags)
					}
					f.must(f.Remove(f.ctx, now))
				}
				if warned := said(hook, logrus.WarnLevel, "no tag"); warned > 1 || warned == 0 && strings.HasSuffix(name, "Tags") {
					t.Errorf("%d warnings", warned)
				}
				f.settle()
				f.noLeftovers()
			})
		}
	}
}

// TestKeysThatAreNotHere: an object under another key says so, names the key
// where a tag does, and stays listed; its attributes are of nobody's making.
func TestKeysThatAreNotHere(t *testing.T) {
	k := &fakeKeys{}
	k.epochs = append(k.epochs, epoch(1))
	for _, tc := range []struct {
		name   string
		bucket mem.Options
		mount  tweak
		want   error
		names  bool
	}{
		{"Another", mem.Options{RefuseTags: true}, ssec('z'), ErrWrongKey, false},
		{"AnotherTagged", mem.Options{}, ssec('z'), ErrNoKey, true},
		{"None", mem.Options{RefuseTags: true}, rules(Rule{Mode: "none"}), ErrNoKey, false},
		{"NoneTagged", mem.Options{}, rules(Rule{Mode: "none"}), ErrNoKey, true},
		{"Client", mem.Options{NoTags: true}, rules(Rule{Mode: "client", Keys: k}), ErrNoKey, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := generations(t, tc.bucket)
			f := mount(t, m, tc.mount)
			f.lists("", "gen-a1", "gen-a2", "gen-b1", "gen-b2", "gen-c1", "gen-c2", "plain")
			info := f.stat("gen-a1")
			wants(t, info.Err, tc.want)
			if info.Size != int64(len("text a1")) {
				t.Errorf("%+v", info)
			}
			_, err := f.get("gen-a1")
			wants(t, err, tc.want)
			if id := ssecMode('a').KeyID(); tc.names != strings.Contains(err.Error(), id) {
				t.Errorf("%v, the key is %s", err, id)
			}
			for _, letter := range []string{"aaaa", "YWFh", "zzzz", "enp6"} {
				if strings.Contains(err.Error(), letter) {
					t.Errorf("a key is in %v", err)
				}
			}
			wants(t, errOf(f.SetAttr(f.ctx, "gen-a1", Change{Mode: ptr[uint32](0o600)})), tc.want)
			wants(t, f.Rename(f.ctx, "gen-a1", "x", false), tc.want)
			f.must(f.Remove(f.ctx, "gen-a1")) // which needs no key
			f.absent("gen-a1")
		})
	}
}

// TestWrongTag: a tag is a hint. Whoever may write tags takes nothing away.
func TestWrongTag(t *testing.T) {
	m := generations(t, mem.Options{})
	m.Tamper("gen-a1", func(o *mem.Object) { o.Tags = map[string]string{sse.KeyTag: "0123456789abcdef"} })
	m.Tamper("gen-a2", func(o *mem.Object) { o.Tags = map[string]string{sse.KeyTag: ssecMode('b').KeyID()} })
	f := mount(t, m, ssec('c', 'b', 'a'))
	f.has("gen-a1", "text a1")
	f.has("gen-a2", "text a2")
}

// TestForeignTags: tags of others stay through chmod and rename, beside the key's.
func TestForeignTags(t *testing.T) {
	m := generations(t, mem.Options{})
	for _, key := range []string{"gen-a1", "gen-c1", "plain"} {
		m.Tamper(key, func(o *mem.Object) {
			if o.Tags == nil {
				o.Tags = map[string]string{}
			}
			o.Tags["team"] = "backup"
		})
		f := mount(t, m, ssec('c', 'a'))
		f.must(errOf(f.SetAttr(f.ctx, key, Change{Mode: ptr[uint32](0o600)})))
		f.rename(key, key+"x")
		if o, _ := m.Object(key + "x"); o.Tags["team"] != "backup" || o.Tags[sse.KeyTag] != ssecMode('c').KeyID() {
			t.Errorf("%s: %v", key, o.Tags)
		}
	}
}

// TestBlockedCustomerKeys: a bucket that takes none says so at the write.
func TestBlockedCustomerKeys(t *testing.T) {
	f := mount(t, mem.New(mem.Options{BlockCustomerKeys: true}), ssec('a'))
	f.s.Reset()
	wants(t, f.tryPut("a", "text"), ErrKeyBlocked)
	if counts := f.s.Counts(); counts.Requests[faulty.Put] != 1 {
		t.Errorf("%v", counts)
	}
	f.has("a", "text")
}

// TestOpenWhileTheKeyChanges: another host moves an object to another key under
// an open handle: it reads what it opened, or says that it is gone.
func TestOpenWhileTheKeyChanges(t *testing.T) {
	m := mem.New(mem.Options{})
	old := mount(t, m, ssec('a', 'b'))
	text := noise(300<<10, 1)
	old.put("f", text)
	file := old.open("f")
	defer file.Release()
	now := mount(t, m, ssec('b', 'a'), host("there"))
	now.must(errOf(now.SetAttr(now.ctx, "f", Change{Mode: ptr[uint32](0o600)})))
	if got, err := textOf(old.ctx, file); err == nil && got != text {
		t.Errorf("read %s", brief(got))
	} else if err != nil {
		wants(t, err, ErrChanged)
	}
	old.has("f", text)
}
