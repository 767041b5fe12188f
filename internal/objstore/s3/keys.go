package s3

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// keyCode gives the sentinel of codes that speak of keys, nil of others. "KMS."
// begins those of AWS (Amazon S3 Developer Guide, "Error responses"), "kms:"
// those of MinIO (internal/kms/errors.go).
func keyCode(code string, status int) error {
	switch code {
	case "KMS.NotFoundException", "kms:KeyNotFound":
		return objstore.ErrKeyMissing
	case "KMS.DisabledException", "KMS.KMSInvalidStateException", "KMSInvalidStateException", "KMS.InvalidKeyUsageException", "kms:InvalidCiphertextException":
		return objstore.ErrKeyDisabled
	case "KMS.AccessDeniedException", "kms:NotAuthorized":
		return objstore.ErrKeyAccess
	case "KMS.ThrottlingException", "KMS.LimitExceededException":
		return objstore.ErrThrottled
	case "kms:NotSupported":
		return objstore.ErrUnsupported
	}
	if (strings.HasPrefix(code, "KMS.") || strings.HasPrefix(code, "kms:")) && status < http.StatusInternalServerError {
		return objstore.ErrKeyDisabled // one that is not listed; never that of an object
	}
	return nil
}

// keyTexts are the answers that only their message tells apart from others of
// the same code. Each is matched by the words that say what is the matter, as
// part of the message.
var keyTexts = [...]struct {
	code, text string
	is         error
	brought    error // instead, where the request brought a key for what is there
}{
	// GET, HEAD, copy of an SSE-C object without its key: 400 of AWS (boto3#1482,
	// aws-sdk-go) and MinIO (cmd/api-errors.go, ErrSSEEncryptedObject).
	{"InvalidRequest", "stored using a form of Server Side Encryption", objstore.ErrKeyNeeded, nil},
	// HEAD of one without its key, of MinIO (ErrInvalidSSECustomerAlgorithm),
	// whose GET of a byte cannot say it where the body is empty.
	{"InvalidArgument", "must provide a valid encryption algorithm", objstore.ErrKeyNeeded, nil},
	// A part without the key of its upload, and with a key where that has none:
	// 400 of AWS (aws-sdk-ruby#1084) and MinIO (ErrSSEMultipartEncrypted).
	{"InvalidRequest", "multipart upload initiate requested encryption", objstore.ErrKeyNeeded, objstore.ErrKeyUnwanted},
	// A key for an object without one: 400 of AWS (boto3#982, aws-sdk-go#2724)
	// and MinIO (ErrInvalidEncryptionParameters).
	{"InvalidRequest", "encryption parameters are not applicable to this object", objstore.ErrKeyUnwanted, nil},
	// Another key than the object's: 403 of AWS (recorded by LocalStack's tests).
	{"AccessDenied", "must provide the correct secret key", objstore.ErrKeyWrong, nil},
	// Another key than the upload's: 400, of AWS InvalidRequest (LocalStack's
	// tests), of MinIO InvalidArgument (ErrInvalidSSECustomerParameters).
	{"InvalidRequest", "encryption parameters did not match the ones used originally", objstore.ErrKeyWrong, nil},
	{"InvalidArgument", "encryption parameters did not match the ones used originally", objstore.ErrKeyWrong, nil},
	// SSE-C where the bucket blocks it: 403 (Amazon S3 User Guide, "Troubleshoot
	// access denied (403 Forbidden) errors in Amazon S3").
	{"AccessDenied", "this bucket has blocked upload requests that specify Server Side Encryption with Customer provided keys", objstore.ErrKeyBlocked, nil},
}

// errWrongOrDenied is a 403 that says no more, of a request for a body by its key:
// MinIO's answer to a wrong key, and anybody's to missing permissions.
var errWrongOrDenied = fmt.Errorf("%w, or %w", objstore.ErrAccess, objstore.ErrKeyWrong)

// keys finds the sentinel of an answer that speaks of keys, nil if it does not.
func (f *failure) keys(c call, message string) error {
	if is := keyCode(f.code, f.status); is != nil {
		return is
	}
	for _, row := range keyTexts {
		if f.code == row.code && strings.Contains(message, row.text) {
			if row.brought != nil && c.carries.body {
				return row.brought
			}
			return row.is
		}
	}
	if m := needed.FindStringSubmatch(message); m != nil {
		if strings.HasPrefix(m[1], "kms:") {
			return objstore.ErrKeyAccess
		}
		return nil // a permission that is named is what is missing
	}
	if f.code == "AccessDenied" && (c.carries.body || c.carries.source) {
		return errWrongOrDenied
	}
	return nil
}

// keyARN finds the key that a message names.
var keyARN = regexp.MustCompile(`arn:[a-z0-9-]+:kms:[a-z0-9-]*:[0-9]*:(key|alias)/[A-Za-z0-9/_-]+`)

// keyWords tells a person what to do about a key; "" where the message is all
// that there is to say.
func (f *failure) keyWords(c call, message string) string {
	switch {
	case errors.Is(f.is, objstore.ErrKeyBlocked):
		return "the bucket refuses SSE-C, as new ones do since April 2026: allow it (PutBucketEncryption, BlockedEncryptionTypes NONE) or choose another mode"
	case errors.Is(f.is, objstore.ErrKeyAccess):
		action, on := "kms:GenerateDataKey or kms:Decrypt", ""
		if m := needed.FindStringSubmatch(message); m != nil {
			action = m[1]
		}
		if arn := keyARN.FindString(message); arn != "" {
			on = " on " + arn
		}
		return fmt.Sprintf("permission %s%s is missing: grant kms:GenerateDataKey (writes) and kms:Decrypt (reads, multipart uploads, copies), in the policies of the caller and of the key", action, on)
	case errors.Is(f.is, errWrongOrDenied):
		return fmt.Sprintf("the key is wrong, or permission %s is missing", c.action)
	case needed.MatchString(message): // words says what is missing
		return ""
	case errors.Is(f.is, objstore.ErrAccess) && c.carries.made:
		return fmt.Sprintf("permission %s is missing, or the bucket refuses SSE-C, as new ones do since April 2026", c.action)
	case errors.Is(f.is, objstore.ErrAccess) && c.carries.kms:
		return fmt.Sprintf("permission %s is missing, or kms:GenerateDataKey or kms:Decrypt on the KMS key", c.action)
	case errors.Is(f.is, objstore.ErrAccess) && c.reads:
		return fmt.Sprintf("permission %s is missing, or kms:Decrypt if the object has a KMS key", c.action)
	}
	return ""
}

// carried is what a request brings in terms of encryption.
type carried struct {
	body   bool // a customer's key for a body, or an upload, that is there
	source bool // one for the source of a copy
	made   bool // one for the body to be made
	kms    bool // the wish for a KMS key, of this request or the upload's first
}

// making notes what a request for a new body brings.
func (c call) making(e *objstore.Encryption) call {
	c.carries.made = secret(e.Writes())
	c.carries.kms = byKMS(e)
	return c
}

// on notes what a request for a body, or a part of an upload, brings.
func (c call) on(e *objstore.Encryption) call {
	c.carries.body = secret(e.Reads())
	c.carries.kms = byKMS(e)
	return c
}

func byKMS(e *objstore.Encryption) bool {
	return strings.HasPrefix(e.Writes()[encryptionPrefix], "aws:kms")
}

// from notes what a copy brings for its source.
func (c call) from(e *objstore.Encryption) call {
	c.carries.source = secret(e.Sources())
	return c
}

// secret tells whether one of the headers is a key.
func secret(h map[string]string) bool {
	for name := range h {
		if strings.HasSuffix(strings.ToLower(name), "-customer-key") {
			return true
		}
	}
	return false
}
