package sse

import (
	"strconv"
	"strings"
)

// Names of headers.
const (
	prefix       = "x-amz-server-side-encryption"
	sourcePrefix = "x-amz-copy-source-server-side-encryption"

	algorithmHeader = prefix
	keyIDHeader     = prefix + "-aws-kms-key-id"
	contextHeader   = prefix + "-context"
	bucketKeyHeader = prefix + "-bucket-key-enabled"

	// Endings behind prefix and sourcePrefix.
	customerAlgorithm = "-customer-algorithm"
	customerKey       = "-customer-key"
	customerMD5       = "-customer-key-md5"
)

// Values of algorithmHeader and customerAlgorithm.
const (
	aes256  = "AES256"
	awsKMS  = "aws:kms"
	awsDSSE = "aws:kms:dsse"
)

// Write gives the headers of requests that make a body: PUT,
// CreateMultipartUpload, and CopyObject for its destination. Nil is none; the
// map is the caller's.
func (m *Mode) Write() map[string]string {
	switch m.Algorithm() {
	case SSES3:
		return map[string]string{algorithmHeader: aes256}
	case SSEKMS:
		return m.kms(awsKMS)
	case DSSEKMS:
		return m.kms(awsDSSE)
	case SSEC:
		return m.key.headers(prefix)
	}
	return nil
}

func (m *Mode) kms(algorithm string) map[string]string {
	h := map[string]string{algorithmHeader: algorithm}
	if m.keyID != "" {
		h[keyIDHeader] = m.keyID
	}
	if m.encoded != "" {
		h[contextHeader] = m.encoded
	}
	if m.bucketKey != nil {
		h[bucketKeyHeader] = strconv.FormatBool(*m.bucketKey)
	}
	return h
}

// Read gives the headers of requests about a body that is there or was begun:
// GET, HEAD, UploadPart, UploadPartCopy for its destination, and
// CompleteMultipartUpload. Only SSE-C has any; S3 refuses the others there.
func (m *Mode) Read() map[string]string {
	if m.Algorithm() != SSEC {
		return nil
	}
	return m.key.headers(prefix)
}

// Source gives the headers of CopyObject and UploadPartCopy for their source.
// Only SSE-C has any.
func (m *Mode) Source() map[string]string {
	if m.Algorithm() != SSEC {
		return nil
	}
	return m.key.headers(sourcePrefix)
}

// Told tells whether an answer says anything of encryption. Some answers do
// not, those to Copy and Complete above all: then only a HEAD can confirm.
func (m *Mode) Told(answer map[string]string) bool {
	for name := range answer {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
