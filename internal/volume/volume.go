// Package volume is plaintext names and files over encrypted objects. It knows
// which object a path is, how the object is sealed, what this host has written
// but not yet committed, and what one host owes to another. It knows neither
// FUSE nor errno, neither HTTP nor AWS; the filesystem and every offline
// command stand on it.
//
// # Names
//
// A path is relative to the mount, "" for its root, components joined by "/".
// A file `a/b` is the object PREFIX+"a/b", a directory the zero-byte object
// PREFIX+"a/b/", or nothing but keys that begin so (an implicit directory).
// Where both exist, the directory wins. No path with a component `.sigil` is
// ever visible.
//
// # Lifecycle of a file
//
// Open and Create give the File of a path; all who have it open at one time
// share it. Writes go to the spool, sealed; Commit puts the whole content into
// the bucket under a condition and publishes the new identity only after the
// store confirmed it. A File that fails to commit keeps its data, says so at
// every Commit, is retried in the background, and is what this host shows
// under the path until it succeeds.
//
// # Locks
//
// File.grow → names (the paths that an operation moves, makes, commits or asks
// for, and then at most one inode's: nameLocks) → Volume.mu → File.mu → spool. The first two are held across
// the network, the others never.
package volume

import (
	"context"
	"errors"
	"time"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/semaphore"
)

// Errors of this package and of those below it, as its callers see them.
var (
	ErrNotExist    = objstore.ErrNotExist
	ErrExist       = objstore.ErrExist
	ErrChanged     = objstore.ErrChanged // another host was first, or the pinned version is gone
	ErrAccess      = objstore.ErrAccess
	ErrBadAuth     = objstore.ErrBadAuth // credentials that are missing, wrong or expired
	ErrArchived    = objstore.ErrArchived
	ErrThrottled   = objstore.ErrThrottled
	ErrQuota       = objstore.ErrQuota
	ErrTooLong     = objstore.ErrTooLong
	ErrTooLarge    = objstore.ErrTooLarge
	ErrUnsupported = objstore.ErrUnsupported

	ErrKeyNeeded   = objstore.ErrKeyNeeded   // SSE-C: the object wants a key that was not sent
	ErrKeyBlocked  = objstore.ErrKeyBlocked  // SSE-C: the bucket takes no customer's keys
	ErrKeyMissing  = objstore.ErrKeyMissing  // KMS: no such key
	ErrKeyDisabled = objstore.ErrKeyDisabled // KMS: disabled, or its state forbids
	ErrKeyAccess   = objstore.ErrKeyAccess   // KMS: the key's policy forbids; an ErrAccess too

	ErrCorrupt   = objcrypt.ErrCorrupt
	ErrDowngrade = objcrypt.ErrDowngrade
	ErrNoKey     = objcrypt.ErrNoKey
	ErrWrongKey  = objcrypt.ErrWrongKey
	ErrVersion   = objcrypt.ErrVersion

	// ErrRollback: under RollbackDeny, an object shows an older state than this
	// host has known.
	ErrRollback = errors.New("object is in an older state than this host has known")

	ErrSpoolFull = spool.ErrFull

	ErrIsDir     = errors.New("is a directory")
	ErrNotDir    = errors.New("is not a directory")
	ErrNotEmpty  = errors.New("directory is not empty")
	ErrInvalid   = errors.New("invalid argument")
	ErrName      = errors.New("name is reserved") // `.sigil` as a component
	ErrReadOnly  = errors.New("volume is read-only")
	ErrCrossing  = errors.New("operation crosses a boundary") // of rules, or more entries than RenameDirLimit
	ErrXattrs    = errors.New("extended attributes take too much space")
	ErrNoXattr   = errors.New("no such extended attribute")
	ErrNoLinks   = errors.New("hard links need a file under mode client")
	ErrPlainLink = errors.New("symbolic links need content that is encrypted, since names are")
	ErrManyLinks = errors.New("file has too many names")
	ErrClosed    = errors.New("volume is shutting down")

	// ErrNotEncrypted: what was written is not, or not known to be, encrypted
	// as the policy says. It was removed, or the error names what is left.
	ErrNotEncrypted = errors.New("server did not encrypt as asked")
)

// Keys gives the epoch keys under which records are sealed. Its errors are
// ErrNoKey, ErrWrongKey and those of the store. Safe for concurrent use.
type Keys interface {
	// Open finds the epoch id for the object at key (its full key in the
	// bucket). A candidate that check refuses is passed over.
	Open(ctx context.Context, key string, id sigil.EpochID, check func(sigil.Epoch) bool) (sigil.Epoch, error)

	// KeyIDs names the master keys for which an opened epoch is wrapped.
	KeyIDs(id sigil.EpochID) []string
}

// Options of New. Store, Keys, Rules, Spool (unless ReadOnly), Cache, Host and
// Log are required.
type Options struct {
	Store objstore.Store
	Keys  Keys
	Rules []Rule // one of them for every key: mostly that of the prefix ""
	Spool *spool.Spool
	Cache *cache.Cache

	// Bucket names the bucket and the server that has it. Bodies that nothing
	// sealed names are cached under it, so that a Disk may serve several.
	Bucket string

	// Memory is what commits may hold of content and what indexes take while
	// they are read, MemoryBytes in all, and what the Cache has beyond its own:
	// 16 MiB at least. They are given together, or neither: four commits' worth.
	Memory      *semaphore.Weighted
	MemoryBytes int64

	// Remembered is the memory for what is remembered of directories and small
	// files that it takes no request to tell again, in bytes. 0 is 64 MiB.
	Remembered int64

	Log logrus.FieldLogger

	Prefix string // of every key of the mount: "" or ending in "/"
	Root   string // volume root, where .sigil/ lies: a prefix of Prefix, "" or ending in "/"

	// Names encrypts names; nil: they lie in the bucket as they are. Then all paths
	// and keys that the volume takes and gives are encrypted, Prefix and those of
	// Rules too: package named converts them. MaxComponent is the longest component
	// of a key that the server takes, in bytes; 0 is no limit.
	Names        *sigil.Names
	MaxComponent int

	Host string // names this host in conflict files and journals; stable over remounts
	Boot string // names this run of the kernel, which forgets what is not synced; "" is not known

	ReadOnly bool

	// Left are spools of dead mounts, to be replayed by Start. They are the
	// caller's, to be closed after Close.
	Left []*spool.Remains

	// LeftSealed: there are more of them, which do not open now. What may lie
	// under their files is kept.
	LeftSealed bool

	// Passing is a volume of a command that ends with its work, beside a mount of
	// the same host, under a Host of its own. The Spool ends with the process: so
	// there is nothing to replay, an upload is recorded in the bucket from its
	// beginning on, and a commit ends with the context of its caller. Renames that
	// other hosts left unfinished are a mount's to complete.
	Passing bool

	// Former are Hosts that are dead for certain: what they were uploading, and
	// the bodies that they had unlinked while open, Start removes as its own.
	Former []string

	// What opens objects beside Keys: keys of the Amazon S3 Encryption Client
	// and of SSE-C, in the order in which they are tried.
	S3ECKeys  s3ec.Keyring
	Customers []*sse.Mode // of SSE-C, beside those of Rules
	KeyMemory KeyMemory   // of SSE-C; nil remembers nothing

	// Seals remembers states of sealed objects, and Rollback says what becomes of
	// an older one that is met. Nil remembers as long as the volume lives, some.
	Seals    SealMemory
	Rollback RollbackPolicy

	// Moves remembers directory renames between rules; nil: there are none,
	// ErrCrossing.
	Moves MoveMemory

	// ScratchDir is where bodies that must be verified whole are held, sealed,
	// and ScratchSize the most that they take there, in bytes: 0 is 1 GiB.
	ScratchDir  string
	ScratchSize int64

	// AheadBytes bounds the content of small files that is fetched ahead of
	// their opens, in bytes: what the Cache keeps well. 0 is 32 MiB.
	AheadBytes int64

	// UID, GID, DirMode and FileMode (permission bits) are what an object
	// without attributes of its own shows. Modes default to 0755 and 0644.
	UID, GID          uint32
	DirMode, FileMode uint32

	// AttrTimeout is how long what the store said is believed without asking
	// again. 0 is 1 s, negative never.
	AttrTimeout time.Duration

	// AttrDelay is how long changes of attributes wait for others, to be written
	// together. 0 is 1 s, negative not at all.
	AttrDelay time.Duration

	// Index keeps the attributes of directories' entries in the bucket, sealed, so
	// that who lists them anew need not ask for each; where the root of the
	// volume has keys to seal with.
	Index bool

	StorageClass   string // of new files where their Rule names none; "" is the bucket's default
	OnConflict     OnConflict
	StrictExcl     bool // an exclusive Create decides at once
	RenameDirLimit int  // entries a directory rename may move; 0 is no limit

	// Conditions that the server honours, as the probe found.
	Capabilities objstore.Capabilities

	Now func() time.Time // nil is time.Now

	onePut int64 // 0 is that constant; tests make it small
}

// OnConflict says what a commit does that another host has overtaken.
type OnConflict int

const (
	ConflictCopy      OnConflict = iota // save the data beside it as NAME.conflict-HOST-TIME; ErrChanged
	ConflictFail                        // keep the data here; ErrChanged
	ConflictOverwrite                   // the last writer wins
)

// Attr is what stat(2) tells of a file.
type Attr struct {
	Mode         uint32 // type and permission bits, as in stat(2)
	UID, GID     uint32
	Rdev         uint64
	Mtime, Ctime int64 // ns since 1970
	Size         int64
	Nlink        uint32
	FileID       uint64 // st_ino: stable through commits and renames

	// Incarnation tells versions of a file apart that must not share a page
	// cache: it stays through this host's own commits and renames and changes
	// when another host's version is met.
	Incarnation uint64
}

// Info is what Stat tells.
type Info struct {
	Attr
	Xattrs map[string][]byte // user.* names; not to be modified

	// Sigil is what user.sigil.* shows: how the object is stored; by bare name
	// ("mode", "key-id", …). Nil where nothing is known. Not to be modified.
	Sigil map[string]string

	// Err is why the content cannot be opened (ErrCorrupt, ErrDowngrade,
	// ErrNoKey, ErrWrongKey, ErrVersion, ErrArchived), nil where it can. The
	// attributes are then those of a regular file without attributes of its own,
	// but those of an archived one stand as far as its metadata tell them.
	Err error
}

// Entry is one line of a directory listing.
type Entry struct {
	Name string
	Type uint32 // S_IFDIR, S_IFREG…, or 0 where a listing alone cannot tell
	// Cookie is where List goes on after this entry.
	Cookie string
}

// Change names the attributes that SetAttr sets; nil leaves as it is.
type Change struct {
	Mode         *uint32 // permission bits
	UID, GID     *uint32
	Mtime, Ctime *int64 // ns; a Change without Ctime sets it to now
	Size         *int64
	Xattrs       map[string][]byte // set; a nil value removes
}
