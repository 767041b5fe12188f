package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sigilfs/sigilfs/internal/bulk"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// needs are what was found of epochs: how many need each, and one of them.
type needs struct {
	of   map[string]int64  // by the id, or alsoAt and the id
	such map[string]string // likewise, of what this run looked at itself

	mu sync.Mutex // guards such
}

// alsoAt before the id of an epoch is for an object that is that epoch itself, at
// a place where nobody has looked for epochs.
const alsoAt = "at:"

// scan asks every object, and every version that is kept, which of the epochs it
// needs. What it found goes on with an interrupted run: which epochs are looked
// for is part of what that was, and each of them was retired before it began.
func (c *closing) scan(ctx context.Context, ready []keyring.Held) (*needs, error) {
	var ids []string
	for _, h := range ready {
		ids = append(ids, h.ID.String())
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	journal, err := c.journal(strings.Join(ids, " "))
	if err != nil {
		return nil, err
	}
	found := &needs{of: map[string]int64{}, such: map[string]string{}}
	stop := counting(ctx, c.bar, func(ctx context.Context) (n, _ int64, err error) {
		for _, err := range c.volume.Stored(ctx, "") {
			if err != nil {
				return 0, 0, err
			}
			n++
		}
		return n, 0, nil
	})
	totals, err := bulk.Run(ctx, bulk.Walk[objstore.Version]{
		List: c.volume.Stored, Key: func(ver objstore.Version) string { return ver.Key },
		Journal: journal, Parallel: c.parallel, Fatal: endsAll,
		Do: func(ctx context.Context, ver objstore.Version) (bulk.Outcome, error) {
			return c.look(ctx, ver, ids, found)
		},
		Failed: func(key string, err error) { c.failed(key, err) },
		Tell: func(p bulk.Progress) {
			objects, _ := sums(p.Totals.Done)
			c.bar.Set(objects+p.Totals.Failed, 0)
		},
	})
	stop()
	if err != nil {
		err = errors.Join(err, journal.Close())
		if ctx.Err() != nil {
			return nil, mountError("interrupted: no epoch was closed, and the same command goes on")
		}
		return nil, mountError("%w; no epoch was closed, and the same command goes on", explainStore(c.doc.Target, err))
	}
	if err := errors.Join(journal.Finish(), journal.Close()); err != nil {
		return nil, systemError("%w", err)
	}
	for kind, n := range totals.Done {
		for _, id := range strings.Fields(kind) {
			found.of[id] += n.Entries
		}
	}
	if totals.Failed > 0 {
		c.doc.Refused = fmt.Sprintf("%d objects could not be looked at, or do not open, and may need any of them; such as %s", totals.Failed, inOneLine(totals.Failures[0].Cause))
	}
	return found, nil
}

// look asks one.
func (c *closing) look(ctx context.Context, ver objstore.Version, ids []string, found *needs) (bulk.Outcome, error) {
	of, err := c.volume.EpochsOf(ctx, ver)
	if err != nil {
		return bulk.Outcome{}, err
	}
	var kinds []string
	for _, id := range of {
		if slices.Contains(ids, id.String()) {
			kinds = append(kinds, id.String())
		}
	}
	if kinds != nil && ver.Latest && c.replaced != nil {
		if gone, err := c.replaced(ctx, ver.Key); err != nil || gone {
			return bulk.Outcome{}, err
		}
	}
	if kind, ok := c.unlisted(ver, ids); ok {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	found.mu.Lock()
	defer found.mu.Unlock()
	for _, id := range kinds {
		if found.such[id] == "" {
			found.such[id] = strings.Clone(ver.Key)
		}
	}
	return bulk.Outcome{Kind: strings.Join(kinds, " ")}, nil
}

// failed tells of what could not be looked at, the first ones.
func (c *closing) failed(key string, err error) {
	if c.unseen++; c.unseen <= mostTold && !c.asJSON {
		fmt.Fprintf(c.bar, "%s\n", inOneLine(failure(key, err)))
	}
}

// journal is of one run over the bucket for these epochs; what was left of
// another one is not gone on with. A dry run has none.
func (c *closing) journal(ids string) (*bulk.Journal, error) {
	if c.doc.DryRun {
		return nil, nil
	}
	id := bulk.Identity{Operation: "close-epochs", Target: c.bucketName() + " " + c.set.volumeRoot, Options: c.options(ids)}
	j, err := c.offline.journal(id, false)
	if errors.Is(err, bulk.ErrOther) || errors.Is(err, bulk.ErrCorrupt) {
		return c.offline.journal(id, true)
	}
	return j, err
}

// options tell runs apart: what one has looked at says nothing to who gives hosts
// more time to notice, as they may have sealed there since.
func (c *closing) options(ids string) string {
	return fmt.Sprintf("%s retired-for=%s", ids, c.retiredFor)
}
