package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/volume"
)

// TestFindingsAreOneLine: a key, which anybody may have chosen who can write to the
// bucket, neither moves the cursor nor looks like another line.
func TestFindingsAreOneLine(t *testing.T) {
	key := "a\x1b[2J\x9bb\n9 objects are as they should be"
	err := fmt.Errorf("%s: does not open", key)
	var out bytes.Buffer
	p := newVerifyPrinter(&out, io.Discard, false)
	defer p.bar.Done()
	p.finding(&volume.Finding{Fault: volume.FaultSeal, Key: key, Err: err})
	p.failed(key, err)
	p.untold(err)
	p.line("versions of "+key, nil)
	if n := strings.Count(out.String(), "\n"); n != 5 || strings.Contains(out.String(), "\x1b") || strings.Contains(out.String(), "\x9bb") {
		t.Errorf("%d lines: %q", n, out.String())
	}
}
