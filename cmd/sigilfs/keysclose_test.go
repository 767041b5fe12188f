package main

import (
	"testing"
	"time"
)

// TestCloseResumesTheSameOnly: what a look has seen that gave hosts little time to
// notice says nothing to one that gives them more: they may have sealed there since.
func TestCloseResumesTheSameOnly(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range []closing{{retiredFor: time.Second}, {retiredFor: time.Hour}} {
		for _, ids := range []string{"a", "a b"} {
			seen[c.options(ids)] = true
		}
	}
	if len(seen) != 4 {
		t.Errorf("runs are told apart as %v", seen)
	}
}

// TestOldVersionsAreCounted: what could not be looked at is not taken from what
// was removed.
func TestOldVersionsAreCounted(t *testing.T) {
	d := oldDocument{Versions: []oldJSON{{}, {}}, Failed: []failureJSON{{}, {}, {}}, Purged: true, Removed: 1}
	lines := d.lines()
	if last := lines[len(lines)-1]; last != "1 of 2 old versions were removed" {
		t.Error(last)
	}
}
