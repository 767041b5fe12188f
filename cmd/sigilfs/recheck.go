package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sirupsen/logrus"
)

// checker asks again for keys.
type checker interface {
	Recheck(ctx context.Context) error
}

var _ checker = (*keyring.Ring)(nil)

// keysInUse are those of epochs, those of the server beneath, and that of names.
type keysInUse struct {
	ring   *keyring.Ring
	volume *volume.Volume
	names  *nameWatch
}

// Recheck asks for all of them, whatever one of them gives.
func (k keysInUse) Recheck(ctx context.Context) error {
	return errors.Join(k.ring.Recheck(ctx), k.volume.RecheckKeys(ctx), k.names.Recheck(ctx))
}

// rechecks counts them. Safe for concurrent use.
type rechecks struct {
	mu   sync.Mutex // guards what follows
	last recheckTally
}

// recheckTally is how they went.
type recheckTally struct {
	all, failed uint64
	since       time.Time // the first of failures up to the last recheck; zero: that did not fail
	err         error     // of the last one
}

// tell is of one that ended. It gives what was there before.
func (r *rechecks) tell(now time.Time, err error) recheckTally {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.last
	r.last.all++
	r.last.err = err
	switch {
	case err == nil:
		r.last.since = time.Time{}
	case before.err == nil:
		r.last.since = now
		fallthrough
	default:
		r.last.failed++
	}
	return before
}

func (r *rechecks) tally() recheckTally {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// startRecheck asks again for the keys in use at every interval: another host
// may have retired or closed an epoch, or changed the keys that it is wrapped
// for, and KMS may have been told to refuse one. 0 is never. stop ends it and
// waits for its end. All are counted; of errors that follow one another only the
// first is logged.
func startRecheck(ctx context.Context, keys checker, every time.Duration, count *rechecks, log logrus.FieldLogger) (stop func()) {
	if every <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		recheck(ctx, keys, every, count, log)
	}()
	return func() {
		cancel()
		<-done
	}
}

func recheck(ctx context.Context, keys checker, every time.Duration, count *rechecks, log logrus.FieldLogger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := keys.Recheck(ctx)
		if ctx.Err() != nil {
			return
		}
		switch before := count.tell(time.Now(), err).err; {
		case err != nil && before == nil:
			log.WithError(err).Warn("the keys in use could not be asked for again, and are used as they were seen last")
		case err == nil && before != nil:
			log.Info("the keys in use could be asked for again")
		}
	}
}

// maxSaid bounds what is remembered of reports.
const maxSaid = 1024

// reporter logs what a key ring reports, the same thing once: a recheck finds
// it again and again.
type reporter struct {
	log logrus.FieldLogger

	mu   sync.Mutex // guards said
	said map[string]struct{}
}

func newReporter(log logrus.FieldLogger) *reporter {
	return &reporter{log: log, said: map[string]struct{}{}}
}

func (r *reporter) report(id keyring.EpochID, text string) {
	if r.first(fmt.Sprint(id, " ", text)) {
		r.log.WithField("epoch", id.String()).Warn(text)
	}
}

func (r *reporter) first(what string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, again := r.said[what]; again {
		return false
	}
	if len(r.said) >= maxSaid {
		clear(r.said)
	}
	r.said[what] = struct{}{}
	return true
}
