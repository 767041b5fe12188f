package main

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"plain, \"quoted\"; größer\n\t": "plain, \"quoted\"; größer\n\t",
		"\x1b[2Jgone":                   `\x1b[2Jgone`,
		"a\rb\x07\x9b\xff":              `a\rb\a\x9b\xff`,
		"\u202etxt.exe \u009b31m":       `\u202etxt.exe \u009b31m`,
		"kept \ufffd":                   `kept ` + "\ufffd",
	} {
		if got := visible(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// A name that somebody else chose reaches a terminal inside of an error.
func TestErrorsShowNames(t *testing.T) {
	var out bytes.Buffer
	end(mountError("%w", &os.PathError{Op: "open", Path: "a\x1b]0;title\ab", Err: errors.New("refused")}), &out)
	if want := `sigilfs: open a\x1b]0;title\ab: refused` + "\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	if got, want := oneLine(errors.New("a\n\x1b[1mb")), `a \x1b[1mb`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
