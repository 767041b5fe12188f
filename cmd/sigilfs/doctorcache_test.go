package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/cache/disk"
	"github.com/sigilfs/sigilfs/internal/doctor"
)

// What doctor says of the directory of --cache, and that it leaves nothing.
func TestDoctorCache(t *testing.T) {
	base := t.TempDir()
	made := func(name string, mode os.FileMode) string {
		path := filepath.Join(base, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	held, err := disk.Claim(t.Context(), made("held", 0o700), "process 7, which serves x", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for _, tt := range []struct {
		dir, size string
		want      doctor.Status
		says      string
	}{
		{made("good", 0o700), "8MiB", doctor.OK, "at most 8 MiB"},
		{filepath.Join(base, "not", "there"), "8MiB", doctor.OK, "can make it in " + base},
		{made("open", 0o777), "8MiB", doctor.Failure, "chmod 700"},
		{filepath.Join(base, "held"), "8MiB", doctor.Warning, "process 7, which serves x"},
		{made("small", 0o700), "1000TiB", doctor.Warning, "has room for"},
	} {
		s, err := parseFlags("--cache", tt.dir, "--max-cache-size", tt.size)
		if err != nil {
			t.Fatal(err)
		}
		e := &examination{mounting: &mounting{set: s}}
		got := e.tryCache(t.Context())
		if got.Status != tt.want || !strings.Contains(got.Text, tt.says) {
			t.Errorf("%s: %v: %s", tt.dir, got.Status, got.Text)
		}
		files, _ := filepath.Glob(filepath.Join(tt.dir, "*"))
		if len(files) > 1 || len(files) == 1 && filepath.Base(files[0]) != "sigilfs.lock" {
			t.Errorf("%s: left %q", tt.dir, files)
		}
	}
	if _, err := os.Stat(filepath.Join(base, "not")); err == nil {
		t.Error("doctor has made the directory")
	}
}
