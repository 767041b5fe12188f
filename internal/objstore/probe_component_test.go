package objstore_test

import (
	"errors"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

func TestProbeComponent(t *testing.T) {
	fails := func(err error, verbs ...faulty.Verb) func(faulty.Op) faulty.Fault {
		return func(op faulty.Op) faulty.Fault {
			for _, v := range verbs {
				if op.Verb == v {
					return faulty.Fault{Err: err}
				}
			}
			return faulty.Fault{}
		}
	}
	for _, tt := range []struct {
		name     string
		script   func(faulty.Op) faulty.Fault
		dir      string
		readOnly bool
		want     int
		err      error
		left     bool
	}{
		{name: "keys are keys"},
		{name: "a server that looks for a file", script: fails(objstore.ErrInvalid, faulty.Get), want: 255},
		{name: "one that says so", script: fails(objstore.ErrTooLong, faulty.Get), readOnly: true, want: 255},
		{name: "one that writes a file", script: fails(objstore.ErrTooLong, faulty.Put), want: 255},
		{name: "one that is not written to", script: fails(objstore.ErrTooLong, faulty.Put), readOnly: true},
		{name: "no reading", script: fails(objstore.ErrAccess, faulty.Get)},
		{name: "no removing", script: fails(objstore.ErrAccess, faulty.Delete), left: true},
		{name: "no writing", script: fails(objstore.ErrAccess, faulty.Put), err: objstore.ErrAccess},
		{name: "no answer", script: fails(objstore.ErrUnreachable, faulty.Get), err: objstore.ErrUnreachable},
		{name: "a key without room", dir: string(make([]byte, 800)), script: fails(objstore.ErrInvalid, faulty.Get)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := mem.New(mem.Options{})
			s := faulty.New(m, faulty.Options{Script: tt.script})
			got, err := objstore.ProbeComponent(t.Context(), s, tt.dir+".sigil/doctor/", 362, nil, tt.readOnly)
			if got != tt.want || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("%d, %v; want %d, %v", got, err, tt.want, tt.err)
			}
			if tt.readOnly && s.Counts().Writes() > 0 {
				t.Errorf("it wrote: %v", s.Ops())
			}
			left := false
			for _, err := range m.List(t.Context(), objstore.ListOptions{}) {
				if left = true; err != nil {
					t.Fatal(err)
				}
			}
			if left != tt.left {
				t.Errorf("left there: %v", left)
			}
		})
	}
}
