package keyring

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Epochs in use are told with what anybody may know of them.
func TestEpochs(t *testing.T) {
	b, c := newBucket(), newClock()
	mine := aesKey(1)
	r := mustRing(t, conf{WriteSet: []Master{mine}, Bucket: b, Dir: mustDir(t), Host: "here", Now: c.now})
	if got := r.Epochs(); len(got) != 0 {
		t.Errorf("before any was opened: %v", got)
	}
	id, _ := mustCurrent(t, r)
	other, key := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{mine}, Bucket: b, Dir: mustDir(t), Host: "there", Now: c.now}))
	if _, err := r.Open(t.Context(), "a", other, is(key)); err != nil {
		t.Fatal(err)
	}
	before := b.requests()
	got := r.Epochs()
	if len(got) != 2 || b.requests() != before {
		t.Fatalf("%+v, %d requests", got, b.requests()-before)
	}
	for _, e := range got {
		own := e.ID == id
		host := map[bool]string{true: "here", false: "there"}[own]
		if !own && e.ID != other || e.Own != own || e.Current != own || e.State != Live || e.Lost || e.Host != host || e.Created.Unix() != c.now().Unix() || !slices.Equal(e.KeyIDs, []string{mine.ID()}) {
			t.Errorf("%+v", e)
		}
	}
	if text := fmt.Sprintf("%+v %#v", got, got); strings.Contains(text, fmt.Sprintf("%x", key[:4])) {
		t.Error("a key is shown")
	}
}
