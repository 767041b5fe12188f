package objstore

import (
	"context"
	"iter"
	"strings"
	"time"
)

// Bucket is what a Store also is that can tell how its bucket is set up, and
// what lies in it that no listing shows. Each question takes a permission of
// its own, and many servers know none of them. Errors: ErrAccess with the
// action in the text, ErrUnsupported, ErrBucket.
type Bucket interface {
	// Lifecycle gives the lifecycle rules, those that are disabled too; none
	// is no error.
	Lifecycle(ctx context.Context) ([]LifecycleRule, error)

	Versioning(ctx context.Context) (Versioning, error)

	// Pending gives the multipart uploads to keys under prefix that were begun
	// and neither completed nor aborted, by key, page by page. An error ends
	// the sequence. MinIO tells of those whose key is the prefix; of others it
	// says nothing, or what it happens to remember.
	Pending(ctx context.Context, prefix string) iter.Seq2[Pending, error]
}

// Pending is a multipart upload that has not ended.
type Pending struct {
	Key, UploadID string
	Began         time.Time
}

// Versioning is what becomes of a body that is replaced or deleted.
type Versioning string

// The states of a bucket (AWS S3 User Guide, "Using versioning in S3 buckets").
const (
	VersionsNone    Versioning = ""
	VersionsKept    Versioning = "Enabled"
	VersionsStopped Versioning = "Suspended" // what was kept before stays
)

// LifecycleRule is a rule by which the store itself removes or moves what is in
// the bucket (Amazon S3 API Reference, LifecycleRule), as far as anybody here
// needs to know it.
type LifecycleRule struct {
	ID      string
	Enabled bool
	Filter  LifecycleFilter

	AbortDays      int  // after it began an upload that has not ended is aborted; 0 is never
	Expires        bool // current bodies, at some age or date
	NoncurrentDays int  // after it was replaced a body is removed for good; 0 is never
	Transitions    []string
}

// LifecycleFilter chooses the objects of a rule: all conditions hold.
type LifecycleFilter struct {
	Prefix string
	Tags   int   // how many tags an object must have
	Over   int64 // bytes it must be larger than; 0 is any
	Under  int64 // bytes it must be smaller than; 0 is any
}

// Covers tells whether the rule is for every object under prefix.
func (f LifecycleFilter) Covers(prefix string) bool {
	return f.Tags == 0 && f.Over == 0 && f.Under == 0 && strings.HasPrefix(prefix, f.Prefix)
}

// Touches tells whether the rule may be for an object under prefix that has no
// tags, whatever its size.
func (f LifecycleFilter) Touches(prefix string) bool {
	return f.Tags == 0 && (strings.HasPrefix(prefix, f.Prefix) || strings.HasPrefix(f.Prefix, prefix))
}
