package volume

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
)

// What dead mounts left is replayed as soon as the volume starts. Start waits
// for that, since whoever wrote it expects to see it; for long replays only
// this long, and they go on in the background.
const replayWait = 30 * time.Second

// tellReplay is how often a replay tells how far it is.
const tellReplay = 30 * time.Second

// startReplay begins to replay what is left, and waits a little.
func (v *Volume) startReplay(ctx context.Context) {
	if len(v.opt.Left) == 0 {
		return
	}
	ctx, end := v.work.begin(ctx)
	v.endReplay = end // not to be waited for at the end: the next mount goes on
	ended := make(chan struct{})
	v.done.Add(1)
	go func() {
		defer v.done.Done()
		defer end()
		defer close(ended)
		v.replayAll(ctx)
	}()
	enough := time.NewTimer(replayWait)
	defer enough.Stop()
	select {
	case <-ended:
	case <-ctx.Done():
	case <-enough.C:
		v.opt.Log.Warn("what earlier mounts left is still being replayed: it will show file by file")
	}
}

// replayAll replays what needs nobody's decision, and tries again what failed
// for reasons that pass, until ctx ends.
func (v *Volume) replayAll(ctx context.Context) {
	a := &aftermath{r: NewRecovery(v, v.opt.Left), log: v.opt.Log, told: map[string]bool{}, needed: map[string]bool{}}
	ids, err := a.r.IDs()
	if err != nil {
		a.log.WithError(err).Error("what earlier mounts left cannot be listed")
		a.blind = true
	}
	if len(ids) > 0 {
		a.log.WithField("files", len(ids)).Info("looking at what earlier mounts left uncommitted")
	}
	var pause retry
	for len(ids) > 0 && ctx.Err() == nil {
		if ids = a.round(ctx, ids); len(ids) == 0 {
			break
		}
		pause.later(v.opt.Now())
		wait := time.NewTimer(pause.pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
		wait.Stop()
	}
	a.summary(len(ids))
	if ctx.Err() == nil && !a.blind {
		v.condemnAll(slices.DeleteFunc(v.orphans, func(key string) bool { return a.needed[key] }))
	}
}

// aftermath is the replay of all that was left.
type aftermath struct {
	r   *Recovery
	log logrus.FieldLogger

	mu     sync.Mutex // guards what follows
	again  []string   // to be tried again
	told   map[string]bool
	needed map[string]bool // keys of bodies that lie under what is kept
	blind  bool            // there may be more of these
	done   int             // replayed
	kept   int             // for a person
}

// round tries each file once, and gives those to be tried again.
func (a *aftermath) round(ctx context.Context, ids []string) []string {
	a.again = nil
	tick := time.NewTicker(tellReplay)
	defer tick.Stop()
	var g errgroup.Group
	g.SetLimit(parallelCommits)
	for i, id := range ids {
		select {
		case <-tick.C:
			a.log.Infof("replaying what earlier mounts left: file %d of %d", i+1, len(ids))
		default:
		}
		g.Go(func() error {
			if ctx.Err() == nil {
				a.one(ctx, id)
			} else {
				a.later(id)
			}
			return nil
		})
	}
	_ = g.Wait() // its functions give no error
	return a.again
}

func (a *aftermath) later(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.again = append(a.again, id)
}

// one replays one file, or says why not.
func (a *aftermath) one(ctx context.Context, id string) {
	l, err := a.r.open(id)
	if err != nil {
		a.spare(note{})
		a.keep(id, logrus.Fields{"id": id}, err)
		return
	}
	defer func() { _ = l.left.Close() }() // it was only read
	fields := logrus.Fields{"id": id, "path": l.name()}
	if err := a.r.endUploads(ctx, l); err != nil {
		a.postpone(ctx, id, fields, err)
		return
	}
	done, err := a.take(ctx, l)
	if err != nil && !errors.Is(err, ErrUnnamed) { // what has no note lies over nothing
		a.spare(l.note)
	}
	switch {
	case err == nil && done == nil:
	case err == nil:
		a.mu.Lock()
		a.done++
		a.mu.Unlock()
		a.log.WithFields(fields).WithField("at", done.Path).Info("committed what an earlier mount had left")
	case lasting(err):
		a.keep(id, fields, err)
	default:
		a.postpone(ctx, id, fields, err)
	}
}

// take replays l if that is right; nil for what was nothing worth telling.
func (a *aftermath) take(ctx context.Context, l *leftover) (*Replayed, error) {
	if l.Void {
		return nil, l.in.Remove(l.ID)
	}
	if l.path == "" || l.Err != nil && !l.maybeThere() {
		return nil, l.Err
	}
	done, err := a.r.replay(ctx, l)
	if err == nil && done.Done {
		return nil, nil
	}
	return &done, err
}

// spare keeps the body that lies under a file which is kept; where its note
// cannot be read, all of them.
func (a *aftermath) spare(n note) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.blind = a.blind || n.Key == ""
	if n.Origin != nil {
		a.needed[n.Origin.Key] = true
	}
}

// keep leaves a file to a person.
func (a *aftermath) keep(id string, fields logrus.Fields, err error) {
	a.mu.Lock()
	a.kept++
	a.mu.Unlock()
	a.log.WithFields(fields).WithError(err).Warn("what an earlier mount left is kept: see sigilfs recover")
}

// postpone has a file tried again.
func (a *aftermath) postpone(ctx context.Context, id string, fields logrus.Fields, err error) {
	a.later(id)
	a.mu.Lock()
	again := a.told[id]
	a.told[id] = true
	a.mu.Unlock()
	log := a.log.WithFields(fields).WithError(err)
	if again || ctx.Err() != nil {
		log.Debug("what an earlier mount left is not committed yet")
		return
	}
	log.Error("what an earlier mount left is not committed yet, and will be tried again")
}

// lasting tells the failures that no further try mends.
func lasting(err error) bool {
	for _, e := range []error{
		ErrStillOpen, ErrOtherRule, ErrUnnamed, ErrPartial, ErrUnproved, ErrElsewhere, ErrDamaged,
		ErrCorrupt, ErrTooLarge, ErrTooLong, ErrInvalid, ErrXattrs,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return conflict(err)
}

func (a *aftermath) summary(left int) {
	if a.done+a.kept+left > 0 {
		a.log.WithFields(logrus.Fields{"committed": a.done, "kept": a.kept, "unfinished": left}).Info("replayed what earlier mounts had left")
	}
}
