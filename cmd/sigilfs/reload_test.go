package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// What a SIGHUP finds changed is logged, but for what may hold a secret.
func TestWhatIsSaidOfAChange(t *testing.T) {
	was, is := defaultSettings(), defaultSettings()
	old, fresh := pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	was.addFlags(old)
	is.addFlags(fresh)
	for name, want := range map[string]int{"state-key": 0, "sse-c-key": 0, "key": 0, "sign": 0, "signers": 2, "stop-timeout": 2, "log-file": 2} {
		if got := differing(name, old.Lookup(name).Value, fresh.Lookup(name).Value); len(got) != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// What the command line said stands above the file after a SIGHUP too, in which
// form it was said.
func TestCommandLineStandsAboveTheFileReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	const text = "bucket: s3://acme/web1\nencryption: [{mode: none}]\nstop-timeout: 9m\nkey-recheck: 9m\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := defaultSettings()
	flags := pflag.NewFlagSet("mount", pflag.ContinueOnError)
	flags.SetNormalizeFunc(normalize)
	s.addFlags(flags)
	if err := flags.Parse([]string{"--stop-timeout", "1m", "-o", "key_recheck=1m"}); err != nil {
		t.Fatal(err)
	}
	if err := s.open(path, flags); err != nil {
		t.Fatal(err)
	}
	again, err := s.again()
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]time.Duration{
		"stop-timeout": s.stopTimeout, "key-recheck": s.keyRecheck,
		"stop-timeout, again": again.stopTimeout, "key-recheck, again": again.keyRecheck,
	} {
		if got != time.Minute {
			t.Errorf("%s is %v", name, got)
		}
	}
}

// A remount tells of every option that it passes over.
func TestOptionsThatARemountPassesOver(t *testing.T) {
	flags := pflag.NewFlagSet("mount", pflag.ContinueOnError)
	flags.SetNormalizeFunc(normalize)
	defaultSettings().addFlags(flags)
	list := &optionList{flags: flags, helper: true}
	if err := list.Set("remount,ro,_netdev,nodev,encrypt=client,allow_other,attr_timeout=60s"); err != nil {
		t.Fatal(err)
	}
	want := []string{"dev", "encryption", "allow-other", "attr-timeout"}
	if got := remains(flags); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
