package main

import (
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/manual"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// everyCommand gives do all that a person may type.
func everyCommand(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, sub := range c.Commands() {
		everyCommand(sub, do)
	}
}

// A flag that nobody described fails here, and so does one whose value has no
// name: both show in --help, in completions and in the manual.
func TestEverythingIsDescribed(t *testing.T) {
	root := newRoot(io.Discard, io.Discard)
	everyCommand(root, func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no description", c.CommandPath())
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			value, text := manual.Usage(f)
			switch {
			case strings.TrimSpace(strings.TrimSuffix(text, ".")) == "":
				t.Errorf("%s: --%s has no description", c.CommandPath(), f.Name)
			case f.Value.Type() != "bool" && !strings.Contains(f.Usage, "`"):
				t.Errorf("%s: --%s does not name its value: write it in backquotes", c.CommandPath(), f.Name)
			case f.Value.Type() == "bool" && value != "":
				t.Errorf("%s: --%s is a switch with a value %s", c.CommandPath(), f.Name, value)
			}
		})
	})
	for what, docs := range map[string][]config.Doc{
		"fields": config.Parts(), "cache": config.CacheFields(), "keys": config.KeyFields(), "age": config.AgeFields(),
		"sources": config.Sources(), "rules": config.RuleFields(), "sse": config.BeneathFields(), "modes": config.ModeDocs(),
	} {
		for _, d := range docs {
			if d.Name == "" || d.Text == "" || strings.HasSuffix(d.Text, ".") || d.Value == "" && what != "modes" {
				t.Errorf("%s: %s is not described in full: %+v", what, d.Name, d)
			}
		}
	}
	for alias, why := range refusedOptions() {
		if why == "" {
			t.Errorf("%s is refused without a word", alias)
		}
	}
	for _, items := range [][]manual.Item{shorthands(), translated()} {
		for _, i := range items {
			if i.Text == "" {
				t.Errorf("%v has no description", i.Words)
			}
		}
	}
}

// parts of a page that tell of name.
func told(page manual.Page, name string) int {
	n := 0
	for _, part := range page.Parts {
		for _, i := range part.Items {
			if slices.Contains(i.Words, name) {
				n++
			}
		}
		if slices.Contains(strings.FieldsFunc(part.Text, func(r rune) bool { return r == ' ' || r == ',' || r == '.' || r == '\n' }), name) {
			n++
		}
	}
	return n
}

func TestManualIsComplete(t *testing.T) {
	root := newRoot(io.Discard, io.Discard)
	program, helper, file := programPage(root), helperPage(root), filePage(root)
	everyCommand(root, func(c *cobra.Command) {
		if c.Hidden || c == root {
			return
		}
		title := strings.TrimPrefix(c.CommandPath(), "sigilfs ")
		if !slices.ContainsFunc(program.Parts, func(p manual.Part) bool { return p.Title == title && p.Text != "" }) {
			t.Errorf("sigilfs(1) does not tell of %s", c.CommandPath())
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Name != "help" && told(program, "--"+f.Name) == 0 {
				t.Errorf("sigilfs(1) does not tell of %s --%s", c.CommandPath(), f.Name)
			}
		})
	})
	mountFlags(root).VisitAll(func(f *pflag.Flag) {
		word := manual.Option(optionName(f.Name))
		if f.Value.Type() != "bool" {
			word += "="
		}
		if !f.Hidden && f.Name != "help" && f.Name != "options" && told(helper, word) == 0 {
			t.Errorf("mount.sigilfs(8) does not tell of %s", word)
		}
	})
	names := slices.Concat(ignoredNames(), needless(), slices.Collect(maps.Keys(refusedOptions())), slices.Collect(maps.Keys(aliases())), slices.Collect(maps.Keys(words())))
	for _, name := range names {
		if told(helper, manual.Option(name)) == 0 {
			t.Errorf("mount.sigilfs(8) does not tell of %s", manual.Option(name))
		}
	}
	for _, name := range config.Names() {
		if told(file, name+":") == 0 {
			t.Errorf("sigilfs.yaml(5) does not tell of %s", name)
		}
	}
	for _, d := range slices.Concat(config.Parts(), config.CacheFields(), config.KeyFields(), config.AgeFields(), config.Sources(), config.RuleFields(), config.BeneathFields()) {
		if told(file, d.Name+":") == 0 {
			t.Errorf("sigilfs.yaml(5) does not tell of %s", d.Name)
		}
	}
	for _, m := range config.Modes() {
		if told(file, string(m)) == 0 {
			t.Errorf("sigilfs.yaml(5) does not tell of mode %s", m)
		}
	}
}

// What the manual says of s3fs's options is what is understood.
func TestToldOptionsWork(t *testing.T) {
	for _, name := range append(itemNames(translated()), itemNames(shorthands())...) {
		for _, value := range []string{"", "=1", "=022", "=debug", "=auto", "=kmsid:1"} {
			if _, err := parseFlags("-o", name+value); err == nil || !strings.Contains(err.Error(), "unknown") {
				continue
			}
			t.Errorf("-o %s is told of, and not known", name)
		}
	}
}

// The example is a file that mounts.
func TestManualExample(t *testing.T) {
	var text strings.Builder
	for line := range strings.Lines(fileExample) {
		text.WriteString(strings.TrimPrefix(line, "    "))
	}
	file, err := config.Parse("example.yaml", []byte(text.String()))
	if err == nil {
		err = file.Settle()
	}
	if err != nil {
		t.Error(err)
	}
}
