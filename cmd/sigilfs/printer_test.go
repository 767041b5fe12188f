package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/progress"
)

// How much there is to do is told when it is known, and never a part of it.
func TestCounting(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{{nil, true}, {errors.New("no answer"), false}} {
		var out bytes.Buffer
		bar := progress.New(&out, progress.Options{What: "restoring", JSON: true})
		stop := counting(t.Context(), bar, func(context.Context) (objects, bytes int64, err error) { return 3, 7, c.err })
		stop()
		bar.Done()
		if got := strings.Contains(out.String(), `"of-objects":3`) && strings.Contains(out.String(), `"of-bytes":7`); got != c.want {
			t.Errorf("%v: %s", c.err, out.String())
		}
	}
}
