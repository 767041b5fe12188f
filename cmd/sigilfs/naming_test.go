package main

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/internal/volume/named"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sirupsen/logrus"
)

func TestParseNames(t *testing.T) {
	mark := strings.Repeat("0f", 32)
	for text, want := range map[string]string{
		"auto": "auto", "encrypted": "encrypted", "encrypted:" + mark: "encrypted:" + mark, "encrypted:" + strings.ToUpper(mark): "encrypted:" + mark,
		"": "", "clear": "", "Encrypted": "", "encrypted:": "", "encrypted:0f": "", "encrypted:" + mark + "0f": "", "auto:" + mark: "", "encrypted:" + strings.Repeat("0g", 32): "",
	} {
		if got, err := parseNames(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

// putVolume puts a volume object; nil removes it.
func putVolume(t *testing.T, store objstore.Store, object *keyring.VolumeObject) {
	t.Helper()
	if object == nil {
		if err := store.Delete(t.Context(), objstore.ID{Key: volumeKey(testRoot)}, objstore.Condition{}); err != nil {
			t.Fatal(err)
		}
		return
	}
	text := object.Marshal()
	if _, err := store.Put(t.Context(), volumeKey(testRoot), bytes.NewReader(text), int64(len(text)), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A volume object that may not be read is never taken for absent, unless a listing
// shows that it is.
func TestReadVolume(t *testing.T) {
	there, none := mem.New(mem.Options{}), mem.New(mem.Options{})
	object := keyring.NewVolumeObject()
	putVolume(t, there, &object)
	denied := func(verbs ...faulty.Verb) func(faulty.Op) faulty.Fault {
		return func(op faulty.Op) faulty.Fault {
			for _, v := range verbs {
				if op.Verb == v {
					return faulty.Fault{Err: objstore.ErrAccess}
				}
			}
			return faulty.Fault{}
		}
	}
	for _, c := range []struct {
		name  string
		in    objstore.Store
		deny  []faulty.Verb
		found bool
		err   error
	}{
		{"there", there, nil, true, nil},
		{"absent", none, nil, false, nil},
		{"there, and may not be read", there, []faulty.Verb{faulty.Get}, false, objstore.ErrAccess},
		{"there, and nothing may be asked", there, []faulty.Verb{faulty.Get, faulty.List}, false, objstore.ErrAccess},
		{"absent, and only a listing says so", none, []faulty.Verb{faulty.Get}, false, nil},
		{"absent, and nothing may be asked", none, []faulty.Verb{faulty.Get, faulty.List}, false, objstore.ErrAccess},
	} {
		got, _, err := readVolumeOf(t.Context(), faulty.New(c.in, faulty.Options{Script: denied(c.deny...)}), testRoot)
		if (got != nil) != c.found || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

// What becomes of the volume object while a volume is open.
func TestNameWatch(t *testing.T) {
	store := mem.New(mem.Options{})
	ring := newRing(t, store, newMaster(t))
	id, epoch, err := ring.set.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key, other := [keyring.NameKeySize]byte{1}, [keyring.NameKeySize]byte{2}
	none := keyring.NewVolumeObject()
	dark := none.Sealed(id, &epoch, &key)
	again, swapped := none.Sealed(id, &epoch, &key), none.Sealed(id, &epoch, &other)
	stranger := keyring.NewVolumeObject()
	fromElsewhere := stranger.Sealed(id, &epoch, &key)
	unopened := none.Sealed(keyring.NewEpochID(), &epoch, &key)
	for _, c := range []struct {
		name     string
		was, now *keyring.VolumeObject
		stops    bool
		fails    bool
	}{
		{"nothing", nil, nil, false, false},
		{"one is made of a clear volume", nil, &none, false, false},
		{"names are encrypted meanwhile", nil, &dark, true, false},
		{"names of a volume with an id are", &none, &dark, true, false},
		{"a clear one is removed", &none, nil, false, false},
		{"another clear one", &none, &stranger, true, false},
		{"the same", &dark, &dark, false, false},
		{"sealed anew", &dark, &again, false, false},
		{"removed", &dark, nil, true, false},
		{"another key", &dark, &swapped, true, false},
		{"another volume with the same key", &dark, &fromElsewhere, true, false},
		{"names are clear meanwhile", &dark, &none, true, false},
		{"under an epoch that is not there", &dark, &unopened, false, true},
	} {
		v := volume.New(volume.Options{Store: store, Keys: ring.keys, Rules: []volume.Rule{{Mode: "none", AllowPlaintext: true}}, Log: quietLog(), ReadOnly: true})
		w := &nameWatch{store: store, root: testRoot, ring: ring.ring, volume: v, was: c.was, log: quietLog()}
		if c.was != nil && c.was.Encrypted() {
			w.print = fingerprint(&key)
		}
		putVolume(t, store, c.now)
		err := w.Recheck(t.Context())
		if stopped := v.Stats().Suspended; (stopped != nil) != c.stops || (err != nil) != c.fails {
			t.Errorf("%s: suspended %v, %v", c.name, stopped, err)
		}
		putVolume(t, store, c.was)
		if err := w.Recheck(t.Context()); err != nil || v.Stats().Suspended != nil {
			t.Errorf("%s, and back: suspended %v, %v", c.name, v.Stats().Suspended, err)
		}
		if err := v.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func quietLog() *logrus.Logger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// Keys are shown with their names, those of others as they are.
func TestShownNames(t *testing.T) {
	names, err := named.New(sigil.NewNames(sigil.NameKey{7}), "docs/", 0)
	if err != nil {
		t.Fatal(err)
	}
	s := defaultSettings()
	s.target, s.volumeRoot = option.Target{Bucket: "b", Prefix: "web/docs/"}, testRoot
	o := &offline{mounting: &mounting{set: s, names: names}, path: "a/b"}
	stored, err := o.stored("a/b")
	if err != nil || strings.Contains(stored, "a") && stored == "a/b" {
		t.Fatalf("%q, %v", stored, err)
	}
	key := o.key()
	if !strings.HasPrefix(key, testRoot) || strings.Contains(key, "docs") || !strings.HasSuffix(key, "/"+stored) {
		t.Errorf("key %q of %q", key, stored)
	}
	for key, want := range map[string]string{
		key: "web/docs/a/b", key + "/": "web/docs/a/b/", key + ".instruction": "web/docs/a/b.instruction",
		"web/docs/a/b": "web/docs/a/b", "elsewhere": "elsewhere", o.storedPrefix(): o.storedPrefix(), o.storedPrefix() + stored + "x": o.storedPrefix() + stored + "x",
	} {
		if got := o.keyOrName(key); got != want {
			t.Errorf("%q is shown as %q, want %q", key, got, want)
		}
	}
	if e := o.withPath(event{"key": key}, key); e["path"] != "a/b" {
		t.Errorf("%v", e)
	}
	for from, want := range map[string]string{"web2/docs/a/b": "web2/" + names.Base() + stored, "docs/a/b": names.Base() + stored, "a/b": "", "web/docs/x": "", "xdocs/a/b": ""} {
		if got, err := o.formerKey(from); got != want || (err == nil) != (want != "") {
			t.Errorf("--from %s: %q, %v; want %q", from, got, err, want)
		}
	}
	plain := &mounting{set: s}
	if plain.keyOrName("web/docs/x") != "web/docs/x" || plain.shownPath("x") != "x" || plain.storedPrefix() != "web/docs/" {
		t.Error("clear names are changed")
	}
}

// An inventory has keys alone, and nothing opens names.
func TestListedFlaws(t *testing.T) {
	root := testRoot
	siv := sigil.NewNames(sigil.NameKey{7})
	dir, err := siv.Encode("", strings.Repeat("d", 255))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{
		root: false, root + dir: false, root + dir + "/": false, root + dir + "/" + dir + ".instruction": false, root + ".sigil/volume": false,
		"elsewhere/readable": false, root + "readable": true, root + dir + "/readable": true, root + dir + "/.sigil/volume": false, root + dir + "//" + dir: true,
	} {
		named := func(f volume.Flaw) bool { return f.Kind == volume.FlawName }
		if got := slices.ContainsFunc(listedFlaws(key, &root), named); got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
	if flaws := listedFlaws(root+dir, nil); len(flaws) != 1 {
		t.Errorf("a component of %d bytes: %v", len(dir), flaws)
	}
}
