// Package config reads what a mount is configured with: which keys there are,
// which prefix is encrypted how, and the flags of mount under their own names.
// It is data, checked as far as data alone can be: it opens no key, sends no
// request and knows no other package of ours.
//
//	bucket: s3://acme-backups/web1
//	keys:
//	  main:    {kms: alias/backup, context: {team: backup}}
//	  escrow:  {age: {recipients: [age1…], identities: file:/etc/sigilfs/escrow.txt}}
//	  cust-25: {ssec: file:/etc/sigilfs/cust-25.key}
//	encryption:                        # the longest prefix wins
//	  - {mode: client, key: [main, escrow]}
//	  - {prefix: logs/, mode: sse-kms, key: main, bucket-key: true}
//	  - {prefix: partner/, mode: sse-c, key: cust-25}
//	cache: {size: 256MiB}
//	read-only: true                    # every flag of mount
//
// Parse reads the YAML and checks each part by itself; KeyFlag and RuleFlag
// read the same parts from flags, through the same checks. Where the two are
// put together Policy.Settle checks what depends on all: names, kinds of keys,
// and that every path has a rule.
//
// Errors are one sentence with the place. They repeat no value, since anything
// may be a secret in the wrong line.
package config

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
)

// MaxSize bounds a configuration file, in bytes.
const MaxSize = 1 << 20

// Config is what a file says.
type Config struct {
	Bucket   Setting // s3://bucket[/prefix]; the zero Setting if it was not given
	Settings []Setting
	Policy
}

// Setting is the value of one field that is a flag, as text for that flag.
type Setting struct {
	Name  string // of the flag
	Value string
	At    Place
}

// Place is where something was written: a file with line and column, both
// counted from 1 and the column in characters, or a flag.
type Place struct {
	Name         string
	Line, Column int // 0 for a flag, and for a file as a whole
}

// String is NAME:LINE:COLUMN, or NAME.
func (p Place) String() string {
	if p.Line == 0 {
		return p.Name
	}
	return fmt.Sprintf("%s:%d:%d", p.Name, p.Line, p.Column)
}

// Error is what is wrong in a place.
type Error struct {
	At   Place
	Text string // one sentence, without values
}

func (e *Error) Error() string { return e.At.String() + ": " + e.Text }

// UnknownError is a name that is none of those that can stand in its place.
type UnknownError struct {
	At    Place
	Name  string // "" where it does not look like the name of a field
	Known []string
}

func (e *UnknownError) Error() string {
	return strings.TrimSuffix(e.At.String()+": unknown field "+e.Name, " ")
}

func (p Place) errorf(format string, args ...any) error {
	return &Error{At: p, Text: fmt.Sprintf(format, args...)}
}

// Read reads the file path, which must be a regular one. Errors: those of the
// system, *Error, *UnknownError.
func Read(path string) (*Config, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a fifo must not hold us up
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, Place{Name: path}.errorf("not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

// Parse reads the text of the file name. Errors: *Error, *UnknownError.
func Parse(name string, text []byte) (*Config, error) {
	root, err := parseYAML(name, text)
	if err != nil {
		return nil, err
	}
	c := &Config{}
	known := append(names(Parts()), Names()...)
	return c, root.each(known, c.set)
}

func (c *Config) set(e entry) (err error) {
	switch e.name {
	case "bucket":
		c.Bucket, err = e.setting("bucket", Text)
	case "keys":
		c.Keys, err = parseKeys(e)
	case "encryption":
		c.Rules, err = parseRules(e)
	case "cache":
		err = c.cache(e)
	default:
		err = c.flag(e)
	}
	return err
}

// cache takes the two flags that are one field.
func (c *Config) cache(e entry) error {
	docs := CacheFields()
	return e.value.each(names(docs), func(part entry) error {
		i := slices.IndexFunc(docs, func(d Doc) bool { return d.Name == part.name })
		s, err := part.setting(docs[i].Value, Text)
		c.Settings = append(c.Settings, s)
		return err
	})
}

// flag takes a field that is a flag.
func (c *Config) flag(e entry) error {
	flags := Flags()
	i := slices.IndexFunc(flags, func(f Field) bool { return f.Name == e.name })
	s, err := e.setting(e.name, flags[i].Type)
	if err == nil && flags[i].Source {
		_, err = KeyFlag(s.At, "", s.Value)
	}
	c.Settings = append(c.Settings, s)
	return err
}
