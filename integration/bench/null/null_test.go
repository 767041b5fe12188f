package null

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestNullGivesItsContent(t *testing.T) {
	dir := t.TempDir()
	want := bytes.Repeat([]byte("null"), 3<<20)
	server, err := Mount(dir, "file", want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "file"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := server.Unmount(); err != nil {
		t.Fatal(err)
	}
	server.Wait()
}
