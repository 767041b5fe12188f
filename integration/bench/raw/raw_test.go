package raw

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

func TestPiecesAreTheWhole(t *testing.T) {
	for _, size := range []int{0, 1, Part - 1, Part, Part + 1, 3*Part + 5} {
		data := bytes.Repeat([]byte{7}, size)
		got := 0
		for i := range pieces(int64(size)) {
			got += len(piece(data, i))
		}
		if got != size {
			t.Errorf("%d bytes of %d", got, size)
		}
	}
}

func TestPlacesStayInside(t *testing.T) {
	const total, size = 1 << 20, 4096
	all := slices.Collect(Places(total, 500, size))
	for _, off := range all {
		if off < 0 || off%size != 0 || off+size > total {
			t.Errorf("offset %d", off)
		}
	}
	if len(all) != 500 || !slices.Equal(all, slices.Collect(Places(total, 500, size))) {
		t.Errorf("%d places, or others in a second run", len(all))
	}
}

func TestPercentile(t *testing.T) {
	times := []time.Duration{5, 1, 4, 2, 3}
	if got := Percentile(times, 50); got != 3 {
		t.Errorf("median %d", got)
	}
	if got := Percentile(times, 100); got != 5 {
		t.Errorf("most %d", got)
	}
	if got := Percentile(nil, 50); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
}
