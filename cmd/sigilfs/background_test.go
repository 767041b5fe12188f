package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Who mounts in the background hears what warns, and nothing when all is well;
// the log has all of it.
func TestTheCallerIsWarned(t *testing.T) {
	for debug, want := range map[bool]string{false: "beware ", true: "hello beware "} {
		dir := t.TempDir()
		terminal, err := os.Create(filepath.Join(dir, "terminal"))
		if err != nil {
			t.Fatal(err)
		}
		s := defaultSettings()
		s.logFile, s.debug = filepath.Join(dir, "log"), debug
		log, sink, err := openLog(s, true, terminal)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("hello")
		log.Warn("beware")
		(&mounting{sink: sink}).closeLog()
		_ = terminal.Close()
		for name, want := range map[string]string{"terminal": want, "log": "hello beware "} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			got := ""
			for line := range strings.Lines(string(text)) {
				_, message, _ := strings.Cut(strings.TrimSpace(line), "msg=")
				got += message + " "
			}
			if err != nil || got != want {
				t.Errorf("debug %v, %s: %q, %v", debug, name, text, err)
			}
		}
	}
}

// Relative paths are those of where the command was given, after the process has
// gone from there too.
func TestSettledPaths(t *testing.T) {
	base := t.TempDir()
	t.Chdir(base)
	t.Setenv("AWS_CONFIG_FILE", "aws/config")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/run/token")
	s := defaultSettings()
	s.cacheDir = "cache"
	s.settlePaths()
	for got, want := range map[string]string{
		s.cacheDir: filepath.Join(base, "cache"), os.Getenv("AWS_CONFIG_FILE"): filepath.Join(base, "aws/config"), os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"): "/run/token",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
