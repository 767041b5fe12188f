package named

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"pgregory.net/rapid"
)

func names(t testing.TB, base string, most int) *Names {
	t.Helper()
	n, err := New(sigil.NewNames(sigil.NameKey{1}), base, most)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPathsComeBack, whatever bytes are in them, and are the same below a mount of
// a directory as in a mount of all.
func TestPathsComeBack(t *testing.T) {
	all := names(t, "", 0)
	rapid.Check(t, func(rt *rapid.T) {
		component := rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 40), func(b []byte) string {
			return "x" + strings.NewReplacer("/", "_", "\x00", "_").Replace(string(b))
		})
		parts := rapid.SliceOfN(component, 1, 6).Draw(rt, "parts")
		p := strings.Join(parts, "/")
		stored, err := all.Stored(p)
		if err != nil || strings.Count(stored, "/") != strings.Count(p, "/") {
			rt.Fatalf("%q, %v", stored, err)
		}
		if shown, ok := all.Shown(stored); !ok || shown != p {
			rt.Fatalf("%q comes back as %q", p, shown)
		}
		cut := rapid.IntRange(1, len(parts)).Draw(rt, "cut")
		part := names(t, strings.Join(parts[:cut], "/")+"/", 0)
		below, err := part.Stored(strings.Join(parts[cut:], "/"))
		if err != nil || strings.TrimSuffix(part.Base()+below, "/") != stored {
			rt.Fatalf("below %q it is %q, not %q (%v)", part.Base(), below, stored, err)
		}
		if shown, ok := part.Shown(below); !ok || shown != strings.Join(parts[cut:], "/") {
			rt.Fatalf("below, it comes back as %q", shown)
		}
		if below != "" {
			if shown, ok := all.Shown(below); ok {
				rt.Fatalf("elsewhere it is %q", shown)
			}
		}
	})
}

func TestWhatIsNoPath(t *testing.T) {
	n := names(t, "", 255)
	if n.Longest() != 175 || names(t, "", 0).Longest() != 255 || (*Names)(nil).Longest() != 255 {
		t.Errorf("names of %d bytes", n.Longest())
	}
	for p, want := range map[string]error{
		".sigil": volume.ErrName, "a/.sigil/b": volume.ErrName, "a//b": volume.ErrInvalid, "a/..": volume.ErrInvalid, "./a": volume.ErrInvalid,
		"a\x00": volume.ErrInvalid, strings.Repeat("x", 176): volume.ErrTooLong, "a/": volume.ErrInvalid, "/a": volume.ErrInvalid,
	} {
		if got, err := n.Stored(p); !errors.Is(err, want) {
			t.Errorf("%q is %q, %v", p, got, err)
		}
	}
	if _, err := New(sigil.NewNames(sigil.NameKey{1}), "a/.sigil", 0); !errors.Is(err, volume.ErrName) {
		t.Error(err)
	}
	for _, p := range []string{"clear", "a/b", "AAAAAAAAAAAAAAAAAAAAAAA"} {
		if shown, ok := n.Shown(p); ok {
			t.Errorf("%q is shown as %q", p, shown)
		}
	}
}

// TestClearNames: without a key nothing is changed.
func TestClearNames(t *testing.T) {
	n, err := New(nil, "a/b/", 255)
	if n != nil || err != nil || n.Base() != "" {
		t.Fatal(n, err)
	}
	if stored, err := n.Stored("x/.sigil"); stored != "x/.sigil" || err != nil { // the volume sees to that
		t.Errorf("%q, %v", stored, err)
	}
	if shown, ok := n.Shown("x/y"); shown != "x/y" || !ok {
		t.Errorf("%q, %v", shown, ok)
	}
}

// TestRememberedDirs: however many there are, so many are remembered.
func TestRememberedDirs(t *testing.T) {
	n := names(t, "", 0)
	for i := range 5 * maxDirs {
		p := fmt.Sprintf("d%d/x", i%(3*maxDirs))
		stored, err := n.Stored(p)
		if err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 {
			if shown, ok := n.Shown(stored); !ok || shown != p {
				t.Fatalf("%q, %v", shown, ok)
			}
		}
	}
	if len(n.young)+len(n.older) > 2*maxDirs {
		t.Errorf("%d are remembered", len(n.young)+len(n.older))
	}
}
