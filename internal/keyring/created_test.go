package keyring

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A file tells when it was written; other sources tell nothing, credentials of
// systemd among them, which are written anew at each start.
func TestCreated(t *testing.T) {
	secret := aesKey(0x17)
	text := []byte(hex.EncodeToString(secret.key[:]))
	_, _, id := agePair(t)
	at := time.Date(2025, 3, 4, 5, 6, 7, 0, time.UTC)
	dir := t.TempDir()
	for name, content := range map[string][]byte{"aes": text, "age": []byte(id.String() + "\n")} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, at); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"KEY": string(text), "CREDENTIALS_DIRECTORY": dir}
	via := Sources{Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	for source, want := range map[string]time.Time{
		"file:" + dir + "/aes":           at,
		"file:" + dir + "/age":           at,
		"age:file:" + dir + "/age":       at,
		"env:KEY":                        {},
		"credential:aes":                 {},
		"command:cat " + dir + "/aes":    {},
		"age:" + id.Recipient().String(): {},
	} {
		m, err := Open(t.Context(), Spec{Source: source}, via)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		if got := Created(m); !got.Equal(want) {
			t.Errorf("%s was made %v, want %v", source, got, want)
		}
	}
}

// datedKMS knows one key.
type datedKMS struct{ KMS }

func (datedKMS) Created(arn string) time.Time {
	if arn == "arn:aws:kms:eu-central-1:111122223333:key/k" {
		return time.Unix(1e9, 0)
	}
	return time.Time{}
}

func TestCreatedOfKMS(t *testing.T) {
	m := &kmsMaster{service: datedKMS{}, id: "arn:aws:kms:eu-central-1:111122223333:key/k"}
	if got := Created(m); got.Unix() != 1e9 {
		t.Errorf("%v", got)
	}
	m.service = struct{ KMS }{}
	if got := Created(m); !got.IsZero() {
		t.Errorf("of a KMS that does not know: %v", got)
	}
}
