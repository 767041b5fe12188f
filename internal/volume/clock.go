package volume

import (
	"context"
	"time"
)

// clockStep is the resolution of LastModified: what it says may be so much
// later in truth.
const clockStep = time.Second

// precedes tells whether a body that says it was modified then was there before
// opened, which is in ns by this host's clock. That clock may be ahead of the
// store's, by minutes without anybody noticing, and then what came afterwards
// seems to have been there: so what looks older is judged by the store's clock.
func (v *Volume) precedes(ctx context.Context, modified time.Time, opened int64) bool {
	end := modified.Add(clockStep).UnixNano()
	if end > opened {
		return false
	}
	now, err := v.storeTime(ctx)
	if err != nil {
		v.opt.Log.WithError(err).Warn("whether a file was there before it was created here is not known: it is taken for another host's")
		return false
	}
	ahead := v.opt.Now().Sub(now) // and what the two requests took: too much is no loss
	return end <= opened-max(0, ahead.Nanoseconds())
}

// storeTime is the time by the clock that stamps objects.
func (v *Volume) storeTime(ctx context.Context) (time.Time, error) {
	key := v.uploadsDir() + newMark()
	if _, err := v.putOwn(ctx, draft{key: key}, nil); err != nil {
		return time.Time{}, err
	}
	defer v.condemn(key)
	info, err := v.head(ctx, key)
	return info.Modified, err
}
