package volume

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// An upload of few parts is not recorded in the bucket, which would be a
// quarter of its requests, but in the note of its file, on this host's disk:
// there the next mount finds it. If it is not over soon it is recorded too.

// quickParts is how many parts such an upload has at most.
const quickParts = 8

// quick is how long it goes on without a record.
const quick = 30 * time.Second

// register has it found after a crash: by the note of d's file where it has
// one and that suffices, else by a record in the bucket.
func (u *upload) register(ctx context.Context, d draft) error {
	u.told = u.v.opt.Now()
	if d.jot != nil && !u.v.opt.Passing {
		if err := d.jot(uploading{Version: 1, Key: u.key, Upload: u.UploadID()}, false); err == nil {
			u.jot = d.jot
			return nil
		}
	}
	u.record = u.v.uploadsDir() + newMark()
	return u.writeRecord(ctx, u.record, 0)
}

// settled says that the note need not tell of it any more.
func (u *upload) settled() {
	if u.jot != nil {
		_ = u.jot(uploading{Version: 1, Key: u.key, Upload: u.UploadID()}, true) // writes nothing
	}
}

// jot keeps in the note of f that an upload is under way. That it is over the
// next note says, or none: whoever aborts it once more does no harm.
func (f *File) jot(u uploading, over bool) error {
	f.mu.Lock()
	f.uploads = slices.DeleteFunc(slices.Clone(f.uploads), func(x uploading) bool { return x == u })
	data := f.data
	if !over {
		f.uploads = append(f.uploads, u)
	}
	f.mu.Unlock()
	switch {
	case over:
		return nil
	case data == nil:
		return fmt.Errorf("%q has no note", f.Path())
	}
	return f.tell(data.SetMeta, nil) // power failures too leave uploads behind
}

// endUploads aborts what a dead process was uploading of l; what cannot be
// aborted is recorded in the bucket.
func (r *Recovery) endUploads(ctx context.Context, l *leftover) error {
	store, ok := r.v.raw.(objstore.Resumer)
	if len(l.note.Uploads) == 0 || !ok || r.v.opt.ReadOnly {
		return nil
	}
	for _, x := range l.note.Uploads {
		u := &upload{Uploader: store.Resume(x.Key, x.Upload), v: r.v, key: x.Key}
		if err := u.abandon(ctx); err != nil {
			return err
		}
	}
	l.note.Uploads = nil
	return l.in.SetMeta(l.ID, l.note.encode())
}

// abandon aborts it or, where that fails, has it recorded.
func (u *upload) abandon(ctx context.Context) error {
	err := u.Abort(ctx)
	if err == nil {
		u.erase(ctx)
		return nil
	}
	u.v.opt.Log.WithField("key", u.key).WithError(err).Warn("multipart upload could not be aborted")
	u.lives(false)
	u.mu.Lock()
	recorded := u.record != ""
	u.mu.Unlock()
	if recorded {
		return nil
	}
	record := u.v.uploadsDir() + newMark()
	if err := u.writeRecord(ctx, record, 0); err != nil {
		return fmt.Errorf("multipart upload of %q could not be aborted: %w", u.key, err)
	}
	u.mu.Lock()
	u.record = record
	u.mu.Unlock()
	return nil
}
