package config

import "strings"

// Option is one item of a rule that a flag gives: NAME or NAME=VALUE.
type Option struct {
	Name     string
	Value    string
	HasValue bool
}

// RuleFlag makes a rule of a flag's parts, as parseRule does of a file's. The
// options are the fields of the same names: key and context (NAME=VALUE)
// repeatedly, switches without a value too; sse=MODE with sse-key, sse-context
// and sse-bucket-key.
func RuleFlag(at Place, prefix, mode string, options []Option) (Rule, error) {
	m := ruleMaker{at: at}
	if prefix != "" {
		m.rule.put("prefix", m.word(prefix))
	}
	m.rule.put("mode", m.word(mode))
	for _, o := range options {
		if err := m.option(o); err != nil {
			return Rule{}, err
		}
	}
	if len(m.sse.entries) > 0 {
		m.sse.kind, m.sse.at = isMapping, m.at
		m.rule.put("sse", m.sse)
	}
	m.rule.kind, m.rule.at = isMapping, m.at
	for i := range m.rule.entries {
		m.rule.entries[i].at = m.at
	}
	return parseRule(m.rule)
}

// ruleMaker builds the tree of a rule.
type ruleMaker struct {
	at        Place
	rule, sse node
}

func (m *ruleMaker) word(text string) node { return node{at: m.at, kind: isWord, text: text} }

func (m *ruleMaker) option(o Option) error {
	into, name := &m.rule, o.Name
	switch {
	case name == "sse":
		into, name = &m.sse, "mode"
	case strings.HasPrefix(name, "sse-"):
		into, name = &m.sse, strings.TrimPrefix(name, "sse-")
	case name == "prefix" || name == "mode":
		return &UnknownError{At: m.at, Name: name}
	}
	switch {
	case name == "context":
		pair, value, ok := strings.Cut(o.Value, "=")
		if !ok {
			return m.at.errorf("context takes NAME=VALUE")
		}
		context := into.child("context")
		context.at, context.kind = m.at, isMapping
		context.entries = append(context.entries, entry{pair, m.at, m.word(value)})
	case name == "key" && into == &m.rule:
		keys := into.child("key")
		keys.at, keys.kind = m.at, isList
		keys.items = append(keys.items, m.word(o.Value))
	case !o.HasValue:
		into.put(name, m.word("true"))
	default:
		into.put(name, m.word(o.Value))
	}
	return nil
}

// put adds an entry.
func (n *node) put(name string, value node) {
	n.entries = append(n.entries, entry{name, value.at, value})
}

// child gives the value of an entry, which is made where it is not there.
func (n *node) child(name string) *node {
	for i := range n.entries {
		if n.entries[i].name == name {
			return &n.entries[i].value
		}
	}
	n.put(name, node{})
	return &n.entries[len(n.entries)-1].value
}
