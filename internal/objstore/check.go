package objstore

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// MaxMetadata bounds user metadata: the sum of the bytes of all names and
// values (AWS S3 User Guide, "Working with object metadata").
const MaxMetadata = 2 << 10

// CheckKey refuses keys that no server takes: the empty one (ErrInvalid) and
// those over MaxKeyLen (ErrTooLong).
func CheckKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("empty key: %w", ErrInvalid)
	case len(key) > MaxKeyLen:
		return fmt.Errorf("key of %d bytes: %w", len(key), ErrTooLong)
	}
	return nil
}

// CheckMetadata refuses metadata that would not come back as it was sent:
// names must be lower-case tokens (RFC 9110, 5.6.2), values printable ASCII
// without blanks at either end (servers encode the rest each in its own way).
// Over MaxMetadata bytes is ErrTooLarge, all else ErrInvalid.
func CheckMetadata(metadata map[string]string) error {
	total := 0
	for name, value := range metadata {
		if !isName(name) {
			return fmt.Errorf("metadata name %q: %w", name, ErrInvalid)
		}
		if !isValue(value) {
			return fmt.Errorf("value of metadata %q: %w", name, ErrInvalid)
		}
		total += len(name) + len(value)
	}
	if total > MaxMetadata {
		return fmt.Errorf("metadata of %d bytes: %w", total, ErrTooLarge)
	}
	return nil
}

// CheckSystem refuses what is none of SystemMetadata, and values with control
// characters: ErrInvalid.
func CheckSystem(system map[string]string) error {
	for name, value := range system {
		if !slices.Contains(SystemMetadata(), name) {
			return fmt.Errorf("system metadata %q: %w", name, ErrInvalid)
		}
		if strings.ContainsFunc(value, unicode.IsControl) {
			return fmt.Errorf("value of %s: %w", name, ErrInvalid)
		}
	}
	return nil
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

func isValue(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return strings.Trim(s, " ") == s
}

// Check refuses what asks for nothing definite: negative numbers, or a suffix
// together with an offset.
func (r Range) Check() error {
	if r.Off < 0 || r.Len < 0 || r.Suffix < 0 || r.Suffix > 0 && (r.Off != 0 || r.Len != 0) {
		return fmt.Errorf("range %+v: %w", r, ErrInvalid)
	}
	return nil
}

// Of resolves r against a body of size bytes: n bytes from off. Off is size
// where nothing is left.
func (r Range) Of(size int64) (off, n int64) {
	if r.Suffix > 0 {
		n = min(r.Suffix, size)
		return size - n, n
	}
	off = min(r.Off, size)
	n = size - off
	if r.Len > 0 {
		n = min(n, r.Len)
	}
	return off, n
}

// Rewind brings body to offset 0 after seeing that it is size bytes long.
func Rewind(body io.ReadSeeker, size int64) error {
	n, err := body.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if n != size {
		return fmt.Errorf("body of %d bytes, not %d: %w", n, size, ErrInvalid)
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return nil
}
