package keyring

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
)

// TestOpenOlder: an epoch that was removed, or has something else in its place, is
// found in what lay there before; what was planted among it is passed over, and
// nothing is replaced that may be somebody's.
func TestOpenOlder(t *testing.T) {
	c, m, id := newClock(), aesKey(1), NewEpochID()
	w, err := m.Wrap(t.Context(), id, &goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	at := func(state Phase, revision uint64) []byte {
		e := &Epoch{ID: id, Revision: revision, State: state, Created: c.now(), Wraps: []Wrap{w}}
		data, err := e.Marshal(&goldenKey)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	good, closed, planted := at(Live, 1), at(Closed, 2), plant(t, id, m, c.now())
	strange := plant(t, id, aesKey(9), c.now())
	forged := bytes.Replace(good, []byte(`"revision":1`), []byte(`"revision":9`), 1)
	down := errors.New("unreachable")
	for name, tt := range map[string]struct {
		now      []byte   // at the volume root
		before   [][]byte // there, newest first
		fail     error    // after those
		readOnly bool
		want     error
		after    []byte // at the volume root
	}{
		"removed":                    {before: [][]byte{good}, after: good},
		"overwritten":                {now: []byte("pay"), before: [][]byte{good}, after: good},
		"overwritten, only read":     {now: []byte("pay"), before: [][]byte{good}, readOnly: true, after: []byte("pay")},
		"removed, only read":         {before: [][]byte{good}, readOnly: true},
		"a false one in its place":   {now: planted, before: [][]byte{good}, after: planted},
		"a forged one in its place":  {now: forged, before: [][]byte{good}, after: forged},
		"for others in its place":    {now: strange, before: [][]byte{good}, after: strange},
		"false ones before it":       {now: []byte("x"), before: [][]byte{planted, forged, strange, []byte("y"), good}, after: good},
		"the newest that fits":       {before: [][]byte{planted, closed, good}, want: ErrWrongKey, after: closed},
		"closed now":                 {now: closed, before: [][]byte{good}, want: ErrWrongKey, after: closed},
		"nothing fits":               {now: []byte("x"), before: [][]byte{planted}, want: ErrCorrupt, after: []byte("x")},
		"nothing was there":          {want: ErrNoKey},
		"the bucket cannot be asked": {now: planted, before: [][]byte{planted}, fail: down, want: down, after: planted},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucket()
			root := epochPath("web1/", id)
			if tt.now != nil {
				b.set(root, tt.now)
			}
			older := func(_ context.Context, key string) iter.Seq2[[]byte, error] {
				return func(yield func([]byte, error) bool) {
					if key != root {
						return
					}
					for _, data := range tt.before {
						if !yield(slices.Clone(data), nil) {
							return
						}
					}
					if tt.fail != nil {
						yield(nil, tt.fail)
					}
				}
			}
			r := mustRing(t, conf{Masters: []Master{m}, Bucket: b, Older: older, VolumeRoot: "web1/", ReadOnly: tt.readOnly, Now: c.now})
			key, err := r.Open(t.Context(), obj, id, is(goldenKey))
			if !errors.Is(err, tt.want) || tt.want == nil && (err != nil || key != goldenKey) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if got := b.object(root); !bytes.Equal(got, tt.after) {
				t.Errorf("in the bucket is %.40q, not %.40q", got, tt.after)
			}
		})
	}
}
