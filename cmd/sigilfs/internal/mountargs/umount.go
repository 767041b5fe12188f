package mountargs

import (
	"errors"
	"fmt"
)

// UmountCall is a command line of umount's.
type UmountCall struct {
	Dir       string
	Type      string // of -t
	Namespace string // of -N: a mount namespace, as a path

	Force    bool // -f
	Lazy     bool // -l
	ReadOnly bool // -r: make it read-only where it is in use
	Verbose  bool // -v
	Help     bool // -h
	Version  bool // -V
}

// ErrDir is that not one DIR is left beside the flags.
var ErrDir = errors.New("a DIR is needed, and nothing more")

// ParseUmount reads args, which come after the name. Errors repeat no value.
func ParseUmount(args []string) (UmountCall, error) {
	var c UmountCall
	rest, err := scan(args, "tN", c.flag)
	switch {
	case err != nil:
		return c, fmt.Errorf("%w; an umount helper takes -f, -l, -n, -r, -v, -N and -t", err)
	case c.Help || c.Version:
		return c, nil
	case len(rest) != 1 || rest[0] == "":
		return c, ErrDir
	}
	c.Dir = rest[0]
	return c, nil
}

func (c *UmountCall) flag(flag rune, value string) bool {
	switch flag {
	case 'f':
		c.Force = true
	case 'l':
		c.Lazy = true
	case 'n':
	case 'r':
		c.ReadOnly = true
	case 'v':
		c.Verbose = true
	case 'h':
		c.Help = true
	case 'V':
		c.Version = true
	case 't':
		c.Type = value
	case 'N':
		c.Namespace = value
	default:
		return false
	}
	return true
}
