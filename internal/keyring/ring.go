package keyring

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
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
	// Masters are all keys of the configuration. Each opens epochs; which of
	// them wrap those made here, Ring.Set says.
	Masters []Master

	Bucket     Bucket
	Older      Older  // nil: only what lies there now is looked at
	VolumeRoot string // where .sigil/ lies: "" or a prefix that ends in "/"
	ReadOnly   bool   // nothing is written to the bucket

	// Signers are those whose epochs are read, besides what this host made. An
	// epoch object that none of them signed is passed over, whatever it says.
	// Nil: all epochs are read.
	Signers []Signer

	// Sign signs the epochs that are made or changed here. Nil: nothing is
	// signed, and no epoch changed that is.
	Sign *SigningKey

	// Dir remembers epochs between mounts. Nil: a new epoch at each mount,
	// and rollback is seen only within it.
	Dir *Dir

	Host string // goes into the epochs made here; at most 255 bytes

	Now    func() time.Time              // nil: time.Now
	Report func(id EpochID, text string) // what an operator should know, one sentence; nil: dropped

	// Lease is for how long an own epoch is sealed under after it was looked at in
	// the bucket: a host that slept, or was cut off, looks again before it seals,
	// lest the epoch has been closed meanwhile. 0: until the next Recheck.
	Lease time.Duration

	// Revoked is told of an epoch under which nothing may be read any more:
	// KMS opens it no longer, or it was closed. Nil: nobody is.
	Revoked func(id EpochID, cause error)
}

// Bounds of the ring.
const (
	ownEpochLife = 30 * 24 * time.Hour // a host makes a new epoch after this
	maxClockSkew = 24 * time.Hour      // an own epoch from further ahead is not used
	missLife     = 10 * time.Second    // how long a failed search, or one without a seal, is not repeated
	troubleLife  = 2 * time.Second     // how long a KMS that did not answer is not asked again
	maxMisses    = 1024
)

// Ring is the key ring of one mount. Safe for concurrent use.
type Ring struct {
	bucket   Bucket
	older    Older
	dir      *Dir
	masters  map[string]Master // by id
	signers  []Signer          // nil: no signature is asked for
	sign     *SigningKey       // nil: nothing is signed
	root     string
	host     string
	readOnly bool
	now      func() time.Time
	report   func(EpochID, string)
	revoked  func(EpochID, error)
	lease    time.Duration

	mu      sync.Mutex // guards what follows; never held across bucket, KMS or disk
	sets    map[string]*Set
	epochs  map[EpochID][]*entry // an id may have been seen with several keys
	misses  map[miss]trouble
	weighed map[weighing]weighed
	opened  map[[sha256.Size]byte]unwrapped
	busy    map[string]chan struct{} // one search or change of an epoch at a time; closed at its end
}

// entry is an epoch whose key is known. It is never changed, only replaced.
type entry struct {
	key   *[KeySize]byte // by pointer, so that printing what holds an entry shows no key
	epoch *Epoch         // of the highest revision seen
	state Phase          // the furthest seen, perhaps beyond epoch.State
	own   bool           // made by this host
	at    string         // the prefix under which it lies
	seen  time.Time      // when it was looked for there, by a clock that sleeps not
	lost  bool           // the bucket does not have it: only this host could read what it seals
	older bool           // the bucket shows an older revision, or another content of the same

	// unsigned: the key is this host's own, and nobody who is trusted said what
	// epoch has of wraps and state.
	unsigned bool
}

// keySum is how a key is remembered: SHA-256 of it.
type keySum [sha256.Size]byte

func sumOf(key *[KeySize]byte) keySum { return sha256.Sum256(key[:]) }

func (e *entry) sum() keySum { return sumOf(e.key) }

// Format keeps the key out of every verb.
func (e entry) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "epoch "+e.epoch.ID.String()) }

// New makes a ring. It touches neither bucket, KMS nor disk.
func New(opt Options) (*Ring, error) {
	switch {
	case opt.Bucket == nil:
		return nil, errors.New("make key ring: no bucket")
	case opt.VolumeRoot != "" && !strings.HasSuffix(opt.VolumeRoot, "/"):
		return nil, errors.New("make key ring: the volume root does not end in /")
	case len(opt.Host) > maxHost:
		return nil, fmt.Errorf("make key ring: host name over %d bytes", maxHost)
	case opt.Sign != nil && slices.ContainsFunc(opt.Masters, opt.Sign.is):
		return nil, fmt.Errorf("%w: the key that signs is one that encrypts too, and who reads could sign: make another with `sigilfs keygen --kind sign`", ErrKeySource)
	}
	r := &Ring{
		bucket: opt.Bucket, older: opt.Older, dir: opt.Dir, root: opt.VolumeRoot, host: opt.Host, readOnly: opt.ReadOnly,
		signers: slices.Clone(opt.Signers), sign: opt.Sign,
		now: opt.Now, report: opt.Report, revoked: opt.Revoked, lease: opt.Lease,
		masters: map[string]Master{}, sets: map[string]*Set{}, epochs: map[EpochID][]*entry{},
		misses: map[miss]trouble{}, weighed: map[weighing]weighed{}, opened: map[[sha256.Size]byte]unwrapped{},
		busy: map[string]chan struct{}{},
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.report == nil {
		r.report = func(EpochID, string) {}
	}
	if r.revoked == nil {
		r.revoked = func(EpochID, error) {}
	}
	for _, m := range opt.Masters { // of one key's halves the secret one stays
		if have := r.masters[m.ID()]; have == nil || !have.CanUnwrap() {
			r.masters[m.ID()] = m
		}
	}
	return r, nil
}

// Derive gives HKDF-SHA256(epoch key, salt, info), 32 bytes: for keys of this
// host that lie on its disk. id is that of an own epoch, of this mount or an
// earlier one, and may be closed: what is under these keys nobody sees who closes
// it, and no bucket can forge. Errors as of Open.
func (r *Ring) Derive(ctx context.Context, id EpochID, salt []byte, info string) ([KeySize]byte, error) {
	mine, err := r.ownSums(id)
	if err != nil {
		r.report(id, err.Error())
	}
	e, err := r.entry(ctx, id, []string{r.root}, func(key *[KeySize]byte) bool {
		return len(mine) == 0 || slices.Contains(mine, sumOf(key))
	})
	if err != nil {
		return [KeySize]byte{}, fmt.Errorf("derive %s: %w", info, err)
	}
	return derive(e.key[:], salt, info), nil
}

// ownSums are the keys that own epochs have been made with under id: one, or
// none where that was forgotten.
func (r *Ring) ownSums(id EpochID) (sums []keySum, err error) {
	for _, e := range r.known(id) {
		if e.own {
			sums = append(sums, e.sum())
		}
	}
	if sums != nil {
		return sums, nil
	}
	records, err := r.dir.records(id)
	for _, rec := range records {
		if rec.Own {
			sums = append(sums, rec.Sum)
		}
	}
	return sums, err
}

// Format prints what the ring is, never what it holds.
func (r *Ring) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "keyring.Ring("+strings.Join(slices.Sorted(maps.Keys(r.masters)), ",")+")")
}
