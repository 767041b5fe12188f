package s3ec

import (
	"errors"
	"maps"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
	"pgregory.net/rapid"
)

// TestRewrap puts data keys of both formats under another key of either kind: the
// body opens under that one alone, and nothing else in the metadata or the file
// changes.
func TestRewrap(t *testing.T) {
	all := plaintext(3*windowSize + 64)
	keys := []Sealer{
		kmsKey(t, testARN, map[string]string{"team": "backup"}), kmsKey(t, testARN+"2", nil), aesKey(t, 1), aesKey(t, 2),
	}
	rapid.Check(t, func(t *rapid.T) {
		plain := all[:anySize(t)]
		from := rapid.SampledFrom(keys).Draw(t, "from")
		to := rapid.SampledFrom(keys).Filter(func(k Sealer) bool { return k != from }).Draw(t, "to")
		f := rapid.SampledFrom([]Format{FormatV3, FormatV2}).Draw(t, "format")
		b, err := NewBody(t.Context(), from, f, plain, int64(len(plain)))
		if err != nil {
			t.Fatal(err)
		}
		s := stored{md: b.Metadata(), body: inParts(t, b)}
		if rapid.Bool().Draw(t, "instruction file") {
			s.md, s.file = b.Instruction()
		}
		s.md["mode"] = "33188"
		e, err := Parse(s.md, s.file)
		if err != nil {
			t.Fatal(err)
		}
		n, err := Rewrap(t.Context(), e, Keyring{to, from}, Policy{}, to)
		if err != nil {
			t.Fatal(err)
		}
		md, file := maps.Clone(s.md), s.file
		if e.InInstructionFile() {
			if s.file, err = n.OverFile(file); err != nil {
				t.Fatal(err)
			}
		} else {
			s.md = n.Over(md)
		}
		if s.md["mode"] != "33188" || s.md[nameLength] != md[nameLength] || s.md[nameCommitment] != md[nameCommitment] {
			t.Fatalf("%v were %v", s.md, md)
		}
		r, err := s.open(t.Context(), Keyring{to}, Policy{})
		if err != nil {
			t.Fatal(err)
		}
		checkRange(t, r, plain)
		if _, err := s.open(t.Context(), Keyring{from}, Policy{}); err == nil {
			t.Fatal("it opens under the key that it was under")
		}
	})
}

// TestRewrapRefuses: what a wrapping does not bind is not rewrapped, nor what the
// policy does not read, nor a key that the object does not commit to.
func TestRewrapRefuses(t *testing.T) {
	to := aesKey(t, 2)
	for _, e := range []*Envelope{{version: KindV2, suite: SuiteCBC, wrap: WrapKMS}, {version: KindV2, suite: SuiteGCM, wrap: WrapAESKW}, {version: KindV1, suite: SuiteCBC, wrap: WrapAESECB}} {
		if _, err := Rewrap(t.Context(), e, nil, Policy{LegacyWrapping: true, LegacyCBC: true}, to); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("%s: %v", e, err)
		}
	}
	from := aesKey(t, 1)
	var all [2]Metadata
	for i := range all {
		b, err := NewBody(t.Context(), from, FormatV3, plaintext(10), 10)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = b.Metadata()
	}
	all[0][nameKeyV3] = all[1][nameKeyV3]
	e, err := Parse(all[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Rewrap(t.Context(), e, Keyring{from}, Policy{}, to); !errors.Is(err, objcrypt.ErrCorrupt) {
		t.Errorf("another object's key: %v", err)
	}
	b, err := NewBody(t.Context(), from, FormatV2, plaintext(10), 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Rewrap(t.Context(), b.Envelope(), Keyring{from}, Policy{RequireCommitment: true}, to); !errors.Is(err, ErrCommitment) {
		t.Errorf("what does not commit: %v", err)
	}
	if _, err := Rewrap(t.Context(), b.Envelope(), Keyring{to}, Policy{}, to); !errors.Is(err, objcrypt.ErrWrongKey) {
		t.Errorf("no key: %v", err)
	}
}
