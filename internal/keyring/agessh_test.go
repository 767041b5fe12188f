package keyring

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age/plugin"
	"golang.org/x/crypto/ssh"
)

func TestSSHKey(t *testing.T) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPub)))
	writer, err := Open(t.Context(), Spec{Source: "age:" + line + " user@host"}, Sources{})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := ssh.MarshalPrivateKey(priv, "user@host")
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(priv, "user@host", []byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(answer string) Sources {
		return Sources{Passphrase: func(context.Context, string) ([]byte, error) { return []byte(answer), nil }}
	}
	w, err := writer.Wrap(t.Context(), goldenID, &goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"plain": plain, "locked": locked} {
		path := writeFile(t, pem.EncodeToMemory(block), 0o600)
		for _, spec := range []string{"file:" + path, "age:" + line + ",file:" + path} {
			reader, err := Open(t.Context(), Spec{Source: spec}, ask("correct horse"))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			key, err := reader.Unwrap(t.Context(), goldenID, w)
			if err != nil || *key != goldenKey || reader.ID() != writer.ID() {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err = Open(t.Context(), Spec{Source: "file:" + writeFile(t, pem.EncodeToMemory(block), 0o644)}, ask("correct horse"))
		wantErr(t, err, ErrKeySource)
	}
	path := writeFile(t, pem.EncodeToMemory(locked), 0o600)
	for want, via := range map[string]Sources{"nobody to ask": {}, "passphrase is wrong": ask("x")} {
		_, err := Open(t.Context(), Spec{Source: "file:" + path}, via)
		wantErr(t, err, ErrKeySource)
		if !strings.Contains(err.Error(), want) {
			t.Error(err)
		}
	}
	_, err = Open(t.Context(), Spec{Source: "age:ssh-ed25519 AAAA"}, Sources{})
	wantErr(t, err, ErrKeySource)
}

// TestPluginThatFails: what a plugin could not do now, it may do later.
func TestPluginThatFails(t *testing.T) {
	full, _, id := agePair(t)
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "age-plugin-none"), []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	none := plugin.EncodeIdentity("none", []byte("data"))
	path := writeFile(t, []byte(none+"\n"), 0o600)
	_, err := Open(t.Context(), Spec{Source: "file:" + path}, Sources{})
	wantErr(t, err, ErrKeySource)
	m, err := Open(t.Context(), Spec{Source: "age:" + id.Recipient().String() + ",file:" + path}, Sources{})
	if err != nil || m.ID() != full.ID() || !m.CanUnwrap() {
		t.Fatalf("got %v, %v", m, err)
	}
	w, err := m.Wrap(t.Context(), goldenID, &goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Unwrap(t.Context(), goldenID, w); err == nil || final(err) {
		t.Errorf("error %v should be one that may pass", err)
	}
}
