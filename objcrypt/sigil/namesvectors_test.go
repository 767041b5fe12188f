package sigil

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// namesFile was made by names.py beside it, which shares nothing with this program.
const namesFile = "testdata/vectors-names.json"

// nameVectors is namesFile; docs/FORMAT.md says how to read it.
type nameVectors struct {
	Keys     map[string]string `json:"keys"` // in hex
	Paths    []namePath        `json:"paths"`
	Tampered []struct {
		What      string `json:"what"`
		Key       string `json:"key"`
		Dir       string `json:"dir"`
		Component string `json:"component"`
	} `json:"tampered"`
}

type namePath struct {
	Key    string   `json:"key"`
	Names  [][]byte `json:"names"` // any bytes, so in base64
	Stored string   `json:"stored"`
}

// path is the names as a program would have them.
func (p namePath) path() string { return string(bytes.Join(p.Names, []byte("/"))) }

func loadNames(t testing.TB) (v nameVectors) {
	t.Helper()
	b, err := os.ReadFile(namesFile)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if len(v.Paths) < 60 || len(v.Tampered) < 50 {
		t.Fatalf("only %d paths and %d tampered", len(v.Paths), len(v.Tampered))
	}
	return v
}

func (v nameVectors) names(t testing.TB, which string) *Names {
	t.Helper()
	var k NameKey
	if n, err := hex.Decode(k[:], []byte(v.Keys[which])); err != nil || n != NameKeySize {
		t.Fatalf("no key %q: %v", which, err)
	}
	return NewNames(k)
}

func TestNameVectors(t *testing.T) {
	v := loadNames(t)
	for _, p := range v.Paths {
		names, dir := v.names(t, p.Key), ""
		stored := strings.Split(p.Stored, "/")
		if len(stored) != len(p.Names) {
			t.Fatalf("%q has %d components", p.Stored, len(stored))
		}
		for i, name := range p.Names {
			if c, err := names.Encode(dir, string(name)); err != nil || c != stored[i] {
				t.Errorf("%q in %q is %q, %v, want %q", name, dir, c, err, stored[i])
			}
			if got, err := names.Decode(dir, stored[i]); err != nil || got != string(name) {
				t.Errorf("%q in %q is the name %q, %v, want %q", stored[i], dir, got, err, name)
			}
			dir = strings.Join(stored[:i+1], "/")
		}
	}
}

func TestTamperedNameVectors(t *testing.T) {
	v := loadNames(t)
	for _, c := range v.Tampered {
		if name, err := v.names(t, c.Key).Decode(c.Dir, c.Component); name != "" || !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("%s: %q, %v", c.What, name, err)
		}
	}
}

// TestFormatExampleOfNames holds the example of docs/FORMAT.md to the code.
func TestFormatExampleOfNames(t *testing.T) {
	page, err := os.ReadFile("../../docs/FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := bytes.Cut(page, []byte("\n### Example of names\n"))
	if !found {
		t.Fatal("there is no such example")
	}
	example, _, _ = bytes.Cut(example, []byte("\n#"))
	var k NameKey
	for i := range k {
		k[i] = byte(i)
	}
	names, dir := NewNames(k), ""
	for _, name := range []string{"photos", "2026", "été.jpg"} {
		c, err := names.Encode(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := base64.RawURLEncoding.DecodeString(c)
		for _, shown := range []string{"`" + dir + "`", hex.EncodeToString(raw), c} {
			if !bytes.Contains(example, []byte(shown)) {
				t.Errorf("the example has no %q", shown)
			}
		}
		dir = strings.TrimPrefix(dir+"/"+c, "/")
	}
	if sum := k.Fingerprint(); !bytes.Contains(example, []byte(hex.EncodeToString(sum[:]))) || !bytes.Contains(example, []byte(dir)) {
		t.Errorf("the example has no %x, or no %q", sum, dir)
	}
}
