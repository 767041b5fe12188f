package main

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/spf13/pflag"
)

// A flag that may hold a key by mistake is not among what a mount tells; a new
// one has to be looked at here.
func TestNoKeyIsToldAsAnOption(t *testing.T) {
	harmless := []string{"key-recheck", "passwd-file", "require-encryption"} // a time, a path, a switch
	newMount().Flags().VisitAll(func(f *pflag.Flag) {
		suspect := slices.ContainsFunc([]string{"key", "encrypt", "sse", "secret", "pass", "token", "credential"}, func(word string) bool {
			return strings.Contains(f.Name, word)
		})
		if suspect && !aboutKeys(f.Name) && !slices.Contains(harmless, f.Name) {
			t.Errorf("--%s is told by sigilfs status", f.Name)
		}
	})
}

// Of the keys that rules write under the oldest of each kind is told; what only
// reads is old by design, and what does not tell is left out.
func TestOldestKeys(t *testing.T) {
	dir := t.TempDir()
	open := func(name string, age time.Duration) *key {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(hex.EncodeToString([]byte(strings.Repeat(name, 32)[:31]+"!"))), 0o600); err != nil {
			t.Fatal(err)
		}
		made := time.Now().Add(-age)
		if err := os.Chtimes(path, made, made); err != nil {
			t.Fatal(err)
		}
		source := "file:" + path
		m, err := keyring.Open(t.Context(), keyring.Spec{Source: source}, keyring.Sources{})
		if err != nil {
			t.Fatal(err)
		}
		return &key{Key: config.Key{Name: name}, master: m}
	}
	year, month := open("a", 365*24*time.Hour), open("b", 30*24*time.Hour)
	t.Setenv("THEKEY", hex.EncodeToString([]byte("0123456789abcdefghijklmnopqrstu!")))
	m, err := keyring.Open(t.Context(), keyring.Spec{Source: "env:THEKEY"}, keyring.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	silent := &key{master: m}
	got := oldestKeys([]rule{{keys: []*key{month, silent}}, {keys: []*key{year, {}}}, {}})
	if len(got) != 1 || !got["aes"].Equal(keyring.Created(year.master)) || got["aes"].IsZero() {
		t.Errorf("%v", got)
	}
	if got := oldestKeys([]rule{{keys: []*key{silent}}}); len(got) != 0 {
		t.Errorf("of a key that does not tell: %v", got)
	}
}
