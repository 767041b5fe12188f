package manual

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// What is written is ASCII, and nothing of a text becomes a request of roff's.
func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"one\ntwo":              "one\ntwo\n",
		"one\n\ntwo":            "one\n.PP\ntwo\n",
		".TH is no request":     "\\&.TH is no request\n",
		"'quoted' stays":        "\\(aqquoted\\(aq stays\n",
		"say --key file:k":      "say \\fB\\-\\-key\\fR file:k\n",
		"(-f) and well-known":   "(\\fB\\-f\\fR) and well\\-known\n",
		`a \ and … and é`:       "a \\e and ... and \\[u00E9]\n",
		"see\n\n    x\n\n    y": "see\n.PP\n.RS 4\n.EX\nx\n\ny\n.EE\n.RE\n",
		"see\n    .x\nand":      "see\n.PP\n.RS 4\n.EX\n\\&.x\n.EE\n.RE\n.PP\nand\n",
	} {
		var r roff
		r.text(text)
		if d := cmp.Diff(want, r.String()); d != "" {
			t.Errorf("%q: %s", text, d)
		}
	}
}

func TestItem(t *testing.T) {
	for want, item := range map[string]Item{
		".TP\n\\fB\\-f\\fR, \\fB\\-\\-foreground\\fR\nStay.\n": {Words: []string{"-f", "--foreground"}, Text: "Stay."},
		".TP\n\\fB\\-\\-uid\\fR \\fIUSER\\fR\nWho.\n":          {Words: []string{"--uid"}, Value: "USER", Text: "Who."},
		".TP\n\\fBuid=\\fR\\fIUSER\\fR\nWho.\n":                {Words: []string{"uid="}, Value: "USER", Joined: true, Text: "Who."},
	} {
		var r roff
		r.item(item)
		if d := cmp.Diff(want, r.String()); d != "" {
			t.Error(d)
		}
	}
}

func TestPage(t *testing.T) {
	page := Page{
		Name: "some-thing", Number: 5, Chapter: "File Formats", What: "what it is", Version: "v1-2", Date: time.Unix(1_700_000_000, 0),
		Synopsis: []string{"form"}, Description: "Text.", SeeAlso: []string{"mount(8)", "fstab(5)"},
		Parts: []Part{{Title: "Options"}, {Title: "Some", Sub: true, Items: []Item{{Words: []string{"x"}, Text: "Y."}}}},
	}
	want := strings.Join([]string{
		`.TH SOME\-THING 5 "2023-11-14" "sigilfs v1\-2" "File Formats"`, ".nr HY 0", ".ad l",
		".SH NAME", `some\-thing \- what it is`, ".SH SYNOPSIS", "form", ".SH DESCRIPTION", "Text.",
		".SH OPTIONS", ".SS Some", ".TP", `\fBx\fR`, "Y.", ".SH SEE ALSO", `\fBmount\fR(8),`, `\fBfstab\fR(5)`, "",
	}, "\n")
	if d := cmp.Diff(want, page.String()); d != "" {
		t.Error(d)
	}
	page.Date = time.Time{}
	if !strings.HasPrefix(page.String(), `.TH SOME\-THING 5 "" `) {
		t.Error("a date that is not known is told")
	}
}

func TestFlags(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.StringP("output", "o", "", "`FILE` to make")
	flags.Bool("really", false, "do it")
	flags.Duration("time-out", time.Minute, "`TIME` to wait")
	flags.Bool("hush", false, "hidden")
	flags.Lookup("hush").Hidden = true
	flags.Lookup("time-out").Annotations = map[string][]string{Group: {"Times"}}
	want := []Part{
		{Sub: true, Items: []Item{
			{Words: []string{"-o", "--output"}, Value: "FILE", Text: "FILE to make."},
			{Words: []string{"--really"}, Text: "Do it."},
		}},
		{Title: "Times", Sub: true, Items: []Item{{Words: []string{"--time-out"}, Value: "TIME", Text: "TIME to wait (default: 1m0s)."}}},
	}
	flags.SortFlags = false
	if d := cmp.Diff(want, FlagParts(flags, FlagItem)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(Item{Words: []string{"time_out="}, Value: "TIME", Joined: true, Text: "TIME to wait (default: 1m0s)."}, OptionItem(flags.Lookup("time-out"), "time-out")); d != "" {
		t.Error(d)
	}
}
