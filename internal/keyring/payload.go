package keyring

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// payloadJSON is the first line of an epoch object, as it is written. Reading
// goes by hand: encoding/json would take unknown and repeated members, any
// case of their names, and null for everything.
type payloadJSON struct {
	Version  int        `json:"version"`
	ID       string     `json:"id"`
	Revision uint64     `json:"revision"`
	State    string     `json:"state"`
	Created  string     `json:"created"`
	Host     string     `json:"host"`
	Wraps    []wrapJSON `json:"wraps"`
}

type wrapJSON struct {
	Key     string            `json:"key"`
	Type    string            `json:"type"`
	Blob    []byte            `json:"blob"`
	Context map[string]string `json:"context,omitempty"`
}

// hashedID is the form of the key ids that are a hash, kmsID that of ARNs: as
// they are shown in messages, nothing that a terminal obeys may be in them.
var (
	hashedID = regexp.MustCompile(`^(aes|age):[0-9a-f]{32}$`)
	kmsID    = regexp.MustCompile(`^arn:[!-~]+$`)
)

func (e *Epoch) parsePayload() error {
	if !utf8.Valid(e.payload) {
		return fmt.Errorf("payload is not UTF-8: %w", ErrCorrupt)
	}
	m, err := parseObject(e.payload)
	if err != nil {
		return err
	}
	var version, revision uint64
	var id, state, created string
	var wraps []json.RawMessage
	if err := m.take("version", &version); err != nil {
		return err
	}
	if version != 1 {
		return fmt.Errorf("version %d: %w", version, ErrVersion)
	}
	err = m.takeAll(
		field{"id", &id}, field{"revision", &revision}, field{"state", &state},
		field{"created", &created}, field{"host", &e.Host}, field{"wraps", &wraps},
	)
	if err != nil {
		return err
	}
	switch {
	case id != e.ID.String():
		return fmt.Errorf("payload is of another epoch: %w", ErrCorrupt)
	case revision < 1:
		return fmt.Errorf("revision 0: %w", ErrCorrupt)
	case len(e.Host) > maxHost:
		return fmt.Errorf("host over %d bytes: %w", maxHost, ErrCorrupt)
	}
	e.Revision = revision
	if e.State, err = parsePhase(state); err != nil {
		return err
	}
	if e.Created, err = parseTime(created); err != nil {
		return err
	}
	return e.parseWraps(wraps)
}

// parseTime takes RFC 3339 in UTC, written with Z. UnmarshalText is the strict
// parser of package time.
func parseTime(s string) (time.Time, error) {
	var t time.Time
	if err := t.UnmarshalText([]byte(s)); err != nil || !strings.HasSuffix(s, "Z") {
		return t, fmt.Errorf("created is not RFC 3339 in UTC: %w", ErrCorrupt)
	}
	return t, nil
}

func (e *Epoch) parseWraps(raw []json.RawMessage) error {
	if len(raw) == 0 {
		return fmt.Errorf("no wraps: %w", ErrCorrupt)
	}
	seen := make(map[string]bool, len(raw))
	for i, r := range raw {
		w, err := parseWrap(r)
		if err != nil {
			return fmt.Errorf("wrap %d: %w", i, err)
		}
		if seen[w.Key] {
			return fmt.Errorf("wrap %d: key repeated: %w", i, ErrCorrupt)
		}
		seen[w.Key] = true
		e.Wraps = append(e.Wraps, w)
	}
	return nil
}

func parseWrap(raw json.RawMessage) (Wrap, error) {
	var w Wrap
	m, err := parseObject(raw)
	if err != nil {
		return w, err
	}
	context, hasContext := m["context"]
	delete(m, "context")
	var blob string
	if err := m.takeAll(field{"key", &w.Key}, field{"type", &w.Type}, field{"blob", &blob}); err != nil {
		return w, err
	}
	if err := checkKeyID(w.Type, w.Key); err != nil {
		return w, err
	}
	if w.Blob, err = parseBase64(blob); err != nil {
		return w, err
	}
	if hasContext {
		w.Context, err = parseContext(w.Type, context)
	}
	return w, err
}

// checkKeyID holds a key id to the form of its type.
func checkKeyID(kind, id string) error {
	var ok bool
	switch kind {
	case KindKMS:
		ok = kmsID.MatchString(id) && len(id) <= 2048
	case KindAES, KindAge:
		ok = hashedID.MatchString(id) && strings.HasPrefix(id, kind+":")
	default:
		return fmt.Errorf("type unknown: %w", ErrVersion)
	}
	if !ok {
		return fmt.Errorf("key id is not of type %s: %w", kind, ErrCorrupt)
	}
	return nil
}

func parseContext(kind string, raw json.RawMessage) (map[string]string, error) {
	if kind != KindKMS {
		return nil, fmt.Errorf("context with type %s: %w", kind, ErrCorrupt)
	}
	m, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	context := make(map[string]string, len(m))
	for name := range m {
		var value string
		if err := m.take(name, &value); err != nil {
			return nil, err
		}
		context[name] = value
	}
	return context, nil
}

// object is a JSON object whose members are not yet parsed.
type object map[string]json.RawMessage

// parseObject takes one JSON object apart and refuses a repeated member.
func parseObject(raw []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("not a JSON object: %w", ErrCorrupt)
	}
	m := object{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("bad JSON: %w", ErrCorrupt)
		}
		text, _ := name.(string) // the decoder lets only strings be names
		if _, dup := m[text]; dup {
			return nil, fmt.Errorf("member repeated: %w", ErrCorrupt)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("bad JSON: %w", ErrCorrupt)
		}
		m[text] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("bad JSON: %w", ErrCorrupt)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one JSON value: %w", ErrCorrupt)
	}
	return m, nil
}

type field struct {
	name string
	into any
}

// takeAll takes the fields, and refuses what is left.
func (m object) takeAll(fields ...field) error {
	missing := error(nil)
	for _, f := range fields {
		if err := m.take(f.name, f.into); err != nil && missing == nil {
			missing = err
		}
		delete(m, f.name)
	}
	if len(m) > 0 { // before what is missing: a later version may do without
		return fmt.Errorf("member unknown: %w", ErrVersion)
	}
	return missing
}

// take parses one member, which must be there and not null, and removes it.
func (m object) take(name string, into any) error {
	raw, ok := m[name]
	if !ok {
		return fmt.Errorf("%s is missing: %w", name, ErrCorrupt)
	}
	delete(m, name)
	if string(raw) == "null" || json.Unmarshal(raw, into) != nil {
		return fmt.Errorf("%s is not of its type: %w", name, ErrCorrupt)
	}
	return nil
}
