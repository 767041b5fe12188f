package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever is in a metadata file, it is read as names and values or refused.
func FuzzReadMetadata(f *testing.F) {
	for _, text := range []string{
		`{"Metadata":{"sigil":"1 0 x","Sigil-Seal":"AA=="}}`, `{"sigil":"x"}`, `{"X-Amz-Meta-A":"1"}`, `{"a":"1","A":"2"}`, `[]`, `{"Metadata":{}}`, `{"a":{}}`, "",
	} {
		f.Add([]byte(text))
	}
	name := filepath.Join(f.TempDir(), "head.json")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		meta, err := readMetadata(name)
		for n := range meta {
			if err != nil || n != strings.ToLower(n) {
				t.Errorf("%q of %q, %v", n, text, err)
			}
		}
	})
}

func TestReadMetadata(t *testing.T) {
	for text, want := range map[string]string{
		`{"Metadata":{"Sigil":"1"},"ETag":"x"}`: "1",
		`{"sigil":"2"}`:                         "2",
		`{"x-amz-meta-sigil":"3"}`:              "3",
		`{"sigil":"4","Sigil":"5"}`:             "",
		`{"sigil":6}`:                           "",
	} {
		name := filepath.Join(t.TempDir(), "head.json")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		meta, err := readMetadata(name)
		if meta["sigil"] != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v", text, meta, err)
		}
	}
}

func TestLeavesRoot(t *testing.T) {
	for _, c := range []struct {
		at, target, want string
	}{
		{"a/b/link", "../c", "a/c"},
		{"a/b/link", "../../c", "c"},
		{"a/b/link", "../../../c", ""},
		{"link", "c/./d", "c/d"},
		{"link", "../c", ""},
		{"link", "c/../../d", ""},
		{"a/link", "/etc/passwd", ""},
	} {
		got, err := (&offline{}).joined(c.at, c.target, "")
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s -> %s: %q, %v, want %q", c.at, c.target, got, err, c.want)
		}
	}
}
