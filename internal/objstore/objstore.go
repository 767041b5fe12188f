// Package objstore is the seam to object storage: seven verbs over keys and
// immutable bodies, and the errors that they give. It knows nothing of files,
// encryption or FUSE, and no type of it comes from an SDK.
//
// Implementations: objstore/s3 (S3 and what speaks its protocol),
// objstore/mem (in memory, for tests), objstore/faulty (a decorator that
// counts requests and injects faults and latency). All of them pass
// objstore/objtest, which also runs against real servers: what it asserts is
// what the layers above may rely on.
package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// MaxKeyLen is the longest key in bytes (AWS S3 User Guide, "Object key names").
const MaxKeyLen = 1024

// Limits of multipart uploads and copies (AWS S3 User Guide, "Amazon S3
// multipart upload limits"), in bytes.
const (
	MinPartSize = 5 << 20 // every part but the last
	MaxPartSize = 5 << 30 // a part, and a single PUT or COPY
	MaxParts    = 10000
)

// ID names one immutable body. VersionID is empty where the bucket keeps no
// versions, but see NullVersion; ETag holds its quotes off.
type ID struct {
	Key, ETag, VersionID string

	// Encryption goes with every request for the body, as its reader or its
	// copies' source. An ID that an answer gives has that of the request.
	Encryption *Encryption
}

// Info is what a request tells about an object.
type Info struct {
	ID
	Size         int64
	Modified     time.Time // seconds resolution from most servers
	Answered     time.Time // when the server said all this, by the clock of its Date header, to the second; zero where it has none
	StorageClass string    // "" is STANDARD

	// Metadata is the user metadata, names in lower case without the
	// x-amz-meta- prefix; values of a header that was sent twice are joined by
	// ", " (RFC 9110, 5.3). Nil from List.
	Metadata map[string]string

	System map[string]string // what is set of SystemMetadata; nil from List

	// Encrypted are the x-amz-server-side-encryption… headers of the answer:
	// how the server says that the body is encrypted. Nil from List, which
	// does not tell.
	Encrypted Header

	Tags int // how many the object has, as Get tells; Head may not

	// Restoring is what has become of an order to restore an archived body; nil
	// for none, and from List. ArchiveStatus is where S3 Intelligent-Tiering has
	// put a body that nobody read for long; "" is where it can be read.
	Restoring     *Restoration
	ArchiveStatus string

	// Lock is what Head and Get tell of it to those who may know; nil where
	// nothing was said. Locker says for sure.
	Lock *Lock
}

// Entry is one line of a listing: an object (without metadata), or a common
// prefix, which ends in the delimiter.
type Entry struct {
	Info
	Prefix string // a common prefix; then Info is zero
}

// Range selects bytes of a body. The zero Range is the whole body.
type Range struct {
	Off int64 // first byte; with Len == 0 up to the end
	Len int64 // bytes wanted; fewer come only where the body ends

	// Suffix, if positive, asks for the last Suffix bytes instead (all of a
	// shorter body); Off and Len are zero then.
	Suffix int64
}

// Condition guards a write. The zero Condition guards nothing.
type Condition struct {
	IfMatch string // ETag that the key must hold now, else ErrChanged (ErrChanged also where nothing is there)
	IfNone  bool   // the key must hold nothing (If-None-Match: *), else ErrExist
}

// PutOptions go with an object as it is written, by Put, Upload or Copy.
type PutOptions struct {
	Condition    Condition
	Metadata     map[string]string
	System       map[string]string // see SystemMetadata; without a content-type it is application/octet-stream
	StorageClass string            // "" is the bucket's default
	Encryption   *Encryption

	// Tags of the object. Nil: none from Put and Upload; Copy keeps those of
	// the source.
	Tags map[string]string

	// Lock of the new version; nil is the bucket's default. No version inherits
	// that of another, a copy's source included.
	Lock *Lock
}

// ListOptions choose the keys of a listing.
type ListOptions struct {
	Prefix    string
	Delimiter string // "" lists every key below Prefix
	After     string // only keys (and common prefixes) greater than this, bytewise
	Limit     int    // stop after so many entries; 0 is no limit. A small Limit makes a small request.
}

// Store is one bucket. Methods are safe for concurrent use, bounded by ctx,
// and retry what can be retried themselves, within the time they were
// configured with. Every error wraps one of this package's sentinels where one
// fits, and names the verb and the key; the sentinels of encryption come from
// every verb that reads or writes a body.
type Store interface {
	// Head tells what is at id.Key; with an ETag or a VersionID as Get does.
	// Errors: ErrNotExist, ErrAccess, ErrBucket, and those of keys.
	Head(ctx context.Context, id ID) (Info, error)

	// Get opens a range of the body id. With an ETag it is fetched only if
	// that is still the key's body, or with a VersionID from that version;
	// else ErrChanged. Info is of the whole object, Info.Size its full length;
	// off is where the delivered bytes begin in it. The reader gives exactly
	// the bytes promised or io.ErrUnexpectedEOF. A range that begins at or
	// after the end, or a suffix of an empty body, gives an empty reader at
	// off == Size, not an error. The caller closes the reader. Errors as of
	// Head, and ErrArchived.
	Get(ctx context.Context, id ID, r Range) (info Info, off int64, body io.ReadCloser, err error)

	// List gives the entries in bytewise order of key, fetching page by page
	// as the caller goes on. An error ends the sequence.
	List(ctx context.Context, opt ListOptions) iter.Seq2[Entry, error]

	// Put writes a whole object. body is read from its offset 0, again at
	// every retry; size is its length, anything else is ErrInvalid. A Put that
	// failed may have been done nonetheless where the error wraps ErrUnknown,
	// and only then; the same goes for Copy, Delete and all of Uploader. Put
	// never gives ErrNotExist.
	Put(ctx context.Context, key string, body io.ReadSeeker, size int64, opt PutOptions) (Receipt, error)

	// Copy makes dst from the body src inside the store, with the metadata,
	// storage class and encryption of opt instead of the source's (so without
	// an encryption it is the bucket's default); src.ETag, if set, must
	// still be the source's (else ErrChanged). src.VersionID should be given if
	// there is one: some servers garble what is copied onto itself without.
	// At most MaxPartSize bytes.
	// opt.Condition guards dst, on servers that honour it there. The ID
	// returned is parsed from the answer; an answer without one is an error.
	// ErrNotExist means that the source is not there.
	Copy(ctx context.Context, src ID, dst string, opt PutOptions) (Receipt, error)

	// Delete removes what is at id.Key or, with a VersionID, that version for
	// good; id.ETag is not looked at. What is not there is no error, with
	// cond.IfMatch too; that is sent where given, and servers may ignore it.
	// cond.IfNone is ErrInvalid.
	Delete(ctx context.Context, id ID, cond Condition) error

	// Upload begins a multipart upload to key. Metadata is fixed now; the
	// condition is an argument of Complete, here it is ErrInvalid.
	Upload(ctx context.Context, key string, opt PutOptions) (Uploader, error)
}

// Resumer is what a Store also is that can take up an upload by the id which
// a journal recorded, to abort it. It sends no request: an id that the server
// does not know shows at the first use, as ErrNoUpload. Parts that another
// process sent are not part of what its Complete makes.
type Resumer interface {
	Resume(key, uploadID string) Uploader
}

// Tagger is what a Store also is that can tell the tags of an object, which
// are readable without the key of its body. Errors: those of Head, and
// ErrUnsupported where none are kept.
type Tagger interface {
	Tags(ctx context.Context, id ID) (map[string]string, error)
}

// Defaulter is what a Store also is that can tell how the bucket is configured
// to encrypt. Errors: ErrBucket, ErrAccess, ErrUnsupported.
type Defaulter interface {
	DefaultEncryption(ctx context.Context) (Default, error)
}

// Default is what a bucket does about encryption at rest.
type Default struct {
	// Encrypted is that of bodies whose writers ask for nothing, as Info has
	// it; nil for none.
	Encrypted Header

	// KeysBlocked: writes that bring a key of their own are refused with
	// ErrKeyBlocked. New buckets of Amazon S3 are so since April 2026.
	KeysBlocked bool
}

// Uploader is one multipart upload. Parts may go up in parallel and in any
// order; each number at most once at a time, a number sent again replaces the
// part. Numbers count from 1 to MaxParts, others are ErrInvalid. It is safe
// for concurrent use, but nothing may run beside Complete or Abort.
type Uploader interface {
	// UploadID names the upload to the server, for Resumer.
	UploadID() string

	// Encrypted is what the answer said when the upload began, as of Info: so
	// that nothing is sent to a server which does not encrypt it. Nil after
	// Resume.
	Encrypted() Header

	// Part sends part number n; body and size as for Store.Put.
	Part(ctx context.Context, n int, body io.ReadSeeker, size int64) error

	// CopyPart fills part number n with a range of an object of the same
	// bucket; src.ETag, if set, must still be the source's, else ErrChanged.
	// ErrNotExist: no source. ErrInvalid: the range goes beyond its end.
	CopyPart(ctx context.Context, n int, src ID, r Range) error

	// Complete makes the object out of the parts sent, in order of number; of
	// none is ErrInvalid, and so is a part under MinPartSize but the last.
	// ErrNoUpload: the upload is not known (any more), perhaps because it was
	// completed and the answer was lost (some servers then give that answer
	// again). After ErrExist or ErrChanged the
	// upload may stand: Abort it.
	Complete(ctx context.Context, cond Condition) (Receipt, error)

	// Abort drops the upload and its parts. Aborting twice is no error.
	Abort(ctx context.Context) error
}

// Sentinel errors. They are matched with errors.Is, never by text.
//
// One error may wrap two of them: a conditional write whose first answer was
// lost and whose retry then met its own success gives ErrExist (ErrChanged,
// ErrNoUpload) and ErrUnknown. The caller compares what is there with what it
// wrote.
var (
	ErrNotExist    = errors.New("object does not exist")
	ErrExist       = errors.New("object exists already")            // Condition.IfNone did not hold
	ErrChanged     = errors.New("object was changed meanwhile")     // an If-Match did not hold
	ErrAccess      = errors.New("access denied")                    // 403, with the action in the text
	ErrBadAuth     = errors.New("credentials are missing or wrong") // InvalidAccessKeyId, SignatureDoesNotMatch, ExpiredToken, none found
	ErrBucket      = errors.New("bucket does not exist")            // NoSuchBucket; never ErrNotExist
	ErrArchived    = errors.New("object is archived")               // InvalidObjectState
	ErrThrottled   = errors.New("server asks to slow down")         // after all retries
	ErrUnreachable = errors.New("server cannot be reached")         // DNS, connect, TLS: nothing was sent
	ErrUnknown     = errors.New("outcome is unknown")               // sent, and no clean answer came
	ErrQuota       = errors.New("storage quota exceeded")           // QuotaExceeded, 507 and their like
	ErrTooLong     = errors.New("key is too long")                  // KeyTooLongError
	ErrTooLarge    = errors.New("object is too large")              // EntityTooLarge
	ErrNoUpload    = errors.New("multipart upload does not exist")  // NoSuchUpload
	ErrUnsupported = errors.New("server does not support this")     // 501 NotImplemented
	ErrInvalid     = errors.New("invalid request")                  // refused here or by the server (400) as it stands
)

// Sentinel errors of encryption at rest: of keys that a request brings (SSE-C),
// and of those that the server asks a key service for (KMS). What S3 says is in
// brackets.
var (
	// ErrKeyNeeded: the object, or the upload, was encrypted with a key that the
	// request must bring (400 InvalidRequest).
	ErrKeyNeeded = errors.New("object was encrypted with a key that the request must bring")

	// ErrKeyWrong: the request brought another key (403 AccessDenied; of parts
	// 400). It wraps ErrKeyNeeded. Servers that say no more than 403 give an
	// error that wraps ErrAccess too.
	ErrKeyWrong = fmt.Errorf("%w: it brought another one", ErrKeyNeeded)

	// ErrKeyUnwanted: a key was sent for an object that has none (400
	// InvalidRequest). Read again without it.
	ErrKeyUnwanted = errors.New("a key was sent for an object that has none")

	// ErrKeyBlocked: the bucket takes no keys of its customers (403
	// AccessDenied). It wraps ErrAccess.
	ErrKeyBlocked = fmt.Errorf("%w: the bucket takes no keys of its customers", ErrAccess)

	// ErrKeyMissing: the key service has no such key (KMS.NotFoundException);
	// never ErrNotExist.
	ErrKeyMissing = errors.New("encryption key does not exist")

	// ErrKeyDisabled: the key is disabled, about to be deleted, or of another
	// kind (KMS.DisabledException, KMS.KMSInvalidStateException,
	// KMS.InvalidKeyUsageException).
	ErrKeyDisabled = errors.New("encryption key cannot be used")

	// ErrKeyAccess: the caller may not use the key (403 AccessDenied that names
	// kms:GenerateDataKey or kms:Decrypt). It wraps ErrAccess.
	ErrKeyAccess = fmt.Errorf("%w: the encryption key is not ours to use", ErrAccess)
)
