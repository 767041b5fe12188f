package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"golang.org/x/sync/errgroup"
)

// parallelMoves bounds the objects of a directory rename that are in flight.
const parallelMoves = 16

// renameDir moves a directory: every object below it is copied under its new
// name, then every source is removed. A journal in the bucket lets whoever
// finds the rename unfinished complete it.
func (v *Volume) renameDir(ctx context.Context, from, to string, noReplace bool) error {
	if len(v.dirKey(to)) > objstore.MaxKeyLen {
		return ErrTooLong
	}
	unlock, err := v.names.lock(ctx, tree(from), tree(to))
	if err != nil {
		return err
	}
	defer unlock()
	defer v.still(v.under(from))()
	if err := v.clearDir(ctx, to, noReplace); err != nil {
		return err
	}
	if err := v.settleUnder(ctx, from); err != nil {
		return err
	}
	if err := v.mayMove(v.dirKey(from), v.dirKey(to)); err != nil {
		return err
	}
	n, err := v.checkMove(ctx, from, to)
	if err != nil {
		return err
	}
	j, err := v.begin(ctx, v.dirKey(from), v.dirKey(to))
	if err != nil {
		return err
	}
	j.total = n
	if err := v.run(ctx, j); err != nil {
		v.leave(j, err)
		v.trees.forget()
		v.dirs.torn(from, to)
		v.unindex(from)
		return err
	}
	v.arriveDir(from, to)
	return nil
}

func (v *Volume) arriveDir(from, to string) {
	v.haunt(from)
	v.moveKnown(from, to)
	v.trees.forget()
	v.dirs.moved(from, to)
	v.unindex(from)
	v.touch(from)
	v.touch(to)
}

// leave has a rename that failed half way completed, or taken back, in the
// background, unless another host does it.
func (v *Volume) leave(j *journal, err error) {
	if j.undone || errors.Is(err, errTaken) {
		return
	}
	v.mu.Lock()
	j.resumed = true
	v.unfinished = append(v.unfinished, j)
	v.mu.Unlock()
	v.wakeUp()
}

// finish completes a rename that failed half way, or takes it back.
func (v *Volume) finish(ctx context.Context, j *journal) error {
	from, to := v.pathOf(j.From), v.pathOf(j.To)
	unlock, err := v.names.lock(ctx, tree(from), tree(to))
	if err != nil {
		return err
	}
	defer unlock()
	err = v.settleUnder(ctx, from)
	if err == nil {
		err = v.resume(ctx, j)
	}
	if errors.Is(err, errTaken) {
		v.opt.Log.WithField("journal", j.key).Info("another host took an unfinished directory rename over")
		return nil
	}
	if err != nil {
		v.leave(j, err)
		return err
	}
	if !j.undone {
		v.arriveDir(from, to)
	}
	return nil
}

// pathOf is the path of the directory with this key.
func (v *Volume) pathOf(dirKey string) string {
	return strings.TrimSuffix(strings.TrimPrefix(dirKey, v.opt.Prefix), "/")
}

// clearDir makes room at to, which is held: an empty directory goes.
func (v *Volume) clearDir(ctx context.Context, to string, noReplace bool) error {
	d, err := v.ask(ctx, to)
	f := v.fileAt(to)
	switch {
	case f != nil && f.dirty() && noReplace:
		return ErrExist
	case f != nil && f.dirty():
		return ErrNotDir
	case errors.Is(err, ErrNotExist):
		return nil
	case err != nil:
		return err
	case noReplace:
		return ErrExist
	case !d.dir:
		return ErrNotDir
	}
	return v.rmdir(ctx, to)
}

// settleUnder commits what is dirty below dir, so that all of it is objects.
func (v *Volume) settleUnder(ctx context.Context, dir string) error {
	if err := v.commitDirs(ctx, dir); err != nil {
		return err
	}
	for _, f := range v.under(dir) {
		if err := f.commit(ctx); err != nil {
			return err
		}
	}
	return nil
}

// checkMove refuses, before anything is touched, a rename over the limit, and
// one that would give an entry too long a key or hide it. It counts the entries.
func (v *Volume) checkMove(ctx context.Context, from, to string) (n int, err error) {
	grow := len(v.dirKey(to)) - len(v.dirKey(from))
	for e, err := range v.opt.Store.List(ctx, objstore.ListOptions{Prefix: v.dirKey(from)}) {
		if err != nil {
			return n, err
		}
		n++
		if v.opt.RenameDirLimit > 0 && n > v.opt.RenameDirLimit {
			return n, fmt.Errorf("more than %d entries: %w", v.opt.RenameDirLimit, ErrCrossing)
		}
		if len(e.Key)+grow > objstore.MaxKeyLen {
			return n, fmt.Errorf("%s: %w", e.Key, ErrTooLong)
		}
		dst, err := v.rekey(e.Key, v.dirKey(from), v.dirKey(to))
		if err != nil {
			return n, fmt.Errorf("%w: another volume may lie there, or what is none's: %w", err, ErrCrossing)
		}
		if v.isInstruction(dst) && !v.isInstruction(e.Key) {
			return n, fmt.Errorf("%s: %w", dst, ErrName)
		}
	}
	return n, nil
}

// move copies all that the journal names, and when all copies are proved,
// removes all sources. Every step may have been done before, by this host or
// another.
func (v *Volume) move(ctx context.Context, j *journal) error {
	j.copying = true
	j.copied.Store(0)
	j.removed.Store(0)
	t := &tally{most: v.mostHeld}
	if err := v.copyAll(ctx, j, t); err != nil {
		return err
	}
	t.held, t.later = append(t.held, t.later...), nil // not listed any more
	j.copying = false
	for _, c := range t.known { // these hold on to the copies
		if err := v.follow(ctx, c); err != nil {
			return err
		}
	}
	return v.deleteAll(ctx, j, t)
}

// pages gives what is below prefix, after a key, some at a time; the next are
// asked for when each has done with those.
func (v *Volume) pages(ctx context.Context, prefix, after string, each func([]objstore.Entry) error) error {
	for {
		var page []objstore.Entry
		for e, err := range v.opt.Store.List(ctx, objstore.ListOptions{Prefix: prefix, After: after, Limit: v.movePage}) {
			if err != nil {
				return err
			}
			page = append(page, e)
		}
		if len(page) == 0 {
			return nil
		}
		if err := each(page); err != nil || len(page) < v.movePage {
			return err
		}
		after = page[len(page)-1].Key
	}
}

// follow tells the open File of a moved object where it is now, and whoever
// remembers the object what it is now.
func (v *Volume) follow(ctx context.Context, m moved) error {
	if m.to == nil {
		return nil
	}
	from, to := strings.TrimPrefix(m.src, v.opt.Prefix), strings.TrimPrefix(m.key, v.opt.Prefix)
	v.exchange(strings.TrimSuffix(from, "/"), m.from, m.to)
	f := v.fileAt(from)
	if f == nil {
		return nil
	}
	if err := f.yieldLoans(ctx, m.from, m.to); err != nil {
		return err
	}
	if !f.follows(m.from, m.to) {
		v.detach(f) // what moved is another host's version
		return nil
	}
	v.rename(f, to)
	v.publish(to, m.to, f.incarnation)
	return nil
}

// exchange remembers to for from, of which it was made, at p.
func (v *Volume) exchange(p string, from, to *object) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if d := v.known[p]; d != nil && d.obj != nil && d.obj.same(from) {
		now := *d
		now.obj = to
		v.known[p] = &now
	}
}

// deleteAll removes the sources, what is late when the others have gone.
func (v *Volume) deleteAll(ctx context.Context, j *journal, t *tally) error {
	for _, late := range []bool{false, true} {
		if err := v.deleteHeld(ctx, j, t, late); err != nil {
			return err
		}
		if err := v.deleteListed(ctx, j, t, late); err != nil {
			return err
		}
	}
	return nil
}

// late tells the markers of directories, and the instruction files: what needs
// one does not open without.
func (v *Volume) late(key string) bool { return isMarker(key) || v.isInstruction(key) }

// deleteHeld leaves what another host has written since it was copied: it
// keeps its old name.
func (v *Volume) deleteHeld(ctx context.Context, j *journal, t *tally, late bool) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelMoves)
	for _, m := range t.held {
		if v.late(m.src) != late {
			continue
		}
		g.Go(func() error {
			defer j.removed.Add(1)
			return v.deleteSource(gctx, m)
		})
	}
	return g.Wait()
}

// deleteSource removes what was copied. The copies of a large tree take long:
// where the server does not honour the condition, the source is looked at again.
func (v *Volume) deleteSource(ctx context.Context, m moved) error {
	if v.isInstruction(m.src) {
		if needed, err := v.needed(ctx, m.src); err != nil || needed {
			return err
		}
	}
	err := v.guard(ctx, v.opt.Capabilities.DeleteConditions, m.src, objstore.Condition{IfMatch: m.etag})
	if err == nil {
		err = v.delete(ctx, m.src, m.etag)
	}
	err = unlessGone(err)
	if err == nil && m.name != nil {
		v.dropName(ctx, m.name)
	}
	return err
}

// unlessGone is err of a conditional removal, unless somebody else was faster: what
// was to go is not there any more, or not that.
func unlessGone(err error) error {
	if errors.Is(err, ErrChanged) || errors.Is(err, ErrNotExist) {
		return nil
	}
	return err
}

// moveKnown carries what is remembered of dir and all below it to its new
// name, to be asked again before it is believed.
func (v *Volume) moveKnown(from, to string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	moves := func(p string) bool { return p == from || below(p, from) }
	keep := func(p string, remember func(at string)) {
		if p, err := v.repath(p, from, to); err == nil { // else it is asked for again
			remember(p)
		}
	}
	for p, d := range maps.Clone(v.known) {
		if moves(p) {
			delete(v.known, p)
			stale := *d
			stale.at = time.Time{}
			keep(p, func(at string) { v.known[at] = &stale })
		}
	}
	for p, t := range maps.Clone(v.touched) {
		if moves(p) {
			delete(v.touched, p)
			keep(p, func(at string) { v.touched[at] = t })
		}
	}
	for p := range maps.Clone(v.ghosts) {
		if moves(p) {
			delete(v.ghosts, p)
			keep(p, func(at string) { v.ghosts[at] = true })
		}
	}
}
