package integration

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/server"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/keyring/kms"
)

// kms-use.json allows what a host asks of KMS, and a write-only host's statement
// of kms-key-policy.json all but opening. moto judges by the policies of
// identities, not by those of keys, and knows no encryption context in a
// condition: these are left out.
func TestPolicyOfKMS(t *testing.T) {
	moto := server.Moto(t)
	arn, err := moto.Key(t.Context(), "")
	must(t, err)
	team := map[string]string{"team": "backup"}
	plain, blob, err := kmsClient(t, moto, kms.Config{}).GenerateDataKey(t.Context(), arn, team)
	must(t, err)
	for _, tt := range []struct {
		file, sid     string // "" is every statement
		opens, orders bool
	}{
		{"kms-use", "", true, true},
		{"kms-key-policy", "WriteOnlyHostsOpenNothing", false, false},
	} {
		t.Run(tt.file, func(t *testing.T) {
			setAuth(t, moto, "inf")
			moto.AccessKey, moto.SecretKey = identity(t, moto, kmsPolicy(t, tt.file, tt.sid))
			client := kmsClient(t, moto, kms.Config{})
			setAuth(t, moto, "0")
			defer setAuth(t, moto, "inf")
			if _, _, err := client.GenerateDataKey(t.Context(), arn, team); err != nil {
				t.Errorf("GenerateDataKey: %v", err)
			}
			if _, err := client.Encrypt(t.Context(), arn, &plain, team); err != nil {
				t.Errorf("Encrypt: %v", err)
			}
			if _, err := client.Decrypt(t.Context(), arn, blob, team); tt.opens != (err == nil) || err != nil && !errors.Is(err, keyring.ErrAccess) {
				t.Errorf("Decrypt: %v", err)
			}
			if _, err := client.Resolve(t.Context(), filepath.Base(arn)); tt.orders != (err == nil) || err != nil && !errors.Is(err, keyring.ErrAccess) {
				t.Errorf("DescribeKey: %v", err)
			}
		})
	}
}

// kmsPolicy gives the statements of a file in docs/policies, or the one with a
// name, as a policy of an identity for any key.
func kmsPolicy(t *testing.T, file, sid string) string {
	t.Helper()
	p := policyOf(t, file, "", "")
	var kept []map[string]any
	for _, s := range p.Statement {
		if sid != "" && s["Sid"] != sid {
			continue
		}
		delete(s, "Principal")
		delete(s, "Condition")
		s["Resource"] = "*"
		kept = append(kept, s)
	}
	p.Statement = kept
	text, err := json.Marshal(p)
	must(t, err)
	return string(text)
}

// The commands by which the manual makes a bucket are those of AWS's command
// line, and what they make is well in doctor's eyes. moto knows the grammar of
// policies.
func TestBucketOfTheManual(t *testing.T) {
	moto := server.Moto(t)
	dir := t.TempDir()
	env := append(moto.Env(), "AWS_REGION=eu-central-1", "AWS_DEFAULT_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=AK", "AWS_SECRET_ACCESS_KEY=x", "AWS_EC2_METADATA_DISABLED=true")
	cli := newTool(t, "../docs/policies", awsCLI, env...)
	const aws = `aws() { ` + awsCLI + ` --endpoint-url "$MOTO" "$@"; }` + "\n"
	cli.env = append(cli.env, "MOTO="+moto.Moto)
	fence := regexp.MustCompile("(?ms)^```sh\n(aws s3api create-bucket .*?)^```$")
	block := fence.FindStringSubmatch(string(readFile(t, "../docs/OPERATIONS.md")))
	if block == nil {
		t.Fatal("there is no such block")
	}
	cli.run("bash", "-ec", aws+block[1])
	d := diagnose(t, append(baseEnv(t), env...), "s3://acme-backups/web1", "--encryption", "none", "--endpoint-url", moto.Moto, "--insecure-endpoint", "--state-dir", dir)
	for check, says := range map[string]string{
		"lifecycle": "ok: ", "expiry": "ok: ", "versions": "ok: ", "public": "ok: ",
		"policy": `failure: the statement "DenyPlainHTTP"`, // moto is reached so
	} {
		d.says(t, check, says)
	}
	for _, name := range []string{"rw", "ro", "wo", "keep", "doctor", "kms-use"} {
		grammatical(t, moto, name)
	}
}

// grammatical has moto's IAM take a policy: nobody has to sign there.
func grammatical(t *testing.T, moto *server.KMS, name string) {
	t.Helper()
	form := url.Values{
		"Action": {"CreatePolicy"}, "Version": {"2010-05-08"}, "PolicyName": {name},
		"PolicyDocument": {string(readFile(t, "../docs/policies/"+name+".json"))},
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, moto.Moto+"/", strings.NewReader(form.Encode()))
	must(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0")
	answer, err := http.DefaultClient.Do(req)
	must(t, err)
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("%s: %s %s %v", name, answer.Status, text, err)
	}
}
