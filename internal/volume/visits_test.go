package volume

import (
	"fmt"
	"testing"
)

// TestVisitsAreBounded: whatever is opened in however many directories, little
// is remembered of it; what was opened last is, until the directory is shown
// again.
func TestVisitsAreBounded(t *testing.T) {
	f := mount(t, bucket(), believer)
	k := f.walks
	for dir := range maxWalks {
		d := fmt.Sprintf("d%d", dir)
		k.shown(d)
		for i := range 2 * mostVisits / maxWalks {
			k.opened(f.ctx, join(d, fmt.Sprintf("%0200d", i)), 1)
			if n := len(k.opens.all); n > mostVisits {
				t.Fatalf("%d opens are remembered", n)
			}
		}
		w := k.all[d]
		if !k.wasOpened(w, fmt.Sprintf("%0200d", 7)) || k.wasOpened(w, "another") {
			t.Fatalf("what was opened in %s is not known", d)
		}
		k.tasks.Wait()
		if k.shown(d); k.wasOpened(w, fmt.Sprintf("%0200d", 7)) {
			t.Fatalf("%s was shown again", d)
		}
	}
}
