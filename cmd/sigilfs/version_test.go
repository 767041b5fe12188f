package main

import (
	"runtime/debug"
	"testing"
)

func TestBuiltFrom(t *testing.T) {
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	for _, tt := range []struct {
		name            string
		linked          string
		module          string
		settings        []debug.BuildSetting
		version, commit string
	}{
		{"from nowhere", "", "", nil, "unknown", "unknown"},
		{"go install", "", "v1.2.3", nil, "v1.2.3", "unknown"},
		{"make", "v1.2.3-4-gabc", "v1.2.4-0.2026", []debug.BuildSetting{setting("vcs.revision", "abcdef"), setting("vcs.modified", "false")}, "v1.2.3-4-gabc", "abcdef"},
		{"modified", "v1.2.3", "", []debug.BuildSetting{setting("vcs.modified", "true"), setting("vcs.revision", "abcdef")}, "v1.2.3", "abcdef (modified)"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: tt.module}, Settings: tt.settings}
		if v, commit := builtFrom(info, tt.linked); v != tt.version || commit != tt.commit {
			t.Errorf("%s: %s, %s; want %s, %s", tt.name, v, commit, tt.version, tt.commit)
		}
	}
}
