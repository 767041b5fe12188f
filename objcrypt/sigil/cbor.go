package sigil

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"

	"github.com/fxamacker/cbor/v2"
	"github.com/sigilfs/sigilfs/objcrypt"
)

// firstIgnorable is the first field that a reader may pass over.
const firstIgnorable = 64

// maxNested is how deep arrays and maps may be nested, the record itself
// included.
const maxNested = 32

// encoding is RFC 8949, 4.2.1 (core deterministic encoding), without tags.
// What else is left out of it, allowed says.
var encoding = must(cbor.EncOptions{
	Sort:          cbor.SortCoreDeterministic,
	IndefLength:   cbor.IndefLengthForbidden,
	NilContainers: cbor.NilContainerAsEmpty,
	TagsMd:        cbor.TagsForbidden,
}.EncMode())

var decoding = must(cbor.DecOptions{
	DupMapKey:       cbor.DupMapKeyEnforcedAPF,
	IndefLength:     cbor.IndefLengthForbidden,
	TagsMd:          cbor.TagsForbidden,
	IntDec:          cbor.IntDecConvertNone,
	MaxNestedLevels: maxNested,
}.DecMode())

func must[T any](mode T, err error) T {
	if err != nil {
		panic("sigil: cbor: " + err.Error())
	}
	return mode
}

// fields are those of a CBOR map with integer keys. The first field that is
// not as it must be is remembered in err.
type fields struct {
	m   map[uint64]any
	err error
}

// decodeFields reads the map at the beginning of data and gives what follows
// it. Whatever is not the deterministic encoding of such a map is
// objcrypt.ErrCorrupt; a negative key is a field below 64 that we do not know.
func decodeFields(data []byte) (*fields, []byte, error) {
	var v any
	rest, err := decoding.UnmarshalFirst(data, &v)
	if err != nil {
		return nil, nil, fmt.Errorf("not deterministic CBOR: %s: %w", reason(err), objcrypt.ErrCorrupt)
	}
	if !allowed(v) {
		return nil, nil, fmt.Errorf("CBOR holds a float, a simple value, or a name that is neither integer nor text: %w", objcrypt.ErrCorrupt)
	}
	// Whether lengths and numbers were the shortest and keys sorted shows when
	// the value is encoded again.
	again, err := encoding.Marshal(v)
	same := err == nil && bytes.Equal(again, data[:len(data)-len(rest)])
	clear(again)
	if !same {
		return nil, nil, fmt.Errorf("CBOR is not in its shortest, sorted form: %w", objcrypt.ErrCorrupt)
	}
	m, ok := v.(map[any]any)
	if !ok {
		return nil, nil, fmt.Errorf("CBOR is not a map: %w", objcrypt.ErrCorrupt)
	}
	f, err := numbered(m)
	return f, rest, err
}

// allowed tells whether v is made of integers, byte strings, texts, arrays, maps
// named by integers or texts, false, true and null: of which every language
// has one notion, floats not included.
func allowed(v any) bool {
	switch v := v.(type) {
	case nil, bool, uint64, int64, big.Int, []byte, string:
		return true
	case []any:
		return !slices.ContainsFunc(v, func(item any) bool { return !allowed(item) })
	case map[any]any:
		for name, value := range v {
			switch name.(type) {
			case uint64, int64, big.Int, string:
			default:
				return false
			}
			if !allowed(value) {
				return false
			}
		}
		return true
	}
	return false
}

// numbered gives the fields of m, whose names are unsigned integers.
func numbered(m map[any]any) (*fields, error) {
	f := &fields{m: make(map[uint64]any, len(m))}
	negative := false
	for k, value := range m {
		switch k := k.(type) {
		case uint64:
			f.m[k] = value
		case string:
			return nil, fmt.Errorf("field name is a text, not an integer: %w", objcrypt.ErrCorrupt)
		default:
			negative = true
		}
	}
	if negative {
		return nil, fmt.Errorf("unknown negative field: %w", objcrypt.ErrVersion)
	}
	return f, nil
}

// reason names what is wrong without the library's text, which may quote data.
func reason(err error) string {
	var dup *cbor.DupMapKeyError
	var syntax *cbor.SyntaxError
	switch {
	case errors.As(err, &dup):
		return "duplicate key"
	case errors.As(err, &syntax):
		return "malformed"
	default:
		return "not well-formed or not allowed"
	}
}

// take removes field key and gives its value.
func (f *fields) take(key uint64) (any, bool) {
	v, ok := f.m[key]
	delete(f.m, key)
	return v, ok
}

func (f *fields) fail(key uint64, why string) {
	if f.err == nil {
		f.err = fmt.Errorf("field %d %s: %w", key, why, objcrypt.ErrCorrupt)
	}
}

// uint takes a required unsigned number of at most limit.
func (f *fields) uint(key, limit uint64) uint64 {
	n, ok := f.optionalUint(key, limit)
	if !ok {
		f.fail(key, "is missing")
	}
	return n
}

func (f *fields) optionalUint(key, limit uint64) (uint64, bool) {
	v, ok := f.take(key)
	if !ok {
		return 0, false
	}
	n, isUint := v.(uint64)
	if !isUint || n > limit {
		f.fail(key, fmt.Sprintf("is not an unsigned number up to %d", limit))
		return 0, true
	}
	return n, true
}

// int takes a required signed number of 64 bits.
func (f *fields) int(key uint64) int64 {
	v, ok := f.take(key)
	switch n := v.(type) {
	case int64:
		return n
	case uint64:
		if n <= math.MaxInt64 {
			return int64(n)
		}
	}
	if !ok {
		f.fail(key, "is missing")
	}
	f.fail(key, "is not a signed number of 64 bits")
	return 0
}

// bytes takes a required byte string of len(dst) bytes into dst, and clears
// the copy that the decoder made.
func (f *fields) bytes(key uint64, dst []byte) {
	if !f.optionalBytes(key, dst) {
		f.fail(key, "is missing")
	}
}

func (f *fields) optionalBytes(key uint64, dst []byte) bool {
	v, ok := f.take(key)
	if !ok {
		return false
	}
	b, isBytes := v.([]byte)
	if !isBytes || len(b) != len(dst) {
		f.fail(key, fmt.Sprintf("is not a byte string of %d bytes", len(dst)))
		return true
	}
	copy(dst, b)
	clear(b)
	return true
}

// rest gives the fields that nobody took. One below 64 is critical, and goes
// before what is wrong with others: it may be the reason.
func (f *fields) rest() (map[uint64]any, error) {
	for key := range f.m {
		if key < firstIgnorable {
			return nil, fmt.Errorf("unknown critical field %d: %w", key, objcrypt.ErrVersion)
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	if len(f.m) == 0 {
		return nil, nil
	}
	return f.m, nil
}
