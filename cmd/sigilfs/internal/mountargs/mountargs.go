// Package mountargs reads the command lines that mount(8) and umount(8) give
// their helpers (mount(8), umount(8), "External helpers"):
//
//	mount.TYPE SPEC DIR [-sfnv] [-N namespace] [-o options] [-t type.subtype]
//	umount.TYPE DIR [-flnrv] [-N namespace] [-t type.subtype]
//
// Flags stand anywhere, short ones together, and values beside their flag or
// in the next argument, as getopt(3) has it.
package mountargs

import (
	"errors"
	"fmt"
	"strings"
)

// Call is a command line.
type Call struct {
	Spec, Dir string
	Options   []string // the lists of -o, in order
	Type      string   // of -t
	Namespace string   // of -N: a mount namespace, as a path

	Sloppy  bool // -s: unknown options are tolerated
	Fake    bool // -f: all but the mount itself
	Verbose bool // -v
	Help    bool // -h
	Version bool // -V
}

// ErrArguments is that SPEC and DIR are not what is left beside the flags.
var ErrArguments = errors.New("a SPEC and a DIR are needed, and nothing more")

// Parse reads args, which come after the name. Errors repeat no value.
func Parse(args []string) (Call, error) {
	var c Call
	rest, err := scan(args, "otN", c.flag)
	switch {
	case err != nil:
		return c, fmt.Errorf("%w; a mount helper takes -s, -f, -n, -v, -N, -o and -t", err)
	case c.Help || c.Version:
		return c, nil
	case len(rest) != 2 || rest[0] == "" || rest[1] == "":
		return c, ErrArguments
	}
	c.Spec, c.Dir = rest[0], rest[1]
	return c, nil
}

func (c *Call) flag(flag rune, value string) bool {
	switch flag {
	case 's':
		c.Sloppy = true
	case 'f':
		c.Fake = true
	case 'n': // there is no /etc/mtab to leave alone any more
	case 'v':
		c.Verbose = true
	case 'h':
		c.Help = true
	case 'V':
		c.Version = true
	case 'o':
		c.Options = append(c.Options, value)
	case 't':
		c.Type = value
	case 'N':
		c.Namespace = value
	default:
		return false
	}
	return true
}

// scan reads flags as getopt(3) does: those of withValue have a value. It gives
// take each of them, false if it knows none such, and returns what is no flag.
func scan(args []string, withValue string, take func(flag rune, value string) bool) (rest []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return append(rest, args...), nil
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			rest = append(rest, arg)
			continue
		}
		if args, err = together(arg[1:], args, withValue, take); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// together reads flags that stand together, and gives what is left of args: the
// value of the last of them may be the next.
func together(flags string, args []string, withValue string, take func(rune, string) bool) ([]string, error) {
	for i, f := range flags {
		value := ""
		last := strings.ContainsRune(withValue, f)
		if last {
			if value = flags[i+1:]; value == "" && len(args) > 0 {
				value, args = args[0], args[1:]
			} else if value == "" {
				return nil, fmt.Errorf("-%c needs a value", f)
			}
		}
		if !take(f, value) {
			return nil, fmt.Errorf("unknown flag -%c", f)
		}
		if last {
			break
		}
	}
	return args, nil
}
