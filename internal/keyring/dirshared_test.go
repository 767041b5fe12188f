package keyring

import (
	"sync"
	"testing"
)

// Two processes remember one epoch: what the slower one has seen before does not
// take back what the other one knows.
func TestRecordGoesOn(t *testing.T) {
	d := mustDir(t)
	b := newBucket()
	id, key := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Dir: d}))
	sum := sumOf(&key)
	old, err := d.record(id, sum)
	if err != nil {
		t.Fatal(err)
	}
	other, err := OpenDir(d.path)
	if err != nil {
		t.Fatal(err)
	}
	newer := *old
	newer.State, newer.Own = Retired, false
	newer.Object = change(t, id, key, old.Object, func(e *Epoch) { e.State = Retired })
	if err := other.setRecord(id, newer); err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	for _, d := range []*Dir{d, other} {
		both.Go(func() {
			for range 20 {
				if err := d.setRecord(id, *old); err != nil {
					t.Error(err)
				}
			}
		})
	}
	both.Wait()
	rec, err := d.record(id, sum)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ParseEpoch(id, rec.Object)
	if err != nil || rec.State != Retired || !rec.Own || e.Revision != 2 {
		t.Errorf("%+v, revision %d, %v", rec, e.Revision, err)
	}
}
