package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/sigilfs/sigilfs/internal/doctor"
	"github.com/sirupsen/logrus"
)

// Whatever fails, or is warned of, there is something to do about it.
func TestEveryFindingHasARemedy(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_CA_BUNDLE": "", "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
	_ = os.Unsetenv("AWS_CA_BUNDLE")
	closed, dir := "http://"+closedPort(t), t.TempDir()
	for name, tt := range map[string]struct {
		args []string
		bad  string // the check that fails
	}{
		"no key":         {[]string{"--encryption", "client", "--key", "file:" + filepath.Join(dir, "absent")}, "keys"},
		"no bundle":      {[]string{"--encryption", "none", "--ca-bundle", filepath.Join(dir, "absent")}, "connection"},
		"customer's key": {[]string{"--encryption", "sse-c", "--key", "file:" + filepath.Join(dir, "absent")}, "keys"},
		"no server":      {[]string{"--encryption", "none"}, "endpoint"},
		"no state":       {[]string{"--encryption", "none", "--state-dir", "/dev/null"}, "state"},
		"no cache":       {[]string{"--encryption", "none", "--cache", "/dev/null"}, "cache"},
	} {
		s, err := policyOf(t, "s3://acme", append(tt.args, "--endpoint-url", closed, "--insecure-endpoint", "--retry-timeout", "1s")...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		log := logrus.New()
		log.SetOutput(io.Discard)
		m := &mounting{set: s, log: log, stderr: io.Discard, dry: true}
		e := &examination{mounting: m}
		found := false
		for _, r := range doctor.Examine(t.Context(), e.checks(t.Context()), doctor.Options{}) {
			if (r.Status == doctor.Failure || r.Status == doctor.Warning) && r.Remedy == "" {
				t.Errorf("%s: %+v", name, r)
			}
			found = found || r.Check == tt.bad && (r.Status == doctor.Failure || r.Check == "cache" && r.Status == doctor.Warning)
		}
		if !found {
			t.Errorf("%s: %s is well", name, tt.bad)
		}
		m.abandon(t.Context())
	}
}
