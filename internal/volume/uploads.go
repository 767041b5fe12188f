package volume

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"golang.org/x/sys/unix"
)

// uploading says that a multipart upload is under way. It lies, sealed, under
// .sigil/uploads/HOST/ of the volume root from before the first part until the
// upload is completed or aborted: the parts of one that nobody ends stay, unseen
// by every listing, and are paid for.
type uploading struct {
	Version int    `json:"version"`
	Key     string `json:"key"`
	Upload  string `json:"upload"`
}

// uploadsDir is where the uploads of this host are recorded.
func (v *Volume) uploadsDir() string {
	return v.opt.Root + hidden + "/uploads/" + url.PathEscape(v.opt.Host) + "/"
}

// recordUpload writes down that up, to key, has begun; erase takes that back
// once up has ended. A store whose uploads cannot be taken up again keeps none.
func (v *Volume) recordUpload(ctx context.Context, up objstore.Uploader, key string) (erase func(), err error) {
	if _, ok := v.opt.Store.(objstore.Resumer); !ok {
		return func() {}, nil
	}
	b, err := json.Marshal(uploading{Version: 1, Key: key, Upload: up.UploadID()})
	if err != nil {
		panic(err) // plain data
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	rec := v.newRecord(v.newAttr(Attr{Mode: 0o600}, unix.S_IFREG), nil)
	rec.Version = v.version()
	at := v.uploadsDir() + hex.EncodeToString(id[:])
	_, err = v.put(ctx, draft{key: at, rec: rec, src: bytesAt(b), size: int64(len(b))})
	if err != nil {
		err = fmt.Errorf("record of an upload: %w", err)
	}
	return func() { v.eraseUpload(context.WithoutCancel(ctx), at) }, err
}

func (v *Volume) eraseUpload(ctx context.Context, at string) {
	if err := v.delete(ctx, at, ""); err != nil {
		v.opt.Log.WithField("key", at).WithError(err).Warn("record of an upload that has ended could not be removed yet")
		v.condemn(at)
		v.wakeUp()
	}
}

// abortUploads ends what a process of this host which died was uploading. What
// cannot be ended now is reported and left for the next mount.
func (v *Volume) abortUploads(ctx context.Context) error {
	store, ok := v.opt.Store.(objstore.Resumer)
	if !ok {
		return nil
	}
	for e, err := range v.opt.Store.List(ctx, objstore.ListOptions{Prefix: v.uploadsDir()}) {
		if err != nil {
			return err
		}
		if err := v.abortUpload(ctx, store, e.Key); err != nil {
			v.opt.Log.WithField("key", e.Key).WithError(err).Warn("upload of an earlier process could not be aborted")
		}
	}
	return nil
}

func (v *Volume) abortUpload(ctx context.Context, store objstore.Resumer, at string) error {
	o, err := v.fetch(ctx, at)
	if errors.Is(err, ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := v.readAll(ctx, o, maxJournal)
	if err != nil {
		return err
	}
	u, err := parseUploading(b)
	if err != nil {
		return err
	}
	if err := store.Resume(u.Key, u.Upload).Abort(ctx); err != nil {
		return err
	}
	v.condemn(at)
	v.wakeUp()
	return nil
}

func parseUploading(b []byte) (uploading, error) {
	var u uploading
	if err := json.Unmarshal(b, &u); err != nil || u.Key == "" || u.Upload == "" {
		return u, fmt.Errorf("record of an upload: %w", ErrCorrupt)
	}
	if u.Version != 1 {
		return u, fmt.Errorf("record of an upload, version %d: %w", u.Version, ErrVersion)
	}
	return u, nil
}
