package keyring

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"filippo.io/age/armor"
)

// Lengths of a 32-byte key in text.
const (
	hexKey    = 64
	base64Key = 44
)

// parseKey takes 32 raw bytes, 64 hex digits or 44 characters of base64, the
// latter two perhaps with a line break, and tells them apart by length. The
// error, a clause about the source, shows nothing of the content.
func parseKey(data []byte) ([KeySize]byte, error) {
	var raw []byte
	switch line := trimLine(data); {
	case len(data) == KeySize:
		if printable(data) { // a random key is, once in 10^13
			return [KeySize]byte{}, fmt.Errorf("holds 32 characters of text, which is no random key; make one with `sigilfs keygen`")
		}
		raw = data
	case len(line) == hexKey:
		raw = make([]byte, KeySize)
		if _, err := hex.Decode(raw, line); err != nil {
			return [KeySize]byte{}, fmt.Errorf("holds 64 characters that are not all hex digits")
		}
	case len(line) == base64Key:
		var err error
		if raw, err = parseBase64(string(line)); err != nil || len(raw) != KeySize {
			return [KeySize]byte{}, fmt.Errorf("holds 44 characters that are not base64 of 32 bytes")
		}
	default:
		return [KeySize]byte{}, fmt.Errorf("holds %d bytes; a key is 32 raw bytes, 64 hex digits or 44 characters of base64", len(data))
	}
	if bytes.Count(raw, raw[:1]) == KeySize {
		return [KeySize]byte{}, fmt.Errorf("holds one byte 32 times, which is no key")
	}
	return [KeySize]byte(raw), nil
}

// trimLine drops one line break at the end.
func trimLine(data []byte) []byte {
	data = bytes.TrimSuffix(data, []byte("\n"))
	return bytes.TrimSuffix(data, []byte("\r"))
}

func printable(data []byte) bool {
	for _, c := range data {
		if (c < ' ' || c > '~') && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return true
}

// looksLikeAge recognises an identity file of age, protected or not, an
// OpenSSH private key, or a recipients file: what an AES key never looks like.
func looksLikeAge(data []byte) bool {
	if isAgeFile(data) {
		return true
	}
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		for _, mark := range []string{"AGE-SECRET-KEY-", "AGE-PLUGIN-", "age1", "ssh-", sshHeader} {
			if bytes.HasPrefix(line, []byte(mark)) {
				return true
			}
		}
		return false
	}
	return false
}

// isAgeFile recognises a file that is encrypted with age, armored or not.
func isAgeFile(data []byte) bool {
	return bytes.HasPrefix(data, []byte("age-encryption.org/")) || bytes.HasPrefix(bytes.TrimSpace(data), []byte(armor.Header))
}
