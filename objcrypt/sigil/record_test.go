package sigil

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/sigilfs/sigilfs/objcrypt"
	"pgregory.net/rapid"
)

// anyRecord draws records with every field.
func anyRecord(t *rapid.T) *Record {
	types := []uint32{typeSocket, typeSymlink, typeRegular, typeBlock, typeDir, typeChar, typeFifo}
	r := &Record{
		Version: rapid.Uint64().Draw(t, "version"),
		Attr: Attr{
			Mode: rapid.SampledFrom(types).Draw(t, "type") | rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
			UID:  rapid.Uint32().Draw(t, "uid"), GID: rapid.Uint32().Draw(t, "gid"),
			Mtime: rapid.Int64().Draw(t, "mtime"), Ctime: rapid.Int64().Draw(t, "ctime"),
		},
		Rdev: rapid.Uint64().Draw(t, "rdev"), Late: rapid.Bool().Draw(t, "late"),
		Nlink: rapid.Uint64Min(1).Draw(t, "nlink"), FileID: rapid.Uint64().Draw(t, "file id"),
	}
	r.Fresh()
	r.SealEpoch = EpochID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "epoch"))
	r.KeyHash = KeyHash(rapid.String().Draw(t, "key"))
	if x := rapid.MapOfN(rapid.StringN(1, 8, 30), rapid.SliceOfN(rapid.Byte(), 0, 20), 0, 8).Draw(t, "xattrs"); len(x) > 0 {
		r.Xattrs = x
	}
	if r.SizeKnown = rapid.Bool().Draw(t, "size known"); r.SizeKnown {
		r.Size = rapid.Int64Range(0, MaxSize).Draw(t, "size")
	}
	copy(r.Inode[:], rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "inode"))
	if rapid.Bool().Draw(t, "has extra") {
		r.extra = map[uint64]any{
			rapid.Uint64Range(64, math.MaxUint64).Draw(t, "unknown"): rapid.String().Draw(t, "value"),
			64: []any{uint64(1), []byte{2}, "three", nil, true, int64(-7), map[any]any{uint64(1): "x"}},
		}
	}
	return r
}

func TestRecordsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRecord(t)
		b, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeRecord(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(*r, *got, cmp.AllowUnexported(Record{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

// recordMap is a record as a map, to be spoilt.
func recordMap(t testing.TB) map[uint64]any {
	t.Helper()
	r := file()
	r.Fresh()
	b, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := decodeFields(b)
	if err != nil {
		t.Fatal(err)
	}
	return f.m
}

func TestDecodeRecordIsStrict(t *testing.T) {
	absent := struct{}{}
	for _, c := range []struct {
		name  string
		field uint64
		value any
		want  error // nil: it is accepted
	}{
		{"no data key", 1, absent, objcrypt.ErrCorrupt},
		{"short data key", 1, make([]byte, 31), objcrypt.ErrCorrupt},
		{"long data key", 1, make([]byte, 33), objcrypt.ErrCorrupt},
		{"data key as text", 1, strings.Repeat("k", 32), objcrypt.ErrCorrupt},
		{"no generation", 2, absent, objcrypt.ErrCorrupt},
		{"short generation", 2, make([]byte, 15), objcrypt.ErrCorrupt},
		{"no version", 3, absent, objcrypt.ErrCorrupt},
		{"negative version", 3, -1, objcrypt.ErrCorrupt},
		{"no key hash", 4, absent, objcrypt.ErrCorrupt},
		{"short key hash", 4, make([]byte, 16), objcrypt.ErrCorrupt},
		{"no mode", 5, absent, objcrypt.ErrCorrupt},
		{"mode without a type", 5, 0o644, objcrypt.ErrCorrupt},
		{"mode of an unknown type", 5, 0o170644, objcrypt.ErrCorrupt},
		{"mode over 16 bits", 5, uint64(1<<16 | 0o100644), objcrypt.ErrCorrupt},
		{"mode over 32 bits", 5, uint64(1<<32 | 0o100644), objcrypt.ErrCorrupt},
		{"no uid", 6, absent, objcrypt.ErrCorrupt},
		{"uid over 32 bits", 6, uint64(1 << 32), objcrypt.ErrCorrupt},
		{"no gid", 7, absent, objcrypt.ErrCorrupt},
		{"rdev", 8, 5, nil},
		{"rdev zero", 8, 0, objcrypt.ErrCorrupt},
		{"rdev negative", 8, -1, objcrypt.ErrCorrupt},
		{"no mtime", 9, absent, objcrypt.ErrCorrupt},
		{"mtime negative", 9, math.MinInt64, nil},
		{"mtime over 63 bits", 9, uint64(1 << 63), objcrypt.ErrCorrupt},
		{"mtime as a float", 9, 1.5, objcrypt.ErrCorrupt},
		{"no ctime", 10, absent, objcrypt.ErrCorrupt},
		{"no xattrs in the map", 11, map[string][]byte{}, objcrypt.ErrCorrupt},
		{"xattrs as a list", 11, []string{"a"}, objcrypt.ErrCorrupt},
		{"xattr value as text", 11, map[string]string{"a": "b"}, objcrypt.ErrCorrupt},
		{"xattr name as a number", 11, map[int][]byte{1: nil}, objcrypt.ErrCorrupt},
		{"xattrs of 1024 bytes", 11, map[string][]byte{"a": make([]byte, 1018)}, nil},
		{"xattrs of 1025 bytes", 11, map[string][]byte{"a": make([]byte, 1019)}, objcrypt.ErrCorrupt},
		{"late", 12, true, nil},
		{"late false", 12, false, objcrypt.ErrCorrupt},
		{"late a number", 12, 1, objcrypt.ErrCorrupt},
		{"size zero", 13, 0, nil},
		{"size over the limit", 13, uint64(MaxSize + 1), objcrypt.ErrCorrupt},
		{"nlink 2", 14, 2, nil},
		{"nlink 1", 14, 1, objcrypt.ErrCorrupt},
		{"no file id", 15, absent, objcrypt.ErrCorrupt},
		{"no epoch of the data key", 16, absent, objcrypt.ErrCorrupt},
		{"short epoch", 16, make([]byte, 15), objcrypt.ErrCorrupt},
		{"inode", 17, bytes.Repeat([]byte{1}, 16), nil},
		{"short inode", 17, make([]byte, 15), objcrypt.ErrCorrupt},
		{"inode zero", 17, make([]byte, 16), objcrypt.ErrCorrupt},
		{"field 0", 0, 1, objcrypt.ErrVersion},
		{"field 18", 18, 1, objcrypt.ErrVersion},
		{"field 63", 63, nil, objcrypt.ErrVersion},
		{"field 64", 64, nil, nil},
		{"field 2^64-1", math.MaxUint64, map[string]any{"deep": []int{1}}, nil},
		{"field 64, below the least int64", 64, cbor.RawMessage("\x3b\xff\xff\xff\xff\xff\xff\xff\xff"), nil},
		{"field 64, nested as deep as may be", 64, nested(31), nil},
		{"field 64, nested deeper", 64, nested(32), objcrypt.ErrCorrupt},
		{"field 64, a float", 64, cbor.RawMessage{0xf9, 0x3e, 0}, objcrypt.ErrCorrupt},
		{"field 64, a float inside", 64, []any{map[string]any{"x": 1.5}}, objcrypt.ErrCorrupt},
		{"field 64, a simple value", 64, cbor.SimpleValue(32), objcrypt.ErrCorrupt},
		{"field 64, undefined", 64, cbor.RawMessage{0xf7}, objcrypt.ErrCorrupt},
		{"field 64, a name that is bytes", 64, cbor.RawMessage{0xa1, 0x41, 1, 0}, objcrypt.ErrCorrupt},
		{"field 64, a name that is a truth value", 64, map[bool]int{true: 1}, objcrypt.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := recordMap(t)
			if m[c.field] = c.value; c.value == absent {
				delete(m, c.field)
			}
			b, err := encoding.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if r, err := decodeRecord(b); !errors.Is(err, c.want) || (err == nil) != (r != nil) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// nested is a number in n lists.
func nested(n int) cbor.RawMessage {
	return append(bytes.Repeat([]byte{0x81}, n), 0)
}

// What a later version leaves out or changes in form, it says by a critical
// field: that goes before the complaint. A name that is no number at all never
// comes from a later version, whatever else is there.
func TestTheVersionIsToldBeforeTheForm(t *testing.T) {
	m := recordMap(t)
	delete(m, fieldMtime)
	m[fieldUID], m[20] = "a name", 1
	b, _ := encoding.Marshal(m)
	if _, err := decodeRecord(b); !errors.Is(err, objcrypt.ErrVersion) {
		t.Errorf("field 20, and others changed: %v", err)
	}
	for range 100 { // maps have no order
		_, err := decodeRecord([]byte{0xa2, 0x20, 0, 0x61, 'a', 0})
		if !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Fatalf("fields -1 and \"a\": %v", err)
		}
	}
}

func TestDecodeRecordWantsOneEncoding(t *testing.T) {
	m := recordMap(t)
	m[6] = 5
	good, _ := encoding.Marshal(m)
	if _, err := decodeRecord(good); err != nil {
		t.Fatal(err)
	}
	uid := bytes.LastIndex(good, []byte{6, 5, 7})
	replace := func(at, n int, with ...byte) []byte {
		return append(append(append([]byte{}, good[:at]...), with...), good[at+n:]...)
	}
	for name, b := range map[string][]byte{
		"nothing":              {},
		"cut":                  good[:len(good)-1],
		"trailing byte":        append(append([]byte{}, good...), 0),
		"two records":          append(append([]byte{}, good...), good...),
		"longer number":        replace(uid, 2, 6, 0x18, 5),
		"longer field number":  replace(uid, 2, 0x18, 6, 5),
		"longer map head":      replace(0, 1, 0xb8, good[0]-0xa0),
		"field twice":          append(replace(0, 1, good[0]+1)[:uid], append([]byte{6, 5}, good[uid:]...)...),
		"fields out of order":  append(replace(uid, 2), 6, 5),
		"indefinite map":       append(append([]byte{0xbf}, good[1:]...), 0xff),
		"tag before the map":   append([]byte{0xd9, 0xd9, 0xf7}, good...),
		"a list":               {0x80},
		"a number":             {0x01},
		"text as a field name": append(replace(0, 1, good[0]+1), 0x61, 'x', 0x01),
	} {
		if _, err := decodeRecord(b); !errors.Is(err, objcrypt.ErrCorrupt) || errors.Is(err, objcrypt.ErrVersion) {
			t.Errorf("%s: %v", name, err)
		}
	}
	negative := append(replace(0, 1, good[0]+1), 0x20, 0x01)
	if _, err := decodeRecord(negative); !errors.Is(err, objcrypt.ErrVersion) {
		t.Errorf("field -1: %v", err)
	}
}

func TestRecordsThatCannotBeSealed(t *testing.T) {
	e := testEpoch("test")
	for name, c := range map[string]struct {
		change func(*Record)
		want   error
	}{
		"no data key":        {func(r *Record) { r.DEK = Key{} }, ErrRecord},
		"no generation":      {func(r *Record) { r.Generation = Generation{} }, ErrRecord},
		"no file type":       {func(r *Record) { r.Mode = 0o644 }, ErrRecord},
		"mode over 16 bits":  {func(r *Record) { r.Mode |= 1 << 16 }, ErrRecord},
		"negative size":      {func(r *Record) { r.Size, r.SizeKnown = -1, true }, ErrRecord},
		"name is not UTF-8":  {func(r *Record) { r.Xattrs = map[string][]byte{"\xff": nil} }, ErrRecord},
		"xattrs fit":         {func(r *Record) { r.Xattrs = map[string][]byte{"a": make([]byte, 1018)} }, nil},
		"xattrs too large":   {func(r *Record) { r.Xattrs = map[string][]byte{"a": make([]byte, 1019)} }, ErrXattrTooLarge},
		"unknown too large":  {func(r *Record) { r.extra = map[uint64]any{64: make([]byte, 1400)} }, ErrXattrTooLarge},
		"nil xattr is empty": {func(r *Record) { r.Xattrs = map[string][]byte{"a": nil} }, nil},
	} {
		r := file()
		r.Fresh()
		c.change(r)
		h, err := r.Seal(e, testKey)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err != nil {
			continue
		}
		size := 0
		for name, value := range h.Metadata() {
			size += len(name) + len(value)
		}
		if size > 2048 {
			t.Errorf("%s: %d bytes of user metadata", name, size)
		}
		if _, err := h.Open(e, testKey); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	m := recordMap(f)
	b, _ := encoding.Marshal(m)
	f.Add(b)
	m[70], m[11] = []any{-5, nil}, map[string][]byte{"user.x": {1}}
	b, _ = encoding.Marshal(m)
	f.Add(b)
	f.Add([]byte{0xa1, 0x20, 0x01})
	f.Add([]byte{0xbf, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			if !errors.Is(err, objcrypt.ErrCorrupt) && !errors.Is(err, objcrypt.ErrVersion) {
				t.Fatalf("unnamed error: %v", err)
			}
			return
		}
		// What is accepted has one encoding, unknown fields included.
		if again, err := r.encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x comes back as %x, %v", b, again, err)
		}
	})
}
