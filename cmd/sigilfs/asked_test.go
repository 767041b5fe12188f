package main

import (
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/config"
)

// What a flag asks of the server never takes the file's own encryption away: it
// goes beneath it, is the file's own mode, or is refused with both places.
func TestServerOverFile(t *testing.T) {
	const beneath, modes, keys = " beneath ", "name two different modes", "name two different keys"
	lists := []string{
		"sse=AES256", "use_sse", "use_sse=kmsid", "use_sse=kmsid:alias/y", "sse=aws:kms:dsse", "use_sse=custom", "use_sse=custom:/c", "use_sse=custom,load_sse_c=/d",
	}
	for root, want := range map[string][]string{ // in the order of lists
		`{mode: client, key: main}`: {
			beneath + `sse-s3 ""`, beneath + `sse-s3 ""`, beneath + `sse-kms ""`, beneath + `sse-kms "--sse-kms-key-id"`, beneath + `dsse-kms ""`,
			"sse-c needs a key", beneath + `sse-c "--sse-c-key"`, beneath + `sse-c "--key 1"`,
		},
		`{mode: s3ec, key: main}`: {
			beneath + `sse-s3 ""`, beneath + `sse-s3 ""`, beneath + `sse-kms ""`, beneath + `sse-kms "--sse-kms-key-id"`, beneath + `dsse-kms ""`,
			"sse-c needs a key", beneath + `sse-c "--sse-c-key"`, beneath + `sse-c "--key 1"`,
		},
		`{mode: client, key: main, sse: {mode: sse-kms, key: kms}}`: {modes, modes, beneath + `sse-kms "kms"`, keys, modes, modes, modes, modes},
		`{mode: client, key: main, sse: sse-kms}`:                   {modes, modes, beneath + `sse-kms ""`, beneath + `sse-kms "--sse-kms-key-id"`, modes, modes, modes, modes},
		`{mode: client, key: main, sse: {mode: sse-c, key: cust}}`:  {modes, modes, modes, modes, modes, beneath + `sse-c "cust"`, keys, keys},
		`{mode: none}`:               {modes, modes, modes, modes, modes, modes, modes, modes},
		`{mode: bucket-default}`:     {modes, modes, modes, modes, modes, modes, modes, modes},
		`{mode: sse-s3}`:             {`"" sse-s3 []`, `"" sse-s3 []`, modes, modes, modes, modes, modes, modes},
		`{mode: sse-kms}`:            {modes, modes, `"" sse-kms []`, `"" sse-kms ["--sse-kms-key-id"]`, modes, modes, modes, modes},
		`{mode: sse-kms, key: kms}`:  {modes, modes, `"" sse-kms ["kms"]`, keys, modes, modes, modes, modes},
		`{mode: dsse-kms, key: kms}`: {modes, modes, modes, modes, `"" dsse-kms ["kms"]`, modes, modes, modes},
		`{mode: sse-c, key: cust}`:   {modes, modes, modes, modes, modes, `"" sse-c ["cust"]`, keys, `"" sse-c ["cust"]`},
	} {
		path := writeConfig(t, `bucket: s3://acme
keys: {main: {aes: file:main}, kms: {kms: alias/x}, cust: {ssec: file:cust}}
encryption: [`+root+", {prefix: logs/, mode: none}]\n")
		for i, list := range lists {
			s, err := policyOf(t, path, "-o", list)
			if err != nil {
				both := strings.Contains(err.Error(), sseFlag) && strings.Contains(err.Error(), path+":3:") || !strings.Contains(err.Error(), "two different")
				if !strings.Contains(err.Error(), want[i]) || !both || exitCode(err) != exitUsage {
					t.Errorf("%s -o %s: %v, want %q", root, list, err, want[i])
				}
				continue
			}
			lines := show(s.policy)
			got := lines[len(lines)-1]
			mode, _, _ := strings.Cut(root[len("{mode: "):], ",")
			if mode = strings.TrimSuffix(mode, "}"); !strings.HasSuffix(got, want[i]) || !strings.HasPrefix(got, `"" `+mode+" ") {
				t.Errorf("%s -o %s: %s, want %q", root, list, got, want[i])
			}
			if logs := s.policy.Rules[0]; logs.Mode != config.None || logs.SSE != nil {
				t.Errorf("%s -o %s: the rule for logs/ is %+v", root, list, logs)
			}
		}
	}
}

// What a flag says of reading holds for the file's rules too, whatever they say.
func TestReadingOverFile(t *testing.T) {
	const yes, no = true, false
	rule := func(say string) string {
		return "[{mode: client, key: main" + say + "}, {prefix: s3/, mode: sse-s3, require-encryption: true}, {prefix: open/, mode: none}]\n"
	}
	for _, tt := range []struct {
		file           string // rule of the root and fields of the file
		args           []string
		allow, require bool // root
		server         bool // s3/ requires
	}{
		{rule(", allow-plaintext: true"), nil, yes, no, yes},
		{rule(", allow-plaintext: true"), []string{"--require-encryption"}, no, yes, yes},
		{rule(", require-encryption: false"), []string{"--require-encryption"}, no, yes, yes},
		{rule(", allow-plaintext: true"), []string{"-o", "require_encryption"}, no, yes, yes},
		{rule(", allow-plaintext: true"), []string{"--allow-plaintext=false"}, no, no, yes},
		{rule(", allow-plaintext: true"), []string{"--require-encryption=false"}, yes, no, no},
		{rule(", require-encryption: true"), nil, no, yes, yes},
		{rule(", require-encryption: true"), []string{"--allow-plaintext"}, yes, no, yes},
		{rule(", require-encryption: true"), []string{"--require-encryption=false"}, no, no, no},
		{rule("") + "require-encryption: true\n", []string{"--allow-plaintext"}, yes, no, yes},
		{rule("") + "allow-plaintext: true\n", []string{"--require-encryption"}, no, yes, yes},
		{rule(", allow-plaintext: true") + "require-encryption: true\n", nil, yes, no, yes},
	} {
		s, err := policyOf(t, writeConfig(t, "bucket: s3://acme\nkeys: {main: {aes: file:main}}\nencryption: "+tt.file), tt.args...)
		if err != nil {
			t.Errorf("%s %q: %v", tt.file, tt.args, err)
			continue
		}
		for _, r := range resolve(s, map[string]*key{}) {
			want := map[string][2]bool{"": {tt.allow, tt.require}, "s3/": {no, tt.server}, "open/": {no, no}}[r.Prefix]
			if got := [2]bool{r.allowPlaintext, r.requireEncryption}; got != want {
				t.Errorf("%s %q: %q allows, requires %v, want %v", tt.file, tt.args, r.Prefix, got, want)
			}
		}
	}
	_, err := policyOf(t, writeConfig(t, "bucket: s3://acme\nkeys: {main: {aes: file:main}}\nencryption: "+rule("")), "--allow-plaintext", "--require-encryption")
	if err == nil || !strings.Contains(err.Error(), "contradict") {
		t.Errorf("both flags: %v", err)
	}
}
