package config

import (
	"regexp"
	"slices"
	"strings"
)

// kind is what a node is.
type kind int

const (
	isEmpty kind = iota
	isText
	isNumber
	isBool
	isWord // of a flag, where all is text: a text, number or bool
	isList
	isMapping
)

// node is a part of a configuration, of a file or of a flag.
type node struct {
	at      Place
	kind    kind
	text    string // of a text, number, bool or word, as it was written
	items   []node
	entries []entry
}

// entry is a named part of a mapping.
type entry struct {
	name  string
	at    Place // of name
	value node
}

// fieldName is what may be shown of a name that is not known: a key that stands
// in its place does not look so.
var fieldName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

// each gives do the entries of a mapping, which must be among known, each once. As
// in flags and options, "_" in a name is "-".
func (n node) each(known []string, do func(entry) error) error {
	if n.kind != isMapping {
		return n.at.errorf("fields are expected here: name: value")
	}
	n.entries = slices.Clone(n.entries)
	for i, e := range n.entries {
		n.entries[i].name = strings.ReplaceAll(e.name, "_", "-")
	}
	if err := n.unique("field"); err != nil {
		return err
	}
	for _, e := range n.entries {
		if !slices.Contains(known, e.name) {
			return &UnknownError{At: e.at, Name: fieldName.FindString(e.name), Known: known}
		}
		if err := do(e); err != nil {
			return err
		}
	}
	return nil
}

// unique refuses a name that stands in a mapping twice.
func (n node) unique(what string) error {
	seen := map[string]Place{}
	for _, e := range n.entries {
		if first, again := seen[e.name]; again {
			return e.at.errorf("this %s was given already, in line %d", what, first.Line)
		}
		seen[e.name] = e.at
	}
	return nil
}

// setting reads the value of a flag.
func (e entry) setting(flag string, t Type) (Setting, error) {
	s := Setting{Name: flag, Value: e.value.text, At: e.value.at}
	var err error
	switch t {
	case Switch:
		_, err = e.flag()
	case Count:
		if e.value.kind != isNumber {
			err = e.value.at.errorf("%s takes a number", e.name)
		}
	case List:
		var list []node
		list, err = e.words()
		texts := make([]string, len(list))
		for i, n := range list {
			texts[i] = n.text
		}
		s.Value = strings.Join(texts, ",")
	default:
		s.Value, err = e.word()
	}
	return s, err
}

// word reads characters or a number, at least one.
func (e entry) word() (string, error) {
	switch {
	case e.value.kind == isEmpty, e.value.text == "" && (e.value.kind == isText || e.value.kind == isWord):
		return "", e.value.at.errorf("%s has no value", e.name)
	case e.value.kind == isText, e.value.kind == isNumber, e.value.kind == isWord:
		return e.value.text, nil
	}
	return "", e.value.at.errorf("%s takes one value: text, in quotes where YAML takes it for something else", e.name)
}

// flag reads true or false.
func (e entry) flag() (bool, error) {
	if e.value.kind == isBool || e.value.kind == isWord {
		switch e.value.text {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	}
	return false, e.value.at.errorf("%s takes true or false", e.name)
}

// words reads one value or a list of them, of which none is twice.
func (e entry) words() ([]node, error) {
	list := []node{e.value}
	if e.value.kind == isList {
		list = e.value.items
	}
	if len(list) == 0 {
		return nil, e.value.at.errorf("%s has no value", e.name)
	}
	seen := map[string]bool{}
	for _, n := range list {
		if _, err := (entry{e.name, n.at, n}).word(); err != nil {
			return nil, err
		}
		if seen[n.text] {
			return nil, n.at.errorf("%s has this value twice", e.name)
		}
		seen[n.text] = true
	}
	return list, nil
}

// pairs reads a mapping of names to texts.
func (e entry) pairs() (map[string]string, error) {
	if e.value.kind != isMapping || len(e.value.entries) == 0 {
		return nil, e.value.at.errorf("%s takes pairs: {name: value}", e.name)
	}
	if err := e.value.unique("name"); err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, p := range e.value.entries {
		switch p.value.kind {
		case isText, isNumber, isWord: // "true" is better said to be a text
		default:
			return nil, p.value.at.errorf("%s takes texts, in quotes where YAML takes one for something else", e.name)
		}
		if p.name == "" {
			return nil, p.at.errorf("%s has a name that is empty", e.name)
		}
		all[p.name] = p.value.text
	}
	return all, nil
}
