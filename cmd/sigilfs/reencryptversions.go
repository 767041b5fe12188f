package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/sigilfs/sigilfs/internal/bulk"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume"
)

// oldVersions is what came of the versions that are not current.
type oldVersions struct {
	volume.OldVersions
	Purged bool   `json:"purged"`           // they were to be removed
	Failed int64  `json:"failed"`           // keys whose versions could not be looked at, or removed
	Untold string `json:"untold,omitempty"` // why nobody knows
}

// past looks at older versions once everything is as it should be, and removes
// those that are weaker where that is asked for.
func (r *reencrypting) past(ctx context.Context, o *offline, re *volume.Reencryption, out io.Writer, res *reencrypted) error {
	purge := r.purge && res.Failed == 0 && (res.Settled || r.dry)
	if purge && !r.yes && !r.dry {
		n, err := r.weigh(ctx, o, re, out, false)
		if err != nil || n.Untold != "" || n.Found == 0 {
			res.Old = n
			return err
		}
		purge, err = confirm(ctx, fmt.Sprintf("Remove up to %d old versions, %s, for good? [y/N] ", n.Found, amount(n.Bytes)))
		if err != nil {
			return usageError("--purge-versions asks before it removes anything, and cannot: %w; the objects are done, say --yes for the rest", err)
		}
		if res.Old = n; !purge {
			return nil
		}
	}
	n, err := r.weigh(ctx, o, re, out, purge)
	res.Old = n
	return err
}

// weigh walks over the versions. Nil counts: it was broken off.
func (r *reencrypting) weigh(ctx context.Context, o *offline, re *volume.Reencryption, out io.Writer, purge bool) (*oldVersions, error) {
	n := &oldVersions{Purged: purge}
	var mu sync.Mutex // guards n
	totals, err := bulk.Run(ctx, bulk.Walk[volume.History]{
		List: func(ctx context.Context, _ string) iter.Seq2[volume.History, error] {
			return func(yield func(volume.History, error) bool) {
				for h, err := range re.Histories(ctx, o.key()) {
					if err == nil && !o.volume.Mine(h.Now.Key) {
						continue
					}
					if !yield(h, err) {
						return
					}
				}
			}
		},
		Key: func(h volume.History) string { return h.Now.Key }, Parallel: r.parallel, Fatal: endsAll,
		Do: func(ctx context.Context, h volume.History) (bulk.Outcome, error) {
			one, err := re.Old(ctx, h, purge)
			mu.Lock()
			defer mu.Unlock()
			n.Add(one)
			return bulk.Outcome{}, err
		},
		Failed: func(key string, err error) {
			if !r.json {
				fmt.Fprintf(out, "%s\n", inOneLine(failure(o.keyOrName(key), err)))
			}
		},
	})
	n.Failed = totals.Failed
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, objstore.ErrUnsupported), errors.Is(err, volume.ErrAccess):
		n.Untold = inOneLine(err.Error())
		return n, nil
	}
	return nil, err
}

// tell says it for people.
func (n *oldVersions) tell(out io.Writer, dry bool) {
	say := func(count int64, format string, args ...any) {
		if count > 0 {
			fmt.Fprintf(out, format+"\n", append([]any{count}, args...)...)
		}
	}
	if n.Untold != "" {
		fmt.Fprintf(out, "old versions, if the bucket keeps any, were not looked at: %s\n", n.Untold)
		return
	}
	removed := "%d of them were removed"
	if dry {
		removed = "%d of them would be removed, and what this run would replace"
	}
	say(n.Found, "%d old versions, %s, are weaker or under old keys", amount(n.Bytes))
	if n.Found > 0 && !n.Purged {
		fmt.Fprintln(out, "--purge-versions removes them for good, once nothing has failed")
	}
	say(n.Removed, removed)
	say(n.Locked, "%d of them are locked (Object Lock), and stay")
	say(n.Deleted, "%d of them are of objects that were deleted, and stay: they are the way back")
	say(n.Needed, "%d of them stay, since the current version is not as it should be, or not whole")
	say(n.Unopened, "%d old versions do not open here, and stay")
	say(n.Failed, "of %d objects old versions could not be looked at or removed")
}
