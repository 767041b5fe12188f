package fs

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	nodefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// Sizes in bytes.
const (
	maxWrite     = 1 << 20 // a request's data: the kernel's limit
	maxReadAhead = 4 << 20 // what the kernel may read ahead, where that can be set
)

// maxBackground is how many requests the kernel sends without anybody waiting:
// read-ahead, and pages of mmap(2).
const maxBackground = 64

// Options of Mount. Dir and Log are required.
type Options struct {
	Dir    string // mountpoint, a directory
	Source string // the first column of df(1) and mount(8); "" is "sigilfs"
	Log    logrus.FieldLogger

	// AttrTimeout and EntryTimeout are how long the kernel believes attributes
	// and names without asking. 0 is 1 s, negative never. What is not there is
	// never believed to stay away.
	AttrTimeout, EntryTimeout time.Duration

	// Failed is told of every operation that failed for a reason which is not
	// the application's, logged or not, with its errno. Nil: nobody is.
	Failed func(errno syscall.Errno)

	// Remedy says what an operator can do about a failure that is logged, "" where
	// there is nothing to say. Nil: nobody does.
	Remedy func(path string, err error) string

	NameLen int // bytes of the longest name; 0 is NAME_MAX

	ReadOnly   bool
	AllowOther bool // users other than the one who mounts
	Dev, Suid  bool // honour device nodes, and suid and sgid bits
	NoExec     bool
}

// ErrHelper is that fusermount3, by which all but root mount, did not. It says
// why on stderr, and gives no reason.
var ErrHelper = errors.New("fusermount3 did not mount")

// Server is a mounted filesystem. Its methods are safe for concurrent use.
type Server struct {
	fuse *fuse.Server
	dir  string
	done chan struct{} // closed when the last request was answered
}

// Mount mounts vol at opt.Dir: directly as root, else by fusermount3. It
// returns when the mount answers. vol is the caller's to close, once Wait has
// returned. ctx bounds the start alone. Errors: ErrHelper, those of vol.
func Mount(ctx context.Context, vol Volume, opt Options) (*Server, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	root, err := vol.Attributes(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("root of the mount: %w", err)
	}
	t := newTree(vol, opt)
	raw := &rawFS{RawFileSystem: nodefs.NewNodeFS(t.child(root), t.nodeOptions(root.FileID)), renames: t.renames}
	srv, err := fuse.NewServer(raw, opt.Dir, opt.mountOptions())
	switch {
	case err != nil && os.Geteuid() != 0:
		return nil, fmt.Errorf("mount at %s: %w (%w)", opt.Dir, ErrHelper, oneLine{err})
	case err != nil:
		return nil, fmt.Errorf("mount at %s: %w", opt.Dir, oneLine{err})
	}
	s := &Server{fuse: srv, dir: opt.Dir, done: make(chan struct{})}
	go s.serve(t)
	if err := srv.WaitMount(); err != nil {
		return nil, errors.Join(fmt.Errorf("mount at %s does not answer: %w", opt.Dir, err), s.Unmount())
	}
	if err := readAhead(opt.Dir, maxReadAhead); err != nil {
		opt.Log.WithError(err).Debug("read-ahead stays as the kernel has it")
	}
	return s, nil
}

func newTree(vol Volume, opt Options) *tree {
	ps := newPaths()
	return &tree{
		vol:     vol,
		opt:     opt,
		paths:   ps,
		renames: &renames{paths: ps, holds: map[uint32]*hold{}},
		report:  &reporter{log: opt.Log, failed: opt.Failed, now: time.Now, remedy: opt.Remedy},
		open:    &openFiles{held: map[releaser]struct{}{}},
		places:  &places{at: map[nodefs.StableAttr]string{}},
	}
}

func (opt Options) withDefaults() (Options, error) {
	dir, err := directory(opt.Dir)
	if err != nil {
		return opt, fmt.Errorf("mountpoint: %w", err)
	}
	opt.Dir = dir
	opt.AttrTimeout, opt.EntryTimeout = timeout(opt.AttrTimeout), timeout(opt.EntryTimeout)
	if opt.Source == "" {
		opt.Source = "sigilfs"
	}
	if opt.NameLen == 0 {
		opt.NameLen = unix.NAME_MAX
	}
	return opt, nil
}

// directory gives the path of dir as the mount table will show it.
func directory(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	st, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if !st.IsDir() {
		return "", &os.PathError{Op: "mount", Path: dir, Err: unix.ENOTDIR}
	}
	return dir, nil
}

func timeout(d time.Duration) time.Duration {
	switch {
	case d == 0:
		return time.Second
	case d < 0:
		return 0
	}
	return d
}

// nodeOptions are of the tree. There is no NegativeTimeout: another host may
// make any time what was not there.
func (t *tree) nodeOptions(root uint64) *nodefs.Options {
	return &nodefs.Options{
		AttrTimeout:     &t.opt.AttrTimeout,
		EntryTimeout:    &t.opt.EntryTimeout,
		NullPermissions: true, // mode 0 is a mode
		RootStableAttr:  &nodefs.StableAttr{Ino: root},
	}
}

// mountOptions are of the connection with the kernel.
//
// Locks stay with the kernel (EnableLocks off). READDIRPLUS is off: a listing
// answers no LOOKUP. Splicing fails at 1 MiB. Pages are dropped by changing the
// inode, not by the kernel's guess from mtime (ExplicitDataCacheControl).
// O_TRUNC comes with the open, one request for two; suid and sgid are ours to
// clear, which spares a GETXATTR before every write.
func (opt Options) mountOptions() *fuse.MountOptions {
	return &fuse.MountOptions{
		FsName:                   opt.Source,
		Name:                     "sigilfs",
		AllowOther:               opt.AllowOther,
		Options:                  opt.flags(),
		DirectMountStrict:        os.Geteuid() == 0, // fusermount3 could do no more, and says less
		MaxWrite:                 maxWrite,
		MaxBackground:            maxBackground,
		DisableSplice:            true,
		DisableReadDirPlus:       true,
		ExplicitDataCacheControl: true,
		ExtraCapabilities:        fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_HANDLE_KILLPRIV_V2,
		MaxInflightRequestBytes:  math.MaxInt, // what waits for one file must not keep others out
		Logger:                   log.New(lineWriter(opt.Log.Warn), "", 0),
		PanicHandler:             func(v any) fuse.Status { return opt.panicked(v) },
	}
}

// flags are the mount(8) options, of which go-fuse makes mount(2) flags where
// it mounts itself.
func (opt Options) flags() []string {
	flags := []string{"default_permissions"}
	for _, f := range []struct {
		on      bool
		yes, no string
	}{
		{opt.Dev, "dev", "nodev"},
		{opt.Suid, "suid", "nosuid"},
		{opt.NoExec, "noexec", "exec"},
		{opt.ReadOnly, "ro", "rw"},
	} {
		if f.on {
			flags = append(flags, f.yes)
		} else {
			flags = append(flags, f.no)
		}
	}
	return flags
}

// oneLine is an error of go-fuse's without the line feeds that some end in.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.TrimSpace(e.error.Error()) }
func (e oneLine) Unwrap() error { return e.error }

// panicked answers a request whose handler broke an invariant. The others go
// on: their data is better off with a daemon that can still commit it.
func (opt Options) panicked(v any) fuse.Status {
	opt.Log.WithField("stack", string(debug.Stack())).Errorf("broken invariant: %v", v)
	return fuse.EIO
}

// lineWriter writes go-fuse's messages to the log: trouble with the connection.
type lineWriter func(...any)

func (w lineWriter) Write(p []byte) (int, error) {
	w("go-fuse: " + strings.TrimSpace(string(p)))
	return len(p), nil
}

// serve answers requests until the mount is gone, and then lets go of what the
// kernel did not release.
func (s *Server) serve(t *tree) {
	defer close(s.done)
	s.fuse.Serve()
	t.open.releaseAll()
}

// Wait returns when the filesystem is unmounted, by whomever, and all requests
// are answered.
func (s *Server) Wait() { <-s.done }

// Unmount unmounts, and waits as Wait does. A mount that is in use stays, and
// is an error; one that is gone already is none.
func (s *Server) Unmount() error {
	select {
	case <-s.done:
		return nil
	default:
	}
	if err := s.fuse.Unmount(); err != nil {
		return fmt.Errorf("unmount %s: %s", s.dir, strings.TrimSpace(err.Error()))
	}
	s.Wait()
	return nil
}
