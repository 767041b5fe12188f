package keyring

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"os"
	"strings"
	"testing"
)

func TestOpenKey(t *testing.T) {
	key := *aesKey(0x90).key
	for name, data := range map[string][]byte{
		"raw": key[:], "hex": []byte(hex.EncodeToString(key[:]) + "\n"), "base64": []byte(base64.StdEncoding.EncodeToString(key[:])),
	} {
		if got, err := OpenKey(t.Context(), "file:"+writeFile(t, data, 0o600), Sources{}); err != nil || got != key {
			t.Errorf("%s: %v", name, err)
		}
	}
	text := hex.EncodeToString(key[:])
	for name, tt := range map[string]struct{ source, want string }{
		"open file":  {"file:" + writeFile(t, key[:], 0o644), "chmod 600"},
		"short":      {"file:" + writeFile(t, key[:31], 0o600), "holds 31 bytes"},
		"age":        {"file:" + writeFile(t, []byte("AGE-SECRET-KEY-1QQQ"), 0o600), "holds 19 bytes"},
		"the key":    {text, "given on the command line"},
		"kms":        {"kms:alias/x", "write file:PATH"},
		"no such":    {"file:/none/x", "no such file"},
		"nothing":    {"", "write file:PATH"},
		"credential": {"credential:x", "CREDENTIALS_DIRECTORY"},
	} {
		got, err := OpenKey(t.Context(), tt.source, Sources{Getenv: func(string) (string, bool) { return "", false }})
		wantErr(t, err, ErrKeySource)
		if got != [KeySize]byte{} || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenPEM(t *testing.T) {
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, headers map[string]string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: der})
	}
	good := block("PRIVATE KEY", nil)
	for _, data := range [][]byte{good, append([]byte("a comment\n"), good...), block("RSA PRIVATE KEY", nil)} {
		if got, err := OpenPEM(t.Context(), "file:"+writeFile(t, data, 0o400), Sources{}); err != nil || !bytes.Equal(got, data) {
			t.Error(err)
		}
	}
	for name, tt := range map[string]struct {
		data []byte
		mode os.FileMode
		want string
	}{
		"open file":  {good, 0o640, "chmod 600"},
		"public":     {block("PUBLIC KEY", nil), 0o600, "no private key in PEM"},
		"DER":        {der, 0o600, "no private key in PEM"},
		"nothing":    {nil, 0o600, "no private key in PEM"},
		"PKCS 8":     {block("ENCRYPTED PRIVATE KEY", nil), 0o600, "protected by a passphrase"},
		"legacy":     {block("RSA PRIVATE KEY", map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}), 0o600, "protected by a passphrase"},
		"two":        {append(bytes.Clone(good), good...), 0o600, "more than one PEM block"},
		"with chain": {append(bytes.Clone(good), block("CERTIFICATE", nil)...), 0o600, "more than one PEM block"},
	} {
		got, err := OpenPEM(t.Context(), "file:"+writeFile(t, tt.data, tt.mode), Sources{})
		wantErr(t, err, ErrKeySource)
		if got != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
