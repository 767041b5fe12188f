package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// policyOf reads a command line of mount, and settles its policy.
func policyOf(t *testing.T, source string, args ...string) (*settings, error) {
	t.Helper()
	s := defaultSettings()
	cmd := &cobra.Command{Use: "mount"}
	cmd.SetGlobalNormalizationFunc(normalize)
	s.addFlags(cmd.Flags())
	if err := cmd.ParseFlags(args); err != nil {
		return s, flagError(cmd, err)
	}
	s.dir = "/mnt"
	if err := s.open(source, cmd.Flags()); err != nil {
		return s, err
	}
	return s, s.settlePolicy()
}

// show writes a policy in short: keys, then rules, longest prefix first.
func show(p config.Policy) []string {
	var lines []string
	for _, k := range p.Keys {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("key %s: %s %s%s %v %v", k.Name, k.Kind, k.ID, k.Source, k.Recipients, k.Context)))
	}
	for _, r := range p.Rules {
		line := fmt.Sprintf("%q %s %q", r.Prefix, r.Mode, r.Keys)
		if r.SSE != nil {
			line += fmt.Sprintf(" beneath %s %q", r.SSE.Mode, r.SSE.Key)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestPolicyOfFlags(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{
			[]string{"--encryption", "client", "--key", "file:x"},
			[]string{"key --key 1:  file:x [] map[]", `"" client ["--key 1"]`},
		},
		{ // the first writes, all read
			[]string{"--encryption=client", "--key=file:x", "--key=age:age1x,identity:file:a,b", "--also-key=kms:alias/z,context=a=b=c,context=d="},
			[]string{
				"key --key 1:  file:x [] map[]", "key --key 2: age identity:file:a,b [age1x] map[]", "key --also-key 1: kms alias/z [] map[a:b=c d:]",
				`"" client ["--key 1" "--also-key 1"]`,
			},
		},
		{
			[]string{"--encryption", "client,key=a,key=b", "--encryption", "logs/=sse-kms,key=k,bucket_key", "--key", "a=file:a=b", "--key", "b=aes:env:B", "--key=k=kms:alias/k"},
			[]string{"key a:  file:a=b [] map[]", "key b: aes env:B [] map[]", "key k: kms alias/k [] map[]", `"logs/" sse-kms ["k"]`, `"" client ["a" "b"]`},
		},
		{ // in a list, with commas in a prefix
			[]string{"-o", `encryption=sse-s3,encryption="a\\,b=c_d/=none"`},
			[]string{`"a,b=c_d/" none []`, `"" sse-s3 []`},
		},
		{[]string{"--encryption", "none"}, []string{`"" none []`}},
		{ // bare keys are what the mode needs, those that only read too
			[]string{"--encryption", "sse-c", "--key", "file:new", "--key", "file:old"},
			[]string{"key --key 1: ssec file:new [] map[]", "key --key 2: ssec file:old [] map[]", `"" sse-c ["--key 1"]`},
		},
		{
			[]string{"--encryption", "s3ec,s3ec-version=2", "--key", "file:x", "--key", "rsa:file:r"},
			[]string{"key --key 1: aes file:x [] map[]", "key --key 2: rsa file:r [] map[]", `"" s3ec ["--key 1"]`},
		},
		{ // the first that the mode takes writes
			[]string{"--encryption", "client", "--key", "ssec:file:c", "--key", "file:x"},
			[]string{"key --key 1: ssec file:c [] map[]", "key --key 2:  file:x [] map[]", `"" client ["--key 2"]`},
		},
		{ // an own key for reading beside the account's
			[]string{"--encryption", "sse-kms", "--key", "ssec:file:c"},
			[]string{"key --key 1: ssec file:c [] map[]", `"" sse-kms []`},
		},

		// The field's names.
		{[]string{"--sse", "AES256"}, []string{`"" sse-s3 []`}},
		{[]string{"--sse", "aws:kms"}, []string{`"" sse-kms []`}},
		{[]string{"--sse", "aws:kms:dsse", "--sse-kms-key-id", "alias/x"}, []string{"key --sse-kms-key-id: kms alias/x [] map[]", `"" dsse-kms ["--sse-kms-key-id"]`}},
		{[]string{"--sse", "sse-kms", "--encryption", "sse-kms"}, []string{`"" sse-kms []`}},
		{
			[]string{"--encryption", "client", "--key", "file:x", "--sse", "aws:kms", "--sse-kms-key-id", "alias/x"},
			[]string{"key --key 1:  file:x [] map[]", "key --sse-kms-key-id: kms alias/x [] map[]", `"" client ["--key 1"] beneath sse-kms "--sse-kms-key-id"`},
		},
		{[]string{"-o", "use_sse"}, []string{`"" sse-s3 []`}},
		{[]string{"-o", "use_sse=1"}, []string{`"" sse-s3 []`}},
		{[]string{"-o", "use_sse=kmsid:alias/x"}, []string{"key --sse-kms-key-id: kms alias/x [] map[]", `"" sse-kms ["--sse-kms-key-id"]`}},
		{[]string{"-o", "use_sse=custom:/c,load_sse_c=/d"}, []string{"key --key 1: ssec file:/d [] map[]", "key --sse-c-key: ssec file:/c [] map[]", `"" sse-c ["--sse-c-key"]`}},
		{[]string{"-o", "load_sse_c=/d,use_sse=custom:/c"}, []string{"key --key 1: ssec file:/d [] map[]", "key --sse-c-key: ssec file:/c [] map[]", `"" sse-c ["--sse-c-key"]`}},
		{[]string{"-o", "load_sse_c=/d,use_sse=custom"}, []string{"key --key 1: ssec file:/d [] map[]", `"" sse-c ["--key 1"]`}},
		{ // beneath, as with the other modes
			[]string{"--encryption", "client", "--key", "file:x", "-o", "load_sse_c=/d,use_sse=custom:/c"},
			[]string{"key --key 1:  file:x [] map[]", "key --key 2: ssec file:/d [] map[]", "key --sse-c-key: ssec file:/c [] map[]", `"" client ["--key 1"] beneath sse-c "--sse-c-key"`},
		},
		{[]string{"-o", "use_sse=custom,load_sse_c=/d"}, []string{"key --key 1: ssec file:/d [] map[]", `"" sse-c ["--key 1"]`}},
	} {
		s, err := policyOf(t, "s3://acme", tt.args...)
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		if d := cmp.Diff(tt.want, show(s.policy)); d != "" {
			t.Errorf("%q: %s", tt.args, d)
		}
	}
}

func TestPolicyErrors(t *testing.T) {
	const hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	for _, tt := range []struct {
		args []string
		says string
	}{
		{nil, "--encryption is missing"},
		{[]string{"--encryption", "client"}, "--encryption client needs --key, such as --key file:main.key"},
		{[]string{"--encryption", "sse-c"}, "sigilfs keygen --kind ssec"},
		{[]string{"--encryption", "rot13", "--key", "file:x"}, "--encryption: rot13 is no mode; write one of client,"},
		{[]string{"--encryption", ""}, "--encryption is missing"},
		{[]string{"--key", "file:x"}, "--encryption is missing"},
		{[]string{"--encryption", ",,"}, "--encryption is missing"},
		{[]string{"--encryption", `a/="client`}, "without its end"},
		{[]string{"--encryption", "logs/=none"}, "no rule is about the rest"},
		{[]string{"--encryption", "logs=none"}, "a prefix ends in a slash"},
		{[]string{"--encryption", "none", "--encryption", "sse-s3"}, "two rules are given for one prefix"},
		{[]string{"--encryption", "none,bucket-key"}, "bucket-key does not go with mode none"},
		{[]string{"--encryption", "sse-kms,bucket-key=perhaps"}, "bucket-key takes true or false"},
		{[]string{"--encryption", "sse-s3,storage-class=DEEP_ARCHIVE"}, "objects of class DEEP_ARCHIVE cannot be read back without a restore, so a filesystem cannot live there; give it to a rule with a prefix"},
		{[]string{"--encryption", "sse-s3", "--encryption", "a/=sse-s3,storage-class=a/b"}, "not a storage class"},
		{[]string{"--encryption", "sse-s3,compress=zstd"}, "compress does not go with mode sse-s3"},
		{[]string{"--encryption", "client,compress=zstd:99", "--key", "file:x"}, "a level of zstd is a number from 1 to 22"},
		{[]string{"--encryption", "none", "--compress", "zstd"}, "no rule is of mode client"},
		{[]string{"--encryption", "sse-kms,bucket-kye"}, "unknown field bucket-kye; did you mean bucket-key?"},
		{[]string{"--encryption", "sse-kms,mode=none"}, "unknown field mode"},
		{[]string{"--encryption", "sse-kms,context=a"}, "context takes NAME=VALUE"},
		{[]string{"--encryption", "sse-kms,context=a=b,context=a=c"}, "given already"},
		{[]string{"--encryption", "sse-kms,key="}, "key has no value"},
		{[]string{"--encryption", "client,key=m"}, "there is no key of this name"},
		{[]string{"--encryption", "client,key=a", "--key", "a=file:x", "--key", "a=file:y"}, "two keys have one name"},
		{[]string{"--encryption", "sse-kms", "--key", "file:x"}, "mode sse-kms takes no key from such a place, but one of: kms"},
		{[]string{"--encryption", "sse-c", "--key", "kms:alias/x"}, "sse-c takes no key of kind kms"},
		{[]string{"--encryption", "client,key=a", "--encryption", "b/=sse-c,key=a", "--key", "a=file:x"}, "takes no key of kind ssec"},
		{[]string{"--encryption", "a/=client,key=a", "--encryption", "sse-c,key=a", "--key", "a=file:x"}, "mode client takes no key of kind ssec"},
		{[]string{"--encryption", "s3ec", "--key", "rsa:file:x"}, "an rsa key only reads"},
		{[]string{"--key", "file:x", "--encryption", "a/=none"}, "--key without a name goes with --encryption"},
		{[]string{"--encryption", "none", "--also-key", "file:x"}, "--also-key goes with --encryption client"},
		{[]string{"--encryption", "client", "--key", "kms:x,y"}, "kms:ID is followed by ,context=NAME=VALUE"},
		{[]string{"--encryption", "client", "--key", "kms:"}, "kms has no value"},
		{[]string{"--encryption", "client", "--key", "age:"}, "needs recipients or identities"},
		{[]string{"--encryption", "client", "--key", "ssec:kms:x"}, "the place of a key is needed"},
		{[]string{"--encryption", "client", "--key", "a b=file:x"}, "not the name of a key"},
		{[]string{"--encryption", "client", "--key", hex}, "never a key itself"},
		{[]string{"--encryption", "client", "--key", "file:" + hex}, "never a key itself"},
		{[]string{"--encryption", "client", "--key", hex + "=file:x"}, "not the name of a key"},
		{[]string{"--encryption", "client", "--key", "a=" + hex}, "never a key itself"},
		{[]string{"--encryption", "client," + hex, "--key", "file:x"}, "unknown field"},
		{[]string{"--encryption", "client", "--key", "file:x", "--allow-plaintext", "--require-encryption"}, "contradict"},
		{[]string{"--sse", "aws:kms", "--encryption", "sse-s3"}, "two different modes"},
		{[]string{"--sse", "aws:sse"}, "--sse is one of"},
		{[]string{"--sse", "AES256", "--sse-kms-key-id", "x"}, "goes with --sse aws:kms"},
		{[]string{"--sse", "AES256", "--sse-c-key", "file:x"}, "goes with --sse sse-c"},
		{[]string{"--sse-kms-key-id", "x"}, "goes with --sse aws:kms"},
		{[]string{"--sse-c-key", "file:x"}, "goes with --sse sse-c"},
		{[]string{"--sse", "sse-c", "--sse-c-key", hex}, "never a key itself"},
		{[]string{"--encryption", "sse-c,key=a", "--key", "a=ssec:file:x", "-o", "use_sse=custom:/c"}, "two different keys"},
		{[]string{"-o", "use_sse=2"}, "--sse is one of"},
	} {
		_, err := policyOf(t, "s3://acme", tt.args...)
		if err == nil || !strings.Contains(err.Error(), tt.says) || exitCode(err) != exitUsage {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.says)
		}
		if err != nil && strings.Contains(err.Error(), hex[:16]) {
			t.Errorf("%q: a key came back: %v", tt.args, err)
		}
	}
}

const fileText = `bucket: s3://acme/web
keys:
  main: {kms: alias/x, context: {team: a}}
  old:  {aes: file:old}
encryption:
  - {mode: client, key: main}
  - {prefix: logs/, mode: sse-kms, key: main}
  - {prefix: open/, mode: s3ec, key: main, allow-plaintext: true}
uid: 7
dir-mode: 0700
volume-root: /
require-encryption: true
`

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "site.conf") // no .yaml: it is there
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Flags stand above the file: settings by name, keys by theirs, rules by prefix.
func TestFile(t *testing.T) {
	path := writeConfig(t, fileText)
	s, err := policyOf(t, path, "-o", "umask=077", "--uid", "8", "--encryption", "logs/=none", "--key", "more=age:age1x")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"key main: kms alias/x [] map[team:a]", "key old: aes file:old [] map[]", "key more: age  [age1x] map[]",
		`"open/" s3ec ["main"]`, `"logs/" none []`, `"" client ["main"]`,
	}
	if d := cmp.Diff(want, show(s.policy)); d != "" {
		t.Error(d)
	}
	if s.uid != 8 || s.dirMode != 0o700 || s.fileMode != 0o600 || s.target.Bucket != "acme" || s.target.Prefix != "web/" || !s.rootGiven || s.source != path {
		t.Errorf("%+v", s)
	}
	if err := s.checkRoot(); err != nil || s.volumeRoot != "" {
		t.Errorf("volume root %q, %v", s.volumeRoot, err)
	}
}

// Every error of a file ends with the place, and exit code 1.
func TestFileErrors(t *testing.T) {
	const head = "bucket: s3://acme\nencryption: [{mode: none}]\nforeground: true\n"
	for text, says := range map[string]string{
		"encryption: [{mode: none}]\n":                    ": bucket is missing",
		"bucket: acme\n":                                  `:1:9: "acme" is not a bucket`,
		"bucket: s3://acme\n":                             ": encryption is missing",
		head + "uid: nobody-here\n":                       `:4:6: uid: there is no user`,
		head + "spool-size: 10\n":                         `:4:13: spool-size: the size "10" has no unit`,
		head + "memory-limit: 1MiB\n":                     ":4:15: memory-limit is under",
		head + "cache: {dir: /x, size: 1MiB}\n":           ":4:24: max-cache-size is under 8MiB",
		head + "endpoint-url: https://me:hushhush@h\n":    ":4:15: endpoint-url is not a URL",
		head + "on-conflict: merge\n":                     ":4:14: on-conflict is not",
		head + "volume-root: other\n\n":                   ":4:14: volume-root other/ does not contain",
		head + "rename-dir-limit: 99999999999999999999\n": ":4:19: rename-dir-limit takes a number",
		head + "endpont-url: x\n":                         ":4:1: unknown field endpont-url; did you mean endpoint-url?",
		head + "names: clear\n":                           ":4:8: names: is auto, encrypted or encrypted:FINGERPRINT",
		head + "accept-volume: true\n":                    ":4:1: unknown field accept-volume",
		head + "options: ro\n":                            ":4:1: unknown field options",
	} {
		path := writeConfig(t, text)
		s, err := policyOf(t, path)
		if err == nil {
			s.foreground = true
			err = s.check()
		}
		if err == nil || !strings.HasPrefix(err.Error(), path+says) || exitCode(err) != exitUsage || strings.Contains(err.Error(), "hushhush") {
			t.Errorf("%q: %v, want FILE%s", text, err, says)
		}
	}
}

// shaped are the flags that are parts of fields with a shape of their own, and
// those fields.
var shaped = map[string]string{
	"encryption": "encryption", "key": "keys", "also-key": "encryption", "sse": "encryption", "sse-kms-key-id": "encryption", "sse-c-key": "encryption",
	"cache": "cache", "max-cache-size": "cache",
}

// Every flag is a field of the file, every field a flag.
func TestEveryFlagIsAField(t *testing.T) {
	var unknown *config.UnknownError
	_, err := config.Parse("c", []byte("x: y\n"))
	if !errors.As(err, &unknown) {
		t.Fatal(err)
	}
	fields := map[string]bool{}
	for _, name := range unknown.Known {
		fields[name] = name == "bucket" // which is an argument
	}
	s := defaultSettings()
	f := pflag.NewFlagSet("mount", pflag.ContinueOnError)
	s.addFlags(f)
	f.VisitAll(func(flag *pflag.Flag) {
		name := flag.Name
		if of, ok := shaped[name]; ok {
			name = of
		}
		if _, ok := fields[name]; !ok && name != "options" && name != "accept-volume" { // which is given once
			t.Errorf("--%s is no field", flag.Name)
		}
		fields[name] = true
	})
	for name, found := range fields {
		if !found {
			t.Errorf("the field %s is no flag", name)
		}
	}
}

func TestResolve(t *testing.T) {
	s, err := policyOf(t, writeConfig(t, fileText))
	if err != nil {
		t.Fatal(err)
	}
	main, old := &key{Key: config.Key{Name: "main", Context: map[string]string{"team": "a"}}}, &key{}
	rules := resolve(s, map[string]*key{"main": main, "old": old})
	type short struct {
		Prefix         string
		Key            *key
		Context        map[string]string
		Allow, Require bool
	}
	var got []short
	for _, r := range rules {
		got = append(got, short{r.Prefix, r.keys[0], r.context, r.allowPlaintext, r.requireEncryption})
	}
	if d := cmp.Diff([]short{
		{"logs/", main, main.Context, false, true},
		{"open/", main, main.Context, true, false},
		{"", main, main.Context, false, true},
	}, got, cmp.Comparer(func(a, b *key) bool { return a == b }), cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
	s, err = policyOf(t, "s3://acme", "--allow-plaintext", "--encryption", "client", "--encryption", "a/=client,key=--key 1,require-encryption", "--encryption", "b/=none", "--key", "file:x")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resolve(s, map[string]*key{"--key 1": main}) {
		if r.allowPlaintext != (r.Prefix == "") || r.requireEncryption != (r.Prefix == "a/") {
			t.Errorf("%q: allow %v, require %v", r.Prefix, r.allowPlaintext, r.requireEncryption)
		}
	}
	s, err = policyOf(t, "s3://acme", "--compress", "zstd", "--encryption", "client", "--encryption", "a/=client,key=--key 1,compress=none", "--encryption", "b/=client,key=--key 1,compress=zstd:19", "--key", "file:x")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resolve(s, map[string]*key{"--key 1": main}) {
		if want := map[string]config.Compression{"": 3, "a/": 0, "b/": 19}[r.Prefix]; r.packed != want {
			t.Errorf("%q: %v, want %v", r.Prefix, r.packed, want)
		}
	}
	s, err = policyOf(t, writeConfig(t, fileText))
	if err != nil {
		t.Fatal(err)
	}
	if serverOnly(s.policy, "main") || serverOnly(s.policy, "old") {
		t.Error("a key that this host needs is taken for S3's")
	}
	s, err = policyOf(t, "s3://acme", "--encryption", "sse-kms", "--key", "kms:alias/x")
	if err != nil || !serverOnly(s.policy, "--key 1") {
		t.Errorf("the mount would ask KMS about a key that only S3 uses: %v", err)
	}
}

func TestCheckTransport(t *testing.T) {
	customer := config.Policy{Keys: []config.Key{{Kind: config.SSE}}}
	other := config.Policy{Keys: []config.Key{{Kind: config.AES}}}
	for _, tt := range []struct {
		endpoint string
		policy   config.Policy
		insecure bool
		says     string
	}{
		{"https://s3.example", customer, false, ""},
		{"", customer, false, ""},
		{"http://s3.example", other, false, ""},
		{"http://127.0.0.1:9000", customer, true, ""},
		{"http://[::1]:9000", customer, true, ""},
		{"http://localhost:9000", customer, true, ""},
		{"HTTP://127.0.0.1:9000", customer, false, "--insecure-endpoint"},
		{"http://s3.example", customer, true, "use https"},
		{"http://127.0.0.1.example", customer, true, "use https"},
		{"http://10.0.0.1", customer, true, "use https"},
		{"http://s3.example", config.Policy{Rules: []config.Rule{{Mode: config.Client, SSE: &config.Beneath{Mode: config.SSEC}}}}, true, "use https"},
	} {
		err := checkTransport(tt.endpoint, tt.policy, tt.insecure)
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says) || exitCode(err) != exitUsage) {
			t.Errorf("%s insecure %v: %v, want %q", tt.endpoint, tt.insecure, err, tt.says)
		}
	}
}

func TestSpec(t *testing.T) {
	for text, want := range map[string]string{
		"kms:alias/x,context=a=b":          "kms:alias/x  map[a:b]",
		"age:age1x,ssh-ed25519 A,file:a,b": "age:age1x,ssh-ed25519 A,file:a,b  map[]",
		"age:identity:credential:x":        "age:identity:credential:x  map[]",
		"age:age1x":                        "age:age1x  map[]",
		"command:echo a,b":                 "command:echo a,b  map[]",
	} {
		k, err := config.KeyFlag(config.Place{}, "", text)
		if err != nil {
			t.Fatal(err)
		}
		got := spec(k)
		if s := fmt.Sprintf("%s  %v", got.Source, got.Context); s != want || got.Kind != string(k.Kind) {
			t.Errorf("%s: %s, kind %s", text, s, got.Kind)
		}
	}
}

// Whatever rules and keys are typed: a settled policy or a usage error, which
// holds no key.
func FuzzPolicy(f *testing.F) {
	for _, s := range [][2]string{
		{"client", "file:x"},
		{"logs/=sse-kms,key=main,bucket-key", "main=kms:alias/x,context=a=b"},
		{`a\,b="c"/=client,sse=sse-kms,sse-key=x,sse-context=a=b`, "age:age1x,identity:file:x"},
		{"s3ec,s3ec-version=2,s3ec-require-commitment", "rsa:env:X"},
		{"sse-c", "ssec:command:a=b"},
		{"=client", "=file:x"},
		{",,", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, rule, key string) {
		s, err := policyOf(t, "s3://acme", "--encryption=none", "--encryption="+rule, "--key="+key)
		if err != nil {
			if exitCode(err) != exitUsage || config.Secret(key) && strings.Contains(err.Error(), key) {
				t.Errorf("%q %q: %v", rule, key, err)
			}
			return
		}
		for _, r := range s.policy.Rules {
			for _, name := range r.Keys {
				if k, ok := s.policy.Key(name); !ok || !r.Mode.Takes(k.Kind) {
					t.Errorf("%q %q: mode %s with key %+v", rule, key, r.Mode, k)
				}
			}
			if r.Prefix != "" && !strings.HasSuffix(r.Prefix, "/") {
				t.Errorf("%q: prefix %q", rule, r.Prefix)
			}
		}
		for _, k := range s.policy.Keys {
			if config.Secret(k.Source) || config.Secret(k.ID) {
				t.Errorf("%q was taken for a source", key)
			}
		}
	})
}
