package main

import (
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/spf13/pflag"
)

// optionList is the value of -o. It sets the flags that the list names, in the
// order of the command line: the last one counts, as for mount(8).
type optionList struct {
	s     *settings
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
	if set, ok := l.word(p.Name); ok {
		if p.HasValue {
			return usageError("-o %s takes no value", p.Name)
		}
		set()
		return nil
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

// word gives the options of mount(8) that are one word.
func (l *optionList) word(name string) (set func(), ok bool) {
	to := func(p *bool, v bool) func() { return func() { *p = v } }
	s := l.s
	set, ok = map[string]func(){
		"ro": to(&s.readOnly, true), "rw": to(&s.readOnly, false),
		"dev": to(&s.dev, true), "nodev": to(&s.dev, false),
		"suid": to(&s.suid, true), "nosuid": to(&s.suid, false),
		"noexec": to(&s.noExec, true), "exec": to(&s.noExec, false),
	}[name]
	return set, ok
}

// umask takes permissions off both modes, as for other filesystems that keep
// none of their own.
func (l *optionList) umask(p option.Pair) error {
	mask, err := option.Mode(p.Value)
	if err != nil {
		return usageError("-o umask: %w", err)
	}
	l.s.dirMode, l.s.fileMode = 0o777&^mask, 0o666&^mask
	return nil
}

// debugLevel takes s3fs's levels; those below info are what is logged anyway.
func (l *optionList) debugLevel(p option.Pair) error {
	switch p.Value {
	case "debug", "dbg":
		l.s.debug = true
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
