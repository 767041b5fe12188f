package s3ec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"strings"
	"unicode/utf8"
)

// Names in an encryption context that belong to the formats.
const (
	contextCEK = "aws:x-amz-cek-alg"
	contextCMK = "kms_cmk_id"
)

// checkContext refuses names that the formats put into a context themselves.
func checkContext(c map[string]string) error {
	for _, name := range []string{contextCEK, contextCMK} {
		if has(c, name) {
			return fmt.Errorf("%q is reserved: %w", name, ErrContext)
		}
	}
	return nil
}

// checkWritable refuses what S3 would give back changed, or HTTP would not
// carry: anything but printable ASCII.
func checkWritable(c map[string]string) error {
	for name, value := range c {
		if !printable(name) || !printable(value) {
			return fmt.Errorf("%q: %q is not printable ASCII: %w", name, value, ErrContext)
		}
	}
	return nil
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// sameContext compares the configured context with the one stored, less the
// names that the formats add.
func sameContext(configured map[string]string, e *Envelope) bool {
	return maps.Equal(configured, e.Context())
}

// formatMap gives a JSON object with sorted names.
func formatMap(m map[string]string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if m == nil {
		m = map[string]string{}
	}
	if err := enc.Encode(m); err != nil {
		panic("s3ec: json: " + err.Error()) // strings always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

var errMap = errors.New("not one JSON object of distinct names and strings")

// parseMap reads one JSON object of strings. A name that comes twice is
// refused, since readers differ in which one they take.
func parseMap(data string) (map[string]string, error) {
	if !utf8.ValidString(data) {
		return nil, errMap
	}
	d := json.NewDecoder(strings.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errMap
	}
	m := map[string]string{}
	for d.More() {
		name, err := stringToken(d)
		if err != nil || has(m, name) {
			return nil, errMap
		}
		if m[name], err = stringToken(d); err != nil {
			return nil, errMap
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errMap
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errMap
	}
	return m, nil
}

func stringToken(d *json.Decoder) (string, error) {
	t, err := d.Token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", errMap
	}
	return s, nil
}

// parseContext reads a header that holds a map; none or an empty one is {}.
func parseContext(md Metadata, name string) (map[string]string, error) {
	value := undoRFC2047(md[name])
	if value == "" {
		return map[string]string{}, nil
	}
	m, err := parseMap(value)
	if err != nil {
		return nil, corrupt("%s is %v", name, err)
	}
	return m, nil
}

// undoRFC2047 gives a header as it was written. S3 reads the UTF-8 of a
// header as Latin-1, and answers with the RFC 2047 encoding of that, from its
// first byte on. JSON begins otherwise.
func undoRFC2047(value string) string {
	if !strings.HasPrefix(value, "=?") {
		return value
	}
	decoded, err := new(mime.WordDecoder).DecodeHeader(value)
	if err != nil {
		return value
	}
	latin := make([]byte, 0, len(decoded))
	for _, r := range decoded {
		if r > 0xff {
			return decoded
		}
		latin = append(latin, byte(r))
	}
	if !utf8.Valid(latin) {
		return decoded
	}
	return string(latin)
}
