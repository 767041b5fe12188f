package control

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestClaim(t *testing.T) {
	places := []string{filepath.Join(t.TempDir(), "absent", "run"), filepath.Join(t.TempDir(), "run")}
	first, err := Take(places, "/mnt/a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(places, "/mnt/a"); !errors.Is(err, ErrClaimed) {
		t.Errorf("claimed twice: %v", err)
	}
	other, err := Take(places, "/mnt/b")
	if err != nil {
		t.Error(err)
	}
	for _, c := range []*Claim{first, first, other, nil} {
		if err := c.Release(); err != nil {
			t.Error(err)
		}
	}
	again, err := Take(places, "/mnt/a")
	if err != nil {
		t.Errorf("after its release: %v", err)
	}
	_ = again.Release()
	if _, err := Take(places[:1], "/mnt/a"); err == nil || errors.Is(err, ErrClaimed) {
		t.Errorf("without a place: %v", err)
	}
}
