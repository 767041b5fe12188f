package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigilfs/sigilfs/internal/freshness"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
)

const parallelCommits = 4

// Volume is one mounted prefix of a bucket. It is safe for concurrent use.
type Volume struct {
	opt     Options
	raw     objstore.Store // opt.Store, with what it has beside that seam, and all that it lists
	gate    *gate          // what is between opt.Store and raw
	hide    *nameGuard     // opt.Store where names are encrypted; nil
	started int64          // ns
	names   nameLocks

	policy    policy
	customers []*customer // in the order in which they are tried
	copies    *copies
	dirs      *dirNames
	walks     *walks
	trees     *trees
	index     *attrIndex // nil: none is kept
	recent    *recentBodies
	frames    *sigil.Frames                     // what readers of compressed bodies share
	packer    func() (*sigil.Compressor, error) // for what is compressed, and is under no rule that does
	server    serverKeys
	untagged  atomic.Bool // tags are denied
	conflicts atomic.Uint64
	older     rollbacks

	onePut, maxCopy, copyPart int64 // those constants; tests make them small
	leastLoan, loanUnit       int64
	mostHeld, movePage        int

	loads chan struct{} // one for each commit that may hold its content in memory
	slots chan struct{} // one for each part of a stream that may be under way
	room  room

	wake chan struct{} // work for the background
	stop chan struct{} // closed by Close
	done sync.WaitGroup
	work works // what Close waits for, until it may no longer

	endReplay func()   // set by Start; nil: nothing is replayed
	orphans   []string // bodies to be removed after the replay; set by Start

	mu           sync.Mutex // guards all below
	known        map[string]*dentry
	files        map[string]*File       // who shows a path: open, or dirty
	open         map[*File]struct{}     // all Files, those without a path too
	rolls        map[string]*roll       // by the inode's key
	touched      map[string]int64       // directory → mtime in ns that is not in its marker
	dirDue       map[string]*dirChange  // attributes of directories that wait
	ghosts       map[string]bool        // implicit directories that lost their last entry here
	doomed       []string               // keys to remove: unlinked bodies that nobody has open any more, done journals
	unfinished   []*journal             // directory renames that failed half way
	unheard      map[string]unheardCopy // by mark
	uploads      map[*upload]struct{}   // under way
	strays       []*upload              // uploads that could neither be aborted nor recorded
	chores       retry                  // of these two
	root         *Attr                  // set on the root of a whole bucket
	revoked      map[sigil.EpochID]uint64
	revocations  uint64                 // so many; revoked has the number of the last
	keyless      map[sigil.EpochID]bool // epochs that keys do not open
	incarnations uint64
	lastClock    uint64 // of versions
	closed       bool
}

// complete sets what is not given.
func (opt *Options) complete() {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.AttrTimeout == 0 {
		opt.AttrTimeout = time.Second
	}
	if opt.AttrDelay == 0 {
		opt.AttrDelay = defaultAttrDelay
	}
	if opt.AheadBytes == 0 {
		opt.AheadBytes = 32 << 20
	}
	if opt.DirMode == 0 {
		opt.DirMode = 0o755
	}
	if opt.FileMode == 0 {
		opt.FileMode = 0o644
	}
	if opt.KeyMemory == nil {
		opt.KeyMemory = noMemory{}
	}
	if opt.Seals == nil {
		opt.Seals = freshness.Open(freshness.Options{Log: opt.Log, Now: opt.Now})
	}
	if opt.ScratchSize == 0 {
		opt.ScratchSize = 1 << 30
	}
	if opt.Memory == nil {
		opt.MemoryBytes = parallelLoads * onePut
		opt.Memory = semaphore.NewWeighted(opt.MemoryBytes)
	}
	if opt.Remembered == 0 {
		opt.Remembered = 64 << 20
	}
}

// New makes a volume; Start brings it to life. The options are checked by
// whoever makes them.
func New(opt Options) *Volume {
	opt.complete()
	v := &Volume{
		opt:          opt,
		raw:          opt.Store,
		started:      opt.Now().UnixNano(),
		onePut:       cmp.Or(opt.onePut, onePut),
		maxCopy:      maxCopy,
		copyPart:     copyPart,
		leastLoan:    leastLoan,
		loanUnit:     loanUnit,
		mostHeld:     mostHeld,
		movePage:     movePage,
		loads:        make(chan struct{}, parallelLoads),
		slots:        make(chan struct{}, parallelSlots),
		wake:         make(chan struct{}, 1),
		stop:         make(chan struct{}),
		known:        map[string]*dentry{},
		files:        map[string]*File{},
		open:         map[*File]struct{}{},
		rolls:        map[string]*roll{},
		touched:      map[string]int64{},
		dirDue:       map[string]*dirChange{},
		ghosts:       map[string]bool{},
		uploads:      map[*upload]struct{}{},
		revoked:      map[sigil.EpochID]uint64{},
		keyless:      map[sigil.EpochID]bool{},
		frames:       sigil.NewFrames(),
		packer:       sync.OnceValues(func() (*sigil.Compressor, error) { return sigil.NewCompressor(sigil.DefaultLevel) }),
		incarnations: 1, // that of directories
	}
	v.gate = &gate{Store: opt.Store}
	v.opt.Store = v.gate
	if opt.Names != nil {
		v.hide = &nameGuard{Store: v.gate, root: opt.Root, names: opt.Names}
		v.opt.Store = v.hide
	}
	for _, m := range opt.Customers {
		v.asked(m, false)
	}
	v.policy = v.newPolicy(opt.Rules)
	v.dirs = newDirNames(opt.Now, opt.AttrTimeout, int(opt.Remembered/4))
	v.walks, v.trees = newWalks(v), newTrees(v)
	if opt.Index && opt.AttrTimeout > 0 && v.policy.internal.Keys != nil {
		v.index = newAttrIndex(opt.Now, opt.AttrTimeout, int(opt.Remembered/2))
	}
	if opt.AttrDelay > 0 {
		v.recent = newRecentBodies(int(opt.Remembered / 4))
	}
	v.copies = newCopies(v, opt.ScratchDir, opt.ScratchSize)
	return v
}

// Start completes what an earlier mount of this host left half done, and
// starts the background work, which runs under ctx until Close.
func (v *Volume) Start(ctx context.Context) error {
	if v.opt.ReadOnly {
		return nil
	}
	if !v.opt.Passing {
		if err := v.resumeMoves(ctx); err != nil {
			return fmt.Errorf("resume unfinished renames: %w", err)
		}
	}
	if err := v.sweep(ctx); err != nil {
		return fmt.Errorf("remove unlinked bodies: %w", err)
	}
	if err := v.abortUploads(ctx); err != nil {
		return fmt.Errorf("abort unfinished uploads: %w", err)
	}
	v.startReplay(ctx)
	v.inBackground(ctx, v.background)
	v.inBackground(ctx, v.keepUploads)
	return nil
}

// inBackground runs work until Close, which waits for it.
func (v *Volume) inBackground(ctx context.Context, work func(context.Context)) {
	ctx, end := v.work.begin(ctx)
	v.done.Add(1)
	go func() {
		defer v.done.Done()
		defer end()
		work(ctx)
	}()
}

// ended tells whether Close has begun: nothing is opened any more.
func (v *Volume) ended() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.closed
}

// Dirty counts the files that hold data which is not committed.
func (v *Volume) Dirty() int {
	n := 0
	for _, f := range v.allFiles() {
		if f.dirty() {
			n++
		}
	}
	return n
}

func (v *Volume) allFiles() []*File {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make([]*File, 0, len(v.open))
	for f := range v.open {
		out = append(out, f)
	}
	return out
}

// wakeUp tells the background that there is work.
func (v *Volume) wakeUp() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// abandoned tells a dirty file that nobody will close any more, and that may
// yet be committed; or one whose attributes alone wait.
func (v *Volume) abandoned(f *File) bool {
	f.mu.Lock()
	lost, light := conflict(f.fail) || errors.Is(f.fail, ErrOriginGone), f.onlyAttrs()
	f.mu.Unlock()
	return light || !lost && !v.inUse(f)
}

// commitAll commits what is dirty and was closed, several files at a time, and
// joins the errors of those that fail.
func (v *Volume) commitAll(ctx context.Context) error {
	var g errgroup.Group
	g.SetLimit(parallelCommits)
	var mu sync.Mutex // guards errs
	var errs []error
	for _, f := range v.allFiles() {
		g.Go(func() error {
			if err := f.commitClosed(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
				return nil
			}
			v.retire(f)
			return nil
		})
	}
	_ = g.Wait() // its functions give no error
	return errors.Join(errs...)
}

func (i Info) isDir() bool { return i.Mode&unix.S_IFMT == unix.S_IFDIR }
