package sigil

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// Names of the user metadata, without the x-amz-meta- prefix.
const (
	MetaSigil = "sigil"
	MetaSeal  = "sigil-seal"
)

const (
	sealSalt   = 16
	sealPrefix = sealSalt + commitSize

	// maxSeal is the longest sealed record: as base64 with both names and the
	// other value it stays under S3's 2,048 bytes of user metadata.
	maxSeal = 1485
)

// Header is an object's metadata: which epoch, which layout, and the sealed
// record. Two headers of one seal are equal under ==.
type Header struct {
	Epoch  EpochID
	Layout byte // 0 or 1

	seal string // salt || commitment || sealed record
}

var headerForm = regexp.MustCompile(`^1 ([01]) ([a-z2-7]{26})$`)

// ParseHeader reads an object's user metadata, names in lower case without
// x-amz-meta-. Errors: objcrypt.ErrDowngrade where there is no `sigil` (the
// object is not encrypted with this format), objcrypt.ErrVersion for another
// version, objcrypt.ErrCorrupt for anything malformed, a header sent twice too.
func ParseHeader(metadata map[string]string) (Header, error) {
	value, ok := metadata[MetaSigil]
	if !ok {
		return Header{}, fmt.Errorf("no %s metadata: the object was not sealed with this format: %w", MetaSigil, objcrypt.ErrDowngrade)
	}
	h, err := parseSigil(value)
	if err != nil {
		return Header{}, err
	}
	seal, ok := metadata[MetaSeal]
	if !ok {
		return Header{}, fmt.Errorf("no %s metadata: %w", MetaSeal, objcrypt.ErrCorrupt)
	}
	if h.seal, err = parseSeal(seal); err != nil {
		return Header{}, err
	}
	return h, nil
}

// parseSigil reads the value of `sigil`.
func parseSigil(value string) (Header, error) {
	m := headerForm.FindStringSubmatch(value)
	if m == nil {
		if otherVersion(value) {
			return Header{}, fmt.Errorf("%s metadata of another version: %w", MetaSigil, objcrypt.ErrVersion)
		}
		return Header{}, fmt.Errorf("%s metadata is malformed: %w", MetaSigil, objcrypt.ErrCorrupt)
	}
	id, err := ParseEpochID(m[2])
	if err != nil {
		return Header{}, fmt.Errorf("%s metadata: %w", MetaSigil, err)
	}
	return Header{Epoch: id, Layout: m[1][0] - '0'}, nil
}

// otherVersion tells whether value begins with a whole number other than 1.
func otherVersion(value string) bool {
	number, _, _ := strings.Cut(value, " ")
	if number == "" || number == "1" {
		return false
	}
	return strings.Trim(number, "0123456789") == "" && (number == "0" || number[0] != '0')
}

// parseSeal reads the value of `sigil-seal`: standard base64, padded and
// canonical.
func parseSeal(value string) (string, error) {
	if len(value) > base64.StdEncoding.EncodedLen(maxSeal) {
		return "", fmt.Errorf("%s metadata of %d bytes: %w", MetaSeal, len(value), objcrypt.ErrCorrupt)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(value)
	// Even the strict decoder passes over CR and LF.
	if err != nil || base64.StdEncoding.EncodeToString(raw) != value {
		return "", fmt.Errorf("%s metadata is not canonical base64: %w", MetaSeal, objcrypt.ErrCorrupt)
	}
	if len(raw) <= sealPrefix+TagSize {
		return "", fmt.Errorf("%s metadata holds %d bytes only: %w", MetaSeal, len(raw), objcrypt.ErrCorrupt)
	}
	return string(raw), nil
}

// Metadata gives the user metadata to be stored with the object.
func (h Header) Metadata() map[string]string {
	return map[string]string{MetaSigil: h.sigil(), MetaSeal: h.sealText()}
}

// sigil is the value of that name, and the record's additional data.
func (h Header) sigil() string { return fmt.Sprintf("1 %d %s", h.Layout, h.Epoch) }

func (h Header) sealText() string { return base64.StdEncoding.EncodeToString([]byte(h.seal)) }

// Equal tells whether both are the same seal: after a write whose answer was
// lost, whether what lies there is ours.
func (h Header) Equal(other Header) bool { return h == other }

// Digest is SHA-256 of the value of sigil-seal: what a host remembers of a
// seal that it wrote or read.
func (h Header) Digest() [32]byte { return sha256.Sum256([]byte(h.sealText())) }

// String names the header without the seal.
func (h Header) String() string { return h.sigil() }
