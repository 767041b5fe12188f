package volume

import (
	"context"
	"io"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// heartbeat is how often the record of an upload is written anew.
const heartbeat = time.Hour

// abandonment is how long another host's record must be unchanged until its upload
// counts as abandoned.
const abandonment = 7 * 24 * time.Hour

// Part is objstore.Uploader's.
func (u *upload) Part(ctx context.Context, n int, body io.ReadSeeker, size int64) error {
	err := u.Uploader.Part(ctx, n, body, size)
	u.beat(ctx, n, err)
	return err
}

// CopyPart is objstore.Uploader's.
func (u *upload) CopyPart(ctx context.Context, n int, src objstore.ID, r objstore.Range) error {
	err := u.Uploader.CopyPart(ctx, n, src, r)
	u.beat(ctx, n, err)
	return err
}

// beat writes the record anew, when it is time, after part n has come.
func (u *upload) beat(ctx context.Context, n int, failed error) {
	now := u.v.opt.Now()
	u.mu.Lock()
	if failed != nil || u.record == "" && u.jot == nil {
		u.mu.Unlock()
		return
	}
	u.newest = max(u.newest, n)
	n = u.newest
	due := now.Sub(u.told) >= heartbeat
	if u.record == "" && now.Sub(u.told) >= quick {
		due, u.record = true, u.v.uploadsDir()+newMark()
	}
	if due {
		u.told = now
	}
	record := u.record
	u.mu.Unlock()
	if !due {
		return
	}
	if err := u.writeRecord(ctx, record, n); err != nil {
		u.v.opt.Log.WithField("key", u.key).WithError(err).Warn("record of an upload could not be renewed: after 7 days other hosts may take it for abandoned")
	}
}

// ages tells how old what lies in the store is, by the store's own clock: that
// of this host may be wrong, and an upload that is aborted is lost.
type ages struct {
	v   *Volume
	now time.Time // zero until it was asked for
}

func (v *Volume) ages() *ages { return &ages{v: v} }

// silent tells whether what was modified then is older than abandonment. Only for
// what looks so by this host's clock the store is asked.
func (a *ages) silent(ctx context.Context, modified time.Time) bool {
	if a.v.opt.Now().Sub(modified) < abandonment {
		return false
	}
	if a.now.IsZero() {
		now, err := a.v.storeTime(ctx)
		if err != nil {
			a.v.opt.Log.WithError(err).Warn("the age of other hosts' uploads is not known")
			return false
		}
		a.now = now
	}
	return a.now.Sub(modified) >= abandonment
}

var _ objstore.Uploader = (*upload)(nil)
