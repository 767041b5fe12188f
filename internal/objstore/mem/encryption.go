package mem

import (
	"context"
	"crypto/md5" //nolint:gosec // what S3 checks a customer's key by
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Names and values of headers (Amazon S3 API Reference, PutObject).
const (
	algorithmHeader = "x-amz-server-side-encryption"
	keyIDHeader     = algorithmHeader + "-aws-kms-key-id"
	contextHeader   = algorithmHeader + "-context"
	bucketKeyHeader = algorithmHeader + "-bucket-key-enabled"
	customerPrefix  = algorithmHeader + "-customer"
	sourcePrefix    = "x-amz-copy-source-server-side-encryption-customer"

	aes256  = "AES256"
	awsKMS  = "aws:kms"
	awsDSSE = "aws:kms:dsse"
)

// protection is how a body is encrypted, by the values of its headers. The zero
// value is not at all.
type protection struct {
	algorithm string
	keyID     string // KMS: the ARN
	context   string // KMS: as it came
	bucketKey bool
	customer  string // SSE-C: the key's MD5; algorithm is empty then
}

// opaque tells whether the ETag of such a body is no MD5 of it (Amazon S3 API
// Reference, Object).
func (p protection) opaque() bool {
	return p.customer != "" || p.algorithm == awsKMS || p.algorithm == awsDSSE
}

// headers are those of an answer; nil for no encryption.
func (p protection) headers() objstore.Header {
	if p.customer != "" {
		return objstore.Header{customerPrefix + "-algorithm": aes256, customerPrefix + "-key-md5": p.customer}
	}
	if p.algorithm == "" {
		return nil
	}
	h := objstore.Header{algorithmHeader: p.algorithm}
	if p.keyID != "" {
		h[keyIDHeader] = p.keyID
	}
	if p.bucketKey {
		h[bucketKeyHeader] = "true"
	}
	return h
}

// made are the headers of the answer to a write, which tells the context too.
func (p protection) made() objstore.Header {
	h := p.headers()
	if p.context != "" {
		h[contextHeader] = p.context
	}
	return h
}

// completed are those of the answer to Complete, which is silent about SSE-C.
func (p protection) completed() objstore.Header {
	if p.customer != "" {
		return nil
	}
	return p.headers()
}

// protect finds out how a body is to be encrypted that is written with these
// headers. s.mu is held.
func (s *Store) protect(h objstore.Header) (p protection, err error) {
	if s.opt.IgnoreEncryption {
		return p, nil
	}
	if len(h) == 0 {
		h = s.opt.DefaultEncryption
	}
	customer, err := customerKey(h, customerPrefix)
	switch algorithm := h[algorithmHeader]; {
	case err != nil:
		return p, err
	case customer != "" && algorithm != "":
		return p, fmt.Errorf("a key together with %s: %w", algorithm, objstore.ErrInvalid)
	case customer != "" && s.opt.BlockCustomerKeys:
		return p, objstore.ErrKeyBlocked
	case customer != "":
		return protection{customer: customer}, nil
	case algorithm == awsKMS || algorithm == awsDSSE:
		return s.protectByKMS(h)
	case h[keyIDHeader] != "" || h[contextHeader] != "":
		return p, fmt.Errorf("a KMS key or context without %s: %w", awsKMS, objstore.ErrInvalid)
	case algorithm == aes256 || algorithm == "":
		return protection{algorithm: algorithm}, nil
	default:
		return p, fmt.Errorf("encryption %q: %w", algorithm, objstore.ErrInvalid)
	}
}

func (s *Store) protectByKMS(h objstore.Header) (p protection, err error) {
	p = protection{algorithm: h[algorithmHeader], context: h[contextHeader]}
	if s.opt.NoKMS || s.opt.NoDSSE && p.algorithm == awsDSSE {
		return p, objstore.ErrUnsupported
	}
	if err := checkContext(p.context); err != nil {
		return p, err
	}
	if text, ok := h[bucketKeyHeader]; ok {
		if p.bucketKey, err = strconv.ParseBool(text); err != nil {
			return p, fmt.Errorf("bucket key %q: %w", text, objstore.ErrInvalid)
		}
	} else if s.opt.DefaultEncryption[bucketKeyHeader] == "true" {
		p.bucketKey = true
	}
	p.bucketKey = p.bucketKey && p.algorithm == awsKMS && !s.opt.NoBucketKeys
	p.keyID, err = s.resolve(h[keyIDHeader])
	if err != nil {
		return p, err
	}
	return p, s.usable(p)
}

// checkContext wants base64 of a JSON object of strings.
func checkContext(text string) error {
	if text == "" {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("encryption context: %w", objstore.ErrInvalid)
	}
	var pairs map[string]string
	if json.Unmarshal(data, &pairs) != nil {
		return fmt.Errorf("encryption context: %w", objstore.ErrInvalid)
	}
	return nil
}

// customerKey reads the three headers of a key and gives its MD5, "" for none.
func customerKey(h objstore.Header, prefix string) (sum string, err error) {
	algorithm, key, sum := h[prefix+"-algorithm"], h[prefix+"-key"], h[prefix+"-key-md5"]
	if algorithm == "" && key == "" && sum == "" {
		return "", nil
	}
	data, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(data) != 32 || algorithm != aes256 {
		return "", fmt.Errorf("key of SSE-C: %w", objstore.ErrInvalid)
	}
	if got := md5.Sum(data); base64.StdEncoding.EncodeToString(got[:]) != sum { //nolint:gosec // see the import
		return "", fmt.Errorf("MD5 of the key of SSE-C: %w", objstore.ErrInvalid)
	}
	return sum, nil
}

// open checks that a request whose key is in h may read a body. s.mu is held.
func (s *Store) open(p protection, h objstore.Header, prefix string) error {
	if s.opt.IgnoreEncryption {
		return nil
	}
	for name := range h {
		if !strings.HasPrefix(name, prefix) {
			return fmt.Errorf("header %s of a read: %w", name, objstore.ErrInvalid)
		}
	}
	key, err := customerKey(h, prefix)
	switch {
	case err != nil:
		return err
	case key == p.customer:
		return nil
	case key == "":
		return objstore.ErrKeyNeeded
	case p.customer == "":
		return objstore.ErrKeyUnwanted
	}
	return objstore.ErrKeyWrong
}

// decrypt is open for requests that need the body, not only what is known of it.
func (s *Store) decrypt(p protection, h objstore.Header, prefix string) error {
	if err := s.open(p, h, prefix); err != nil {
		return err
	}
	return s.usable(p)
}

// tag gives the ETag of a body: its MD5, or nothing that can be known
// beforehand. s.mu is held.
func (s *Store) tag(data []byte, p protection) string {
	sum := md5.New() //nolint:gosec // see the import
	sum.Write(data)
	if p.opaque() {
		s.serial++
		fmt.Fprintf(sum, "ciphertext %d", s.serial)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// DefaultEncryption is objstore.Defaulter's.
func (s *Store) DefaultEncryption(ctx context.Context) (objstore.Default, error) {
	if err := ctx.Err(); err != nil {
		return objstore.Default{}, wrap("default encryption of", "", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone:
		return objstore.Default{}, wrap("default encryption of", "", objstore.ErrBucket)
	case s.opt.IgnoreEncryption:
		return objstore.Default{}, wrap("default encryption of", "", objstore.ErrUnsupported)
	}
	return objstore.Default{Encrypted: maps.Clone(s.opt.DefaultEncryption), KeysBlocked: s.opt.BlockCustomerKeys}, nil
}
