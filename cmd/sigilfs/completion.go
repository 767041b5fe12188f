package main

import (
	"os"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/control"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/manual"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newCompletion writes scripts which ask this program, at each tab, for what
// may follow: so they know its flags.
func newCompletion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion " + strings.Join(shells, "|"),
		Short: "Print the script by which a shell completes command lines",
		Long: `completion prints a script for the shell, which packages have installed:

    sigilfs completion bash >/usr/share/bash-completion/completions/sigilfs
    sigilfs completion zsh  >/usr/share/zsh/vendor-completions/_sigilfs
    sigilfs completion fish >/usr/share/fish/vendor_completions.d/sigilfs.fish`,
		ValidArgs: shells,
		Args:      arguments(1, "sigilfs completion bash"),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			switch out := c.OutOrStdout(); args[0] {
			case "bash":
				err = c.Root().GenBashCompletionV2(out, true)
			case "zsh":
				err = c.Root().GenZshCompletion(out)
			case "fish":
				err = c.Root().GenFishCompletion(out, true)
			default:
				return usageError("there are completions for %s", strings.Join(shells, ", "))
			}
			if err != nil {
				return systemError("%w", err)
			}
			return nil
		},
	}
}

// addCompletions says of each command what its arguments and the values of its
// flags can be.
func addCompletions(root *cobra.Command) {
	for _, c := range leaves(root) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() != "bool" {
				_ = c.RegisterFlagCompletionFunc(f.Name, completer(c.Flags(), f)) // the flag is there
			}
		})
		switch c.CommandPath() {
		case "sigilfs mount":
			c.ValidArgsFunction = completeMount
		case "sigilfs umount", "sigilfs status":
			c.ValidArgsFunction = completeMounted
		}
		if c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
			c.ValidArgsFunction = completeTarget
		}
	}
}

// completer is about the value of a flag.
func completer(flags *pflag.FlagSet, f *pflag.Flag) cobra.CompletionFunc {
	fixed := func(how cobra.ShellCompDirective, words ...string) cobra.CompletionFunc {
		return cobra.FixedCompletions(words, how|cobra.ShellCompDirectiveNoFileComp)
	}
	switch f.Name {
	case "encryption":
		return fixed(cobra.ShellCompDirectiveNoSpace, modeNames()...)
	case "sse":
		return fixed(0, string(config.SSES3), string(config.SSEKMS), string(config.DSSEKMS), string(config.SSEC))
	case "key", "also-key", "state-key", "sse-c-key":
		return fixed(cobra.ShellCompDirectiveNoSpace, keySchemes()...)
	case "sign", "show":
		return fixed(cobra.ShellCompDirectiveNoSpace, sourceSchemes()...)
	case "rollback":
		return fixed(0, "report", "deny")
	case "on-conflict":
		return fixed(0, "copy", "fail", "overwrite")
	case "log-format":
		return fixed(0, "text", "json")
	case "kind":
		return fixed(0, keyKinds()...)
	case "options":
		return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return optionLists(flags, typed), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
		}
	}
	switch value, _ := pflag.UnquoteUsage(f); value {
	case "DIR":
		return fixed(cobra.ShellCompDirectiveFilterDirs)
	case "FILE":
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	}
	return cobra.NoFileCompletions
}

func modeNames() []string {
	var names []string
	for _, m := range config.Modes() {
		names = append(names, string(m))
	}
	return names
}

// keySchemes are what a source of a key begins with.
func keySchemes() []string {
	return append([]string{"kms:", "age:"}, sourceSchemes()...)
}

func sourceSchemes() []string {
	var schemes []string
	for _, s := range config.Sources() {
		schemes = append(schemes, s.Name+":")
	}
	return schemes
}

// optionLists are lists for -o, each with one option more than what was typed
// has.
func optionLists(flags *pflag.FlagSet, typed string) []string {
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	var all []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "options" && f.Name != "help" {
			name := before + manual.Option(f.Name)
			if f.Value.Type() != "bool" {
				name += "="
			}
			all = append(all, name)
		}
	})
	return all
}

// completeMount is about TARGET and DIR.
func completeMount(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return completeTarget(c, args, typed)
}

// completeTarget is about what is mounted: a bucket, which nobody is asked for
// here, or a configuration file.
func completeTarget(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 || c.Flags().Lookup("encryption") == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeMounted is about the mounts of this user.
func completeMounted(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	peers := control.All(os.Geteuid())
	defer closeAll(peers)
	var dirs []string
	for _, p := range peers {
		dirs = append(dirs, p.Record().Dir)
	}
	slices.Sort(dirs)
	return dirs, cobra.ShellCompDirectiveNoFileComp
}
