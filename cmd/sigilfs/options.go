package main

import (
	"strconv"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/spf13/pflag"
)

// optionList is the value of -o. It sets the flags that the list names, in the
// order of the command line: the last one counts, as for mount(8).
type optionList struct {
	flags *pflag.FlagSet
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
	case "dbglevel":
		return l.debugLevel(p)
	}
	if flag, on, ok := word(p.Name); ok {
		if p.HasValue {
			return usageError("-o %s takes no value", p.Name)
		}
		return l.set(flag, strconv.FormatBool(on))
	}
	if p, ok := s3fsKey(p); ok {
		return l.all(p)
	}
	return l.flag(p)
}

// ignored are the options that are for others: init systems, mount(8), the
// kernel's defaults, and those that ask for what is so in any case.
func ignored(name string) bool {
	switch name {
	case "auto", "noauto", "user", "nouser", "users", "nousers", "owner", "group", "-netdev", "nofail", "defaults",
		"comment", "async", "atime", "noatime", "relatime", "norelatime", "strictatime", "lazytime", "nolazytime",
		"diratime", "nodiratime", "default-permissions", "nonempty", "allow-delete", "allow-overwrite":
		return true
	}
	return strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-")
}

// word gives the flag of an option of mount(8) that is one word.
func word(name string) (flag string, on, ok bool) {
	w, ok := map[string]struct {
		flag string
		on   bool
	}{
		"ro": {"read-only", true}, "rw": {"read-only", false},
		"dev": {"dev", true}, "nodev": {"dev", false},
		"suid": {"suid", true}, "nosuid": {"suid", false},
		"noexec": {"noexec", true}, "exec": {"noexec", false},
	}[name]
	return w.flag, w.on, ok
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

// s3fsKey gives the flags for s3fs's options about encryption. Its files of
// keys hold one key a line, ours one key.
func s3fsKey(p option.Pair) (flags []option.Pair, ok bool) {
	sse := func(mode string) option.Pair { return option.Pair{Name: "sse", Value: mode} }
	key := func(file string) option.Pair { return option.Pair{Name: "key", Value: "ssec:file:" + file} }
	kind, rest, _ := strings.Cut(p.Value, ":")
	switch {
	case p.Name == "load-sse-c":
		return []option.Pair{key(p.Value)}, true
	case p.Name != "use-sse":
		return nil, false
	case !p.HasValue, p.Value == "1":
		return []option.Pair{sse("sse-s3")}, true
	case (kind == "kmsid" || kind == "k") && rest != "":
		return []option.Pair{sse("sse-kms"), {Name: "sse-kms-key-id", Value: rest}}, true
	case (kind == "custom" || kind == "c") && rest != "":
		return []option.Pair{sse("sse-c"), {Name: "sse-c-key", Value: "file:" + rest}}, true
	case p.Value == "custom", p.Value == "c": // with load_sse_c
		return []option.Pair{sse("sse-c")}, true
	case p.Value == "kmsid", p.Value == "k":
		return []option.Pair{sse("sse-kms")}, true
	}
	return []option.Pair{sse("use_sse")}, true // which is none, and refused as such
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

// debugLevel takes s3fs's levels; those below info are what is logged anyway.
func (l *optionList) debugLevel(p option.Pair) error {
	switch p.Value {
	case "debug", "dbg":
		return l.set("debug", "true")
	case "silent", "critical", "crit", "error", "err", "warning", "wan", "warn", "info", "inf":
	default:
		return usageError("-o dbglevel is not critical, error, warning, info or debug")
	}
	return nil
}

// alias gives the flag that s3fs knows by another name.
func alias(name string) string {
	switch name {
	case "url":
		return "endpoint-url"
	case "use-path-request-style":
		return "force-path-style"
	case "use-cache":
		return "cache"
	}
	return name
}

// flag sets the flag of that name.
func (l *optionList) flag(p option.Pair) error {
	name := alias(p.Name)
	f := l.flags.Lookup(name)
	if f == nil || name == "options" || name == "help" {
		known := append(flagNames(l.flags), "ro", "rw", "dev", "nodev", "suid", "nosuid", "exec", "noexec", "umask", "dbglevel")
		return usageError("-o: %s", unknown("option", p.Name, known, laterFlags()))
	}
	if !p.HasValue {
		if f.NoOptDefVal == "" {
			return usageError("-o %s needs a value: %s=…", p.Name, p.Name)
		}
		p.Value = f.NoOptDefVal
	}
	if err := f.Value.Set(p.Value); err != nil {
		return usageError("-o %s: %w", p.Name, err)
	}
	f.Changed = true
	return nil
}
