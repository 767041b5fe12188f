// Package mountargs reads the command line that mount(8) gives its helpers
// (mount(8), "External helpers"):
//
//	mount.TYPE SPEC DIR [-sfnv] [-N namespace] [-o options] [-t type.subtype]
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
	var rest []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			rest, args = append(rest, args...), nil
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			rest = append(rest, arg)
		default:
			var err error
			if args, err = c.flags(arg[1:], args); err != nil {
				return c, err
			}
		}
	}
	if c.Help || c.Version {
		return c, nil
	}
	if len(rest) != 2 || rest[0] == "" || rest[1] == "" {
		return c, ErrArguments
	}
	c.Spec, c.Dir = rest[0], rest[1]
	return c, nil
}

// flags reads one argument of short flags, and gives what is left of args: the
// value of the last of them may be the next.
func (c *Call) flags(flags string, args []string) ([]string, error) {
	for i, f := range flags {
		switch f {
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
		case 'o', 't', 'N':
			value := flags[i+1:]
			if value == "" {
				if len(args) == 0 {
					return nil, fmt.Errorf("-%c needs a value", f)
				}
				value, args = args[0], args[1:]
			}
			c.value(f, value)
			return args, nil
		default:
			return nil, fmt.Errorf("unknown flag -%c; a mount helper takes -s, -f, -n, -v, -N, -o and -t", f)
		}
	}
	return args, nil
}

func (c *Call) value(flag rune, value string) {
	switch flag {
	case 'o':
		c.Options = append(c.Options, value)
	case 't':
		c.Type = value
	case 'N':
		c.Namespace = value
	}
}
