package objstore

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Restorer is what a Store also is that can bring an archived body back for some
// time. Restore returns when the server has taken the order, which takes minutes
// to days to be done; of a body that is being restored already it is no error,
// and of one that is back it moves the day it goes again. tier is "Standard",
// "Bulk" or "Expedited", "" the server's choice; days are 1 at least, or 0 for
// one that S3 Intelligent-Tiering has put away and keeps once it is back. Errors:
// ErrInvalid where nothing is archived, ErrUnsupported also of a tier that cannot
// be had (now), and those of Head.
type Restorer interface {
	Restore(ctx context.Context, id ID, days int, tier string) error
}

// Restoration is what has become of an order to restore.
type Restoration struct {
	Ongoing bool
	Until   time.Time // when it is back: up to then it can be read
}

// The storage classes whose bodies cannot be read before they are restored
// (Amazon S3 User Guide, "Understanding and managing Amazon S3 storage classes").
// GLACIER_IR is none of them.
const (
	Glacier     = "GLACIER"
	DeepArchive = "DEEP_ARCHIVE"
)

// Archives tells whether what is written with that storage class cannot be read
// again until it was restored.
func Archives(class string) bool { return class == Glacier || class == DeepArchive }

// Archived tells whether the body has to be restored before it can be read, by
// what Head or Get told. Of List it is a guess: that does not know what was
// restored, and what S3 Intelligent-Tiering has put away.
func (i Info) Archived() bool {
	return i.Frozen() && (i.Restoring == nil || i.Restoring.Ongoing)
}

// Frozen tells whether the body lies in an archive, restored for a while or not.
func (i Info) Frozen() bool { return Archives(i.StorageClass) || i.ArchiveStatus != "" }

// ParseRestoration reads the header x-amz-restore (Amazon S3 API Reference,
// HeadObject): ongoing-request="true", or ongoing-request="false" with an
// expiry-date. What says neither is nil: such a body is taken for archived.
func ParseRestoration(header string) *Restoration {
	if len(header) > 200 {
		return nil
	}
	switch strings.ToLower(quotedValue(header, "ongoing-request")) {
	case "true":
		return &Restoration{Ongoing: true}
	case "false":
		until, err := http.ParseTime(quotedValue(header, "expiry-date"))
		if err != nil {
			until = time.Time{} // restored, and nobody says for how long
		}
		return &Restoration{Until: until}
	}
	return nil
}

// quotedValue finds name="value"; values hold commas.
func quotedValue(header, name string) string {
	_, rest, found := strings.Cut(header, name+`="`)
	if !found {
		return ""
	}
	value, _, closed := strings.Cut(rest, `"`)
	if !closed {
		return ""
	}
	return value
}
