package main

import (
	"testing"

	"github.com/sigilfs/sigilfs/internal/config"
)

// What was found under other rules, with other keys, or of another time is not
// gone on with.
func TestInterruptedRunsAreToldApart(t *testing.T) {
	under := func(mode config.Mode, at string, unstated bool, keys ...string) *offline {
		s := defaultSettings()
		s.unstated = unstated
		if at != "" {
			if err := s.at.Set(at); err != nil {
				t.Fatal(err)
			}
		}
		o := &offline{mounting: &mounting{set: s, rules: []rule{{Rule: config.Rule{Mode: mode}}}}}
		for _, id := range keys {
			o.opened = append(o.opened, &key{Key: config.Key{ID: id}})
		}
		return o
	}
	seen := map[string]int{}
	for i, o := range []*offline{
		under(config.None, "", false), under(config.None, "", true), under(config.None, "2d", false), under(config.None, "3d", false),
		under(config.SSES3, "", false), under(config.None, "", false, "a"), under(config.None, "", false, "b", "a"),
	} {
		for what, id := range map[string]string{"audit": (&auditing{}).identity(o).Options, "verify": (&verifyFlags{}).identity(o).Options} {
			if j, again := seen[what+id]; again {
				t.Errorf("%s: %d and %d are one: %s", what, i, j, id)
			}
			seen[what+id] = i
		}
	}
	if a, b := under(config.Client, "", false, "a", "b").heldAgainst(), under(config.Client, "", false, "b", "a", "b").heldAgainst(); a != b {
		t.Errorf("%q and %q are the same keys", a, b)
	}
	// 2d ago is another time by now, and a time is what it is.
	if a, b := under(config.None, "2d", false).heldAgainst(), under(config.None, "2d", false).heldAgainst(); a == b {
		t.Errorf("%q twice", a)
	}
	const then = "2026-03-01T22:00:00Z"
	if a, b := under(config.None, then, false).heldAgainst(), under(config.None, then, false).heldAgainst(); a != b {
		t.Errorf("%q and %q are one time", a, b)
	}
}
