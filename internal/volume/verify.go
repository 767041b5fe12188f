package volume

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sync/semaphore"
)

// Fault is what a Finding is of, in one word.
type Fault string

// What Verify finds. Each but Unseen is wrong with what lies in the bucket.
const (
	FaultSeal     Fault = "seal"     // metadata that do not authenticate, or of nobody's format
	FaultMoved    Fault = "moved"    // sealed for another key
	FaultWeak     Fault = "weak"     // plaintext, or weaker than the policy of its prefix asks for
	FaultSize     Fault = "size"     // a body of a length that its metadata do not have
	FaultTail     Fault = "tail"     // the table at the end of a body does not authenticate
	FaultContent  Fault = "content"  // content that does not authenticate, or is not what S3 was sent
	FaultDangling Fault = "dangling" // a hard-link name whose inode is missing, or is another file's
	FaultRoll     Fault = "roll"     // a hard-link name that its inode does not count: the body may go too early
	FaultNlink    Fault = "nlink"    // a link count that is not that of the names
	FaultOrphan   Fault = "orphan"   // an inode without a name
	FaultIndex    Fault = "index"    // an attribute index that does not open
	FaultJournal  Fault = "journal"  // a directory rename that nobody goes on with
	FaultUpload   Fault = "upload"   // a recorded upload that nobody goes on with
	FaultEpoch    Fault = "epoch"    // an epoch object that is none, was planted, or is gone
	FaultRollback Fault = "rollback" // whole, and older than what this host has known
	FaultParked   Fault = "parked"   // the body of a file that was unlinked while it was open, and that nobody has any more

	// Unseen is what could not be looked at: no key, no access, archived, or of a
	// newer version of the format.
	Unseen Fault = "unseen"
)

// Finding is one thing that Verify found.
type Finding struct {
	Fault Fault
	Key   string // of the object
	Path  string // in the volume; "" where no path leads there

	// Damage are the ranges of the plaintext that cannot be read, in order; of
	// FaultContent where the format tells. More says that there are others.
	Damage []objstore.Range
	More   bool

	Err error // why

	// Mended says what was done about it, Unmended why nothing was; nil and ""
	// where nothing was asked for.
	Mended   string
	Unmended error
}

// Error makes a Finding an error, of one line.
func (f *Finding) Error() string {
	text := fmt.Sprintf("%s: %v", f.Fault, f.Err)
	for i, r := range f.Damage {
		if i == 0 {
			text += "; of the content"
		}
		text += fmt.Sprintf(" [%d, %d)", r.Off, r.Off+r.Len)
	}
	if f.More {
		text += " and more"
	}
	return text
}

func (f *Finding) Unwrap() error { return f.Err }

// VerifyOptions of NewVerifier.
type VerifyOptions struct {
	Path string // of the file or directory in the volume that is verified; "" is all of it
	Data bool   // content too, every byte

	// Repair mends what can be mended; with Dry it only says so.
	Repair, Dry bool

	// Settled is how long the names of a file must have been left alone until
	// they are judged: else who links or unlinks just now looks like damage. 0 is
	// an hour.
	Settled time.Duration

	// After is the key up to which an earlier run has verified: what lies there
	// is only asked for what Finish needs.
	After string

	// Parallel bounds the parts of large bodies that are read beside those whose
	// turn it is. 0 is 4.
	Parallel int

	// Epoch looks at the epoch object at a key: those of what is verified, and
	// those of the volume's root and above. A *Finding, without its Key, says what
	// is wrong with it; any other error is of the moment. It bears being called
	// twice for a key. Nil: epochs are not looked at.
	Epoch func(ctx context.Context, key string) error

	Read func(bytes int64) // is told of bytes of bodies as they are verified; nil: nobody is
}

// Verified is what Finish counts.
type Verified struct {
	Objects int64 // that are as they should be
	Bodies  int64 // whose content was read
	Bytes   int64 // of these, as stored

	// Unprovable counts the bodies that were read whole and that nothing proves:
	// plaintext objects of which S3 keeps no checksum, and CBC.
	Unprovable int64

	Names, Inodes int64 // of hard links
	Unsettled     int64 // inodes whose names were not judged, since they changed too lately

	// LinksUncounted is why names were not counted; "" where they were.
	LinksUncounted string

	// Remembered counts the objects of which this host knew a version to hold
	// them against.
	Remembered int64

	Epochs map[string]int64 // objects by the epoch that opens them

	// Files are the paths, or some of them, of bodies of hard links with which
	// something is wrong, by their keys.
	Files map[string][]string
}

// Verifier looks whether what lies in the bucket is what was written: at each
// object of List by Check, and at what objects say of each other by Finish. It
// asks the bucket, and believes neither caches nor indexes. Check is safe for
// concurrent use, and bears being called twice for an object.
//
// A volume on which others work shows none of that as damage: what looks wrong
// is looked at again, and what was changed meanwhile once more from the start.
type Verifier struct {
	v     *Volume
	opt   VerifyOptions
	extra *semaphore.Weighted // of parts of bodies
	began time.Time           // by the store's clock, as far as is known

	objects, bodies, bytes, unprovable atomic.Int64
	unread                             atomic.Int64 // objects that may be names, and do not open
	remembered                         atomic.Int64 // objects that were held against what is known

	versioning versioning

	mu     sync.Mutex // guards what follows
	epochs map[sigil.EpochID]int64
	now    time.Time // the latest that the store has said
	links  *linkLedger
	hurt   map[sigil.Generation]string // keys of inodes of which there is a Finding
	files  map[string][]string
}

// maxHurt bounds the inodes of which it is said how they are called.
const maxHurt = 1000

// maxEpochs bounds the epochs that are counted.
const maxEpochs = 4096

// NewVerifier begins to verify. Finish or Close ends it.
func (v *Volume) NewVerifier(opt VerifyOptions) (*Verifier, error) {
	if opt.Repair && v.opt.ReadOnly && !opt.Dry {
		return nil, ErrReadOnly
	}
	if err := v.checkPath(opt.Path); err != nil {
		return nil, err
	}
	if opt.Settled <= 0 {
		opt.Settled = time.Hour
	}
	if opt.Parallel <= 0 {
		opt.Parallel = 4
	}
	x := &Verifier{v: v, opt: opt, extra: semaphore.NewWeighted(int64(opt.Parallel)), epochs: map[sigil.EpochID]int64{}, hurt: map[sigil.Generation]string{}}
	if x.Whole() {
		x.links = newLinkLedger(v.opt.ScratchDir, v.opt.ScratchSize)
	}
	return x, nil
}

// Close lets go of what Finish would.
func (x *Verifier) Close() { x.links.close() }

// Whole tells whether all of the volume is seen.
func (x *Verifier) Whole() bool { return x.opt.Path == "" && x.v.opt.Prefix == x.v.opt.Root }

// List gives the objects to be verified, in order of their keys, from behind a
// key on.
func (x *Verifier) List(ctx context.Context, after string) iter.Seq2[objstore.Entry, error] {
	return func(yield func(objstore.Entry, error) bool) {
		for _, prefix := range x.prefixes() {
			for e, err := range x.v.opt.Store.List(ctx, objstore.ListOptions{Prefix: prefix, After: after}) {
				if unlistable(prefix, err) {
					break
				}
				if err == nil && x.opt.Path != "" && e.Key != prefix && !strings.HasSuffix(prefix, "/") {
					break // only what is at the path itself
				}
				if part := ownPart(e.Key); err == nil && (part == "" || part == partEpoch && x.opt.Epoch == nil) {
					continue // not sealed, and not a file
				}
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	}
}

// After is up to where an earlier run has verified.
func (x *Verifier) After() string { return x.opt.After }

// Earlier gives of what an earlier run has verified the objects that Check has to
// see again for Finish.
func (x *Verifier) Earlier(ctx context.Context, after string) iter.Seq2[objstore.Entry, error] {
	return func(yield func(objstore.Entry, error) bool) {
		for e, err := range x.List(ctx, after) {
			switch {
			case err == nil && e.Key > x.opt.After:
				return
			case err == nil && !x.again(e):
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// again tells what Check has to see again where an earlier run has verified it.
func (x *Verifier) again(e objstore.Entry) bool {
	return x.concernsLinks(e) || ownPart(e.Key) == partEpoch
}

// prefixes of what is verified, in order: of a path the file, and the directory,
// which comes behind it; and where epochs lie that may open what is there.
func (x *Verifier) prefixes() []string {
	all := []string{x.v.opt.Prefix}
	if x.opt.Path != "" {
		all = []string{x.v.fileKey(x.opt.Path), x.v.dirKey(x.opt.Path)}
	}
	if x.opt.Epoch == nil {
		return all
	}
	whole := all[len(all)-1]
	for _, at := range above(x.v.opt.Root) {
		if dir := at + epochDir; !strings.HasPrefix(dir, whole) {
			all = append(all, dir)
		}
	}
	slices.Sort(all)
	return all
}

// above gives a prefix that ends in a slash, and those that it lies below.
func above(prefix string) []string {
	all := []string{prefix}
	for p := strings.TrimSuffix(prefix, "/"); p != ""; {
		p = p[:strings.LastIndexByte(p, '/')+1]
		all = append(all, p)
		p = strings.TrimSuffix(p, "/")
	}
	return all
}

// unlistable tells whether a listing failed of what a host need not see: it may not
// look for epochs above its volume.
func unlistable(prefix string, err error) bool {
	return strings.HasSuffix(prefix, epochDir) && (errors.Is(err, ErrAccess) || errors.Is(err, ErrTooLong))
}

// maxChanged bounds how often an object is looked at anew that changes all the time.
const maxChanged = 5

// Check verifies what is at e.Key now. A *Finding tells what is wrong with it.
// ErrUntold: nothing is, but that it may be an older state. Any other error is of
// the moment, and of nothing that was verified. An object that has gone meanwhile
// is as it should be.
func (x *Verifier) Check(ctx context.Context, e objstore.Entry) error {
	switch part := ownPart(e.Key); {
	case part == "", e.Key <= x.opt.After && !x.again(e):
		return nil
	case part == partEpoch:
		return x.checkEpoch(ctx, e.Key)
	}
	for range maxChanged {
		f, err := x.checkOnce(ctx, e)
		switch {
		case errors.Is(err, ErrNotExist):
			return nil
		case errors.Is(err, ErrChanged):
			continue
		case err != nil:
			return err
		case f == nil:
			x.objects.Add(1)
			return nil
		}
		if changed, err := x.changed(ctx, f); err != nil || changed {
			if err != nil {
				return err
			}
			continue
		}
		return x.found(ctx, f)
	}
	return &Finding{Fault: Unseen, Key: e.Key, Path: x.path(e.Key), Err: fmt.Errorf("%s: changed again and again: %w", e.Key, ErrChanged)}
}

// checkEpoch has an epoch object looked at.
func (x *Verifier) checkEpoch(ctx context.Context, key string) error {
	if x.opt.Epoch == nil {
		return nil
	}
	err := x.opt.Epoch(ctx, key)
	f := (*Finding)(nil)
	switch {
	case errors.As(err, &f):
		f.Key = key
		if x.opt.Repair && f.Fault != Unseen {
			f.Unmended = errNotOurs
		}
	case err == nil:
		x.objects.Add(1)
	}
	return err
}

// found gives a Finding that stands, mended where that is asked for.
func (x *Verifier) found(ctx context.Context, s *suspicion) error {
	f := &s.Finding
	x.noteDamaged(s, s.modified)
	if x.opt.Repair && f.Fault != Unseen {
		if err := x.repair(ctx, s); err != nil {
			return err
		}
	}
	mended := f.Mended != "" && !x.opt.Dry
	if s.mayBeName && mended == (f.Fault == FaultRollback) { // which was noted as it was
		x.unread.Add(1)
	}
	return f
}

// suspicion is a Finding, and the object that it is of as it was then.
type suspicion struct {
	Finding
	id        objstore.ID
	modified  time.Time
	mayBeName bool // and so hides whether an inode has one
}

// changed tells whether the object has been replaced or removed meanwhile.
func (x *Verifier) changed(ctx context.Context, s *suspicion) (bool, error) {
	if s.id.ETag == "" {
		return false, nil
	}
	info, err := x.v.head(ctx, s.Key)
	switch {
	case errors.Is(err, ErrNotExist):
		return true, nil
	case unopenable(err):
		return s.Fault != Unseen, nil
	case err != nil:
		return false, err
	}
	return info.ETag != s.id.ETag || info.VersionID != s.id.VersionID, nil
}

// path is where the object at key is shown; "" where it is not.
func (x *Verifier) path(key string) string {
	p, ok := strings.CutPrefix(key, x.v.opt.Prefix)
	p = strings.TrimSuffix(p, "/")
	if !ok || x.v.checkPath(p) != nil {
		return ""
	}
	return p
}

// Parts of what a volume keeps under `.sigil/`, as ownPart tells them.
const (
	partFile    = "file" // not there
	partInode   = "inode"
	partRoll    = "roll"
	partParked  = "parked"
	partJournal = "journal"
	partUpload  = "upload"
	partIndex   = "index"
	partEpoch   = "epoch"
	partOther   = "other"
)

// epochDir is where epochs lie below a volume root, or above.
const epochDir = hidden + "/epochs/"

// ownPart tells what the object at key is for, whichever volume's it is; "" is
// what is not sealed: the volume object and doctor's probes. Epochs are not, either.
func ownPart(key string) string {
	i := strings.LastIndex("/"+key, "/"+hidden+"/")
	if i < 0 {
		return partFile
	}
	rest := key[i+len(hidden)+1:]
	for _, p := range []struct{ dir, part string }{
		{"inodes/" + rollDir, partRoll},
		{"inodes/open/", partParked},
		{"inodes/", partInode},
		{"journal/", partJournal},
		{"uploads/", partUpload},
		{"index/", partIndex},
		{"epochs/", partEpoch},
		{"doctor/", ""},
	} {
		if strings.HasPrefix(rest, p.dir) {
			return p.part
		}
	}
	if rest == "volume" || rest == "" {
		return ""
	}
	return partOther
}

// concernsLinks tells what Finish has to know of, by a listing: a name is an
// object with the body of an empty file.
func (x *Verifier) concernsLinks(e objstore.Entry) bool {
	if x.links == nil {
		return false
	}
	switch ownPart(e.Key) {
	case partInode, partRoll:
		return true
	case partFile:
		return e.Size == sigil.TagSize
	}
	return false
}

// heard notes the store's clock.
func (x *Verifier) heard(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if now.After(x.now) {
		x.now = now
	}
	if x.began.IsZero() {
		x.began = now
	}
}

// clock is the time by the store's clock, or where that says nothing by ours.
func (x *Verifier) clock() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.now.IsZero() {
		return x.v.opt.Now()
	}
	return x.now
}

// opened counts an object by its epoch.
func (x *Verifier) opened(id sigil.EpochID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.epochs[id]; known || len(x.epochs) < maxEpochs {
		x.epochs[id]++
	}
}

// Counted is what was verified so far.
func (x *Verifier) Counted() Verified {
	x.mu.Lock()
	defer x.mu.Unlock()
	sum := Verified{
		Objects: x.objects.Load(), Bodies: x.bodies.Load(), Bytes: x.bytes.Load(), Unprovable: x.unprovable.Load(), Epochs: map[string]int64{}, Files: x.files,
		Remembered: x.remembered.Load(),
	}
	for id, n := range x.epochs {
		sum.Epochs[id.String()] = n
	}
	return sum
}

// faultOf is what err, of an object that does not open, is a case of.
func faultOf(err error) Fault {
	switch {
	case errors.Is(err, objcrypt.ErrMoved):
		return FaultMoved
	case errors.Is(err, ErrDowngrade):
		return FaultWeak
	case errors.Is(err, ErrCorrupt):
		return FaultSeal
	}
	return Unseen
}
