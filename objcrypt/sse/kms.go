package sse

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// Bounds, in bytes, of what is sent in headers.
const (
	maxKeyID   = 2048 // AWS KMS API Reference, Encrypt, KeyId
	maxContext = 8192 // AWS KMS Developer Guide, "Encryption context", as JSON
)

// encodeContext gives the header of an encryption context: base64 of JSON, with
// sorted names. None is the empty string.
func encodeContext(context map[string]string) (string, error) {
	if len(context) == 0 {
		return "", nil
	}
	for name, value := range context {
		if name == "" || !isPrintable(name) || !isPrintable(value) {
			return "", fmt.Errorf("encryption context %q: names and values must be printable ASCII: %w", name, ErrInvalid)
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(context); err != nil {
		return "", fmt.Errorf("encryption context: %w", err)
	}
	text := bytes.TrimRight(b.Bytes(), "\n")
	if len(text) > maxContext {
		return "", fmt.Errorf("encryption context: %d bytes are more than %d: %w", len(text), maxContext, ErrInvalid)
	}
	return base64.StdEncoding.EncodeToString(text), nil
}

func isPrintable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// key is what names a KMS key.
type key struct {
	home  string // "arn:PARTITION:kms:REGION:ACCOUNT" of an ARN
	alias bool
	name  string // the ID or, of an alias, "alias/NAME"
}

// parse reads a key ID, a key ARN, "alias/NAME", an alias ARN, and
// "arn:aws:kms:NAME", as which MinIO answers its NAME.
func parse(s string) (k key, ok bool) {
	if name, short := strings.CutPrefix(s, "arn:aws:kms:"); short && !strings.Contains(name, ":") {
		s = name
	}
	if arn := strings.SplitN(s, ":", 6); arn[0] == "arn" {
		if len(arn) != 6 || !is(arn[1], words) || arn[2] != "kms" || !is(arn[3], words) || !is(arn[4], words) {
			return key{}, false
		}
		k.home, s = strings.Join(arn[:5], ":"), arn[5]
		if id, isKey := strings.CutPrefix(s, "key/"); isKey {
			k.name = id
			return k, is(id, words)
		}
		if !strings.HasPrefix(s, aliasPrefix) {
			return key{}, false
		}
	}
	k.name = s
	if name, alias := strings.CutPrefix(s, aliasPrefix); alias {
		k.alias = true
		return k, is(name, words+"/")
	}
	return k, is(s, words+".")
}

const (
	aliasPrefix = "alias/"
	words       = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
)

// is tells whether s has only letters of the set, and any at all.
func is(s, set string) bool { return s != "" && strings.Trim(s, set) == "" }

func checkKeyID(s string) error {
	if s == "" {
		return nil
	}
	if _, ok := parse(s); !ok || len(s) > maxKeyID {
		return fmt.Errorf("%s is no ID, ARN or alias of a KMS key: %w", printable(s), ErrInvalid)
	}
	return nil
}

// sameKey compares what was asked with what a server answered, as far as the
// two can be compared: an alias does not tell its key, only where that lives.
func sameKey(asked, came string) bool {
	if asked == "" || asked == came {
		return true
	}
	a, ok := parse(asked)
	c, ok2 := parse(came)
	switch {
	case !ok || !ok2 || a.home != "" && c.home != "" && a.home != c.home:
		return false
	case a.alias && !c.alias && c.home != "":
		return true
	}
	return a.alias == c.alias && a.name == c.name
}
