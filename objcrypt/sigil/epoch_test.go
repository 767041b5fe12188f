package sigil

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
)

func TestParseEpochID(t *testing.T) {
	id := EpochID{0: 0xff, 15: 0x01}
	text := id.String()
	if text != "74aaaaaaaaaaaaaaaaaaaaaaae" {
		t.Fatalf("text is %q", text)
	}
	if got, err := ParseEpochID(text); err != nil || got != id {
		t.Errorf("ParseEpochID(%q) = %v, %v", text, got, err)
	}
	for _, bad := range []string{
		"", text[:25], text + "a", text[:25] + "f", // spare bits set
		strings.ToUpper(text), text[:25] + "=", text[:25] + "1", text[:25] + "\n", "\r\n" + text[:24], text[:24] + "\n\n",
	} {
		if got, err := ParseEpochID(bad); !errors.Is(err, objcrypt.ErrCorrupt) || got != (EpochID{}) {
			t.Errorf("ParseEpochID(%q) = %v, %v", bad, got, err)
		}
	}
}

func FuzzEpochID(f *testing.F) {
	f.Add("74aaaaaaaaaaaaaaaaaaaaaaae")
	f.Add("74aaaaaaaaaaaaaaaaaaaaaaaf")
	f.Add("\n4aaaaaaaaaaaaaaaaaaaaaaae")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseEpochID(s); err == nil && id.String() != s {
			t.Fatalf("%q is read as %q", s, id)
		}
	})
}

// No way of printing shows a key or what a record holds.
func TestNothingPrintsKeys(t *testing.T) {
	e := testEpoch("secret")
	r := file()
	r.Fresh()
	r.Xattrs = map[string][]byte{"user.note": []byte("confidential")}
	o := sealed(t, r, Bytes("x"), 1)
	secrets := []string{string(e.Key[:]), string(r.DEK[:]), "confidential"}
	for _, v := range []any{e, &e, r, *r, r.DEK, struct{ E Epoch }{e}, []Epoch{e}, map[string]*Record{"r": r}, o.header} {
		texts := []string{}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q", "%o"} {
			texts = append(texts, fmt.Sprintf(verb, v))
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range append(texts, string(j)) {
			for _, s := range secrets {
				for _, form := range []string{s, hex.EncodeToString([]byte(s)), strings.Trim(fmt.Sprint([]byte(s)), "[]")} {
					if strings.Contains(strings.ToLower(text), form) {
						t.Errorf("%T shows a secret: %s", v, text)
					}
				}
			}
		}
	}
}
