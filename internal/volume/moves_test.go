package volume

import (
	"encoding/json"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// memoryMoves is a MoveMemory that lives as long as its bucket, for all mounts
// of a test that are one host.
type memoryMoves struct {
	mu    sync.Mutex
	begun map[string]bool
}

var movesOfBuckets sync.Map // weak.Pointer[mem.Store] → *memoryMoves; it keeps no bucket alive

func movesOf(m *mem.Store) *memoryMoves {
	k, _ := movesOfBuckets.LoadOrStore(weak.Make(m), &memoryMoves{begun: map[string]bool{}})
	return k.(*memoryMoves)
}

func (m *memoryMoves) Begin(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun[id] = true
	return nil
}

func (m *memoryMoves) Begun(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.begun[id]
}

func (m *memoryMoves) End(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.begun, id)
	return nil
}

func (m *memoryMoves) Retain(ids map[string]bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.begun {
		if !ids[id] {
			delete(m.begun, id)
		}
	}
	return nil
}

// published are rules of which one sends what is moved there out in the clear.
func published(k *fakeKeys) tweak {
	return func(o *Options) {
		o.Keys = k
		o.Rules = []Rule{{Mode: "client", Keys: k}, {Prefix: "none/", Mode: "none"}}
	}
}

// T6: a journal that was put back, planted by who can wrap, or left by another
// host, does not have a host write out in the clear what is encrypted.
func TestJournalsOfOthersPublishNothing(t *testing.T) {
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	m := bucket()
	f := mount(t, m, published(k))
	plant := func(host string) {
		text, err := json.Marshal(journal{Version: 1, From: "secrets/", To: "none/out/", Host: host, Beats: 1})
		f.must(err)
		f.must(errOf(f.putOwn(f.ctx, draft{key: f.journalDir() + "planted-" + host}, text)))
	}
	f.must(errOf(f.Mkdir(f.ctx, "none", Attr{Mode: 0o755})))
	f.must(errOf(f.Mkdir(f.ctx, "secrets", Attr{Mode: 0o755})))
	f.put("secrets/a", "secret")
	plant("here")
	plant("gone")
	f.must(f.Close(f.ctx))
	again := mount(t, m, published(k), func(o *Options) { o.Now = func() time.Time { return time.Now().Add(2 * silence) } })
	again.absent("none/out/a")
	again.has("secrets/a", "secret")
}

// TestJournalThatWasPutBack: what this host has finished it does not do again.
func TestJournalThatWasPutBack(t *testing.T) {
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	m := bucket()
	f := mount(t, m, published(k))
	var old mem.Object
	key := ""
	f.must(errOf(f.Mkdir(f.ctx, "dir", Attr{Mode: 0o755})))
	f.put("dir/a", "published")
	f.must(errOf(f.Mkdir(f.ctx, "none", Attr{Mode: 0o755})))
	f.s.SetScript(func(op faulty.Op) faulty.Fault { // the owner of the bucket keeps it
		if op.Verb != faulty.Delete {
			return faulty.Fault{}
		}
		for _, at := range m.Keys() {
			if parent(at) == ".sigil/journal" {
				key = at
				old, _ = m.Object(at)
			}
		}
		return faulty.Fault{}
	})
	f.rename("dir", "none/dir")
	if key == "" {
		t.Fatal("no journal was seen")
	}
	f.s.SetScript(nil)
	f.must(errOf(f.Mkdir(f.ctx, "dir", Attr{Mode: 0o755})))
	f.put("dir/b", "secret")
	f.must(f.Close(f.ctx))
	m.Plant(key, old)
	again := mount(t, m, published(k))
	again.absent("none/dir/b")
	again.has("dir/b", "secret")
}
