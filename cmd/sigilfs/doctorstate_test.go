package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/doctor"
)

func TestDoctorOfState(t *testing.T) {
	base := t.TempDir()
	loose, file := filepath.Join(base, "loose"), filepath.Join(base, "file")
	if err := os.Mkdir(loose, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(loose, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*settings)
		want   doctor.Status
		says   string
	}{
		{"there", func(s *settings) { s.stateDir = base }, doctor.OK, "is there, with room for"},
		{"not there", func(s *settings) { s.stateDir = filepath.Join(base, "a", "b") }, doctor.OK, "can make it in " + base},
		{"read-only", func(s *settings) { s.stateDir, s.readOnly = file, true }, doctor.Skipped, "--read-only"},
		{"open to others", func(s *settings) { s.stateDir = loose }, doctor.Failure, "chmod 700"},
		{"a file", func(s *settings) { s.stateDir = file }, doctor.Failure, "not a directory"},
		{"below a file", func(s *settings) { s.stateDir = filepath.Join(file, "x") }, doctor.Failure, file},
		{"small", func(s *settings) { s.stateDir, s.spoolSize = base, 1<<60 }, doctor.Warning, "--spool-size"},
		{"with little to spare", func(s *settings) { s.stateDir, s.diskFree = base, 1<<60 }, doctor.Warning, "0 MiB"},
	} {
		s := defaultSettings()
		tt.change(s)
		f := (&examination{mounting: &mounting{set: s}}).tryState(t.Context())
		if f.Status != tt.want || !strings.Contains(f.Text+f.Remedy, tt.says) {
			t.Errorf("%s: %+v", tt.name, f)
		}
		if (f.Status == doctor.Warning || f.Status == doctor.Failure) && f.Remedy == "" {
			t.Errorf("%s: no remedy: %+v", tt.name, f)
		}
	}
	if left, err := os.ReadDir(base); err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
}
