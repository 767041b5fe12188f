package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, commit and Go release, as sigilfs --version does",
		Args:  arguments(0, "sigilfs version"),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), versionLine())
			return err
		},
	}
}

// versionLine is for people.
func versionLine() string {
	v, commit := built()
	return fmt.Sprintf("sigilfs %s, commit %s, %s %s/%s", v, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// built tells of this program.
func built() (v, commit string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return builtFrom(info, version)
}

// builtFrom tells the linker's version, else that of the module; and the commit,
// which is in binaries that were built from a checkout, and whether that was
// modified.
func builtFrom(info *debug.BuildInfo, linked string) (v, commit string) {
	v, commit = cmp.Or(linked, info.Main.Version, "unknown"), "unknown"
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = " (modified)"
		}
	}
	return v, commit + dirty
}

// arguments asks for exactly n of them.
func arguments(n int, form string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError("%d arguments are given and %d needed: %s", len(args), n, form)
		}
		return nil
	}
}
