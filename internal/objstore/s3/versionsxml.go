package s3

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// maxDocument bounds a page of versions as XML: a thousand keys of 1,024 bytes,
// each as %25XX and twice, and what stands around them.
const maxDocument = 16 << 20

// kept is an answer's document as it came. The SDK sorts versions and delete
// markers into two lists, and then nobody knows any more which of a key's came
// first: their times have whole seconds.
type kept struct{ bytes.Buffer }

func (k *kept) keep(o *awss3.Options) {
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("KeepDocument", k.handle), middleware.After)
	})
}

func (k *kept) handle(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	out, md, err := next.HandleDeserialize(ctx, in)
	if answer, ok := out.RawResponse.(*smithyhttp.Response); ok && err == nil && answer.StatusCode < 300 {
		k.Reset()
		answer.Body = both{io.TeeReader(io.LimitReader(answer.Body, maxDocument), k), answer.Body}
	}
	return out, md, err
}

type both struct {
	io.Reader
	io.Closer
}

// versionXML is a Version, a DeleteMarker or one of CommonPrefixes (Amazon S3 API
// Reference, ListObjectVersions).
type versionXML struct {
	Key          string
	VersionId    string //nolint:revive // S3's spelling
	IsLatest     bool
	LastModified time.Time
	ETag         string
	Size         *int64
	StorageClass string
	Prefix       string

	kind string // the element's name
}

// versionsXML is a document.
type versionsXML struct {
	entries            []versionXML
	encoded, truncated bool
	next               versionPage
}

// readVersions makes versions of a document, those of a key in its own order;
// common prefixes stand behind all keys there.
func readVersions(document []byte, opt objstore.ListOptions, at versionPage) (page []objstore.Version, next versionPage, err error) {
	if len(document) >= maxDocument {
		return nil, next, odd("the list of versions has a page of over %d bytes", maxDocument)
	}
	var x versionsXML
	if x.read(document) != nil {
		return nil, next, odd("the list of versions makes no sense")
	}
	for _, e := range x.entries {
		v, err := x.version(e)
		if err == nil {
			err = asked(v, opt)
		}
		if err != nil {
			return nil, next, err
		}
		page = append(page, v)
	}
	slices.SortStableFunc(page, func(a, b objstore.Version) int { return cmp.Compare(a.Key+a.Prefix, b.Key+b.Prefix) })
	if !x.truncated {
		return page, next, nil
	}
	if x.next.key, err = x.decode(x.next.key); err != nil || x.next.key == "" {
		return nil, next, odd("the list of versions is cut off and names no way on")
	}
	if x.next == at {
		return nil, next, odd("the list of versions is cut off and goes round")
	}
	return page, x.next, nil
}

var errDocument = errors.New("not a list of versions")

// read takes a document apart.
func (x *versionsXML) read(document []byte) error {
	d := xml.NewDecoder(bytes.NewReader(document))
	inside := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && inside {
			return nil
		} else if err != nil {
			return errDocument
		}
		e, ok := token.(xml.StartElement)
		switch {
		case !ok:
		case inside:
			if err := x.element(d, e); err != nil {
				return err
			}
		case e.Name.Local == "ListVersionsResult":
			inside = true
		default:
			return errDocument
		}
	}
}

// element reads one of the root's.
func (x *versionsXML) element(d *xml.Decoder, e xml.StartElement) error {
	var text string
	switch e.Name.Local {
	case "Version", "DeleteMarker", "CommonPrefixes":
		v := versionXML{kind: e.Name.Local}
		if err := d.DecodeElement(&v, &e); err != nil {
			return err
		}
		x.entries = append(x.entries, v)
		return nil
	case "IsTruncated", "NextKeyMarker", "NextVersionIdMarker", "EncodingType":
		if err := d.DecodeElement(&text, &e); err != nil {
			return err
		}
	default:
		return d.Skip()
	}
	switch e.Name.Local {
	case "IsTruncated":
		x.truncated = text == "true"
	case "NextKeyMarker":
		x.next.key = text
	case "NextVersionIdMarker":
		x.next.version = text
	case "EncodingType":
		x.encoded = text == "url"
	}
	return nil
}

func (x *versionsXML) decode(s string) (string, error) {
	if !x.encoded {
		return s, nil
	}
	return url.QueryUnescape(s)
}

func (x *versionsXML) version(e versionXML) (v objstore.Version, err error) {
	if e.kind == "CommonPrefixes" {
		if v.Prefix, err = x.decode(e.Prefix); err != nil || v.Prefix == "" {
			return v, odd("the list of versions has an empty prefix")
		}
		return v, nil
	}
	v.Key, err = x.decode(e.Key)
	if err != nil || v.Key == "" || e.VersionId == "" || e.LastModified.IsZero() {
		return v, odd("the list of versions has an entry without key, version or time")
	}
	v.VersionID, v.Modified, v.Latest, v.Deleted = e.VersionId, e.LastModified, e.IsLatest, e.kind == "DeleteMarker"
	if v.Deleted {
		return v, nil
	}
	if e.Size == nil || *e.Size < 0 {
		return v, odd("the list of versions has an entry without size")
	}
	v.ETag, v.Size, v.StorageClass = unquoted(e.ETag), *e.Size, class(e.StorageClass)
	return v, nil
}

// asked refuses what was not asked for: callers cut the prefix off.
func asked(v objstore.Version, opt objstore.ListOptions) error {
	if !strings.HasPrefix(v.Key+v.Prefix, opt.Prefix) {
		return odd("the list of versions has a key outside its prefix")
	}
	if v.Prefix != "" && (opt.Delimiter == "" || !strings.HasSuffix(v.Prefix, opt.Delimiter)) {
		return odd("the list of versions has a common prefix that was not asked for")
	}
	return nil
}
