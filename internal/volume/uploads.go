package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// uploading says that a multipart upload is under way. It lies, sealed, under
// .sigil/uploads/HOST/ of the volume root from before the first part until the
// upload is completed or aborted: the parts of one that nobody ends stay, unseen
// by every listing, and are paid for. It is written anew, with the newest part,
// every heartbeat that the upload lives.
type uploading struct {
	Version int    `json:"version"`
	Key     string `json:"key"`
	Upload  string `json:"upload"`
	Part    int    `json:"part,omitempty"` // the newest; 0 for none
}

// uploadsDir is where the uploads of this host are recorded.
func (v *Volume) uploadsDir() string { return v.uploadsOf(v.opt.Host) }

func (v *Volume) uploadsOf(host string) string { return v.allUploads() + url.PathEscape(host) + "/" }

// allUploads is where those of all hosts are.
func (v *Volume) allUploads() string { return v.opt.Root + hidden + "/uploads/" }

// upload is a multipart upload that is recorded.
type upload struct {
	objstore.Uploader
	v   *Volume
	key string
	jot func(u uploading, over bool) error // nil: no note tells of it

	sent atomic.Int64 // bytes of parts that are in the store, those sent again too

	mu      sync.Mutex // guards what follows
	record  string     // key of its record; "" where there is none
	newest  int        // part
	told    time.Time  // when the record was written
	writing bool       // it is being written anew
	over    bool       // the upload has ended: whoever writes the record removes it
}

// beginUpload begins an upload of d and records it. Nothing is sent to a server
// that says already that it will not encrypt as asked. Whoever gets an upload
// ends it by complete or giveUp.
func (v *Volume) beginUpload(ctx context.Context, d draft, opt objstore.PutOptions) (*upload, error) {
	up, err := v.opt.Store.Upload(ctx, d.key, opt)
	if err != nil {
		return nil, err
	}
	u := &upload{Uploader: up, v: v, key: d.key}
	if err := d.want.refused(up.Encrypted()); err != nil {
		return nil, u.giveUp(ctx, fmt.Errorf("%s: %w: %w", d.key, ErrNotEncrypted, err))
	}
	if _, ok := v.raw.(objstore.Resumer); !ok {
		return u, nil
	}
	if err := u.register(ctx, d); err != nil {
		return nil, u.giveUp(ctx, fmt.Errorf("record of an upload: %w", err))
	}
	u.lives(true)
	return u, nil
}

func (u *upload) writeRecord(ctx context.Context, record string, part int) error {
	b, err := json.Marshal(uploading{Version: 1, Key: u.key, Upload: u.UploadID(), Part: part})
	if err != nil {
		panic(err) // plain data
	}
	_, err = u.v.putOwn(ctx, draft{key: record}, b)
	return err
}

// complete ends an upload, one way or the other: where the answer is lost and
// it was not done, it must not be done later.
func (u *upload) complete(ctx context.Context, cond objstore.Condition) (objstore.Receipt, error) {
	id, err := u.Complete(ctx, cond)
	if err != nil {
		return id, u.giveUp(ctx, err)
	}
	u.erase(ctx)
	return id, nil
}

// giveUp aborts an upload that failed, so that its parts cost nothing. Where
// that fails too its record stays, and the next mount does it; where even a
// record cannot be written, this one goes on trying.
func (u *upload) giveUp(ctx context.Context, cause error) error {
	work, end := u.v.work.begin(context.WithoutCancel(ctx))
	defer end()
	if err := u.abandon(work); err != nil {
		u.v.stray(u)
	}
	return cause
}

// erase removes the record of an upload that has ended.
func (u *upload) erase(ctx context.Context) {
	u.lives(false)
	u.settled()
	u.mu.Lock()
	u.over = true
	record, writing := u.record, u.writing
	u.mu.Unlock()
	if record != "" && !writing {
		u.removeRecord(ctx, record)
	}
}

func (u *upload) removeRecord(ctx context.Context, record string) {
	work, end := u.v.work.begin(context.WithoutCancel(ctx))
	defer end()
	if err := u.v.delete(work, record, ""); err != nil {
		u.v.opt.Log.WithField("key", record).WithError(err).Warn("record of an upload that has ended could not be removed yet")
		u.v.condemn(record)
		u.v.wakeUp()
	}
}

// abortUploads ends what a process of this host which died was uploading, and
// what another host was that has been silent for long. What cannot be ended now
// is reported and left for the next mount.
func (v *Volume) abortUploads(ctx context.Context) error {
	store, ok := v.raw.(objstore.Resumer)
	if !ok {
		return nil
	}
	if v.opt.Passing && len(v.opt.Former) == 0 {
		return nil // those of others are a mount's
	}
	age := v.ages()
	for e, err := range v.opt.Store.List(ctx, objstore.ListOptions{Prefix: v.allUploads()}) {
		if err != nil {
			return err
		}
		if !v.isOver(e.Key) && !age.silent(ctx, e.Modified, abandonment) {
			continue
		}
		if err := v.abortUpload(ctx, store, e.Key); err != nil {
			v.opt.Log.WithField("key", e.Key).WithError(err).Warn("upload of an earlier process could not be aborted")
		}
	}
	return nil
}

// isOver tells whether the process is dead that recorded an upload at key.
func (v *Volume) isOver(key string) bool {
	return slices.ContainsFunc(append([]string{v.opt.Host}, v.opt.Former...), func(host string) bool {
		return strings.HasPrefix(key, v.uploadsOf(host))
	})
}

func (v *Volume) abortUpload(ctx context.Context, store objstore.Resumer, at string) error {
	u, err := v.readUploading(ctx, at)
	if errors.Is(err, ErrNotExist) {
		return nil
	}
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

func (v *Volume) readUploading(ctx context.Context, at string) (uploading, error) {
	o, err := v.fetch(ctx, at)
	if err != nil {
		return uploading{}, err
	}
	b, err := v.readAll(ctx, o, maxJournal)
	if err != nil {
		return uploading{}, err
	}
	return parseUploading(b)
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
