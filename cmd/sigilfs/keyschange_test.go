package main

import (
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/keyring"
)

// TestChosenEpochsLeaveTheRest: choosing epochs takes none from the list that they
// are chosen from.
func TestChosenEpochsLeaveTheRest(t *testing.T) {
	mine, other := "aes:"+strings.Repeat("1", 32), "aes:"+strings.Repeat("2", 32)
	var held []keyring.Held
	for i, key := range []string{other, mine, other, mine} {
		held = append(held, keyring.Held{ID: keyring.EpochID{byte(i + 1)}, Epoch: &keyring.Epoch{Wraps: []keyring.Wrap{{Key: key}}}})
	}
	k := &keeping{offline: &offline{mounting: &mounting{}}}
	chosen, err := k.ofSet(held, mine)
	if err != nil || len(chosen) != 2 || chosen[0].ID != (keyring.EpochID{2}) || chosen[1].ID != (keyring.EpochID{4}) {
		t.Errorf("chosen are %v, %v", chosen, err)
	}
	for i, h := range held {
		if h.ID != (keyring.EpochID{byte(i + 1)}) {
			t.Errorf("the list has %v at %d", h.ID, i)
		}
	}
}
