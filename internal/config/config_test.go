package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sigilfs/sigilfs/internal/config"
)

const whole = `# a mount
bucket: s3://acme-backups/web1
keys:
  main:    {kms: "arn:aws:kms:eu-central-1:111122223333:key/mrk-1", context: {team: backup}}
  escrow:
    age:
      recipients: [age1abc, ssh-ed25519 AAAA]
      identities: file:/etc/sigilfs/escrow.txt
  local:   {aes: credential:local}
  cust-24: {ssec: file:/etc/sigilfs/cust-24.key}
  cust-25: {ssec: "command:pass show a: b"}
  partner: {rsa: env:RSA}
encryption:
  - {mode: client, key: [main, escrow], sse: {mode: sse-kms, key: main, bucket-key: false}, allow-plaintext: true, compress: "zstd:9"}
  - {prefix: logs/, mode: sse-kms, key: main, bucket-key: true, context: {a: b}, require-encryption: true, storage-class: deep_archive}
  - prefix: exports/
    mode: s3ec
    key: local
    sse: sse-s3
    s3ec-version: 2
    s3ec-legacy-wrapping: true
    s3ec-legacy-cbc: true
    instruction-files: true
  - {prefix: partner/, mode: sse-c, key: cust-25}
  - {prefix: logs/digest/, mode: sse-s3}
  - {prefix: "déjà vu/", mode: none}
cache: {dir: /var/cache/sigilfs, size: 20GiB}
read-only: true
dir-mode: 0750
retry-timeout: 90
rename-dir-limit: 1000
expected-bucket-owner: 012345678901
endpoint-url: 'https://s3.example:9000'
sign: credential:sign
signers: [ed25519:Kay64UG8yvCyLhqU000LxzYeUm0L/hLIl5S8kyKWbdc=, two]
`

func TestParse(t *testing.T) {
	c, err := config.Parse("w.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Settle(); err != nil {
		t.Fatal(err)
	}
	yes, no := true, false
	want := &config.Config{
		Bucket: config.Setting{Name: "bucket", Value: "s3://acme-backups/web1"},
		Settings: []config.Setting{
			{Name: "cache", Value: "/var/cache/sigilfs"},
			{Name: "max-cache-size", Value: "20GiB"},
			{Name: "read-only", Value: "true"},
			{Name: "dir-mode", Value: "0750"},
			{Name: "retry-timeout", Value: "90"},
			{Name: "rename-dir-limit", Value: "1000"},
			{Name: "expected-bucket-owner", Value: "012345678901"},
			{Name: "endpoint-url", Value: "https://s3.example:9000"},
			{Name: "sign", Value: "credential:sign"},
			{Name: "signers", Value: "ed25519:Kay64UG8yvCyLhqU000LxzYeUm0L/hLIl5S8kyKWbdc=,two"},
		},
		Policy: config.Policy{
			Keys: []config.Key{
				{Name: "main", Kind: config.KMS, ID: "arn:aws:kms:eu-central-1:111122223333:key/mrk-1", Context: map[string]string{"team": "backup"}},
				{Name: "escrow", Kind: config.Age, Source: "identity:file:/etc/sigilfs/escrow.txt", Recipients: []string{"age1abc", "ssh-ed25519 AAAA"}},
				{Name: "local", Kind: config.AES, Source: "credential:local"},
				{Name: "cust-24", Kind: config.SSE, Source: "file:/etc/sigilfs/cust-24.key"},
				{Name: "cust-25", Kind: config.SSE, Source: "command:pass show a: b"},
				{Name: "partner", Kind: config.RSA, Source: "env:RSA"},
			},
			Rules: []config.Rule{
				{Prefix: "logs/digest/", Mode: config.SSES3},
				{Prefix: "déjà vu/", Mode: config.None},
				{Prefix: "exports/", Mode: config.S3EC, Keys: []string{"local"}, SSE: &config.Beneath{Mode: config.SSES3}, Version: 2, LegacyWrapping: true, LegacyCBC: true, InstructionFiles: true},
				{Prefix: "partner/", Mode: config.SSEC, Keys: []string{"cust-25"}},
				{Prefix: "logs/", Mode: config.SSEKMS, Keys: []string{"main"}, BucketKey: &yes, Context: map[string]string{"a": "b"}, RequireEncryption: &yes, StorageClass: "DEEP_ARCHIVE"},
				{Mode: config.Client, Keys: []string{"main", "escrow"}, SSE: &config.Beneath{Mode: config.SSEKMS, Key: "main", BucketKey: &no}, AllowPlaintext: &yes, Compress: ptr(config.Compression(9))},
			},
		},
	}
	if d := cmp.Diff(want, c, cmpopts.IgnoreTypes(config.Place{}), cmpopts.IgnoreUnexported(config.Rule{})); d != "" {
		t.Error(d)
	}
	if at := c.Settings[3].At.String(); at != "w.yaml:29:11" {
		t.Errorf("dir-mode is at %s", at)
	}
	if at := c.Rules[0].At.String(); at != "w.yaml:25:5" {
		t.Errorf("a rule in braces is at %s", at)
	}
	if at := c.Rules[2].At.String(); at != "w.yaml:16:5" {
		t.Errorf("a rule in lines is at %s", at)
	}
}

func ptr[T any](v T) *T { return &v }

// settled parses and settles, as mount does where no flag is given.
func settled(text string) error {
	c, err := config.Parse("c.yaml", []byte(text))
	if err != nil {
		return err
	}
	return c.Settle()
}

// Every error names its place exactly, and what is wrong there.
func TestErrors(t *testing.T) {
	rules := func(rule string) string {
		return "keys: {m: {kms: alias/x}, a: {aes: 'file:a'}, c: {ssec: 'file:c'}, r: {rsa: 'file:r'}, g: {age: {recipients: [age1x]}}}\nencryption:\n- {mode: none}\n- {prefix: x/, " + rule + "}\n"
	}
	for _, tt := range []struct{ text, want string }{
		// The file.
		{"", "c.yaml: nothing is in it"},
		{"# nothing\n", "c.yaml: nothing is in it"},
		{"bucket: x\nregion: \xff\n", "c.yaml:2:9: a byte that is not text"},
		{"bucket: é\xc3", "c.yaml:1:10: a byte that is not text"},
		{"a: \x00", "c.yaml:1:4: a byte that is not text"},
		{"- a\n", "c.yaml:1:1: fields are expected here"},
		{"just words\n", "c.yaml:1:1: fields are expected here"},
		{"a: 1\n---\nb: 2\n", "c.yaml:3:1: a second document begins here"},
		{"region: \"x\n", "c.yaml:1:9: not YAML"},
		{"region: a: b\n", "c.yaml:1:9: not YAML"},
		{"\tregion: a\n", "c.yaml:1:"},
		{"region: | hush-hush\n  x\n", "c.yaml:1:9: not YAML"},
		{strings.Repeat("[", 100), "c.yaml:1:9: nested deeper than 8 levels"},
		{strings.Repeat("- ", 100), "c.yaml:1:17: nested deeper than 8 levels"},
		{"a: [[[[[[[[[[b]]]]]]]]]]", "c.yaml:1:12: nested deeper"},
		{"a:\n b:\n  c:\n   d:\n    e:\n     f:\n      g:\n       h:\n        i: j\n", "nested deeper"},
		{"a: &x [1]\nb: [*x, *x]\n", "c.yaml:1:4: anchors, aliases"},
		{"region: !!binary x\n", "c.yaml:1:9: anchors, aliases, tags"},
		{"<<: {a: b}\n", "c.yaml:1:1: anchors, aliases"},
		{"%YAML 1.2\n---\na: b\n", "c.yaml:1:1: anchors, aliases, tags, directives"},
		{"? [a]\n: b\n", "c.yaml:1:1: anchors"},

		// Fields.
		{"bukket: x\n", "c.yaml:1:1: unknown field bukket"},
		{"region: x\n0123456789abcdef: y\n", "c.yaml:2:1: unknown field"},
		{"region: a\nuid: 1\nregion: b\n", "c.yaml:3:1: this field was given already, in line 1"},
		{"region:\nuid: 1\n", "c.yaml:1:1: region has no value"},
		{"region: ''\n", "c.yaml:1:9: region has no value"},
		{"region: [a]\n", "c.yaml:1:9: region takes one value"},
		{"region: true\n", "c.yaml:1:9: region takes one value"},
		{"read-only: yes\n", "c.yaml:1:12: read-only takes true or false"},
		{"read-only: 'true'\n", "c.yaml:1:12: read-only takes true or false"},
		{"rename-dir-limit: many\n", "c.yaml:1:19: rename-dir-limit takes a number"},
		{"cache: /var/cache\n", "c.yaml:1:8: fields are expected here"},
		{"cache: {dir: /x, sise: 3}\n", "c.yaml:1:18: unknown field sise"},
		{"state-key: hunter2\n", "c.yaml:1:12: this takes the place of a key"},
		{"sign: hunter2\n", "c.yaml:1:7: this takes the place of a key"},
		{"signers: []\n", "c.yaml:1:10: signers has no value"},
		{"signers:\n", "c.yaml:1:1: signers has no value"},
		{"signers: [a, a]\n", "c.yaml:1:14: signers has this value twice"},
		{"signers: {a: b}\n", "c.yaml:1:10: signers takes one value"},

		// Keys.
		{"keys: [a]\n", "c.yaml:1:7: keys takes named keys"},
		{"keys:\n  a b: {aes: 'file:x'}\n", "c.yaml:2:3: not the name of a key"},
		{"keys:\n  a: {aes: 'file:x'}\n  a: {aes: 'file:y'}\n", "c.yaml:3:3: this name was given already, in line 2"},
		{"keys:\n  a: {}\n", "c.yaml:2:3: this key is none of kms"},
		{"keys:\n  a: file:x\n", "c.yaml:2:6: fields are expected here"},
		{"keys:\n  a: {aes: 'file:x', rsa: 'file:y'}\n", "c.yaml:2:22: a key is one of kms, age, aes, ssec and rsa; this one is aes already"},
		{"keys:\n  a: {aes: 'file:x', context: {a: b}}\n", "c.yaml:2:3: context goes with kms keys only"},
		{"keys:\n  a: {kms: alias/x, context: a}\n", "c.yaml:2:30: context takes pairs"},
		{"keys:\n  a: {kms: alias/x, context: {a: true}}\n", "c.yaml:2:34: context takes texts"},
		{"keys:\n  a: {kms: alias/x, context: {a: b, a: c}}\n", "c.yaml:2:37: this name was given already"},
		{"keys:\n  a: {kms: 'a b'}\n", "c.yaml:2:12: kms takes the ID"},
		{"keys:\n  a: {aes: main.key}\n", "c.yaml:2:12: the place of a key is needed"},
		{"keys:\n  a: {aes: 'kms:x'}\n", "c.yaml:2:12: the place of a key is needed"},
		{"keys:\n  a: {aes: 'file:'}\n", "c.yaml:2:12: the place of a key is needed"},
		{"keys:\n  a: {age: age1x}\n", "c.yaml:2:12: fields are expected here"},
		{"keys:\n  a: {age: {}}\n", "c.yaml:2:3: an age key needs recipients or identities"},
		{"keys:\n  a: {age: {recipients: [age1x, 'age1a,age1b']}}\n", "c.yaml:2:33: an age recipient is needed"},
		{"keys:\n  a: {age: {recipients: [age1x, age1x]}}\n", "c.yaml:2:33: recipients has this value twice"},
		{"keys:\n  a: {age: {recipients: []}}\n", "c.yaml:2:25: recipients has no value"},

		// Rules by themselves.
		{"encryption: client\n", "c.yaml:1:13: encryption takes a list of rules"},
		{"encryption: {mode: client}\n", "c.yaml:1:13: encryption takes a list of rules"},
		{"encryption:\n- prefix: a/\n", "c.yaml:2:3: the rule has no mode"},
		{"encryption:\n- mode: rot13\n", "c.yaml:2:9: rot13 is no mode; write one of client, s3ec"},
		{"encryption:\n- {mode: none, prefix: a}\n", "c.yaml:2:24: a prefix ends in a slash"},
		{"encryption:\n- {mode: none, prefix: /}\n", "c.yaml:2:24: the prefix begins with a slash"},
		{"encryption:\n- {mode: none, prefix: /a/}\n", "c.yaml:2:24: the prefix begins with a slash"},
		{"encryption:\n- {mode: none, prefix: a//}\n", "c.yaml:2:24: the prefix begins with a slash"},
		{"encryption:\n- {mode: none, prefix: a/../}\n", "c.yaml:2:24: the prefix has the reserved component .."},
		{"encryption:\n- {mode: none, prefix: a/.sigil/}\n", "c.yaml:2:24: the prefix has the reserved component .sigil"},
		{"encryption:\n- {mode: none, prefix: \"a\\n/\"}\n", "c.yaml:2:24: the prefix has a control character"},
		{"encryption:\n- {mode: none, prefix:}\n", "c.yaml:2:16: prefix has no value"},
		{"encryption:\n- {mode: none, prefix: " + strings.Repeat("a", 1023) + "/}\n", "c.yaml:2:24: the prefix is longer"},
		{rules("mode: sse-s3, key: m"), "c.yaml:4:30: key does not go with mode sse-s3"},
		{rules("mode: none, require-encryption: true"), "c.yaml:4:28: require-encryption does not go with mode none"},
		{rules("mode: sse-kms, allow-plaintext: true"), "c.yaml:4:31: allow-plaintext does not go with mode sse-kms"},
		{rules("mode: dsse-kms, bucket-key: true"), "c.yaml:4:32: bucket-key does not go with mode dsse-kms"},
		{rules("mode: client, key: a, s3ec-version: 2"), "c.yaml:4:38: s3ec-version does not go with mode client"},
		{rules("mode: client, key: a, context: {a: b}"), "c.yaml:4:38: context does not go with mode client"},
		{rules("mode: sse-kms, key: [m, a]"), "c.yaml:4:31: mode sse-kms takes one key"},
		{rules("mode: client, key: [a, a]"), "c.yaml:4:39: key has this value twice"},
		{rules("mode: client, key: []"), "c.yaml:4:35: key has no value"},
		{rules("mode: s3ec, key: a, s3ec-version: 4"), "c.yaml:4:50: s3ec-version is 2 or 3"},
		{rules("mode: s3ec, key: a, s3ec-version: 2, s3ec-require-commitment: true"), "c.yaml:4:36: objects of version 2 have no commitment"},
		{rules("mode: client, key: a, allow-plaintext: true, require-encryption: true"), "c.yaml:4:61: allow-plaintext and require-encryption contradict"},
		{rules("mode: client, key: a, sse: client"), "c.yaml:4:43: client is no mode; write one of sse-s3, sse-kms, dsse-kms, sse-c"},
		{rules("mode: client, key: a, sse: {key: m}"), "c.yaml:4:43: sse has no mode"},
		{rules("mode: client, key: a, sse: {mode: sse-s3, key: m}"), "c.yaml:4:58: key does not go with mode sse-s3"},
		{rules("mode: client, key: a, sse: {mode: sse-kms, size: m}"), "c.yaml:4:59: unknown field size"},
		{rules("mode: client, key: a, storage-class: 'STANDARD IA'"), "c.yaml:4:53: not a storage class; write one as S3 does"},
		{rules("mode: client, key: a, compress: gzip"), "c.yaml:4:48: compression is none, zstd or zstd:LEVEL"},
		{rules("mode: s3ec, key: a, compress: zstd"), "c.yaml:4:36: compress does not go with mode s3ec"},
		{rules("mode: client, key: a, storage-class:"), "c.yaml:4:38: storage-class has no value"},
		{"encryption:\n- {mode: none, storage-class: glacier}\n", "c.yaml:2:16: objects of class GLACIER cannot be read back without a restore"},
		{rules("mode: client, key: a, keys: b"), "c.yaml:4:38: unknown field keys"},

		// Rules and keys together.
		{rules("mode: client"), "c.yaml:4:3: mode client needs a key, one of: kms, age, aes"},
		{rules("mode: sse-c"), "c.yaml:4:3: mode sse-c needs a key, one of: ssec"},
		{rules("mode: client, key: nobody"), "c.yaml:4:35: there is no key of this name"},
		{rules("mode: client, key: [a, c]"), "c.yaml:4:39: mode client takes no key of kind ssec, but one of: kms, age, aes"},
		{rules("mode: client, key: r"), "c.yaml:4:35: mode client takes no key of kind rsa"},
		{rules("mode: s3ec, key: g"), "c.yaml:4:33: mode s3ec takes no key of kind age, but one of: kms, aes, rsa"},
		{rules("mode: sse-kms, key: a"), "c.yaml:4:36: mode sse-kms takes no key of kind aes, but one of: kms"},
		{rules("mode: sse-c, key: a"), "c.yaml:4:34: mode sse-c takes no key of kind aes, but one of: ssec"},
		{rules("mode: s3ec, key: a, context: {x: y}"), "c.yaml:4:36: context goes with kms keys only"},
		{rules("mode: client, key: a, sse: sse-c"), "c.yaml:4:43: mode sse-c needs a key"},
		{rules("mode: client, key: a, sse: {mode: sse-kms, key: c}"), "c.yaml:4:43: mode sse-kms takes no key of kind ssec"},
		{"encryption:\n- {prefix: a/, mode: none}\n", "c.yaml:2:3: no rule is about the rest of the mount"},
		{"encryption:\n- {mode: none}\n- {prefix: '', mode: sse-s3}\n", "c.yaml:3:4: a rule for this prefix was given already, in line 2"},
		{"encryption:\n- {mode: none}\n- {prefix: a/, mode: sse-s3}\n- {prefix: a/, mode: sse-s3}\n", "c.yaml:4:4: a rule for this prefix was given already, in line 3"},
	} {
		err := settled(tt.text)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) && !(strings.HasPrefix(tt.want, "nested") && strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%.80q:\n got %v\nwant %s", tt.text, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%.80q: more than a line: %v", tt.text, err)
		}
	}
}

// secrets are what must not come back in an error.
var secrets = []string{
	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
	"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	"AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ",
	"Hunter2-Hunter2",
}

// A secret in any place is refused or ignored, never repeated.
func TestSecretsAreNotRepeated(t *testing.T) {
	for _, form := range []string{
		"%s", "%s: x", "bucket: [%s]", "read-only: %s", "rename-dir-limit: %s", "cache: %s", "cache: {%s: x}", "state-key: %s", "state-key: 'file:%s",
		"keys: %s", "keys: {%s: {aes: x}}", "keys: {a: %s}", "keys: {a: {%s: x}}", "keys: {a: {aes: %s}}", "keys: {a: {aes: ['%s']}}",
		"keys: {a: {kms: '%s x'}}", "keys: {a: {kms: x, context: '%s'}}", "keys: {a: {age: {recipients: ['%s']}}}", "keys: {a: {age: {identities: '%s'}}}",
		"encryption: %s", "encryption: [%s]", "encryption: [{%s: x}]", "encryption: [{mode: %s/}]", "encryption: [{mode: none, prefix: '%s'}]",
		"encryption: [{mode: client, key: '%s'}]", "encryption: [{mode: s3ec, s3ec-version: '%s'}]", "encryption: [{mode: client, key: a, sse: '%s/'}]",
		"a: !%s x", "a: |%s\n  x", "a: \"%s", "a: &%s x", "a: *%s", "a: %s: b", "- %s\n  b: c", "a: \"\\q%s\"",
	} {
		for _, secret := range secrets {
			err := settled(fmt.Sprintf(form, secret))
			if err == nil {
				t.Errorf("%s was taken", form)
			} else if strings.Contains(strings.ToLower(err.Error()), strings.ToLower(secret)) {
				t.Errorf("%s: %v", form, err)
			}
		}
	}
}

// A key itself is refused wherever a source can stand.
func TestSecretsAsSources(t *testing.T) {
	for _, secret := range secrets[:3] {
		for _, form := range []string{"keys: {a: {aes: '%s'}}", "keys: {a: {aes: 'file:%s'}}", "keys: {a: {ssec: 'env:%s'}}", "keys: {a: {rsa: 'file:%s'}}", "keys: {a: {kms: '%s'}}", "keys: {a: {age: {recipients: ['%s']}}}", "keys: {a: {age: {identities: 'file:%s'}}}", "state-key: '%s'", "state-key: 'file:%s'"} {
			if _, err := config.Parse("c", fmt.Appendf(nil, form, secret)); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf(form+": %v", "…", err)
			}
		}
	}
}

func TestUnknown(t *testing.T) {
	var unknown *config.UnknownError
	_, err := config.Parse("c", []byte("endpont-url: x\n"))
	if !errors.As(err, &unknown) || unknown.Name != "endpont-url" || !slices.Contains(unknown.Known, "endpoint-url") || !slices.Contains(unknown.Known, "keys") {
		t.Errorf("%+v", err)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := config.Read(filepath.Join(dir, "absent.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	if _, err := config.Read(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("directory: %v", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Read(fifo); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("fifo: %v", err)
	}
	for n, says := range map[int]string{config.MaxSize - 1: "", config.MaxSize: "longer than 1048576 bytes"} {
		path := filepath.Join(dir, "c.yaml")
		if err := os.WriteFile(path, []byte("uid: 1\n#"+strings.Repeat("x", n-7)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Read(path); says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%d bytes: %v", n+1, err)
		}
	}
}

// Whatever is read, what comes out holds; and nothing takes the program down.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	for _, s := range []string{
		"", "a: b", "[", "{", "- - - -", "? a", "a: &a *a", "---\n...\n", "a: |\n  b\n", "a: >-\n  b\n", "'", "\"\\x", "a: [b, c: d]\n", "keys: {a: {aes: 'file:x'}}\n",
		"encryption: [{mode: none}]\r\n", "\ufeffregion: x\n", "encryption:\n- mode: client\n  key: [a]\n", "cache: {dir: x}\n", "a:\n\tb: c\n", "{a: b}: c", "a: {? b}\n", "a: b # c\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse("c", text)
		if err != nil {
			var bad *config.Error
			var unknown *config.UnknownError
			if !errors.As(err, &bad) && !errors.As(err, &unknown) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if c.Settle() != nil {
			return
		}
		checkRules(t, c.Rules)
		for _, s := range c.Settings {
			if s.Value == "" || s.At.Line < 1 || s.At.Column < 1 {
				t.Errorf("%q: %+v", text, s)
			}
		}
	})
}

func checkRules(t *testing.T, rules []config.Rule) {
	t.Helper()
	for i, r := range rules {
		if r.Prefix != "" && (strings.HasPrefix(r.Prefix, "/") || !strings.HasSuffix(r.Prefix, "/") || strings.Contains("/"+r.Prefix, "/../") || strings.Contains("/"+r.Prefix, "/.sigil/")) {
			t.Errorf("prefix %q", r.Prefix)
		}
		if !slices.Contains(config.Modes(), r.Mode) || i > 0 && len(r.Prefix) > len(rules[i-1].Prefix) {
			t.Errorf("rule %d: %+v", i, r)
		}
	}
	if n := len(rules); n > 0 && rules[n-1].Prefix != "" {
		t.Error("no rule for all")
	}
}

// "_" and "-" are alike in the names of fields, as in those of flags; names that
// a person chose, and encryption contexts, stay as they are.
func TestUnderscores(t *testing.T) {
	const text = `bucket: s3://acme
keys: {my_key: {kms: alias/x, context: {a_b: c_d}}}
encryption: [{mode: sse-kms, key: my_key, bucket_key: true}]
retry_timeout: 90
`
	c, err := config.Parse("u.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Settings) != 1 || c.Settings[0].Name != "retry-timeout" {
		t.Errorf("settings %v", c.Settings)
	}
	if k := c.Keys[0]; k.Name != "my_key" || k.Context["a_b"] != "c_d" {
		t.Errorf("key %v", k)
	}
	if r := c.Rules[0]; r.BucketKey == nil || !*r.BucketKey {
		t.Errorf("rule %v", r)
	}
	if _, err := config.Parse("u.yaml", []byte(text+"retry-timeout: 80\n")); err == nil || err.Error() != "u.yaml:5:1: this field was given already, in line 4" {
		t.Errorf("one field under two names: %v", err)
	}
}
