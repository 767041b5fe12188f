package s3ec

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
)

func newRSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func otherRSA(t testing.TB) *RSAKey {
	t.Helper()
	return &RSAKey{private: newRSA(t, 2048)}
}

func inPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t testing.TB, key crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestParseRSAKey(t *testing.T) {
	good := newRSA(t, 2048)
	t.Setenv("GODEBUG", "rsa1024min=0")
	short := newRSA(t, 1024)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		ok   bool
	}{
		"PKCS #1":   {inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(good)), true},
		"PKCS #8":   {inPEM("PRIVATE KEY", pkcs8(t, good)), true},
		"public":    {inPEM("PUBLIC KEY", x509.MarshalPKCS1PublicKey(&good.PublicKey)), false},
		"encrypted": {inPEM("ENCRYPTED PRIVATE KEY", pkcs8(t, good)), false},
		"curve":     {inPEM("PRIVATE KEY", pkcs8(t, curve)), false},
		"1024 bits": {inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(short)), false},
		"DER":       {x509.MarshalPKCS1PrivateKey(good), false},
		"garbage":   {inPEM("PRIVATE KEY", []byte("garbage")), false},
		"empty":     {nil, false},
	} {
		k, err := ParseRSAKey(c.data)
		if c.ok != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && k.private.D.Cmp(good.D) != 0 {
			t.Errorf("%s: another key", name)
		}
	}
}

// TestRSANamesTheSuite: a data key that was wrapped for one suite does not open
// under another, or with another length.
func TestRSANamesTheSuite(t *testing.T) {
	k := otherRSA(t)
	key := bytes.Repeat([]byte{7}, keySize)
	for _, c := range []struct {
		plain string
		suite Suite
		want  error
	}{
		{" " + string(key) + cekGCM, SuiteGCM, nil},
		{" " + string(key) + cekCommitting, SuiteCommitting, nil},
		{" " + string(key) + cekCommitting, SuiteGCM, objcrypt.ErrCorrupt},
		{" " + string(key) + "114", SuiteCommitting, objcrypt.ErrCorrupt},
		{"\x10" + string(key) + cekGCM, SuiteGCM, objcrypt.ErrCorrupt},
		{string(key), SuiteGCM, objcrypt.ErrCorrupt},
		{"", SuiteGCM, objcrypt.ErrCorrupt},
	} {
		wrapped, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &k.private.PublicKey, []byte(c.plain), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.unwrap(t.Context(), &Envelope{suite: c.suite, wrap: WrapRSAOAEP, wrapped: wrapped})
		if !errors.Is(err, c.want) || err == nil && !bytes.Equal(got[:], key) {
			t.Errorf("%q for %s: %v, not %v", c.plain, c.suite, err, c.want)
		}
	}
}

// TestNoOracle: what fails under PKCS #1 v1.5 fails after the body was read, so
// that the server does not see it.
func TestNoOracle(t *testing.T) {
	all := loadVectors(t)
	for _, v := range all.Vectors {
		if v.Name != "v1-rsa-cbc-ruby1" {
			continue
		}
		e, err := Parse(v.Metadata, nil)
		if err != nil {
			t.Fatal(err)
		}
		o, err := Unwrap(t.Context(), e, Keyring{otherRSA(t)}, everything)
		if err != nil {
			t.Fatalf("fails before the body is read: %v", err)
		}
		var live, most uint64
		src := watched{memory(v.Body), &live, &most}
		if _, err := o.Open(t.Context(), src, int64(len(v.Body))); !errors.Is(err, objcrypt.ErrWrongKey) || most == 0 {
			t.Errorf("%v, after %d bytes", err, most)
		}
		if _, err := o.PlainSize(t.Context(), src, int64(len(v.Body))); !errors.Is(err, objcrypt.ErrWrongKey) {
			t.Errorf("%v", err)
		}
		if _, err := Unwrap(t.Context(), e, nil, everything); !errors.Is(err, objcrypt.ErrNoKey) {
			t.Errorf("without a key: %v", err)
		}
		return
	}
	t.Error("the vector is missing")
}

// TestKeysDoNotShow prints keys in every way that a log might.
func TestKeysDoNotShow(t *testing.T) {
	secret := bytes.Repeat([]byte{0xab}, keySize)
	a, err := NewAESKey([32]byte(secret), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := otherRSA(t)
	o := &Opener{env: &Envelope{suite: SuiteGCM, iv: make([]byte, nonceSize)}, block: newAES(secret)}
	for _, v := range []any{a, r, Keyring{a, r}, o, *o, &Reader{content: &gcmBody{gcmStream: o.stream()}}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			s := strings.ToLower(fmt.Sprintf(verb, v))
			for _, leak := range []string{"abab", "171 171", "0xab, 0xab", r.private.D.String()[:20], fmt.Sprintf("%x", r.private.D)[:20]} {
				if strings.Contains(s, leak) {
					t.Errorf("%T with %s shows a key: %.200s", v, verb, s)
				}
			}
		}
	}
}
