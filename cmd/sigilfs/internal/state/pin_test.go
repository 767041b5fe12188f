package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const pinnedID = "abcdefghijklmnopqrstuvwxyz"

// What was pinned first stands until it is pinned anew.
func TestPin(t *testing.T) {
	root := t.TempDir()
	id := ID{Bucket: "acme", VolumeRoot: "web1/"}
	looked, err := Look(root, id)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := looked.Pin(); ok || err != nil {
		t.Fatalf("before there was a directory: %v, %v", ok, err)
	}
	d, err := Share(root, id)
	if err != nil {
		t.Fatal(err)
	}
	dark := Pin{ID: pinnedID, Names: strings.Repeat("0a", 32)}
	for _, p := range []Pin{dark, {}, {ID: pinnedID}} {
		if have, err := d.PinFirst(p); err != nil || have != dark {
			t.Errorf("%+v: %+v, %v", p, have, err)
		}
	}
	for _, p := range []Pin{{ID: pinnedID}, {}, dark} {
		if err := d.Repin(p); err != nil {
			t.Fatal(err)
		}
		if have, ok, err := looked.Pin(); have != p || !ok || err != nil {
			t.Errorf("%+v: %+v, %v, %v", p, have, ok, err)
		}
	}
	entries, err := os.ReadDir(d.Path())
	if err != nil || len(entries) != 1 || entries[0].Name() != "volume" {
		t.Errorf("%v, %v", entries, err)
	}
}

// A file that is no pin is never taken for one, and not for none.
func TestPinIsDamaged(t *testing.T) {
	d, err := Share(t.TempDir(), ID{Bucket: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "{}", "\n", `{"version":2,"names":"clear"}`, `{"version":1}`, `{"version":1,"names":"beef","id":"` + pinnedID + `"}`,
		`{"version":1,"names":"` + strings.Repeat("0a", 32) + `"}`, `{"version":1,"names":"clear","id":"x"}`,
		`{"version":1,"names":"clear","more":1}`, `{"version":1,"names":"clear"}x`, strings.Repeat(" ", maxPin+1),
	} {
		if err := os.WriteFile(filepath.Join(d.Path(), "volume"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := d.Pin(); ok || err == nil || len(text) <= maxPin && !errors.Is(err, ErrPin) {
			t.Errorf("%q: %v, %v", text, ok, err)
		}
		if _, err := d.PinFirst(Pin{}); err == nil {
			t.Errorf("%q was pinned over", text)
		}
	}
}

// What is taken for a pin is written again as one that says the same.
func FuzzPin(f *testing.F) {
	f.Add((Pin{}).marshal())
	f.Add((Pin{ID: pinnedID}).marshal())
	f.Add((Pin{ID: pinnedID, Names: strings.Repeat("0a", 32)}).marshal())
	f.Add([]byte(`{"version":1,"names":"clear"} `))
	f.Fuzz(func(t *testing.T, content []byte) {
		p, err := parsePin(content)
		if err != nil {
			return
		}
		if again, err := parsePin(p.marshal()); err != nil || again != p {
			t.Errorf("%q: %+v, and again %+v, %v", content, p, again, err)
		}
	})
}
