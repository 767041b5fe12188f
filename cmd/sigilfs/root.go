package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "sigilfs",
		Short: "Mount encrypted S3 buckets",
		Long: `sigilfs mounts an S3 bucket as a directory. What is written there is encrypted
on this host before it leaves; the bucket holds ciphertext.

    sigilfs keygen -o main.key
    sigilfs mount --encryption client --key file:main.key s3://bucket/prefix /mnt
    sigilfs umount /mnt`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(c, args[0])
		},
		RunE: func(c *cobra.Command, _ []string) error {
			return c.Help()
		},
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetGlobalNormalizationFunc(normalize)
	root.SetFlagErrorFunc(flagError)
	root.Version = versionLine()
	root.SetVersionTemplate("{{.Version}}\n")
	for _, command := range []func() *cobra.Command{
		newMount,
		newUmount,
		newStatus,
		newInit,
		newEncryptNames,
		newRecover,
		newVerify,
		newAdopt,
		newVersions,
		newRestore,
		newDoctor,
		newAudit,
		newReencrypt,
		newCat,
		newPut,
		newList,
		newStat,
		newCopy,
		newDecrypt,
		newKeygen,
		newKeys,
		newVersion,
		newCompletion,
		newManual,
	} {
		root.AddCommand(command())
	}
	addCompletions(root)
	return root
}

// normalize takes _ and - alike, and the other names by which the field knows
// a flag.
func normalize(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	name = option.Canonical(name)
	if name == "metadata-ttl" { // Mountpoint's
		name = "attr-timeout"
	}
	return pflag.NormalizedName(name)
}

// laterCommands and laterFlags are designed and not built yet. They are refused
// by name, so that nobody takes them for misspelt, or for accepted.
func laterCommands() []string {
	return []string{
		"top",
	}
}

func laterFlags() []string {
	return []string{}
}

func unknownCommand(c *cobra.Command, name string) error {
	var known []string
	for _, sub := range c.Commands() {
		known = append(known, sub.Name())
	}
	return usageError("%s", unknown("command", name, known, laterCommands()))
}

// unknown is the sentence about a name that is none: later, misspelt, or
// neither.
func unknown(what, name string, known, later []string) string {
	for _, l := range later {
		if l == strings.TrimLeft(name, "-") {
			return fmt.Sprintf("%s %s is not supported by this version", what, name)
		}
	}
	dashes := name[:len(name)-len(strings.TrimLeft(name, "-"))]
	if near := option.Nearest(strings.TrimLeft(name, "-"), known); near != "" {
		return fmt.Sprintf("unknown %s %s; did you mean %s%s?", what, name, dashes, near)
	}
	return fmt.Sprintf("unknown %s %s; see sigilfs --help", what, name)
}

// flagError makes pflag's errors one sentence, and takes values out of them.
func flagError(c *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	var missing *pflag.NotExistError
	var bad *pflag.InvalidValueError
	var coded *exitError
	var number *strconv.NumError
	switch {
	case errors.As(err, &coded): // of an -o list
		return coded
	case errors.As(err, &missing):
		if shorts := missing.GetSpecifiedShortnames(); shorts != "" {
			return usageError("unknown flag -%s; see sigilfs %s --help", missing.GetSpecifiedName(), c.Name())
		}
		name := string(normalize(nil, missing.GetSpecifiedName()))
		if why, ok := refusedOptions()[name]; ok { // some are Mountpoint's flags
			return usageError("--%s is not supported: %s", name, strings.ReplaceAll(why, "_", "-"))
		}
		return usageError("%s", unknown("flag", "--"+name, flagNames(c.Flags()), laterFlags()))
	case errors.As(err, &bad) && errors.As(err, &number):
		return usageError("--%s: %q is not a %s", bad.GetFlag().Name, number.Num, bad.GetFlag().Value.Type())
	case errors.As(err, &bad):
		return usageError("--%s: %w", bad.GetFlag().Name, bad.Unwrap())
	}
	return usageError("%w", err)
}

func flagNames(flags *pflag.FlagSet) []string {
	var names []string
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}
