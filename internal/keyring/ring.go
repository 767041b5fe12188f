package keyring

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bucket is what the ring needs of an object store. Every method may be called
// concurrently.
type Bucket interface {
	// Get reads a small object; more than MaxEpochSize+1 bytes need not be
	// given. ErrNotExist where nothing is, and where the answer was 403: a
	// prefix that this host may not read holds no epoch for it.
	Get(ctx context.Context, key string) (data []byte, etag string, err error)

	// Create writes an object that must not exist yet (If-None-Match: *): ErrExist.
	Create(ctx context.Context, key string, data []byte) error

	// Replace writes over the object with this ETag (If-Match): ErrChanged.
	Replace(ctx context.Context, key string, data []byte, etag string) error
}

// Options make a Ring.
type Options struct {
	// WriteSet is the key set: every epoch made here is wrapped for exactly
	// these. Required unless ReadOnly.
	WriteSet []Master

	// Masters open epochs, beside those of WriteSet.
	Masters []Master

	Bucket     Bucket
	VolumeRoot string // where .sigil/ lies: "" or a prefix that ends in "/"
	ReadOnly   bool   // nothing is written to the bucket

	// Dir remembers epochs between mounts. Nil: a new epoch at each mount,
	// and rollback is seen only within it.
	Dir *Dir

	Host string // goes into the epochs made here; at most 255 bytes

	Now    func() time.Time              // nil: time.Now
	Report func(id EpochID, text string) // what an operator should know, one sentence; nil: dropped
}

// Bounds of the ring.
const (
	ownEpochLife = 30 * 24 * time.Hour // a host makes a new epoch after this
	maxClockSkew = 24 * time.Hour      // an own epoch from further ahead is not used
	missLife     = 10 * time.Second    // how long a failed search, or one without a seal, is not repeated
	maxMisses    = 1024
)

// Ring is the key ring of one mount. Safe for concurrent use.
type Ring struct {
	bucket   Bucket
	dir      *Dir
	masters  map[string]Master // by id
	write    []Master
	writeIDs []string // sorted
	set      string   // names root and key set in dir
	root     string
	host     string
	readOnly bool
	now      func() time.Time
	report   func(EpochID, string)

	mu      sync.Mutex // guards what follows; never held across bucket or disk
	epochs  map[EpochID]*entry
	own     EpochID // sealed under at present; zero: none yet
	misses  map[miss]missed
	weighed map[EpochID]weighed
	busy    map[string]chan struct{} // one search or change of an epoch at a time; closed at its end
}

// entry is an epoch whose key is known. It is never changed, only replaced.
type entry struct {
	key   *[KeySize]byte // by pointer, so that printing what holds an entry shows no key
	epoch *Epoch         // of the highest revision seen
	state Phase          // the furthest seen, perhaps beyond epoch.State
	own   bool           // made by this host
	at    string         // the prefix under which it lies
	lost  bool           // the bucket does not have it: only this host could read what it seals
}

// sum is how a key is remembered.
func (e *entry) sum() [sha256.Size]byte { return sha256.Sum256(e.key[:]) }

// Format keeps the key out of every verb.
func (e entry) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "epoch "+e.epoch.ID.String()) }

// New makes a ring. It touches neither bucket nor disk.
func New(opt Options) (*Ring, error) {
	switch {
	case len(opt.WriteSet) == 0 && !opt.ReadOnly:
		return nil, errors.New("make key ring: no key to write with")
	case opt.Bucket == nil:
		return nil, errors.New("make key ring: no bucket")
	case opt.VolumeRoot != "" && !strings.HasSuffix(opt.VolumeRoot, "/"):
		return nil, errors.New("make key ring: the volume root does not end in /")
	case len(opt.Host) > maxHost:
		return nil, fmt.Errorf("make key ring: host name over %d bytes", maxHost)
	}
	r := &Ring{
		bucket: opt.Bucket, dir: opt.Dir, root: opt.VolumeRoot, host: opt.Host, readOnly: opt.ReadOnly,
		now: opt.Now, report: opt.Report,
		masters: map[string]Master{}, epochs: map[EpochID]*entry{},
		misses: map[miss]missed{}, weighed: map[EpochID]weighed{}, busy: map[string]chan struct{}{},
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.report == nil {
		r.report = func(EpochID, string) {}
	}
	r.addMasters(opt.WriteSet, opt.Masters)
	return r, nil
}

// addMasters drops repeated keys; of one key's halves the secret one stays.
func (r *Ring) addMasters(write, read []Master) {
	for _, m := range slices.Concat(write, read) {
		if have := r.masters[m.ID()]; have == nil || !have.CanUnwrap() {
			r.masters[m.ID()] = m
		}
	}
	for _, m := range write {
		if !slices.Contains(r.writeIDs, m.ID()) {
			r.write = append(r.write, m)
			r.writeIDs = append(r.writeIDs, m.ID())
		}
	}
	slices.Sort(r.writeIDs)
	sum := sha256.Sum256([]byte(r.root + "\x00" + strings.Join(r.writeIDs, "\n")))
	r.set = hex.EncodeToString(sum[:16])
}

// KeySet gives the sorted ids of the keys that epochs made here are wrapped for.
func (r *Ring) KeySet() []string { return slices.Clone(r.writeIDs) }

// CanReopen tells whether this host can open the epochs it makes in a later
// mount; where not, what must outlive the mount needs another key.
func (r *Ring) CanReopen() bool {
	return slices.ContainsFunc(r.writeIDs, func(id string) bool { return r.masters[id].CanUnwrap() })
}

// Current gives the epoch to seal under: this host's own, for its key set. The
// first call finds or makes it, and so does one after it aged, was retired or
// lost its exact wraps; the others take no request. Errors: ErrReadOnly, a
// Master's or the bucket's.
func (r *Ring) Current(ctx context.Context) (EpochID, [KeySize]byte, error) {
	e := r.current()
	if e == nil {
		var err error
		if e, err = r.renew(ctx); err != nil {
			return EpochID{}, [KeySize]byte{}, err
		}
	}
	return e.epoch.ID, *e.key, nil
}

// current is the own epoch while it may be sealed under, or nil.
func (r *Ring) current() *entry {
	r.mu.Lock()
	e := r.epochs[r.own]
	r.mu.Unlock()
	if e == nil || r.unsealable(e) != "" {
		return nil
	}
	return e
}

// unsealable says why an epoch may not be sealed under, "" if it may.
func (r *Ring) unsealable(e *entry) string {
	age := r.now().Sub(e.epoch.Created)
	switch {
	case !e.own:
		return "was not made by this host"
	case e.state != Live:
		return "is " + e.state.String()
	case e.lost:
		return "is lost from the bucket"
	case !e.epoch.wrappedFor(r.writeIDs):
		return "is wrapped for other keys than configured"
	case age >= ownEpochLife:
		return "is over 30 days old"
	case age < -maxClockSkew:
		return "was made in the future"
	}
	return ""
}

// renew takes up the pinned epoch, or makes a new one.
func (r *Ring) renew(ctx context.Context) (*entry, error) {
	if r.readOnly {
		return nil, fmt.Errorf("current epoch: %w", ErrReadOnly)
	}
	leave, err := r.enter(ctx, "current")
	if err != nil {
		return nil, err
	}
	defer leave()
	if e := r.current(); e != nil {
		return e, nil
	}
	e, err := r.reopen(ctx)
	if err != nil {
		return nil, fmt.Errorf("current epoch: %w", err)
	}
	if e == nil {
		if e, err = r.create(ctx); err != nil {
			return nil, fmt.Errorf("current epoch: %w", err)
		}
	}
	r.mu.Lock()
	r.own = e.epoch.ID
	r.mu.Unlock()
	return e, nil
}

// reopen gives the pinned epoch, nil where a new one must be made.
func (r *Ring) reopen(ctx context.Context) (*entry, error) {
	p, err := r.dir.pin(r.set)
	if err != nil {
		r.report(EpochID{}, err.Error()+"; a new epoch is made")
	}
	if p == nil || !r.CanReopen() {
		return nil, nil
	}
	e, err := r.open(ctx, p.ID, []string{r.root}, func(key *[KeySize]byte) bool {
		return sha256.Sum256(key[:]) == p.Sum
	})
	switch {
	case errors.Is(err, ErrNoKey), errors.Is(err, ErrWrongKey), errors.Is(err, ErrCorrupt), errors.Is(err, ErrVersion):
		r.report(p.ID, "the own epoch does not open, a new one is made: "+err.Error())
		return nil, nil
	case err != nil:
		return nil, err
	}
	if !e.own { // the record was lost, the pin was not
		mine := *e
		mine.own = true
		e = &mine
		r.keep(e, nil)
	}
	if why := r.unsealable(e); why != "" {
		r.report(p.ID, "the own epoch "+why+", a new one is made")
		return nil, nil
	}
	return e, nil
}

// create makes an epoch, stores it, and pins it before anything is sealed
// under it.
func (r *Ring) create(ctx context.Context) (*entry, error) {
	key := new([KeySize]byte)
	_, _ = rand.Read(key[:])
	epoch := &Epoch{ID: NewEpochID(), Revision: 1, State: Live, Created: r.now().UTC(), Host: strings.ToValidUTF8(r.host, "?")}
	for _, m := range r.write {
		w, err := m.Wrap(ctx, epoch.ID, key)
		if err != nil {
			return nil, fmt.Errorf("make epoch: %w", err)
		}
		epoch.Wraps = append(epoch.Wraps, w)
	}
	if _, err := epoch.Marshal(key); err != nil {
		return nil, err
	}
	if err := r.store(ctx, epoch); err != nil {
		return nil, fmt.Errorf("make epoch: %w", err)
	}
	e := &entry{key: key, epoch: epoch, own: true, at: r.root}
	r.keep(e, nil)
	if err := r.dir.setPin(r.set, pin{epoch.ID, e.sum()}); err != nil {
		r.report(epoch.ID, "the own epoch is not remembered: "+err.Error())
	}
	return e, nil
}

// store creates an epoch object at the volume root. A retried request finds
// its own first attempt, which is no failure.
func (r *Ring) store(ctx context.Context, e *Epoch) error {
	key := epochPath(r.root, e.ID)
	err := r.bucket.Create(ctx, key, e.stored)
	if !errors.Is(err, ErrExist) {
		return err
	}
	data, _, getErr := r.bucket.Get(ctx, key)
	switch {
	case errors.Is(getErr, ErrNotExist): // it is there, and this host may only write
		return nil
	case getErr != nil:
		return getErr
	}
	if string(data) != string(e.stored) {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// Derive gives HKDF-SHA256(epoch key, salt, info), 32 bytes: for keys of this
// host that lie on its disk. id is Current's, or one of an earlier mount.
// Errors as of Open.
func (r *Ring) Derive(ctx context.Context, id EpochID, salt []byte, info string) ([KeySize]byte, error) {
	e, err := r.open(ctx, id, []string{r.root}, func(*[KeySize]byte) bool { return true })
	if err != nil {
		return [KeySize]byte{}, fmt.Errorf("derive %s: %w", info, err)
	}
	return derive(e.key[:], salt, info), nil
}

// Format prints what the ring is, never what it holds.
func (r *Ring) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "keyring.Ring("+strings.Join(r.writeIDs, ",")+")")
}
