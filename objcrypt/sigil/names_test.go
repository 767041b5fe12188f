package sigil

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
	"pgregory.net/rapid"
)

// TestNamesComeBack, in their directory alone, whatever bytes they are.
func TestNamesComeBack(t *testing.T) {
	names, other := NewNames(NewNameKey()), NewNames(NewNameKey())
	rapid.Check(t, func(t *rapid.T) {
		name := string(rapid.SliceOfN(rapid.Byte(), 1, MaxName).Filter(func(p []byte) bool { return isName(string(p)) }).Draw(t, "name"))
		dir := rapid.StringMatching(`([A-Za-z0-9_-]{23}(/[A-Za-z0-9_-]{30}){0,3})?`).Draw(t, "dir")
		c, err := names.Encode(dir, name)
		if err != nil || len(c) != EncodedLen(len(name)) || DecodedLen(len(c)) != len(name) {
			t.Fatalf("%d bytes give %q, %v", len(name), c, err)
		}
		if again, _ := names.Encode(dir, name); again != c {
			t.Fatal("another one the second time")
		}
		if got, err := names.Decode(dir, c); err != nil || got != name {
			t.Fatalf("%q, %v", got, err)
		}
		for what, refuse := range map[string]func() (string, error){
			"of another directory": func() (string, error) { return names.Decode(dir+"x", c) },
			"under another key":    func() (string, error) { return other.Decode(dir, c) },
			"of a changed component": func() (string, error) {
				return names.Decode(dir, flipped(c, rapid.IntRange(0, 8*(len(name)+sivSize)-1).Draw(t, "bit")))
			},
		} {
			if got, err := refuse(); !errors.Is(err, objcrypt.ErrCorrupt) {
				t.Fatalf("%s: %q, %v", what, got, err)
			}
		}
	})
}

// flipped changes one bit of what a component encodes.
func flipped(component string, bit int) string {
	p, _ := base64.RawURLEncoding.DecodeString(component)
	p[bit/8] ^= 1 << (bit % 8)
	return base64.RawURLEncoding.EncodeToString(p)
}

// TestWhatIsNoName is neither encoded nor decoded, by who has the key either.
func TestWhatIsNoName(t *testing.T) {
	names := NewNames(NewNameKey())
	for _, name := range []string{"", ".", "..", ".sigil", "a/b", "a\x00", strings.Repeat("x", MaxName+1)} {
		if c, err := names.Encode("", name); !errors.Is(err, ErrName) {
			t.Errorf("%q gives %q, %v", name, c, err)
		}
		raw, err := names.siv.EncryptDeterministically([]byte(name), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := names.Decode("", base64.RawURLEncoding.EncodeToString(raw)); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("%q comes back as %q, %v", name, got, err)
		}
	}
	good, err := names.Encode("", "ab")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]string{
		"Nothing": "", "Padded": good + "=", "LineBreak": good[:4] + "\n" + good[4:],
		"Longer": good + "A", "Shorter": good[:len(good)-1], "Instruction": good + ".instruction",
	} {
		if got, err := names.Decode("", c); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
}

func TestNameKeyIsNotShown(t *testing.T) {
	k := NewNameKey()
	text, err := k.MarshalText()
	for _, shown := range []string{fmt.Sprint(k), fmt.Sprintf("%x", k), fmt.Sprintf("%#v", k), string(text)} {
		if err != nil || strings.Contains(shown, hex.EncodeToString(k[:4])) || shown != "[key]" {
			t.Errorf("%q, %v", shown, err)
		}
	}
}

// TestLengthsOfNames: the longest names that fit what servers take.
func TestLengthsOfNames(t *testing.T) {
	for _, tc := range []struct{ name, component int }{{1, 23}, {2, 24}, {8, 32}, {175, 255}, {176, 256}, {255, 362}} {
		if got := EncodedLen(tc.name); got != tc.component {
			t.Errorf("%d bytes of name are %d, want %d", tc.name, got, tc.component)
		}
	}
	if got := DecodedLen(255); got != 175 {
		t.Errorf("255 bytes hold a name of %d", got)
	}
}

// TestWhatNamesTell is what the bucket's owner learns of encrypted names: their
// lengths, and which is the same in one directory, but not which is the same in
// two; nor in one that was renamed.
func TestWhatNamesTell(t *testing.T) {
	names := NewNames(NewNameKey())
	encode := func(dir, name string) string {
		t.Helper()
		c, err := names.Encode(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	one, two := encode("", "one"), encode("", "two")
	if first, later := encode(one, "report"), encode(one, "report"); first != later {
		t.Error("a name that comes back in its directory does not show: a lookup would be more than one request")
	}
	if encode(one, "report") == encode(two, "report") || encode("", "report") == encode(one, "report") {
		t.Error("the same name in two directories shows")
	}
	if a, b := encode(one, "report"), encode(one, "rapport"); len(a) == len(b) {
		t.Error("lengths do not show, the threat model says that they do")
	}
	if a, b := encode(one, "report-1"), encode(one, "report-2"); a[:4] == b[:4] {
		t.Error("a common beginning shows")
	}
}

// TestSealsBindEncodedNames: two objects of one directory, exchanged, open under
// neither name, and one that was copied to a name of another directory does not.
func TestSealsBindEncodedNames(t *testing.T) {
	names, e := NewNames(NewNameKey()), testEpoch("test")
	key := func(dir, name string) string {
		t.Helper()
		c, err := names.Encode(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		return "root/" + strings.TrimPrefix(dir+"/"+c, "/")
	}
	a, b := key("", "a"), key("", "b")
	r := file()
	r.Fresh()
	h, err := r.Seal(e, a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Open(e, a); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{b, key(strings.TrimPrefix(b, "root/"), "a"), "root/a"} {
		if _, err := h.Open(e, at); !errors.Is(err, objcrypt.ErrMoved) {
			t.Errorf("at %s: %v", at, err)
		}
	}
}

// FuzzNames: what decodes has that one encoding.
func FuzzNames(f *testing.F) {
	v := loadNames(f)
	names := v.names(f, "first")
	for _, p := range v.Paths {
		i := strings.LastIndexByte(p.Stored, '/')
		f.Add(p.Stored[:max(0, i)], p.Stored[i+1:])
	}
	for _, c := range v.Tampered {
		f.Add(c.Dir, c.Component)
	}
	f.Fuzz(func(t *testing.T, dir, component string) {
		name, err := names.Decode(dir, component)
		if err != nil {
			if !errors.Is(err, objcrypt.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if c, err := names.Encode(dir, name); err != nil || c != component {
			t.Fatalf("%q is also %q, %v", component, c, err)
		}
	})
}

func BenchmarkNames(b *testing.B) {
	names := NewNames(NewNameKey())
	dir := strings.Repeat("x", 100)
	c, err := names.Encode(dir, "IMG_20260101_120000.jpg")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := names.Decode(dir, c); err != nil {
			b.Fatal(err)
		}
	}
}
