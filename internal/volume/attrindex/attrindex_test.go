package attrindex

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func sample(name string) Entry {
	e := Entry{
		Name: name, ETag: "0123456789abcdef0123456789abcdef", Size: 1016, Modified: 1_800_000_000, Read: 1_800_000_002,
		Mode: unix.S_IFREG | 0o640, UID: 1000, GID: 100, Mtime: -1, Ctime: 1_800_000_000_123_456_789, Length: 1000,
		FileID: 1 << 63, Body: [16]byte{1, 2, 3}, Epoch: [16]byte{4}, Version: 1 << 62, Seal: [16]byte{15: 9},
	}
	if strings.HasSuffix(name, "/") {
		e.Mode, e.Size, e.Length = unix.S_IFDIR|0o755, 0, 0
	}
	return e
}

func build(t testing.TB, all ...Entry) []byte {
	t.Helper()
	var b Builder
	for _, e := range all {
		if !b.Add(e) {
			t.Fatalf("%+v does not fit", e)
		}
	}
	return b.Bytes()
}

// TestWhatWasAddedIsFound, for any entries, and nothing else.
func TestWhatWasAddedIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := map[string]Entry{}
		for _, e := range rapid.SliceOfN(entries(), 0, 30).Draw(t, "entries") {
			all[e.Name] = e
		}
		names := slices.Collect(func(yield func(string) bool) {
			for name := range all {
				if !yield(name) {
					return
				}
			}
		})
		slices.Sort(names)
		var b Builder
		for _, name := range names {
			if !b.Add(all[name]) {
				t.Fatalf("%+v does not fit", all[name])
			}
		}
		table, err := Parse(b.Bytes())
		if err != nil || table.Len() != len(all) || b.Len() != len(all) {
			t.Fatalf("%d entries, %v", table.Len(), err)
		}
		i := 0
		for e := range table.All() {
			if diff := cmp.Diff(all[names[i]], e); diff != "" {
				t.Fatal(diff)
			}
			found, ok := table.Find(e.Name)
			if !ok || found != e {
				t.Fatalf("found %+v", found)
			}
			if _, ok := table.Find(e.Name + "\x01"); ok && !slices.Contains(names, e.Name+"\x01") {
				t.Fatal("found what is not there")
			}
			i++
		}
	})
}

func entries() *rapid.Generator[Entry] {
	return rapid.Custom(func(t *rapid.T) Entry {
		e := sample(rapid.StringMatching(`[a-zä]{1,8}/?`).Draw(t, "name"))
		e.ETag = rapid.StringMatching(`[0-9a-f]{1,40}|[0-9a-fA-F]{32}|[0-9a-f]{32}-7`).Draw(t, "etag")
		e.Size, e.Length = rapid.Int64Min(0).Draw(t, "size"), rapid.Int64Min(0).Draw(t, "length")
		e.Modified, e.Read = rapid.Int64Min(0).Draw(t, "modified"), rapid.Int64Min(0).Draw(t, "read")
		e.Mtime, e.Ctime, e.FileID = rapid.Int64().Draw(t, "mtime"), rapid.Int64().Draw(t, "ctime"), rapid.Uint64().Draw(t, "id")
		e.UID, e.Version = rapid.Uint32().Draw(t, "uid"), rapid.Uint64().Draw(t, "version")
		return e
	})
}

// TestOf: an entry speaks of one state of one object, and of none that another
// write in the same second may have replaced.
func TestOf(t *testing.T) {
	e := sample("a")
	for name, tc := range map[string]struct {
		change         func(*Entry)
		etag           string
		size, modified int64
		want           bool
	}{
		"Same":          {nil, e.ETag, e.Size, e.Modified, true},
		"OtherETag":     {nil, "x", e.Size, e.Modified, false},
		"OtherSize":     {nil, e.ETag, e.Size + 1, e.Modified, false},
		"Later":         {nil, e.ETag, e.Size, e.Modified + 1, false},
		"Earlier":       {nil, e.ETag, e.Size, e.Modified - 1, false},
		"ReadAtOnce":    {func(e *Entry) { e.Read = e.Modified }, e.ETag, e.Size, e.Modified, false},
		"ReadSoonAfter": {func(e *Entry) { e.Read = e.Modified + 1 }, e.ETag, e.Size, e.Modified, false},
		"ReadBefore":    {func(e *Entry) { e.Read = e.Modified - 5 }, e.ETag, e.Size, e.Modified, false},
		"NeverModified": {func(e *Entry) { e.Modified = 0 }, e.ETag, e.Size, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := e
			if tc.change != nil {
				tc.change(&e)
			}
			if got := e.Of(tc.etag, tc.size, tc.modified); got != tc.want {
				t.Error(got)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	good := build(t, sample("a"), sample("b/"), sample("c"))
	if _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	with := func(off int, c byte) []byte {
		p := bytes.Clone(good)
		p[off] = c
		return p
	}
	name := headSize + 2 // of the first entry
	mode := name + 1 + 1 + 16 + 24
	for what, p := range map[string][]byte{
		"Nothing":     nil,
		"OtherMagic":  with(0, 'S'),
		"MoreEntries": with(headSize-1, 4),
		"TooMany":     with(headSize-4, 0xff),
		"FewerThan":   with(headSize-1, 2),
		"Behind":      append(bytes.Clone(good), 0),
		"Order":       with(name, 'd'),
		"Slash":       with(name, '/'),
		"NUL":         with(name, 0),
		"Dot":         with(name, '.'),
		"NotUTF8":     with(name, 0x80),
		"DirAsFile":   with(mode+2, 0x41),
		"Device":      with(mode+2, 0x21),
		"WideMode":    with(mode, 1),
		"Negative":    with(name+1+1+16, 0x80),
		"LongETag":    longETag(good, name+1),
		"TooLong":     make([]byte, MaxSize+1),
	} {
		if _, err := Parse(p); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := range len(good) {
		if _, err := Parse(good[:n]); err == nil {
			t.Errorf("%d of %d bytes are taken", n, len(good))
		}
	}
	if _, err := Parse(with(len(magic)-1, 2)); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
}

// longETag writes the first ETag, at off, as the text that it is.
func longETag(p []byte, off int) []byte {
	text := sample("a").ETag
	return slices.Concat(p[:off], []byte{byte(len(text))}, []byte(text), p[off+1+md5Size:])
}

// TestBuilderRefuses what Parse would.
func TestBuilderRefuses(t *testing.T) {
	changed := func(change func(*Entry)) Entry {
		e := sample("b")
		change(&e)
		return e
	}
	for what, e := range map[string]Entry{
		"Again":    sample("a"),
		"Before":   sample("A"),
		"NoName":   changed(func(e *Entry) { e.Name = "" }),
		"LongName": changed(func(e *Entry) { e.Name = strings.Repeat("b", maxName+1) }),
		"Deep":     changed(func(e *Entry) { e.Name = "b/c" }),
		"NoETag":   changed(func(e *Entry) { e.ETag = "" }),
		"LongETag": changed(func(e *Entry) { e.ETag = strings.Repeat("b", 256) }),
		"NoType":   changed(func(e *Entry) { e.Mode = 0o644 }),
		"Device":   changed(func(e *Entry) { e.Mode = unix.S_IFBLK }),
		"NoSlash":  changed(func(e *Entry) { e.Mode = unix.S_IFDIR }),
	} {
		var b Builder
		if !b.Add(sample("a")) || b.Add(e) {
			t.Errorf("%s was taken", what)
		}
		if table, err := Parse(b.Bytes()); err != nil || table.Len() != 1 {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestFull: 100,000 entries fit, and an index that is full is one.
func TestFull(t *testing.T) {
	var b Builder
	for i := 0; b.Add(sample(fmt.Sprintf("file-%06d.x", i))); i++ {
	}
	if b.Len() < 100_000 {
		t.Errorf("%d entries fit", b.Len())
	}
	table, err := Parse(b.Bytes())
	if err != nil || table.Len() != b.Len() || len(b.Bytes()) > MaxSize {
		t.Fatalf("%d entries, %d bytes, %v", table.Len(), len(b.Bytes()), err)
	}
}

func TestEmpty(t *testing.T) {
	var b Builder
	table, err := Parse(b.Bytes())
	if err != nil || table.Len() != 0 {
		t.Fatal(table, err)
	}
	for _, table := range []*Table{nil, table} {
		if _, ok := table.Find("a"); ok || table.Len() != 0 || table.Bytes() > 100 {
			t.Error("an empty index has something")
		}
		for e := range table.All() {
			t.Error(e)
		}
	}
}

// FuzzParse: what is taken has one encoding, and no input breaks the parser.
func FuzzParse(f *testing.F) {
	f.Add(build(f))
	f.Add(build(f, sample("a"), sample("b/"), sample("ä")))
	f.Add([]byte(magic + "\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, p []byte) {
		table, err := Parse(bytes.Clone(p))
		if err != nil {
			return
		}
		var b Builder
		for e := range table.All() {
			if !b.Add(e) {
				t.Fatalf("%+v does not go in again", e)
			}
			if found, ok := table.Find(e.Name); !ok || found != e {
				t.Fatalf("%q is not found", e.Name)
			}
		}
		if !bytes.Equal(b.Bytes(), p) {
			t.Fatal("another encoding")
		}
	})
}

// TestLayout: the bytes are those of docs/FORMAT.md.
func TestLayout(t *testing.T) {
	e := sample("a")
	want := "736967696c697801" + "00000001" + // magic, count
		"000161" + "00" + e.ETag + // name, ETag
		"00000000000003f8" + "000000006b49d200" + "000000006b49d202" + // length as stored, LastModified, read
		"000081a0" + "000003e8" + "00000064" + // mode, uid, gid
		"ffffffffffffffff" + "18fae2769b0fcd15" + "00000000000003e8" + "8000000000000000" + // mtime, ctime, size, file id
		"01020300000000000000000000000000" + "04000000000000000000000000000000" + // generation, epoch
		"4000000000000000" + "00000000000000000000000000000009" // version, seal
	if got := hex.EncodeToString(build(t, e)); got != want {
		t.Errorf("\n%s, want\n%s", got, want)
	}
}
