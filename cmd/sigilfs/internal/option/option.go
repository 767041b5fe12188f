// Package option reads what a person types: the lists of mount -o, sizes,
// modes, times, owners, and the target of a mount. It knows no flag by name
// and no system call but the look-up of users and groups.
//
// Every error is one sentence for that person. It names what could not be
// read, but the values of lists never, which may be anything.
package option

import (
	"errors"
	"fmt"
	"strings"
)

// Pair is one item of an -o list.
type Pair struct {
	Name     string // Split: as Canonical gives it
	Value    string // without its quotes
	HasValue bool   // there was a "="
}

// Canonical is the one spelling of an option's name: "_" is "-".
func Canonical(name string) string { return strings.ReplaceAll(name, "_", "-") }

// Split takes the list k=v,k,… of mount -o apart, as Items does.
func Split(list string) ([]Pair, error) {
	pairs, err := Items(list)
	for i := range pairs {
		pairs[i].Name = Canonical(pairs[i].Name)
	}
	return pairs, err
}

// Items takes the list k=v,k,… apart and leaves names as they are. A backslash takes the next
// character as it is, and so do single quotes, and double quotes but for
// backslashes, all between them: a comma in a value is `\,` or `"a,b"`.
// Empty items are nothing, as for mount(8).
func Items(list string) ([]Pair, error) {
	var pairs []Pair
	s := splitter{rest: list}
	for !s.done {
		p, err := s.item()
		if err != nil {
			return nil, err
		}
		if p == (Pair{}) {
			continue
		}
		if p.Name == "" {
			return nil, errors.New("an item of the list has a value but no name")
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// splitter holds what of a list is not read yet.
type splitter struct {
	rest string
	done bool // the list ended
}

// item reads up to a comma or the end.
func (s *splitter) item() (Pair, error) {
	var p Pair
	var text strings.Builder
	for {
		if s.rest == "" {
			s.done = true
			return p.close(text.String()), nil
		}
		c := s.rest[0]
		s.rest = s.rest[1:]
		switch {
		case c == ',':
			return p.close(text.String()), nil
		case c == '=' && !p.HasValue:
			p.Name, p.HasValue = text.String(), true
			text.Reset()
		case c == '"' || c == '\'':
			if err := s.quoted(c, &text); err != nil {
				return p, err
			}
		case c == '\\':
			if err := s.escaped(&text); err != nil {
				return p, err
			}
		default:
			text.WriteByte(c)
		}
	}
}

// close puts the text that was read last where it belongs.
func (p Pair) close(text string) Pair {
	if p.HasValue {
		p.Value = text
	} else {
		p.Name = text
	}
	return p
}

func (s *splitter) quoted(quote byte, text *strings.Builder) error {
	for s.rest != "" {
		c := s.rest[0]
		s.rest = s.rest[1:]
		switch {
		case c == quote:
			return nil
		case c == '\\' && quote == '"':
			if err := s.escaped(text); err != nil {
				return err
			}
		default:
			text.WriteByte(c)
		}
	}
	return fmt.Errorf("the list has a %c without its end; write \\%c for the character itself", quote, quote)
}

func (s *splitter) escaped(text *strings.Builder) error {
	if s.rest == "" {
		return errors.New(`the list ends in a backslash; write \\ for the character itself`)
	}
	text.WriteByte(s.rest[0])
	s.rest = s.rest[1:]
	return nil
}
