package s3ec

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"testing"
	"unicode/utf8"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// named tells whether an error says what it is.
func named(err error) bool {
	for _, want := range []error{
		objcrypt.ErrCorrupt, objcrypt.ErrVersion, objcrypt.ErrWrongKey, objcrypt.ErrNoKey,
		objcrypt.ErrDowngrade, errKMSInvalid, errKMSKey,
	} {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}

// FuzzParse parses any metadata and instruction file, and tries the keys of
// the vectors on what is accepted.
func FuzzParse(f *testing.F) {
	all := loadVectors(f)
	for _, v := range all.Vectors {
		md, err := json.Marshal(v.Metadata)
		if err != nil {
			f.Fatal(err)
		}
		if v.Instruction != nil {
			f.Add(md, []byte(*v.Instruction), true)
		}
		f.Add(md, []byte(nil), false)
	}
	ring := all.ring(f, map[string]string{"department": "research"})
	f.Fuzz(func(t *testing.T, metadata, file []byte, hasFile bool) {
		var md Metadata
		if json.Unmarshal(metadata, &md) != nil {
			return
		}
		if !hasFile {
			file = nil
		} else if file == nil {
			file = []byte{}
		}
		kind, err := Detect(md)
		e, perr := Parse(md, file)
		if (e == nil) == (perr == nil) || perr != nil && !named(perr) || err != nil && perr == nil {
			t.Fatalf("detect: %s, %v; parse: %v, %v", kind, err, e, perr)
		}
		if perr != nil {
			return
		}
		checkEnvelope(t, md, e)
		o, err := Unwrap(t.Context(), e, ring, everything)
		if (o == nil) == (err == nil) || err != nil && !named(err) {
			t.Fatalf("unwrap: %v", err)
		}
	})
}

// checkEnvelope holds what was accepted against what is refused always.
func checkEnvelope(t *testing.T, md Metadata, e *Envelope) {
	t.Helper()
	v3 := hasAny(md, namesV3())
	if v3 != (e.version == KindV3) || v3 != e.Committing() || v3 && hasAny(md, namesV12()) {
		t.Fatalf("%s of %v", e, md)
	}
	if e.suite == SuiteGCM && len(e.iv) != nonceSize || e.suite == SuiteCBC && len(e.iv) != blockSize {
		t.Fatalf("%s with an IV of %d bytes", e, len(e.iv))
	}
	if e.wrap == WrapKMSContext && e.context[contextCEK] != e.suite.cek() || e.suite == SuiteCBC && !e.wrap.Legacy() {
		t.Fatalf("%s with the context %v", e, e.context)
	}
	if c := e.Context(); has(c, contextCEK) || has(c, contextCMK) {
		t.Fatalf("context %v", c)
	}
}

// FuzzInstruction parses instruction files.
func FuzzInstruction(f *testing.F) {
	for _, v := range loadVectors(f).Vectors {
		if v.Instruction != nil {
			f.Add([]byte(*v.Instruction))
		}
	}
	f.Add([]byte(`{"a":"1","a":"2"}`))
	f.Add([]byte(`{"a":null}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := ParseInstruction(file)
		if err != nil {
			if !errors.Is(err, objcrypt.ErrCorrupt) {
				t.Fatalf("unnamed error: %v", err)
			}
			return
		}
		again, err := ParseInstruction([]byte(formatMap(m)))
		if len(file) <= MaxInstruction/8 && (err != nil || !maps.Equal(m, again)) {
			t.Fatalf("%v is written as %v: %v", m, again, err)
		}
		var standard map[string]string
		if err := json.Unmarshal(file, &standard); err != nil || !maps.Equal(m, standard) {
			t.Fatalf("%v, and for encoding/json %v: %v", m, standard, err)
		}
	})
}

// FuzzContext parses the header that holds a context.
func FuzzContext(f *testing.F) {
	for _, v := range loadVectors(f).Vectors {
		for _, md := range []Metadata{v.Metadata, v.FromS3} {
			for _, name := range []string{nameContextV3, nameMatdescV3, nameMatdesc} {
				f.Add(md[name])
			}
		}
	}
	f.Add(`{"a":"b"} {}`)
	f.Add("=?UTF-8?b?eyJhIjoi4oKsIn0=?=")
	f.Fuzz(func(t *testing.T, value string) {
		m, err := parseContext(Metadata{nameContextV3: value}, nameContextV3)
		if err != nil {
			if !errors.Is(err, objcrypt.ErrCorrupt) {
				t.Fatalf("unnamed error: %v", err)
			}
			return
		}
		for k, v := range m {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				t.Fatalf("%q: %q is not UTF-8", k, v)
			}
		}
		if checkWritable(m) != nil {
			return
		}
		again, err := parseContext(Metadata{nameContextV3: formatMap(m)}, nameContextV3)
		if err != nil || !maps.Equal(m, again) {
			t.Fatalf("%v is written as %v: %v", m, again, err)
		}
	})
}

// FuzzBody opens whatever lies there as a body: nothing but the one that was
// sealed gives a byte; and CBC, which cannot tell, no more than lies there.
func FuzzBody(f *testing.F) {
	plain := plaintext(100)
	sealed := map[bool]stored{}
	for _, v3 := range []bool{false, true} {
		format := map[bool]Format{false: FormatV2, true: FormatV3}[v3]
		s := write(f, aesKey(f, 1), format, plain)
		sealed[v3] = s
		f.Add([]byte(s.body), v3, false)
		f.Add([]byte(s.body[:16]), v3, false)
		f.Add([]byte(s.body[:96]), v3, true)
		f.Add([]byte(nil), v3, true)
	}
	f.Fuzz(func(t *testing.T, body []byte, v3, cbc bool) {
		if cbc {
			o := &Opener{env: &Envelope{suite: SuiteCBC, iv: make([]byte, blockSize)}, block: newAES(make([]byte, keySize))}
			r, err := o.Open(t.Context(), memory(body), int64(len(body)))
			if err != nil {
				if !errors.Is(err, objcrypt.ErrCorrupt) {
					t.Fatalf("unnamed error: %v", err)
				}
				return
			}
			got, err := readPlain(t.Context(), r)
			if err != nil || len(got) >= len(body) || len(got) < len(body)-blockSize {
				t.Fatalf("%d of %d bytes, %v", len(got), len(body), err)
			}
			return
		}
		s := sealed[v3]
		got, err := stored{md: s.md, body: body}.plain(t.Context(), Keyring{aesKey(t, 1)}, Policy{})
		if same := bytes.Equal(body, s.body); same != (err == nil) || same && !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if err != nil && !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Fatalf("unnamed error: %v", err)
		}
	})
}

// FuzzRSAKey parses key files.
func FuzzRSAKey(f *testing.F) {
	f.Add([]byte(loadVectors(f).Keys.RSA))
	f.Add(inPEM("PRIVATE KEY", []byte{0x30, 0}))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := ParseRSAKey(data)
		if (k == nil) == (err == nil) || err == nil && k.private.N.BitLen() < minRSABits {
			t.Fatalf("%v, %v", k, err)
		}
	})
}
