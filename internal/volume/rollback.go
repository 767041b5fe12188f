package volume

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigilfs/sigilfs/internal/freshness"
)

// Rollback of an object. A bucket's owner can put an older body, or older
// metadata, back, and each opens: it was sealed for this very key. So this host
// remembers of sealed objects what it has written, read and removed (package
// freshness), and holds what it is shown against what it knew before it asked:
// S3 reads what was written before. What is read of an older version on purpose,
// an open handle's or one of a versioned bucket, is not judged.

// RollbackPolicy says what becomes of an object that shows an older state than
// this host has known.
type RollbackPolicy int

const (
	// RollbackReport: it is told, by the log, user.sigil.rollback and Rollbacks,
	// and shown as it is.
	RollbackReport RollbackPolicy = iota

	// RollbackDeny: and neither its content nor its attributes are believed.
	RollbackDeny

	// RollbackNone: what is shown is of another time, and nothing is judged.
	RollbackNone
)

// SealMemory remembers states of sealed objects by their keys; package freshness
// says how. Safe for concurrent use.
type SealMemory interface {
	// Get tells what is known. An error says that more may be.
	Get(key string) (freshness.Record, error)

	// Learn remembers r, unless something higher is known; Accept whatever is.
	Learn(key string, r freshness.Record)
	Accept(key string, r freshness.Record)

	// Flush puts down what was told, durably, where other processes see it.
	Flush() error
}

// Rollback is an object of which an older state was met, and not yet a newer one.
type Rollback struct {
	Key, Path    string
	Kind         string // as freshness.Verdict has it
	Shown, Known uint64 // versions: ns since 1970, about
	Since        time.Time
}

// maxOlder bounds the objects in an older state that are listed; others are
// counted.
const maxOlder = 4096

// rollbacks are those met. Safe for concurrent use; the mutex is a leaf.
type rollbacks struct {
	mu   sync.Mutex
	all  map[string]met
	seen map[freshness.Verdict]uint64 // since New
	more uint64                       // met when all was full
}

// met is one of them.
type met struct {
	Rollback
	seal freshness.Seal
}

// before is what was known of a key when the store was asked.
type before struct {
	rec freshness.Record
	err error
}

// knownOf tells what is known of key; it is asked before the store is.
func (v *Volume) knownOf(key string) before {
	if !v.watched(key) {
		return before{}
	}
	rec, err := v.opt.Seals.Get(key)
	return before{rec, err}
}

// watched tells the keys whose states are remembered: not of what bears a random
// name for as long as this host needs it.
func (v *Volume) watched(key string) bool {
	return v.opt.Rollback != RollbackNone && !strings.HasPrefix(key, v.parked()) && !strings.HasPrefix(key, v.uploadsDir())
}

// stateOf is what is judged of o; not ok: it is not sealed.
func (o *object) stateOf() (version uint64, seal freshness.Seal, ok bool) {
	f, ok := o.form.(*sealedForm)
	if !ok {
		return 0, seal, false
	}
	sum := f.header.Digest()
	copy(seal[:], sum[:])
	return f.rec.Version, seal, true
}

// judge holds o, as the store shows it now, against what was known before it was
// asked, remembers it where it is newer, and tells of it where it is older. Under
// RollbackDeny an error says that nobody can know.
func (v *Volume) judge(o *object, known before) error {
	if known.err != nil && v.opt.Rollback == RollbackDeny && v.judged(o) {
		return errUntold(o.id.Key, known.err)
	}
	rec := v.weigh(o, known)
	if o.verdict.Bad() || o.verdict == freshness.Ahead {
		v.meet(o, rec)
	}
	return nil
}

// judged tells what is held against what is known: what does not open says so by
// itself.
func (v *Volume) judged(o *object) bool {
	_, _, sealed := o.stateOf()
	return sealed && o.err == nil && v.watched(o.id.Key)
}

// weigh is judge without a word of what is older, but in o. It gives what o was
// held against.
func (v *Volume) weigh(o *object, known before) freshness.Record {
	rec := known.rec
	if !v.judged(o) {
		return rec
	}
	version, seal, _ := o.stateOf()
	key, now := o.id.Key, v.opt.Now()
	o.verdict = freshness.Judge(rec, version, seal, now)
	if o.verdict.Bad() { // unless it was accepted since
		if later, err := v.opt.Seals.Get(key); err == nil && !freshness.Judge(later, version, seal, now).Bad() {
			rec, o.verdict = later, freshness.Judge(later, version, seal, now)
		}
	}
	switch o.verdict {
	case freshness.New:
		v.opt.Seals.Learn(key, freshness.Record{Version: version, Seal: seal})
		if known.err == nil { // else nobody knows
			v.wellAgain(key)
		}
	case freshness.Fresh:
		v.wellAgain(key)
	default:
		o.compare(rec)
	}
	return rec
}

// ErrUntold: the memory of versions could not be asked.
var ErrUntold = errors.New("whether it is an older state cannot be told")

func errUntold(key string, cause error) error { return fmt.Errorf("%s: %w: %w", key, ErrUntold, cause) }

// compare has o say what it was held against.
func (o *object) compare(rec freshness.Record) {
	o.older = fmt.Sprintf("%s: version %d, known is %d", o.verdict, o.version(), rec.Version)
}

// meet notes that o is in an older state, and says so once.
func (v *Volume) meet(o *object, rec freshness.Record) {
	version, seal, _ := o.stateOf()
	m := met{Rollback{Key: o.id.Key, Path: v.pathOf(o.id.Key), Kind: string(o.verdict), Shown: version, Known: rec.Version, Since: v.opt.Now()}, seal}
	if !v.older.add(m) {
		return
	}
	log := v.opt.Log.WithField("path", m.Path).WithField("key", m.Key).WithField("shown", version).WithField("known", rec.Version)
	switch o.verdict {
	case freshness.Ahead:
		log.Warn("the version of this object is over a year ahead of the clock: it is not counted on from, and an older state of it will not be noticed")
	case freshness.Conflict:
		log.Error("rollback: this object has the version that this host has known with another seal: somebody has put another state in its place")
	case freshness.Resurrection:
		log.Error("rollback: this object was removed and is there again in a state from before")
	case freshness.Descendant:
		log.Warn("rollback: this object was changed here while it was in an older state than this host had known")
	default:
		log.Error("rollback: this object is in an older state than this host has known")
	}
}

// add is false for one that is known already.
func (r *rollbacks) add(m met) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, known := r.all[m.Key]
	if known && old.Kind == m.Kind && old.seal == m.seal {
		return false
	}
	if r.all == nil {
		r.all, r.seen = map[string]met{}, map[freshness.Verdict]uint64{}
	}
	r.seen[freshness.Verdict(m.Kind)]++
	if !known && len(r.all) >= maxOlder {
		r.more++
		return r.more == 1
	}
	if known && old.Kind == m.Kind {
		m.Since = old.Since
	}
	r.all[m.Key] = m
	return true
}

// wellAgain forgets that an older state of key was met.
func (v *Volume) wellAgain(key string) {
	v.older.mu.Lock()
	m, was := v.older.all[key]
	delete(v.older.all, key)
	v.older.mu.Unlock()
	if was {
		v.opt.Log.WithField("path", m.Path).WithField("key", key).Info("this object is in an older state no more")
	}
}

// Rollbacks lists the objects that were met in an older state and are not known
// to be in a newer one since, by key, and how many more there were.
func (v *Volume) Rollbacks() (all []Rollback, more uint64) {
	v.older.mu.Lock()
	list := slices.Collect(maps.Values(v.older.all))
	more = v.older.more
	v.older.mu.Unlock()
	for _, m := range list {
		if v.accepted(m) {
			v.wellAgain(m.Key)
			continue
		}
		all = append(all, m.Rollback)
	}
	slices.SortFunc(all, func(a, b Rollback) int { return cmp.Compare(a.Key, b.Key) })
	return all, more
}

// accepted tells whether what was met is, by now, what is to be: another process
// of this host was told so.
func (v *Volume) accepted(m met) bool {
	rec, err := v.opt.Seals.Get(m.Key)
	if err != nil || !freshness.Verdict(m.Kind).Bad() {
		return false
	}
	return !freshness.Judge(rec, m.Shown, m.seal, v.opt.Now()).Bad()
}

// RollbacksSeen counts how often an older state was met since New, by kind.
func (v *Volume) RollbacksSeen() map[string]uint64 {
	v.older.mu.Lock()
	defer v.older.mu.Unlock()
	all := map[string]uint64{}
	for kind, n := range v.older.seen {
		all[string(kind)] = n
	}
	return all
}

// isOlder tells whether o is in an older state still: nobody has accepted it
// since it was read.
func (v *Volume) isOlder(o *object) bool {
	if o == nil || !o.verdict.Bad() {
		return false
	}
	version, seal, sealed := o.stateOf()
	if !sealed {
		return true
	}
	rec, err := v.opt.Seals.Get(o.id.Key)
	return err != nil || freshness.Judge(rec, version, seal, v.opt.Now()).Bad()
}

// denied tells whether d is a directory whose marker is in an older state and is
// not believed: what would be made of the attributes that stand in for its own
// must not replace them.
func (d *dentry) denied() bool { return d.dir && d.obj != nil && errors.Is(d.obj.err, ErrRollback) }

// showOlder adds to what user.sigil.* tells of o that it is in an older state.
func (v *Volume) showOlder(o *object, attrs map[string]string) map[string]string {
	if o.older == "" || o.verdict.Bad() && !v.isOlder(o) {
		return attrs
	}
	if attrs == nil {
		attrs = map[string]string{}
	}
	attrs["rollback"] = o.older
	return attrs
}

// current tells whether what is remembered as d may still be the newest state
// that this host knows: another process of it may have written one since.
func (v *Volume) current(d *dentry) bool {
	if d == nil || d.named() == nil || d.named().verdict.Bad() {
		return true
	}
	o := d.named()
	version, seal, sealed := o.stateOf()
	if !sealed || !v.watched(o.id.Key) {
		return true
	}
	rec, err := v.opt.Seals.Get(o.id.Key)
	return err == nil && !freshness.Judge(rec, version, seal, v.opt.Now()).Bad()
}

// wrote remembers what this host has made, of what d was made of.
func (v *Volume) wrote(d draft, o *object) {
	version, seal, sealed := o.stateOf()
	if !sealed || !v.watched(o.id.Key) {
		return
	}
	rec := freshness.Record{Version: version, Seal: seal, Doubted: d.older}
	v.opt.Seals.Learn(o.id.Key, rec)
	if !d.older {
		v.wellAgain(o.id.Key)
		return
	}
	o.verdict = freshness.Descendant
	o.compare(rec)
	v.meet(o, rec)
}

// removing draws the version of a tombstone for key, before the store is asked;
// removed remembers it.
func (v *Volume) removing(key string) (removed func()) {
	if !v.watched(key) {
		return func() {}
	}
	if known := v.knownOf(key); !known.rec.Known() && v.rule(key).Keys == nil {
		return v.forgets(key)
	}
	version := v.version(key)
	return func() {
		known := v.knownOf(key).rec
		rec := freshness.Record{Version: version, Gone: true, Last: known.Last, Seal: known.Seal}
		if !known.Gone {
			rec.Last = known.Version
		}
		v.opt.Seals.Learn(key, rec)
		v.wellAgain(key)
	}
}

func (v *Volume) forgets(key string) func() { return func() { v.wellAgain(key) } }

// version is what the next seal of key gets, or the tombstone of its removal: the
// time, but above every version known for it and for the objects that it is made
// of or replaces. A clock that goes back does not count.
func (v *Volume) version(key string, known ...*object) uint64 {
	now := v.opt.Now()
	v.mu.Lock()
	next := max(uint64(now.UnixNano()), v.lastClock+1) //nolint:gosec // after 1970
	v.lastClock = next
	v.mu.Unlock()
	above := func(key string, version uint64) {
		if freshness.IsAhead(version, now) {
			v.opt.Log.WithField("key", key).Warn("version is over a year ahead of the clock and is not counted on from")
			return
		}
		next = max(next, version+1)
	}
	above(key, v.knownOf(key).rec.Version)
	for _, o := range known {
		if o == nil {
			continue
		}
		above(o.id.Key, o.version())
		if o.id.Key != key {
			above(o.id.Key, v.knownOf(o.id.Key).rec.Version)
		}
	}
	return next
}
