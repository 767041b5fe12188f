package sigil

import (
	"encoding/base64"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sigilfs/sigilfs/objcrypt"
)

func TestSealAndOpen(t *testing.T) {
	e := testEpoch("test")
	r := file()
	r.Xattrs = map[string][]byte{"user.a": []byte("b")}
	r.Fresh()
	h, err := r.Seal(e, testKey)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseHeader(h.Metadata())
	if err != nil || !parsed.Equal(h) || parsed.Epoch != e.ID || parsed.Digest() != h.Digest() {
		t.Fatalf("header comes back as %v, %v", parsed, err)
	}
	got, err := parsed.Open(e, testKey)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got, cmpopts.IgnoreUnexported(Record{})); diff != "" {
		t.Error(diff)
	}
	if got.SealEpoch != e.ID || got.KeyHash != KeyHash(testKey) {
		t.Errorf("epoch of the data key %s, key hash %x", got.SealEpoch, got.KeyHash)
	}
}

func TestEverySealIsFresh(t *testing.T) {
	e := testEpoch("test")
	r := file()
	r.Fresh()
	a, _ := r.Seal(e, testKey)
	b, _ := r.Seal(e, testKey)
	if a.Equal(b) || a.Digest() == b.Digest() {
		t.Error("two seals are equal")
	}
}

// A data key keeps the epoch under which it was first sealed; a new one does
// not inherit it.
func TestSealEpochStaysWithDataKey(t *testing.T) {
	r := file()
	_ = sealed(t, r, Bytes("one"), 3)
	first := r.SealEpoch
	if _, err := r.Seal(testEpoch("next"), testKey); err != nil || r.SealEpoch != first {
		t.Errorf("epoch %s after another seal, was %s, %v", r.SealEpoch, first, err)
	}
	if _, err := NewBody(t.Context(), r, nil, Bytes("two"), 3); err != nil || r.SealEpoch != first {
		t.Errorf("epoch %s after another body under the same data key, %v", r.SealEpoch, err)
	}
	r.DEK = Key{}
	if _, err := NewBody(t.Context(), r, nil, Bytes("two"), 3); err != nil || !r.SealEpoch.IsZero() {
		t.Errorf("epoch %s under a new data key, %v", r.SealEpoch, err)
	}
}

func TestUnknownFieldsAreKept(t *testing.T) {
	r := file()
	r.Fresh()
	r.extra = map[uint64]any{99: "kept"}
	o := finish(t, r, nil)
	h, got := o.header, &Record{}
	for range 2 {
		var err error
		if got, err = h.Open(testEpoch("test"), testKey); err != nil {
			t.Fatal(err)
		}
		if h, err = got.Clone().Seal(testEpoch("test"), testKey); err != nil {
			t.Fatal(err)
		}
	}
	if got.extra[99] != "kept" {
		t.Errorf("unknown fields are %v", got.extra)
	}
}

func TestOpenRefuses(t *testing.T) {
	e := testEpoch("test")
	r := file()
	r.Fresh()
	h, _ := r.Seal(e, testKey)
	flip := func(at int) Header {
		s := []byte(h.seal)
		s[at] ^= 1
		return Header{Epoch: h.Epoch, seal: string(s)}
	}
	for name, c := range map[string]struct {
		h    Header
		e    Epoch
		key  string
		want error
	}{
		"another name":       {h, e, testKey + "x", objcrypt.ErrMoved},
		"another epoch key":  {h, Epoch{ID: e.ID, Key: testEpoch("other").Key}, testKey, objcrypt.ErrWrongKey},
		"another epoch":      {h, testEpoch("other"), testKey, objcrypt.ErrWrongKey},
		"salt":               {flip(0), e, testKey, objcrypt.ErrWrongKey},
		"commitment":         {flip(47), e, testKey, objcrypt.ErrWrongKey},
		"record":             {flip(48), e, testKey, objcrypt.ErrCorrupt},
		"tag":                {flip(len(h.seal) - 1), e, testKey, objcrypt.ErrCorrupt},
		"additional data":    {Header{Epoch: h.Epoch, Layout: 1, seal: h.seal}, e, testKey, objcrypt.ErrCorrupt},
		"no seal at all":     {Header{Epoch: h.Epoch}, e, testKey, objcrypt.ErrWrongKey},
		"renamed epoch":      {Header{Epoch: testEpoch("x").ID, seal: h.seal}, Epoch{ID: testEpoch("x").ID, Key: e.Key}, testKey, objcrypt.ErrCorrupt},
		"nothing but prefix": {Header{Epoch: h.Epoch, seal: h.seal[:48]}, e, testKey, objcrypt.ErrCorrupt},
	} {
		got, err := c.h.Open(c.e, c.key)
		if got != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if errors.Is(err, objcrypt.ErrMoved) != (c.want == objcrypt.ErrMoved) {
			t.Errorf("%s is called moved: %v", name, err)
		}
	}
}

func TestParseHeader(t *testing.T) {
	r := file()
	r.Fresh()
	h, _ := r.Seal(testEpoch("test"), testKey)
	id, seal := h.Epoch.String(), h.Metadata()[MetaSeal]
	for _, c := range []struct {
		name, sigil, seal string
		want              error
	}{
		{"good", "1 0 " + id, seal, nil},
		{"not there", "-", seal, objcrypt.ErrDowngrade},
		{"empty", "", seal, objcrypt.ErrCorrupt},
		{"version 2", "2 0 " + id, seal, objcrypt.ErrVersion},
		{"version 10", "10 whatever", seal, objcrypt.ErrVersion},
		{"version 2 alone", "2", seal, objcrypt.ErrVersion},
		{"version 0", "0 0 " + id, seal, objcrypt.ErrVersion},
		{"version 01", "01 0 " + id, seal, objcrypt.ErrCorrupt},
		{"version x", "x 0 " + id, seal, objcrypt.ErrCorrupt},
		{"version -2", "-2 0 " + id, seal, objcrypt.ErrCorrupt},
		{"layout 2", "1 2 " + id, seal, objcrypt.ErrCorrupt},
		{"layout 2", "1 2 " + id, seal, objcrypt.ErrCorrupt},
		{"two blanks", "1  0 " + id, seal, objcrypt.ErrCorrupt},
		{"trailing blank", "1 0 " + id + " ", seal, objcrypt.ErrCorrupt},
		{"trailing newline", "1 0 " + id + "\n", seal, objcrypt.ErrCorrupt},
		{"upper case", "1 0 " + strings.ToUpper(id), seal, objcrypt.ErrCorrupt},
		{"short id", "1 0 " + id[:25], seal, objcrypt.ErrCorrupt},
		{"spare bits", "1 0 " + id[:25] + "b", seal, objcrypt.ErrCorrupt},
		{"sent twice", "1 0 " + id + ", 1 0 " + id, seal, objcrypt.ErrCorrupt},
		{"seal not there", "1 0 " + id, "-", objcrypt.ErrCorrupt},
		{"seal empty", "1 0 " + id, "", objcrypt.ErrCorrupt},
		{"seal sent twice", "1 0 " + id, seal + ", " + seal, objcrypt.ErrCorrupt},
		{"seal with newline", "1 0 " + id, seal[:4] + "\n" + seal[4:], objcrypt.ErrCorrupt},
		{"seal without padding", "1 0 " + id, strings.TrimRight(base64.StdEncoding.EncodeToString(make([]byte, 67)), "="), objcrypt.ErrCorrupt},
		{"seal with spare bits", "1 0 " + id, strings.Repeat("A", 90) + "B=", objcrypt.ErrCorrupt},
		{"seal in URL form", "1 0 " + id, strings.Repeat("_", 92), objcrypt.ErrCorrupt},
		{"seal too short", "1 0 " + id, base64.StdEncoding.EncodeToString(make([]byte, 64)), objcrypt.ErrCorrupt},
		{"seal too long", "1 0 " + id, base64.StdEncoding.EncodeToString(make([]byte, maxSeal+1)), objcrypt.ErrCorrupt},
	} {
		m := map[string]string{MetaSigil: c.sigil, MetaSeal: c.seal, "other": "x"}
		maps.DeleteFunc(m, func(_, v string) bool { return v == "-" })
		if _, err := ParseHeader(m); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := ParseHeader(nil); !errors.Is(err, objcrypt.ErrDowngrade) {
		t.Errorf("no metadata: %v", err)
	}
}

func FuzzHeader(f *testing.F) {
	r := file()
	r.Fresh()
	h, _ := r.Seal(testEpoch("test"), testKey)
	f.Add(h.Metadata()[MetaSigil], h.Metadata()[MetaSeal])
	f.Add("2 x", "")
	f.Add("1 1 "+h.Epoch.String(), "AAAA")
	f.Fuzz(func(t *testing.T, sigil, seal string) {
		m := map[string]string{MetaSigil: sigil, MetaSeal: seal}
		h, err := ParseHeader(m)
		if err != nil {
			if !errors.Is(err, objcrypt.ErrCorrupt) && !errors.Is(err, objcrypt.ErrVersion) {
				t.Fatalf("unnamed error: %v", err)
			}
			return
		}
		if !maps.Equal(h.Metadata(), m) {
			t.Fatalf("%v comes back as %v", m, h.Metadata())
		}
		if _, err := h.Open(testEpoch("test"), testKey); err == nil && !h.Commits(testEpoch("test")) {
			t.Fatal("opens without a commitment")
		}
	})
}
