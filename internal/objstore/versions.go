package objstore

import (
	"context"
	"iter"
)

// NullVersion is the VersionID of a body that has none: one that was written
// while the bucket kept no versions, or kept no more of them. Head, Get, Copy
// and Delete take it, and an ID that was asked for by it has it too; otherwise
// the VersionID of such a body is empty.
const NullVersion = "null"

// Versioner is what a Store also is that can tell which versions of its objects
// are kept. A version is read by Head and Get with its ID, removed for good by
// Delete with it, and brought back by Copy onto its own key, which makes a new
// version of it. Errors: ErrAccess, ErrBucket, ErrUnsupported.
type Versioner interface {
	// Versions gives the versions and delete markers of the keys that opt
	// chooses, in bytewise order of key and of one key the newest first, as the
	// store counts it and whatever their times say; page by page as the caller
	// goes on. Of a bucket that keeps none they are its objects. opt.After is of
	// keys, opt.Limit of versions. An error ends the sequence.
	Versions(ctx context.Context, opt ListOptions) iter.Seq2[Version, error]
}

// Version is one line of such a listing. Info is as List gives it, but that its
// VersionID is never empty; of a delete marker only Key, VersionID, Modified and
// Answered are set.
type Version struct {
	Info
	Prefix  string // a common prefix, some key below which has a version; then all else is zero
	Latest  bool   // what is there now
	Deleted bool   // a delete marker: from then on nothing was there
}
