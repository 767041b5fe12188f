package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Bounds of a policy. Amazon S3 takes 20 KiB (Amazon S3 User Guide, "Bucket
// policies for Amazon S3").
const (
	maxPolicy     = 128 << 10
	maxStatements = 1000
)

// document is a bucket's policy (IAM User Guide, "IAM JSON policy elements
// reference"), as far as anybody here needs to know it.
type document struct {
	Statement list[statement]
}

type statement struct {
	Sid, Effect           string
	Principal             principal
	NotPrincipal          json.RawMessage
	Action, NotAction     list[text]
	Resource, NotResource list[text]
	Condition             map[string]map[string]list[text] // operator, key, values
}

// list is one thing or an array of them.
type list[T any] []T

// UnmarshalJSON takes both.
func (l *list[T]) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]T)(l))
	}
	var one T
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*l = list[T]{one}
	return nil
}

// text is a string; conditions may have numbers and booleans for it.
type text string

// UnmarshalJSON takes these.
func (t *text) UnmarshalJSON(b []byte) error {
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return err
	}
	switch v := v.(type) {
	case string:
		*t = text(v)
	case bool, json.Number:
		*t = text(fmt.Sprint(v))
	default:
		return errors.New("neither a string nor a number nor a boolean")
	}
	return nil
}

// principal is who a statement is about: everybody, or others, among whom we
// may be.
type principal struct{ given, everybody bool }

// UnmarshalJSON takes "*", and the maps by kind.
func (p *principal) UnmarshalJSON(b []byte) error {
	p.given = true
	var all text
	if json.Unmarshal(b, &all) == nil {
		p.everybody = all == "*"
		return nil
	}
	var kinds map[string]list[text]
	if err := json.Unmarshal(b, &kinds); err != nil {
		return err
	}
	for kind, names := range kinds {
		for _, n := range names {
			p.everybody = p.everybody || n == "*" && (kind == "AWS" || kind == "*")
		}
	}
	return nil
}

// parsePolicy reads a policy whole.
func parsePolicy(b []byte) (document, error) {
	var doc document
	if len(b) > maxPolicy {
		return doc, fmt.Errorf("policy of %d bytes", len(b))
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&doc); err != nil {
		return document{}, fmt.Errorf("policy: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return document{}, errors.New("policy: something follows it")
	}
	if len(doc.Statement) > maxStatements {
		return document{}, fmt.Errorf("policy of %d statements", len(doc.Statement))
	}
	return doc, nil
}
