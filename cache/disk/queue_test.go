package disk_test

import (
	"testing"

	"github.com/sigilfs/sigilfs/cache"
)

// queued is how many blocks may wait.
const queued = 256

// What is put while the disk stands still waits, as much as there is room for;
// the rest is not kept, and keeps nobody for long. When the disk goes on all is
// as before.
func TestDiskStandsStill(t *testing.T) {
	m := mount(t, t.TempDir(), options())
	b := sealed("a", 2*queued*cache.MaxBlock)
	release := m.Hold()
	const more = 40
	for i := range int64(queued + more) {
		m.Put(b, i, content(b, i))
	}
	release()
	m.Flush()
	if n, lost := m.has(b, 0, 2*queued), m.Stats().Lost; n != queued || lost != more {
		t.Errorf("%d blocks are there, %d were lost", n, lost)
	}
	m.put(b, 0, 2*queued)
	if n := m.has(b, 0, 2*queued); n != 2*queued {
		t.Errorf("%d blocks are there after the disk went on", n)
	}
}

// Blocks that wait are written together, in whatever order they came and with
// whatever is there already.
func TestWrittenTogether(t *testing.T) {
	for _, b := range []cache.Body{sealed("a", 40*cache.MaxBlock-5), inClear("b", 40*(64<<10)-5)} {
		m := mount(t, t.TempDir(), options())
		m.put(b, 3, 5)
		release := m.Hold()
		for i := int64(39); i >= 0; i-- {
			if i != 12 && i != 33 {
				m.Put(b, i, content(b, i))
				m.Put(b, i, content(b, i))
			}
		}
		release()
		m.Flush()
		if n := m.Stats().Lost; n != 0 {
			t.Errorf("%d blocks were lost", n)
		}
		for range 2 {
			if n := m.has(b, 0, 40); n != 38 {
				t.Errorf("%d blocks of %s", n, b.ID.Body)
			}
			m = m.again(options())
		}
	}
}
