package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// s3ecVector is what a client of AWS's own has written.
type s3ecVector struct {
	Name, Expect, Instruction string

	Metadata  map[string]string
	Body      []byte
	Plaintext struct{ SHA256 string }
}

// What AWS's clients wrote opens from files, with an instruction file or with the
// metadata alone; what is damaged, or lacks either, leaves no file.
func TestDecryptOfS3EC(t *testing.T) {
	text, err := os.ReadFile("../../objcrypt/s3ec/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Keys    map[string]string
		Vectors []s3ecVector
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "vectors.key")
	if err := os.WriteFile(key, []byte(all.Keys["aes"]), 0o600); err != nil {
		t.Fatal(err)
	}
	seen := map[bool]int{}
	for _, v := range all.Vectors {
		if v.Expect != "accept" || !strings.HasPrefix(v.Name, "v2-aes-gcm-ruby2") && !strings.HasPrefix(v.Name, "v3-aes-ruby") {
			continue
		}
		seen[v.Instruction != ""]++
		t.Run(v.Name, func(t *testing.T) { v.check(t, key) })
	}
	if seen[true] < 2 || seen[false] < 2 {
		t.Errorf("vectors with instruction files or without: %v", seen)
	}
}

func (v s3ecVector) check(t *testing.T, key string) {
	got, err := v.decrypt(t, key)
	if sum := sha256.Sum256(got); err != nil || hex.EncodeToString(sum[:]) != v.Plaintext.SHA256 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	damaged := v
	damaged.Body = append([]byte{v.Body[0] ^ 1}, v.Body[1:]...)
	lacking := v
	lacking.Metadata = maps.Clone(v.Metadata)
	clear(lacking.Metadata)
	lacking.Instruction = ""
	for what, w := range map[string]s3ecVector{"damaged": damaged, "without its keys": lacking} {
		if got, err := w.decrypt(t, key); err == nil || got != nil {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
	}
}

// decrypt gives what is in the file that decrypt has made; nil is no file.
func (v s3ecVector) decrypt(t *testing.T, key string) ([]byte, error) {
	t.Helper()
	dir := t.TempDir()
	head, err := json.Marshal(map[string]any{"Metadata": v.Metadata})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"body": v.Body, "head.json": head, "instruction": []byte(v.Instruction)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, s := &cobra.Command{}, defaultSettings()
	d := &decrypting{keys: []string{"file:" + key}, object: "s3://bucket/s3ec/" + v.Name, into: filepath.Join(dir, "out")}
	d.offline = &offline{mounting: &mounting{set: s, log: offlineLog(c, s), stderr: t.Output()}}
	if v.Instruction != "" {
		d.instruction = filepath.Join(dir, "instruction")
	}
	err = d.run(t.Context(), c, filepath.Join(dir, "body"), filepath.Join(dir, "head.json"))
	err = d.end(t.Context(), err)
	if left, _ := filepath.Glob(filepath.Join(dir, ".sigilfs-*")); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
	got, rerr := os.ReadFile(filepath.Join(dir, "out"))
	if rerr != nil {
		return nil, err
	}
	return got, err
}
