package volume

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// RecordedUpload is a multipart upload that some host's mount of the volume
// began, and of which it has not said that it ended: it is under way, or left by
// a crash for the host's next mount.
type RecordedUpload struct {
	Host    string
	Renewed time.Time // when its host last said so

	// Of the upload itself. With Err the record could not be read, and they
	// are empty.
	Key, UploadID string
	Err           error
}

// RecordedUploads reads the records of all hosts. It changes nothing and needs
// no Start. Errors are those of the listing.
func (v *Volume) RecordedUploads(ctx context.Context) ([]RecordedUpload, error) {
	var all []RecordedUpload
	for e, err := range v.opt.Store.List(ctx, objstore.ListOptions{Prefix: v.allUploads()}) {
		if err != nil {
			return nil, err
		}
		r := v.recordedUpload(ctx, e)
		if errors.Is(r.Err, ErrNotExist) { // it ended meanwhile
			continue
		}
		all = append(all, r)
	}
	return all, nil
}

func (v *Volume) recordedUpload(ctx context.Context, e objstore.Entry) RecordedUpload {
	host, _, _ := strings.Cut(strings.TrimPrefix(e.Key, v.allUploads()), "/")
	if name, err := url.PathUnescape(host); err == nil {
		host = name
	}
	u, err := v.readUploading(ctx, e.Key)
	return RecordedUpload{Host: host, Renewed: e.Modified, Key: u.Key, UploadID: u.Upload, Err: err}
}
