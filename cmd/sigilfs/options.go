package main

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/spf13/pflag"
)

// optionList is the value of -o. It sets the flags that the list names, in the
// order of the command line: the last one counts, as for mount(8).
type optionList struct {
	flags *pflag.FlagSet

	// Of mount(8)'s helper.
	helper  bool
	sloppy  bool     // unknown options are passed over, and
	passed  []string // said
	remount bool     // was asked for
}

var _ pflag.Value = (*optionList)(nil)

func (l *optionList) String() string { return "" }
func (l *optionList) Type() string   { return "options" }

// Set applies a list. Its errors have an exit code, and flagError leaves them
// as they are.
func (l *optionList) Set(list string) error {
	pairs, err := option.Split(list)
	if err != nil {
		return usageError("%w", err)
	}
	for _, p := range pairs {
		if err := l.apply(p); err != nil {
			return err
		}
	}
	return nil
}

func (l *optionList) apply(p option.Pair) error {
	if ignored(p.Name) {
		return nil
	}
	switch p.Name {
	case "umask":
		return l.umask(p)
	case "remount":
		l.remount = true
		if !l.helper {
			return usageError("-o remount is for mount(8): mount -o remount,ro DIR")
		}
		return nil
	}
	if w, ok := words()[p.Name]; ok {
		if p.HasValue {
			return usageError("-o %s takes no value", p.Name)
		}
		return l.set(w.flag, strconv.FormatBool(w.on))
	}
	if done, err := l.s3fs(p); done {
		return err
	}
	return l.flag(p)
}

// ignored are the options that are for others, by name.
func ignored(name string) bool {
	return slices.Contains(ignoredNames(), name) || strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-")
}

// ignoredNames are for init systems, mount(8), the kernel's defaults, or ask for
// what is so in any case.
func ignoredNames() []string {
	return append(alwaysAllowed(),
		"auto", "noauto", "user", "nouser", "users", "nousers", "owner", "group", "-netdev", "nofail", "defaults",
		"comment", "helper", "uhelper", "async", "dirsync", "atime", "noatime", "relatime", "norelatime", "strictatime", "lazytime", "nolazytime",
		"diratime", "nodiratime", "default-permissions", "nonempty")
}

// alwaysAllowed are switches of Mountpoint's for what is allowed here in any case.
func alwaysAllowed() []string { return []string{"allow-delete", "allow-overwrite"} }

// word is an option of mount(8) that is one word, and the flag that it sets.
type word struct {
	flag string
	on   bool
}

func words() map[string]word {
	return map[string]word{
		"ro": {"read-only", true}, "rw": {"read-only", false},
		"dev": {"dev", true}, "nodev": {"dev", false},
		"suid": {"suid", true}, "nosuid": {"suid", false},
		"noexec": {"noexec", true}, "exec": {"noexec", false},
	}
}

// wordNames are the options that have no flag of their name.
func wordNames() []string {
	return append(slices.Collect(maps.Keys(words())), itemNames(shorthands())...)
}

// set gives a flag a value, as the command line would.
func (l *optionList) set(flag, value string) error {
	if err := l.flags.Set(flag, value); err != nil {
		return usageError("%w", err)
	}
	return nil
}

// all sets several flags, in this order.
func (l *optionList) all(pairs []option.Pair) error {
	for _, p := range pairs {
		if err := l.set(p.Name, p.Value); err != nil {
			return err
		}
	}
	return nil
}

// umask takes permissions off both modes, as for other filesystems that keep
// none of their own.
func (l *optionList) umask(p option.Pair) error {
	mask, err := option.Mode(p.Value)
	if err != nil {
		return usageError("-o umask: %w", err)
	}
	return l.all([]option.Pair{{Name: "dir-mode", Value: octal(0o777 &^ mask)}, {Name: "file-mode", Value: octal(0o666 &^ mask)}})
}

// flag sets the flag of that name.
func (l *optionList) flag(p option.Pair) error {
	name := p.Name
	if flag, ok := aliases()[name]; ok {
		name = flag
	}
	f := l.flags.Lookup(name)
	if f == nil || name == "options" || name == "help" {
		return l.unknownOption(p)
	}
	if name == "accept-volume" {
		return usageError("-o %s: it is given once, by hand: --accept-volume on the command line", p.Name)
	}
	if !p.HasValue {
		if f.NoOptDefVal == "" {
			return usageError("-o %s needs a value: %s=…", p.Name, p.Name)
		}
		p.Value = f.NoOptDefVal
	}
	// Not by f.Value: the set is to know that it was given.
	if err := l.flags.Set(name, p.Value); err != nil {
		return usageError("-o %s: %w", p.Name, valueless(err))
	}
	return nil
}

// valueless is what is wrong with the value of a flag, without pflag's words that
// repeat it.
func valueless(err error) error {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		return bad.Unwrap()
	}
	return err
}
