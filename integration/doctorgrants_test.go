package integration

import (
	"testing"

	"github.com/sigilfs/sigilfs/integration/server"
)

// Each grant on a KMS key is tried, and named where it is missing; a host that may
// write and not read is warned alone.
func TestDoctorTriesGrants(t *testing.T) {
	m := newKMSMount(t)
	look := func(args ...string) diagnosis {
		t.Helper()
		c := m.command(t)
		return diagnose(t, c.Env, append(append([]string{m.target()}, c.Args...), args...)...)
	}
	look().says(t, "grants", "ok: ", m.arn, "kms:GenerateDataKey and kms:Decrypt")
	look("--read-only").says(t, "grants", "skipped: ", "--read-only")
	for action, want := range map[string]string{"GenerateDataKey": "failure: ", "Decrypt": "warning: "} {
		m.moto.Fault(server.Deny(action))
		look().says(t, "grants", want, "grant kms:"+action+" on "+m.arn)
		m.moto.Fault(nil)
	}
}
