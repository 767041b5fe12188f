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
