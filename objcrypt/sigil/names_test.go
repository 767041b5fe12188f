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
	for _, name := range []string{"", ".", "..", "a/b", "a\x00", strings.Repeat("x", MaxName+1)} {
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

// FuzzNames: what decodes has that one encoding.
func FuzzNames(f *testing.F) {
	var k NameKey
	names := NewNames(k)
	for _, name := range []string{"a", "ä", "\xff", strings.Repeat("x", MaxName)} {
		c, err := names.Encode("dir", name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("dir", c)
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
