package integration

import (
	"encoding/json"
	"errors"
	"path/filepath"
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
