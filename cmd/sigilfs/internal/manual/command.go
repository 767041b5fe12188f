package manual

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Forms are those of a command's line, in roff: each line of Use is one.
func Forms(c *cobra.Command) []string {
	first, more, _ := strings.Cut(c.Use, "\n")
	all := []string{bold(c.CommandPath()) + escape(strings.TrimPrefix(first, c.Name()))}
	for line := range strings.Lines(more) {
		rest := strings.TrimPrefix(strings.TrimSpace(line), c.CommandPath())
		all = append(all, bold(c.CommandPath())+escape(rest))
	}
	return all
}

// CommandPart tells of a command, and of its flags but those that are shared,
// which have a place of their own.
func CommandPart(c *cobra.Command, shared *pflag.FlagSet) Part {
	text := c.Long
	if text == "" {
		text = Sentence(c.Short)
	}
	part := Part{Title: strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" "), Sub: true, Text: text}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		common := shared.Lookup(f.Name)
		if !f.Hidden && f.Name != "help" && (common == nil || common.Usage != f.Usage) {
			part.Items = append(part.Items, FlagItem(f))
		}
	})
	return part
}
