package config

import (
	"slices"
	"strings"
)

// Mode is who encrypts, and how.
type Mode string

// Modes.
const (
	None          Mode = "none"           // nobody
	BucketDefault Mode = "bucket-default" // S3, as the bucket is configured
	SSES3         Mode = "sse-s3"         // S3, its own keys
	SSEKMS        Mode = "sse-kms"        // S3, a key of KMS
	DSSEKMS       Mode = "dsse-kms"       // S3, twice
	SSEC          Mode = "sse-c"          // S3, a key that goes with each request
	Client        Mode = "client"         // this host, sigil format
	S3EC          Mode = "s3ec"           // this host, Amazon S3 Encryption Client formats
)

// Modes are all, in the order in which they are told.
func Modes() []Mode {
	return []Mode{Client, S3EC, SSES3, SSEKMS, DSSEKMS, SSEC, BucketDefault, None}
}

// Kind is what a key is.
type Kind string

// Kinds. Bare is that of a key that a flag names by its place alone; Settle
// makes it what its use demands: ssec under mode sse-c, aes under s3ec; in mode
// client it stays, and the content tells an AES key from an age identity.
const (
	Bare Kind = ""
	KMS  Kind = "kms"
	Age  Kind = "age"
	AES  Kind = "aes"
	SSE  Kind = "ssec" // a customer key of SSE-C
	RSA  Kind = "rsa"  // a private key, which only reads s3ec objects
)

// use is how a mode takes keys and fields.
type use struct {
	kinds       []Kind // of its keys
	least, most int    // of its keys
	fields      []string
}

func (m Mode) use() (use, bool) {
	const many = 16
	kms := []string{"key", "context", "require-encryption"}
	own := []string{"key", "sse", "allow-plaintext", "require-encryption"}
	u, ok := map[Mode]use{
		None:          {},
		BucketDefault: {fields: []string{"require-encryption"}},
		SSES3:         {fields: []string{"require-encryption"}},
		SSEKMS:        {[]Kind{KMS}, 0, 1, append(kms, "bucket-key")},
		DSSEKMS:       {[]Kind{KMS}, 0, 1, kms},
		SSEC:          {[]Kind{SSE}, 1, 1, []string{"key", "require-encryption"}},
		Client:        {[]Kind{KMS, Age, AES}, 1, many, append(own, "compress")},
		S3EC: {[]Kind{KMS, AES, RSA}, 1, 1, append(own, "context", "s3ec-version", "s3ec-legacy-wrapping",
			"s3ec-legacy-cbc", "s3ec-require-commitment", "instruction-files")},
	}[m]
	return u, ok
}

// Takes tells whether keys of that kind go with the mode. A bare one goes with
// those that can have a key from a file.
func (m Mode) Takes(k Kind) bool {
	u, _ := m.use()
	if k == Bare {
		return slices.Contains(u.kinds, AES) || slices.Contains(u.kinds, SSE)
	}
	return slices.Contains(u.kinds, k)
}

// HasKeys tells whether any key goes with the mode.
func (m Mode) HasKeys() bool {
	u, _ := m.use()
	return len(u.kinds) > 0
}

// parseMode reads a mode that is one of list.
func parseMode(e entry, list []Mode) (Mode, error) {
	name, err := e.word()
	if err != nil {
		return "", err
	}
	if !slices.Contains(list, Mode(name)) {
		if fieldName.MatchString(name) {
			return "", e.value.at.errorf("%s is no mode; write one of %s", name, join(list))
		}
		return "", e.value.at.errorf("not a mode; write one of %s", join(list))
	}
	return Mode(name), nil
}

// join is for sentences.
func join[S ~string](list []S) string {
	var words []string
	for _, s := range list {
		words = append(words, string(s))
	}
	return strings.Join(words, ", ")
}
