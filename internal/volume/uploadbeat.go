package volume

import (
	"context"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// heartbeat is how often the record of an upload is written anew, at most twice
// as far apart.
const heartbeat = time.Hour

// abandonment is how long another host's record must be unchanged until its upload
// counts as abandoned.
const abandonment = 7 * 24 * time.Hour

// Part is objstore.Uploader's.
func (u *upload) Part(ctx context.Context, n int, body io.ReadSeeker, size int64) error {
	err := u.Uploader.Part(ctx, n, body, size)
	if err == nil {
		u.sent.Add(size)
	}
	u.came(ctx, n, err)
	return err
}

// CopyPart is objstore.Uploader's.
func (u *upload) CopyPart(ctx context.Context, n int, src objstore.ID, r objstore.Range) error {
	err := u.Uploader.CopyPart(ctx, n, src, r)
	if err == nil {
		u.sent.Add(r.Len)
	}
	u.came(ctx, n, err)
	return err
}

// came is called when part n has come, or has failed.
func (u *upload) came(ctx context.Context, n int, failed error) {
	if failed != nil {
		return
	}
	u.mu.Lock()
	u.newest = max(u.newest, n)
	u.mu.Unlock()
	u.beat(ctx)
}

// keepUploads renews the records of the uploads that are under way until Close:
// whoever writes a file may pause for days between two parts.
func (v *Volume) keepUploads(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-v.stop:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, u := range v.underWay() {
			if v.ended() {
				return
			}
			u.beat(ctx)
		}
	}
}

func (v *Volume) underWay() []*upload {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Collect(maps.Keys(v.uploads))
}

// lives has the record of u renewed until it does not live any more.
func (u *upload) lives(yes bool) {
	u.v.mu.Lock()
	defer u.v.mu.Unlock()
	if yes {
		u.v.uploads[u] = struct{}{}
	} else {
		delete(u.v.uploads, u)
	}
}

// beat writes the record anew when it is time. Where the upload has ended
// meanwhile, the record goes again.
func (u *upload) beat(ctx context.Context) {
	record, part := u.due()
	if record == "" {
		return
	}
	if err := u.writeRecord(ctx, record, part); err != nil {
		u.v.opt.Log.WithField("key", u.key).WithError(err).Warn("record of an upload could not be renewed: after 7 days other hosts may take it for abandoned")
	}
	u.mu.Lock()
	u.writing = false
	over := u.over
	u.mu.Unlock()
	if over {
		u.removeRecord(ctx, record)
	}
}

// due gives the record that is to be written now, with the newest part; "" is
// none. Until writing is reset nobody else gets it.
func (u *upload) due() (record string, part int) {
	now := u.v.opt.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	silent := now.Sub(u.told)
	switch {
	case u.over || u.writing:
		return "", 0
	case u.record == "" && u.jot != nil && silent >= quick:
		u.record = u.v.uploadsDir() + newMark()
	case u.record == "" || silent < heartbeat:
		return "", 0
	}
	u.told, u.writing = now, true
	return u.record, u.newest
}

// ages tells how old what lies in the store is, by the store's own clock: that
// of this host may be wrong, and an upload that is aborted is lost, or a rename
// that is under way taken over.
type ages struct {
	v   *Volume
	now time.Time // zero until it was asked for
}

func (v *Volume) ages() *ages { return &ages{v: v} }

// silent tells whether what was modified then is that old. Only for what looks so
// by this host's clock the store is asked.
func (a *ages) silent(ctx context.Context, modified time.Time, long time.Duration) bool {
	if a.v.opt.Now().Sub(modified) < long {
		return false
	}
	if a.now.IsZero() {
		now, err := a.v.storeTime(ctx)
		if err != nil {
			a.v.opt.Log.WithError(err).Warn("how long other hosts have been silent is not known")
			return false
		}
		a.now = now
	}
	return a.now.Sub(modified) >= long
}

var _ objstore.Uploader = (*upload)(nil)
