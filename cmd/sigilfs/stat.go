package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

func newStat() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stat TARGET…",
		Short: "Show what there is to know of a file of a bucket",
		Long: `stat shows the attributes of files and directories as a mount shows them, and how
they are stored: mode, key, epoch, storage class, what user.sigil.* shows there.
Of a symbolic link it shows the link.

    sigilfs stat s3://bucket/prefix/file --encryption client --key file:main.key

It ends with exit code 32 where one of them is not there, or does not open.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("sigilfs stat s3://bucket/prefix/file --encryption client --key file:main.key")
			}
			return nil
		},
	}
	onVolume(cmd, reads|aFile, func(ctx context.Context, c *cobra.Command, o *offline, args []string) error {
		paths, err := o.targets(args)
		if err != nil {
			return err
		}
		var all []entryJSON
		var failed error
		for _, p := range paths {
			r := o.look(ctx, row{path: p, name: o.name(p)}, o.files.Stat)
			if r.err != nil && failed == nil {
				failed = o.explain("stat", p, r.err)
			}
			if r.known {
				all = append(all, r.json())
			}
		}
		if err := printStats(c.OutOrStdout(), all, asJSON); err != nil {
			return systemError("%w", err)
		}
		return failed
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document, an array of what is there")
	return cmd
}

func printStats(out io.Writer, all []entryJSON, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(append([]entryJSON{}, all...))
	}
	for i, j := range all {
		if i > 0 {
			_, _ = fmt.Fprintln(out)
		}
		if err := j.print(out); err != nil {
			return err
		}
	}
	return nil
}

// print is for people.
func (j entryJSON) print(out io.Writer) error {
	var err error
	line := func(name, value string) {
		if err == nil && value != "" {
			_, err = fmt.Fprintf(out, "%-14s %s\n", name, value)
		}
	}
	line("name", j.Name)
	line("type", j.Type)
	if j.Target != "" {
		line("target", quoted(j.Target))
	}
	line("size", fmt.Sprint(*j.Size))
	line("mode", j.Mode)
	line("owner", fmt.Sprintf("%d:%d", *j.UID, *j.GID))
	line("links", fmt.Sprint(j.Nlink))
	line("id", fmt.Sprint(j.ID))
	line("mtime", j.Mtime.Local().Format(time.RFC3339Nano))
	line("ctime", j.Ctime.Local().Format(time.RFC3339Nano))
	for _, name := range slices.Sorted(maps.Keys(j.Xattrs)) {
		line(quoted(name), quoted(string(j.Xattrs[name])))
	}
	for _, name := range slices.Sorted(maps.Keys(j.Sigil)) {
		line("sigil."+name, quoted(j.Sigil[name]))
	}
	line("error", j.Error)
	return err
}
