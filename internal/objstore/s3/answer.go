package s3

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

const metaPrefix = "X-Amz-Meta-"

// header gives the headers of an answer as they came: the SDK keeps only the
// first of those that were sent twice.
func header(md middleware.Metadata) http.Header {
	if r, ok := awsmiddleware.GetRawResponse(md).(*smithyhttp.Response); ok {
		return r.Header
	}
	return http.Header{}
}

// metadata gives the user metadata. The same header twice, which S3 never
// sends, is joined as any proxy may join it (RFC 9110, 5.3), so that the
// formats above see it and refuse.
func metadata(h http.Header) map[string]string {
	all := map[string]string{}
	for name, values := range h {
		if len(name) > len(metaPrefix) && strings.EqualFold(name[:len(metaPrefix)], metaPrefix) {
			all[strings.ToLower(name[len(metaPrefix):])] = strings.Join(values, ", ")
		}
	}
	return all
}

// dated is when the server answered, by its own clock (Date, RFC 9110 section
// 6.6.1); zero where it did not say.
func dated(h http.Header) time.Time {
	at, _ := http.ParseTime(h.Get("Date"))
	return at
}

// info reads what Head and Get share.
func info(at objstore.ID, h http.Header) objstore.Info {
	modified, _ := http.ParseTime(h.Get("Last-Modified"))
	tags, _ := strconv.Atoi(h.Get("X-Amz-Tagging-Count"))
	got := objstore.Info{
		ID:           id(at.Key, h.Get("ETag"), h.Get("X-Amz-Version-Id")),
		Modified:     modified,
		Answered:     dated(h),
		StorageClass: class(h.Get("X-Amz-Storage-Class")),
		Metadata:     metadata(h),
		System:       system(h),
		Encrypted:    encrypted(h),
		Tags:         tags,

		Restoring:     objstore.ParseRestoration(h.Get("X-Amz-Restore")),
		ArchiveStatus: h.Get("X-Amz-Archive-Status"),
		Lock:          locked(h),
	}
	if at.VersionID == objstore.NullVersion && got.VersionID == "" {
		got.VersionID = objstore.NullVersion // as it was asked for
	}
	got.Encryption = at.Encryption
	return got
}

// locked reads what an answer says of the lock; nil if nothing. A time that
// cannot be read is that of a lock that holds.
func locked(h http.Header) *objstore.Lock {
	mode, until, hold := h.Get("X-Amz-Object-Lock-Mode"), h.Get("X-Amz-Object-Lock-Retain-Until-Date"), h.Get("X-Amz-Object-Lock-Legal-Hold")
	if mode == "" && hold == "" {
		return nil
	}
	l := &objstore.Lock{Mode: mode, LegalHold: strings.EqualFold(hold, "ON")}
	if mode == "" {
		return l
	}
	at, err := time.Parse(time.RFC3339, until)
	if err != nil {
		at = time.Unix(1<<40, 0)
	}
	l.Until = at.UTC()
	return l
}

// system gives the metadata that S3 itself defines and keeps.
func system(h http.Header) map[string]string {
	var all map[string]string
	for _, name := range objstore.SystemMetadata() {
		if v := h.Get(name); v != "" {
			if all == nil {
				all = map[string]string{}
			}
			all[name] = v
		}
	}
	return all
}

const encryptionPrefix = "x-amz-server-side-encryption"

// encrypted gives what the answer says of encryption; nil if nothing.
func encrypted(h http.Header) objstore.Header {
	var all objstore.Header
	for name, values := range h {
		if len(name) >= len(encryptionPrefix) && strings.EqualFold(name[:len(encryptionPrefix)], encryptionPrefix) {
			if all == nil {
				all = objstore.Header{}
			}
			all[strings.ToLower(name)] = strings.Join(values, ", ")
		}
	}
	return all
}

func id(key, etag, version string) objstore.ID {
	if version == "null" { // of a bucket whose versioning is off or suspended
		version = ""
	}
	return objstore.ID{Key: key, ETag: unquoted(etag), VersionID: version}
}

func unquoted(etag string) string { return strings.Trim(etag, `"`) }

func class(name string) string {
	if name == "STANDARD" {
		return ""
	}
	return name
}

// contentRange reads "bytes 0-99/1000" (RFC 9110, 14.4).
// The last bytes of an empty body are "bytes 0--1/0" to MinIO.
func contentRange(s string) (first, last, size int64, ok bool) {
	if s == "bytes 0--1/0" {
		return 0, -1, 0, true
	}
	s, ok = strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(s, "/")
	from, to, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, false
	}
	for _, n := range []struct {
		text string
		to   *int64
	}{{from, &first}, {to, &last}, {total, &size}} {
		v, err := strconv.ParseUint(n.text, 10, 63)
		if err != nil {
			return 0, 0, 0, false
		}
		*n.to = int64(v) //nolint:gosec // 63 bits
	}
	return first, last, size, first <= last && last < size
}

// status gives the HTTP status of an error's answer, 0 without one.
func status(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// code gives S3's code of an error's answer, "" without one.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
