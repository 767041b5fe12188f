package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/cache/disk"
	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/control"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/keymemory"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/logging"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountpoint"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sigilfs/sigilfs/fs"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/doctor"
	"github.com/sigilfs/sigilfs/internal/freshness"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/keyring/kms"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/internal/volume/named"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
)

// mounting is one mount: what is open, in the order in which it was opened. A
// read-only one keeps no state and no spool.
type mounting struct {
	set    *settings
	log    *logrus.Logger
	sink   logging.Sink // the log's, where that is not stderr alone
	stderr io.Writer

	opened   []*key              // all keys, as configured
	kms      *kms.Client         // nil: no key needs it
	sign     *keyring.SigningKey // nil: nothing is signed
	rules    []rule              // the longest prefix first
	dir      string              // mountpoint, canonical
	dead     bool                // a mount whose process has died lies on it
	store    *s3.Store
	objects  objstore.Store // what files are made of: the store, or what it was; see past.go
	state    *state.Dir
	work     *state.Work // of a command that mounts nothing and writes, or what killed ones have left; nil: none
	passing  bool        // it is such a command
	caps     objstore.Capabilities
	ring     *keyring.Ring
	dry      bool          // no epoch is written
	hides    bool          // names are being encrypted: rules are those of readable ones, too
	idle     bool          // the volume is asked what is there, and writes nothing
	own      *keyring.Set  // what the volume's own objects are sealed under; nil: nothing
	policy   []volume.Rule // rules, as the volume takes them
	packers  map[config.Compression]*sigil.Compressor
	contexts s3ec.Keyring    // keys of KMS under contexts that rules of s3ec have
	memory   *keymemory.File // of SSE-C keys; nil: none
	seals    *freshness.Memory
	left     []*spool.Remains // of dead mounts
	shut     bool             // there are more of these
	spool    *spool.Spool
	spoolDir string
	cacheDir *disk.Dir   // nil: none
	disk     *disk.Cache // nil: what is read is kept in memory only
	cache    *cache.Cache
	naming   naming
	names    *named.Names // nil: they are in the bucket as they are
	volume   *volume.Volume
	files    named.Volume       // volume, by names
	endLife  context.CancelFunc // of what volume does by itself
	recheck  func()             // ends the rechecks of ring
	rechecks rechecks           // how these went
	claim    *control.Claim     // until it is mounted
	control  *control.File
	server   *fs.Server
	ended    chan struct{} // closed when server answers no more
	seen     observing
	managed  managed
}

// start goes through everything that can refuse, cheapest first, and says
// "mounted" at the end. Once it is mounted nothing refuses: an interruption is
// then a matter for serve, which unmounts.
func (m *mounting) start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		m.openMetrics, m.openKeys, m.prepareDir, m.openStore, m.openState, m.listenMetrics, m.probe, m.lookVolume, m.openRing, m.openNames, m.openPolicy, m.probeEncryption, m.warn, m.openLeftovers, m.openSpool, m.openCache, m.openVolume, m.clearDir, m.mount,
	} {
		if ctx.Err() != nil {
			return mountError("%s: %w", m.set.target.Spec, context.Cause(ctx))
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// prepareDir looks at this host's side: mountpoint and FUSE.
func (m *mounting) prepareDir(ctx context.Context) error {
	if err := m.claimDir(); err != nil {
		return err
	}
	dir, dead, err := mountpoint.Look(ctx, m.set.dir)
	if err != nil {
		return explainDir(err)
	}
	if err := mountpoint.Device(m.set.allowOther); err != nil {
		return systemError("%w", err)
	}
	m.dir, m.dead = dir, dead
	return nil
}

// clearDir takes a dead mount away, as late as can be: for as long as it is
// there, who works in it gets ENOTCONN, and writes nothing to the directory
// beneath.
func (m *mounting) clearDir(ctx context.Context) error {
	cleaned, err := mountpoint.Clear(ctx, m.dir)
	if err != nil {
		return explainDir(err)
	}
	if cleaned {
		m.log.WithField("dir", m.dir).Warn("a mount whose process had died was taken away first")
	}
	return nil
}

// claimDir keeps other mounts from the mountpoint. Where that cannot be done the
// mount works without; what is wrong with the mountpoint is found next.
func (m *mounting) claimDir() (err error) {
	dir, err := mountpoint.Canonical(m.set.dir)
	if err == nil {
		m.claim, err = control.Take(control.Places(os.Geteuid()), dir)
	}
	if errors.Is(err, control.ErrClaimed) {
		return mountError("mountpoint %s: %w; wait for it", dir, err)
	}
	if err != nil {
		m.log.WithError(err).Debug("the mountpoint is not claimed")
	}
	return nil
}

// commitRetry is the least time for which a commit is tried again.
const commitRetry = 5 * time.Minute

func (m *mounting) openStore(ctx context.Context) error {
	s := m.set
	store, err := s3.New(ctx, s3.Config{
		Bucket: s.target.Bucket, Region: s.region, Endpoint: s.endpoint, Profile: s.profile, PasswdFile: s.passwdFile, CABundle: s.caBundle,
		ForcePathStyle: s.pathStyle, NoSignRequest: s.anonymous, RequesterPays: s.payer, ExpectedBucketOwner: s.bucketOwner,
		RetryTimeout: s.retryTimeout, CommitTimeout: max(s.retryTimeout, commitRetry),
		UploadLimit: s.uploadLimit, DownloadLimit: s.downloadLimit, Observer: m.seen.observer(),
	})
	if err != nil {
		return mountError("%w", err)
	}
	m.store, m.objects = store, store
	if err := checkTransport(store.Endpoint(), s.policy, s.insecure); err != nil {
		return err
	}
	if strings.HasPrefix(strings.ToLower(store.Endpoint()), "http:") && !s.insecure {
		m.log.WithField("endpoint", store.Endpoint()).Warnf("the endpoint is plain http: names and requests can be seen and answers forged on the way, %s; use https", onTheWay(s.policy))
	}
	return m.lookBack(ctx)
}

// openState takes the volume's directory, and waits for a process that no
// longer serves its mountpoint: it commits what is left, and ends.
func (m *mounting) openState(ctx context.Context) error {
	if m.set.readOnly {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.set.stopTimeout+closeGrace+10*time.Second)
	defer cancel()
	dir, err := state.Open(ctx, state.Options{
		Root:  m.set.stateDir,
		ID:    m.stateID(),
		Owner: state.Owner{PID: os.Getpid(), Mountpoint: m.dir, Spec: m.set.source},
		Wait:  m.stateWait().worth,
	})
	if err != nil {
		return explainState(err)
	}
	m.state = dir
	if m.work, err = dir.DeadWork(); err != nil {
		return systemError("%w", err)
	}
	return nil
}

func (m *mounting) stateWait() *stateWait {
	w := &stateWait{log: m.log}
	if m.dead {
		w.dead = m.dir
	}
	return w
}

// stateID is what the volume's state goes by.
func (m *mounting) stateID() state.ID {
	return state.ID{Endpoint: m.store.Endpoint(), Bucket: m.set.target.Bucket, VolumeRoot: m.set.volumeRoot}
}

// bucketName tells the bucket from those of the same name on other servers.
func (m *mounting) bucketName() string {
	return fmt.Sprintf("%q %q", m.store.Endpoint(), m.set.target.Bucket)
}

func (m *mounting) probe(ctx context.Context) error {
	enc, err := m.rootEncryption()
	if err != nil {
		return err
	}
	caps, err := objstore.Probe(ctx, m.store, objstore.ProbeOptions{
		Dir: m.set.volumeRoot + ".sigil/doctor/", ReadOnly: m.set.readOnly, Full: true, Encryption: enc,
	})
	switch {
	case enc != nil && ofMode(err):
		return explainMode(m.root(), err)
	case err != nil:
		return explainStore(m.set.target.Spec, err)
	}
	m.caps = caps
	return nil
}

// warn tells of what the server and the credentials lack for writing. Of a mount
// that is refused only the reason is told, so it comes after all that may
// refuse for the bucket's sake.
func (m *mounting) warn(context.Context) error {
	if m.set.readOnly {
		return nil
	}
	m.warnSigning()
	if races := doctor.Races(m.caps); races != "" {
		m.log.Warn(races)
	}
	if !m.caps.Read {
		m.log.Warn("these credentials may write and not read (s3:GetObject, and s3:GetObjectVersion where the bucket keeps versions): nothing in the mount can be looked up or opened, not even what was written")
	}
	if !m.caps.Delete {
		m.log.Warn("these credentials may not delete (s3:DeleteObject): files can be written, not removed or renamed")
	}
	return nil
}

// newVolume makes the volume, which does nothing by itself before it starts.
func (m *mounting) newVolume() error {
	s := m.set
	opt := volume.Options{
		Store: m.objects, Bucket: m.bucketName(), Keys: keys{m.ring}, Rules: m.policy, S3ECKeys: m.s3ecKeys(), Spool: m.spool, Left: m.left, LeftSealed: m.shut, Log: m.log,
		Prefix: m.storedPrefix(), Root: s.volumeRoot, Names: m.naming.siv, MaxComponent: m.naming.longest, Host: m.host(), Boot: bootID(), ReadOnly: s.readOnly || m.idle,
		UID: s.uid, GID: s.gid, DirMode: s.dirMode, FileMode: s.fileMode, StorageClass: s.storageClass,
		AttrTimeout: believed(s.attrTimeout), AheadBytes: s.cacheBytes() / 2, Index: !m.passing && !s.at.given(), OnConflict: conflictPolicy(s.onConflict),
		StrictExcl: s.strictExcl, RenameDirLimit: s.renameDirLimit, Capabilities: m.caps, Passing: m.passing,
	}
	if m.work != nil {
		opt.Former = m.work.Dead()
	}
	var err error
	if opt.Customers, err = m.customers(); err != nil {
		return mountError("%w", err)
	}
	if m.memory != nil {
		opt.KeyMemory = m.memory
	}
	if m.seals, err = m.openSeals(); err != nil {
		return err
	}
	opt.Seals, opt.Rollback = m.seals, m.rollbackPolicy()
	if m.state != nil && !m.set.readOnly && !m.passing && !m.idle {
		moves, err := m.state.Moves()
		if err != nil {
			return systemError("%w", err)
		}
		opt.Moves = moves
	}
	return m.makeVolume(opt)
}

// makeVolume gives a volume the memory and the scratch space that it may take.
func (m *mounting) makeVolume(opt volume.Options) (err error) {
	if opt.ScratchDir, opt.ScratchSize, err = m.scratch(); err != nil {
		return systemError("%w", err)
	}
	opt.MemoryBytes, opt.Remembered = m.set.sharedBytes(), m.set.rememberedBytes()
	opt.Memory = semaphore.NewWeighted(opt.MemoryBytes)
	m.cache = m.newCache(opt.Memory)
	opt.Cache = m.cache
	m.volume = volume.New(opt)
	m.files = named.Of(m.volume, m.names)
	return nil
}

func (m *mounting) openVolume(ctx context.Context) error {
	if err := m.newVolume(); err != nil {
		return err
	}
	// The volume works on this context for as long as it lives; ctx, which ends
	// with the start, may only interrupt it until then.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	interrupt := context.AfterFunc(ctx, end)
	if err := m.volume.Start(life); err != nil {
		end()
		return explainStore(m.set.target.Spec, err)
	}
	m.endLife = end
	m.bury()
	if !interrupt() {
		return mountError("%s: %w", m.set.target.Spec, context.Cause(ctx))
	}
	return nil
}

// bury removes what commands have left here that were killed: the volume has
// ended what they had begun in the bucket.
func (m *mounting) bury() {
	if m.work == nil {
		return
	}
	if err := m.work.Bury(); err != nil {
		m.log.WithError(err).Warn("what killed commands have left on this disk could not be removed")
	}
}

// scratch is where bodies are verified before they are read, and the most bytes
// that they take there: nothing is left of them when the mount ends.
func (m *mounting) scratch() (dir string, size int64, err error) {
	if m.spool != nil {
		return m.spoolDir, m.spool.Limit(), nil
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(os.TempDir(), &fs); err != nil {
		return "", 0, fmt.Errorf("%s: %w", os.TempDir(), err)
	}
	return os.TempDir(), max(1, int64(fs.Bavail)*fs.Bsize/2), nil //nolint:gosec // far below 2^63
}

// host names this host in the bucket; a read-only mount leaves no name.
func (m *mounting) host() string {
	switch {
	case m.state == nil || m.set.readOnly:
		return "read-only"
	case m.passing:
		return m.work.Host()
	}
	return m.state.Host()
}

// believed is an attribute timeout as volume and fs take it, to whom 0 is the
// default and negative is never.
func believed(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func conflictPolicy(name string) volume.OnConflict {
	switch name {
	case "fail":
		return volume.ConflictFail
	case "overwrite":
		return volume.ConflictOverwrite
	}
	return volume.ConflictCopy
}

func (m *mounting) mount(ctx context.Context) error {
	s := m.set
	var err error
	m.control, err = control.Create(control.Places(os.Geteuid()), control.Record{PID: os.Getpid(), Dir: m.dir, Spec: s.source, ReadOnly: s.readOnly})
	if err != nil {
		m.log.WithError(err).Warn("sigilfs umount will not be able to wait for this mount")
	}
	m.server, err = fs.Mount(ctx, fs.Of(m.files), fs.Options{
		Dir: m.dir, Source: s.source, Log: m.log, NameLen: m.names.Longest(), Failed: m.seen.failed(), Remedy: s.remedy,
		AttrTimeout: believed(s.attrTimeout), EntryTimeout: believed(s.attrTimeout),
		ReadOnly: s.readOnly, AllowOther: s.allowOther, Dev: s.dev, Suid: s.suid, NoExec: s.noExec,
	})
	if err != nil {
		return explainMount(s.target.Spec, err)
	}
	_ = m.claim.Release() // from here on the kernel's table says it
	m.ended = make(chan struct{})
	go func() {
		defer close(m.ended)
		m.server.Wait()
	}()
	m.recheck = startRecheck(context.WithoutCancel(ctx), m.inUse(), s.keyRecheck, &m.rechecks, m.log)
	m.tellOthers(ctx)
	m.log.Infof("mounted %s on %s", s.target.Spec, m.dir)
	return nil
}
