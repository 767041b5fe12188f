package main

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/sirupsen/logrus"
)

// The last warnings and errors are kept, so many and no more; what repeats takes
// one place.
func TestLastErrors(t *testing.T) {
	var last lastErrors
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.AddHook(&last)
	log.Info("not this")
	for i := range 2 * mostErrors {
		for range 3 {
			log.WithField("path", fmt.Sprint("file", i)).WithField("op", "write").WithError(errors.New("no")).Error("operation failed")
		}
	}
	log.WithField("epoch", "n55j").WithField("stack", "long").Warn("careful")
	all := last.all()
	if len(all) != mostErrors {
		t.Fatalf("%d are kept", len(all))
	}
	if e := all[mostErrors-1]; e.Level != "warning" || e.Text != "careful" || e.Time.IsZero() || len(e.More) != 1 || e.More["epoch"] != "n55j" {
		t.Errorf("%+v", e)
	}
	if e := all[mostErrors-2]; e.Path != fmt.Sprint("file", 2*mostErrors-1) || e.Op != "write" || e.Error != "no" || e.Again != 2 {
		t.Errorf("%+v", e)
	}
	if e := all[0]; e.Path != fmt.Sprint("file", mostErrors+1) {
		t.Errorf("%+v", e)
	}
}
