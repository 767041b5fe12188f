package main

import (
	"testing"

	"github.com/spf13/pflag"
)

// What a SIGHUP finds changed is logged, but for what may hold a secret.
func TestWhatIsSaidOfAChange(t *testing.T) {
	was, is := defaultSettings(), defaultSettings()
	old, fresh := pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	was.addFlags(old)
	is.addFlags(fresh)
	for name, want := range map[string]int{"state-key": 0, "sse-c-key": 0, "key": 0, "stop-timeout": 2, "log-file": 2} {
		if got := differing(name, old.Lookup(name).Value, fresh.Lookup(name).Value); len(got) != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
