package keyring

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// signingKey gives a key to sign with, made of a seed.
func signingKey(seed byte) *SigningKey { return &SigningKey{aesKey(seed).key} }

// goldenSigner is of the key in testdata/sign.py.
const goldenSigner = "ed25519:Kay64UG8yvCyLhqU000LxzYeUm0L/hLIl5S8kyKWbdc="

// TestGoldenSignature holds signatures to what another implementation signed.
func TestGoldenSignature(t *testing.T) {
	stored, err := os.ReadFile("testdata/epoch-v1-signed")
	if err != nil {
		t.Fatal(err)
	}
	e, err := ParseEpoch(goldenID, stored)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseSigner(goldenSigner)
	if err != nil {
		t.Fatal(err)
	}
	key := signingKey(0x20)
	if key.Signer() != s || s.String() != goldenSigner {
		t.Errorf("the signer is %v, want %s", key.Signer(), goldenSigner)
	}
	if !e.SignedBy(s) || e.SignedBy(signingKey(1).Signer()) {
		t.Error("it is not signed by its signer alone")
	}
	if err := e.Verify(&goldenKey); err != nil {
		t.Error(err)
	}
	again := &Epoch{ID: e.ID, Revision: e.Revision, State: e.State, Created: e.Created, Host: e.Host, Wraps: e.Wraps}
	if _, err := again.Marshal(&goldenKey); err != nil {
		t.Fatal(err)
	}
	again.sign(key)
	if !bytes.Equal(again.stored, stored) || !again.SignedBy(s) {
		t.Errorf("signed again it is\n%s", again.stored)
	}
}

// TestTamperedSignature changes each byte of the signed object: what still
// parses is signed by nobody.
func TestTamperedSignature(t *testing.T) {
	stored, err := os.ReadFile("testdata/epoch-v1-signed")
	if err != nil {
		t.Fatal(err)
	}
	s := signingKey(0x20).Signer()
	parsed := 0
	for i := range stored {
		for _, bit := range []byte{1, 2, 0x20} {
			bad := bytes.Clone(stored)
			bad[i] ^= bit
			e, err := ParseEpoch(goldenID, bad)
			if err != nil {
				continue
			}
			parsed++
			if e.SignedBy(s) {
				t.Fatalf("byte %d: still signed", i)
			}
		}
	}
	if parsed < len(stored)/4 {
		t.Errorf("%d of the changed objects parse", parsed)
	}
	lines := bytes.SplitAfter(stored, []byte("\n"))
	e, err := ParseEpoch(goldenID, bytes.Join(lines[:2], nil))
	if err != nil || e.SignedBy(s) || e.Signature != nil {
		t.Errorf("without its third line: %v", err)
	}
}

func TestParseSigner(t *testing.T) {
	text := func(raw []byte) string { return "ed25519:" + base64.StdEncoding.EncodeToString(raw) }
	small, _ := hex.DecodeString("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05") // of order 8
	for name, bad := range map[string]string{
		"empty":               "",
		"no scheme":           strings.TrimPrefix(goldenSigner, "ed25519:"),
		"another scheme":      "x25519:" + strings.TrimPrefix(goldenSigner, "ed25519:"),
		"scheme in capitals":  "ED25519:" + strings.TrimPrefix(goldenSigner, "ed25519:"),
		"short":               text(make([]byte, 31)),
		"long":                text(make([]byte, 33)),
		"a line break":        goldenSigner + "\n",
		"no padding":          strings.TrimSuffix(goldenSigner, "="),
		"spare bits":          strings.TrimSuffix(goldenSigner, "c=") + "d=",
		"off the curve":       text(append([]byte{2}, make([]byte, 31)...)),
		"the neutral element": text(append([]byte{1}, make([]byte, 31)...)),
		"of order 4":          text(make([]byte, 32)),
		"of order 8":          text(small),
		"not canonical":       text(append(bytes.Repeat([]byte{0xff}, 31), 0x7f)),
	} {
		if s, err := ParseSigner(bad); err == nil {
			t.Errorf("%s: taken as %v", name, s)
		}
	}
}

func TestOpenSigningKey(t *testing.T) {
	key := signingKey(0x90) // no text
	pemOf := func(private any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	whole := pemOf(ed25519.NewKeyFromSeed(key.seed[:]))
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(key.seed[:])
	tests := []struct {
		name string
		data []byte
		mode os.FileMode
		want string // in the error; "": it opens
	}{
		{"seed in base64", []byte(text + "\n"), 0o600, ""},
		{"seed in hex", []byte(hex.EncodeToString(key.seed[:])), 0o400, ""},
		{"seed as it is", key.seed[:], 0o600, ""},
		{"PEM", whole, 0o600, ""},
		{"open to others", []byte(text), 0o640, "chmod 600"},
		{"PEM open to others", whole, 0o644, "chmod 600"},
		{"public key", []byte(goldenSigner), 0o600, "a key is 32 raw bytes"},
		{"two keys", append(bytes.Clone(whole), whole...), 0o600, "more than one PEM block"},
		{"RSA", pemOf(other), 0o600, "none of Ed25519"},
		{"PEM of nothing", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY"}), 0o600, "none of Ed25519"},
		{"protected", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}}), 0o600, "protected by a passphrase"},
		{"certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}), 0o600, "no private key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := OpenSigningKey(t.Context(), "file:"+writeFile(t, tt.data, tt.mode), Sources{})
			if tt.want == "" {
				if err != nil || got.Signer() != key.Signer() {
					t.Fatalf("got %v, %v", got, err)
				}
				return
			}
			wantErr(t, err, ErrKeySource)
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), text) {
				t.Errorf("the error is: %v", err)
			}
		})
	}
	for _, source := range []string{text, "file:" + text, "age:x", "kms:x", "file:"} {
		_, err := OpenSigningKey(t.Context(), source, Sources{})
		wantErr(t, err, ErrKeySource)
		if strings.Contains(err.Error(), text) {
			t.Error("the key is in the error")
		}
	}
}

func TestGeneratedSigningKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sign.key")
	public, err := Generate(KindSign, path, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := OpenSigningKey(t.Context(), "file:"+path, Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := ParseSigner(public.ID); err != nil || s != key.Signer() {
		t.Errorf("%s is not the key's, %v (%v)", public.ID, key, err)
	}
	var printed strings.Builder
	r, err := New(Options{Masters: []Master{aesKey(1)}, Bucket: newBucket(), Sign: key})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{key, *key, r, []*SigningKey{key}, struct{ K *SigningKey }{key}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
			fmt.Fprintf(&printed, verb+"\n", v)
		}
	}
	for _, secret := range []string{base64.StdEncoding.EncodeToString(key.seed[:]), hex.EncodeToString(key.seed[:]), fmt.Sprint(key.seed[:])} {
		if strings.Contains(printed.String(), secret) {
			t.Errorf("the key is printed:\n%s", printed.String())
		}
	}
}

// A key that encrypts is held by those who read: it says nothing of who wrote.
func TestSigningKeyIsNoMaster(t *testing.T) {
	_, err := New(Options{Masters: []Master{aesKey(2), aesKey(1)}, Bucket: newBucket(), Sign: signingKey(1)})
	wantErr(t, err, ErrKeySource)
}

func FuzzParseSigner(f *testing.F) {
	f.Add(goldenSigner)
	f.Add("ed25519:")
	f.Add("ed25519:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseSigner(text); err == nil && s.String() != text {
			t.Fatalf("%q is taken as %v", text, s)
		}
	})
}

func FuzzOpenSigningKey(f *testing.F) {
	f.Add([]byte(base64.StdEncoding.EncodeToString(make([]byte, 32))))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEICAhIiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4/\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		via := Sources{Getenv: func(string) (string, bool) { return string(data), true }}
		key, err := OpenSigningKey(t.Context(), "env:K", via)
		if (err == nil) != (key != nil) {
			t.Fatalf("%v, %v", key, err)
		}
		if err != nil {
			wantErr(t, err, ErrKeySource)
			return
		}
		if _, err := ParseSigner(key.Signer().String()); err != nil {
			t.Fatal(err)
		}
	})
}
