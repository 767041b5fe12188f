package volume

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sys/unix"
)

const (
	heartbeatEvery = 15 * time.Second
	// silence after which another host's rename may be taken over.
	silence = 60 * time.Second
	// maxJournal bounds a journal as it is read, in bytes.
	maxJournal = 8 << 10
)

// journal says that a directory is being moved. It lies, sealed, under
// .sigil/journal/ of the volume root from before the first copy until after
// the last source is gone; who owns it renews it every heartbeatEvery.
type journal struct {
	Version int    `json:"version"`
	From    string `json:"from"` // key prefixes, ending in "/"
	To      string `json:"to"`
	Host    string `json:"host"`
	Beats   uint64 `json:"beats"`
	Back    bool   `json:"back,omitempty"` // no source has gone, and the copies are to go again

	key     string  // where it lies
	obj     *object // what lies there now
	hides   bool    // it is no rename: names are being encrypted
	resumed bool    // begun by an earlier process or another host
	copying bool    // no source is gone: as long as not all are copied
	undone  bool    // all copies were removed again

	total           int          // entries; 0 is not known
	copied, removed atomic.Int64 // of them
}

var (
	// errTaken: another host completes the rename.
	errTaken = errors.New("another host took the rename over")
	// errSilent: another host may take it over.
	errSilent = errors.New("the journal of the rename could not be renewed")
)

// journalVersion is that of journals here. Where names are encrypted it is another
// one: who takes them for clear ones would move what is below a directory to where
// it cannot be read.
func (v *Volume) journalVersion() int {
	if v.hide != nil {
		return 2
	}
	return 1
}

func (v *Volume) journalDir() string { return v.opt.Root + hidden + "/journal/" }

// begin writes the journal of a move.
func (v *Volume) begin(ctx context.Context, from, to string) (*journal, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	j := &journal{Version: v.journalVersion(), From: from, To: to, Host: v.opt.Host, key: v.journalDir() + hex.EncodeToString(id[:])}
	if err := v.vouch(j); err != nil {
		return nil, err
	}
	err := v.writeJournal(ctx, j, j.key, objstore.Condition{IfNone: true})
	if errors.Is(err, objstore.ErrUnknown) { // it must not be found later: nothing is moved
		v.condemn(j.key)
		v.wakeUp()
	}
	return j, err
}

func (v *Volume) writeJournal(ctx context.Context, j *journal, key string, cond objstore.Condition) error {
	b, err := json.Marshal(j)
	if err != nil {
		panic(err) // plain data
	}
	o, err := v.putOwn(ctx, draft{key: key, cond: cond, above: []*object{j.obj}}, b)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.obj = o
	return nil
}

// putOwn writes an object of the volume itself.
func (v *Volume) putOwn(ctx context.Context, d draft, content []byte) (*object, error) {
	d.attr = v.newAttr(Attr{Mode: 0o600}, unix.S_IFREG)
	d.attr.Size, d.src = int64(len(content)), sigil.Bytes(content)
	return v.put(ctx, d)
}

// beat renews the journal. errTaken: another host has taken it over.
func (v *Volume) beat(ctx context.Context, j *journal) error {
	j.Beats++
	j.Host = v.opt.Host
	key := j.obj.id.Key
	for range maxRetries {
		err := v.writeJournal(ctx, j, key, objstore.Condition{IfMatch: j.obj.id.ETag})
		if !errors.Is(err, ErrChanged) {
			return err
		}
		now, err := v.readJournal(ctx, key)
		switch {
		case errors.Is(err, ErrNotExist):
			return fmt.Errorf("%s: %w, and completed it", key, errTaken)
		case err != nil:
			return err
		case now.Host != v.opt.Host:
			return fmt.Errorf("%s: %w: %s", key, errTaken, now.Host)
		}
		j.obj = now.obj // an earlier beat of our own, whose answer was lost
	}
	return fmt.Errorf("%s: %w", key, ErrChanged)
}

// run does what the journal says and removes it. If a copy fails in a rename
// that this call began, the copies go again. Else a rename that failed half way
// keeps its journal and is completed later, and so does one that another host
// has taken over, which completes it.
func (v *Volume) run(ctx context.Context, j *journal) error {
	err := error(nil)
	if !j.Back {
		err = v.beating(ctx, j, v.move)
	}
	if err != nil && (!j.copying || j.resumed || errors.Is(err, errTaken)) {
		return err
	}
	if err != nil || j.Back {
		if uerr := v.undo(ctx, j); uerr != nil {
			return errors.Join(err, uerr)
		}
	}
	derr := v.delete(context.WithoutCancel(ctx), j.key, "")
	if derr == nil {
		v.concluded(j) // else the next mount does, when the journal has gone
	} else {
		v.opt.Log.WithField("journal", j.key).WithError(derr).Warn("journal of a finished directory rename could not be removed yet")
		v.condemn(j.key)
		v.wakeUp()
	}
	return err
}

// beating does work while it renews the journal and tells how far it is. The
// work ends when another host may have taken the rename over.
func (v *Volume) beating(ctx context.Context, j *journal, work func(context.Context, *journal) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var both sync.WaitGroup
	both.Go(func() { v.keepBeating(ctx, j, cancel) })
	both.Go(func() { v.tellMove(ctx, j) })
	err := work(ctx, j)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	both.Wait()
	return err
}

// keepBeating cancels when another host has the rename, or might soon: what is
// removed then could be all that is left.
func (v *Volume) keepBeating(ctx context.Context, j *journal, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for last := v.opt.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := v.beatSoon(ctx, j)
		switch now := v.opt.Now(); {
		case err == nil:
			last = now
		case errors.Is(err, errTaken):
			cancel(err)
			return
		case now.Sub(last) >= silence-heartbeatEvery:
			cancel(fmt.Errorf("%w: %w", errSilent, err))
			return
		}
	}
}

// beatSoon is beat, in time for the next.
func (v *Volume) beatSoon(ctx context.Context, j *journal) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatEvery)
	defer cancel()
	return v.beat(ctx, j)
}

// resumeMoves completes the directory renames that this host left unfinished,
// and those that another host has not renewed for silence. One that cannot be
// completed is reported and left for the next mount.
func (v *Volume) resumeMoves(ctx context.Context) error {
	there, age := map[string]bool{}, v.ages()
	for e, err := range v.opt.Store.List(ctx, objstore.ListOptions{Prefix: v.journalDir()}) {
		if err != nil {
			return err
		}
		log := v.opt.Log.WithField("journal", e.Key)
		j, err := v.readJournal(ctx, e.Key)
		if err != nil {
			log.WithError(err).Error("journal of an unfinished directory rename does not open")
			continue
		}
		there[j.id()] = true
		if !v.ours(j) || j.Host != v.opt.Host && !age.silent(ctx, e.Modified, silence) {
			continue
		}
		log = log.WithField("from", j.From).WithField("to", j.To)
		if err := v.resume(ctx, j); err != nil {
			log.WithError(err).Error("unfinished directory rename could not be completed")
			continue
		}
		delete(there, j.id())
		if j.undone {
			log.Info("unfinished directory rename taken back")
			continue
		}
		log.Info("unfinished directory rename completed")
	}
	if v.opt.Moves == nil {
		return nil
	}
	return v.opt.Moves.Retain(there)
}

func (v *Volume) resume(ctx context.Context, j *journal) error {
	if err := v.vouched(j); err != nil {
		return err
	}
	j.resumed = true
	if err := v.beat(ctx, j); err != nil {
		return err
	}
	return v.run(ctx, j)
}

func (v *Volume) readJournal(ctx context.Context, key string) (*journal, error) {
	o, err := v.fetch(ctx, key)
	if err != nil {
		return nil, err
	}
	b, err := v.readAll(ctx, o, maxJournal)
	if err != nil {
		return nil, err
	}
	j, err := parseJournal(b, v.opt.Root, v.journalVersion(), func(p string) error { return v.checkIn(v.opt.Root, p) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	j.key, j.obj = key, o
	return j, nil
}

// parseJournal reads a journal and refuses one that reaches out of the volume
// or into what is hidden.
func parseJournal(b []byte, root string, version int, check func(path string) error) (*journal, error) {
	j := &journal{}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(j); err != nil || d.More() {
		return nil, fmt.Errorf("journal: %w", ErrCorrupt)
	}
	if j.Version != version {
		return nil, fmt.Errorf("journal version %d: %w", j.Version, ErrVersion)
	}
	for _, key := range []string{j.From, j.To} {
		p, ok := strings.CutPrefix(key, root)
		p, slash := strings.CutSuffix(p, "/")
		if !ok || !slash || p == "" || check(p) != nil {
			return nil, fmt.Errorf("journal names %q: %w", key, ErrCorrupt)
		}
	}
	if strings.HasPrefix(j.From, j.To) || strings.HasPrefix(j.To, j.From) {
		return nil, fmt.Errorf("journal moves %q into %q: %w", j.From, j.To, ErrCorrupt)
	}
	return j, nil
}
