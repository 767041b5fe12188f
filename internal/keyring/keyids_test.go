package keyring

import (
	"slices"
	"testing"
)

// What an epoch is wrapped for is told of those that were opened.
func TestEpochKeys(t *testing.T) {
	b := newBucket()
	main, escrow := aesKey(1), aesKey(99)
	id, _ := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{main, escrow}, Bucket: b, Host: "h1"}))
	reader := mustRing(t, conf{WriteSet: []Master{escrow}, Bucket: b, Host: "h2"})
	if got := reader.EpochKeys(id); len(got) != 0 {
		t.Errorf("before it was opened: %v", got)
	}
	if _, err := reader.Open(t.Context(), "a", id, func(*[KeySize]byte) bool { return true }); err != nil {
		t.Fatal(err)
	}
	want := []string{main.ID(), escrow.ID()}
	slices.Sort(want)
	if got := reader.EpochKeys(id); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
