package main

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
)

const (
	firstARN  = "arn:aws:kms:eu-central-1:111122223333:key/11111111-1111-1111-1111-111111111111"
	secondARN = "arn:aws:kms:eu-central-1:111122223333:key/22222222-2222-2222-2222-222222222222"
)

// anyKey is a command that gives a key.
const anyKey = "printf 0123456789abcdef%.0s 1 2 3 4"

// opened is a mount whose keys are open and whose rules are made.
func opened(t *testing.T, text string) *mounting {
	t.Helper()
	s, err := policyOf(t, writeConfig(t, text))
	if err != nil {
		t.Fatal(err)
	}
	m := &mounting{set: s, log: newLog(t.Output(), "text", true), stderr: t.Output()}
	t.Cleanup(func() {
		if m.kms != nil {
			_ = m.kms.Close()
		}
	})
	if err := m.openKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range m.rules {
		if r.Mode == config.BucketDefault { // the bucket would be asked
			continue
		}
		v, err := m.volumeRule(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		m.policy = append(m.policy, v)
	}
	return m
}

// inMemory is a body.
type inMemory []byte

func (b inMemory) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	return bytes.NewReader(b).ReadAt(p, off)
}

// object is one of the S3 Encryption Client's.
type object struct {
	envelope *s3ec.Envelope
	body     inMemory
}

// seal writes an object as the rule at prefix would.
func (m *mounting) seal(t *testing.T, prefix string) object {
	t.Helper()
	i := slices.IndexFunc(m.policy, func(r volume.Rule) bool { return r.Prefix == prefix })
	writer := m.policy[i].S3EC
	body, err := s3ec.NewBody(t.Context(), writer.Key, writer.Format, inMemory("text"), 4)
	if err != nil {
		t.Fatal(err)
	}
	e, err := s3ec.Parse(body.Metadata(), nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := io.ReadAll(body.Section(t.Context(), 0, body.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return object{e, sealed}
}

// reads tells why the mount does not read an object, nil if it does.
func (m *mounting) reads(t *testing.T, o object) error {
	t.Helper()
	_, err := s3ec.Open(t.Context(), o.envelope, m.s3ecKeys(), s3ec.Policy{}, o.body, int64(len(o.body)))
	return err
}

// A rule's context is that of what it writes, and is read again.
func TestContextOfARule(t *testing.T) {
	startKMS(t, map[string]string{"alias/x": firstARN})
	m := opened(t, `bucket: s3://acme
keys: {main: {kms: alias/x, context: {team: a}}, bare: {kms: alias/x}}
encryption:
  - {mode: s3ec, key: main}
  - {prefix: b/, mode: s3ec, key: main, context: {team: b, more: c}}
  - {prefix: c/, mode: s3ec, key: bare, context: {team: c}}
`)
	for prefix, want := range map[string]map[string]string{"": {"team": "a"}, "b/": {"team": "b", "more": "c"}, "c/": {"team": "c"}} {
		o := m.seal(t, prefix)
		if got := o.envelope.Context(); !maps.Equal(got, want) {
			t.Errorf("%q: written under %v, want %v", prefix, got, want)
		}
		if err := m.reads(t, o); err != nil {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}

func TestContextThatCannotBeWritten(t *testing.T) {
	for _, text := range []string{
		"keys: {main: {kms: alias/x}}\nencryption: [{mode: s3ec, key: main, context: {team: ä}}]\n",
		"keys: {main: {kms: alias/x, context: {tëam: a}}}\nencryption: [{mode: s3ec, key: main}]\n",
		"keys: {main: {kms: alias/x}}\nencryption: [{mode: s3ec, key: main, context: {team: \"a\\tb\"}}]\n",
	} {
		path := writeConfig(t, "bucket: s3://acme\n"+text)
		_, err := policyOf(t, path)
		if err == nil || !strings.HasPrefix(err.Error(), path+":3:") || !strings.Contains(err.Error(), "printable ASCII") || exitCode(err) != exitUsage {
			t.Errorf("%s: %v", text, err)
		}
		if _, err := policyOf(t, path, "--read-only"); err != nil {
			t.Errorf("%s read-only: %v", text, err)
		}
	}
	if _, err := policyOf(t, writeConfig(t, "bucket: s3://acme\nkeys: {main: {kms: alias/x, context: {team: ä}}}\nencryption: [{mode: client, key: main}]\n")); err != nil {
		t.Errorf("mode client: %v", err)
	}
}

// An alias that is pointed elsewhere takes nothing away that was written before.
func TestAliasPointedElsewhere(t *testing.T) {
	service := startKMS(t, map[string]string{"alias/x": firstARN})
	m := opened(t, "bucket: s3://acme\nkeys: {main: {kms: alias/x}}\nencryption: [{mode: s3ec, key: main}]\n")
	before := m.seal(t, "")
	service.point("alias/x", secondARN)
	for name, o := range map[string]object{"before": before, "after": m.seal(t, "")} {
		if err := m.reads(t, o); err != nil {
			t.Errorf("what was written %s: %v", name, err)
		}
	}
}

// A source is read once: a command may ask somebody for a touch.
func TestSourceIsReadOnce(t *testing.T) {
	dir := t.TempDir()
	count, secret := filepath.Join(dir, "count"), filepath.Join(dir, "key")
	if err := os.WriteFile(secret, bytes.Repeat([]byte("0123456789abcdef"), 4), 0o600); err != nil {
		t.Fatal(err)
	}
	m := opened(t, "bucket: s3://acme\nkeys: {main: {aes: 'command:echo run >> "+count+"; cat "+secret+"'}}\nencryption: [{mode: s3ec, key: main}]\n")
	if runs, err := os.ReadFile(count); err != nil || string(runs) != "run\n" {
		t.Errorf("%q, %v", runs, err)
	}
	if err := m.reads(t, m.seal(t, "")); err != nil {
		t.Error(err)
	}
}
