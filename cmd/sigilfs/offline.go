package main

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/diskkey"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
)

// offline is a volume that no mount shows: bucket, keys, policy, and a
// volume.Volume on them, which makes and reads the same objects as a mount would.
//
// It runs beside mounts of this host, and does not take the state's lock. With
// them it shares what is remembered of epochs and of SSE-C keys. What it writes
// passes through a spool of its own, under a key that is in memory alone, and
// nothing of it outlives the command; what is read is kept in memory.
//
// The volume begins at its root, not at what the command is about: rules of
// --encryption are relative to that, unless a configuration file is the target.
type offline struct {
	*mounting
	path string // of the target in the volume; "" is all of it
	mask uint32 // umask

	stopRecheck func()
}

// access is how a command comes to a volume.
type access uint8

// access is a sum of these.
const (
	reads  access = 0
	writes access = 1

	// aFile: the target is a file, or may be one. Where no volume is it lies in
	// one that begins at its directory, else at the target itself.
	aFile access = 2
)

// onVolume makes cmd one that takes a TARGET and the flags of its mount, and has
// the volume opened for run, which gets what comes after TARGET, or after the
// PATH that may follow a configuration file. Under
// --read-only, and --dry-run where cmd has that flag, nothing is written: the
// volume gives ErrReadOnly. SIGINT and SIGTERM end ctx.
func onVolume(cmd *cobra.Command, how access, run func(ctx context.Context, c *cobra.Command, o *offline, args []string) error) {
	s := defaultSettings()
	cmd.RunE = func(c *cobra.Command, args []string) error {
		target, rest := args[0], args[1:]
		if isFile(target) && len(rest) > 0 {
			return withVolume(c, s, target, rest[0], how, func(ctx context.Context, o *offline) error { return run(ctx, c, o, rest[1:]) })
		}
		return withVolume(c, s, target, "", how, func(ctx context.Context, o *offline) error { return run(ctx, c, o, rest) })
	}
	s.addFlags(cmd.Flags())
}

// withVolume opens the volume of target for run, and closes it. path is where the
// target lies in what a configuration file says.
func withVolume(c *cobra.Command, s *settings, target, path string, how access, run func(ctx context.Context, o *offline) error) error {
	return withTarget(c, s, target, path, how, func(ctx context.Context, o *offline) error {
		if err := o.open(ctx, how); err != nil {
			return err
		}
		return run(ctx, o)
	})
}

// withTarget is withVolume of a run that opens what it needs itself.
func withTarget(c *cobra.Command, s *settings, target, path string, how access, run func(ctx context.Context, o *offline) error) error {
	o := &offline{mask: umask()}
	if err := o.aim(s, c, target, path); err != nil {
		return err
	}
	if dry := c.Flags().Lookup("dry-run"); dry != nil && dry.Value.String() == "true" {
		s.readOnly = true
	}
	s.readOnly = s.readOnly || how&writes == 0
	if err := s.check(); err != nil {
		return err
	}
	if err := harden(); err != nil {
		return err
	}
	limitMemory(s.memoryLimit)
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o.mounting = &mounting{set: s, log: offlineLog(c, s), stderr: c.ErrOrStderr()}
	return o.end(ctx, run(ctx, o))
}

// offlineLog is one for who waits for a command: what an operator of mounts
// wants to know is not told.
func offlineLog(c *cobra.Command, s *settings) *logrus.Logger {
	log := newLog(c.ErrOrStderr(), s.logFormat, s.debug)
	if !s.debug {
		log.SetLevel(logrus.WarnLevel)
	}
	return log
}

// aim settles what the volume may be: all of the bucket until its root is found,
// or what --volume-root or the file says.
func (o *offline) aim(s *settings, c *cobra.Command, target, path string) error {
	if isFile(target) {
		o.path = strings.Trim(path, "/")
		if in, ok := strings.CutPrefix(path, "s3://"); ok {
			return usageError("s3://%s: give a path below what %s says", in, target)
		}
		return s.open(target, c.Flags())
	}
	bucket, path, err := option.ParsePath(option.HostForm(target))
	if err != nil {
		return usageError("%w", err)
	}
	s.source, s.target, o.path = target, bucket, path
	if s.rootGiven = c.Flags().Changed("volume-root"); !s.rootGiven {
		return nil
	}
	root, err := option.Prefix(strings.TrimPrefix(s.volumeRoot, "/"))
	if err != nil {
		return usageError("--volume-root: %w", err)
	}
	rest, ok := strings.CutPrefix(path+"/", root)
	if !ok {
		return usageError("--volume-root %s does not contain %s: the target must lie in its volume", s.volumeRoot, target)
	}
	s.target.Prefix, o.path = root, strings.TrimSuffix(rest, "/")
	return nil
}

// open goes through what a mount goes through, less what belongs to a mountpoint.
func (o *offline) open(ctx context.Context, how access) error {
	steps := []func(context.Context) error{o.openKeys, o.openStore, func(ctx context.Context) error { return o.findRoot(ctx, how) }}
	if o.set.readOnly {
		steps = append(steps, o.recallState, o.lookVolume, o.newRing, o.openNames, o.openPolicy)
	} else {
		steps = append(steps, o.shareState, o.probe, o.lookVolume, o.openRing, o.openNames, o.openPolicy, o.probeEncryption, o.warnOfRaces, o.openPassing)
	}
	for _, step := range append(steps, o.openVolume, o.beginRecheck) {
		if err := step(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return mountError("interrupted")
		}
	}
	return nil
}

// findRoot settles where the volume begins that has the target.
func (o *offline) findRoot(ctx context.Context, how access) error {
	s := o.set
	if s.ofFile || s.rootGiven {
		return nil
	}
	root, err := o.rootOf(ctx, how)
	if err != nil {
		return explainStore(s.target.Spec, err)
	}
	s.target.Prefix, s.volumeRoot = root, root
	o.path = strings.TrimSuffix(strings.TrimPrefix(o.path+"/", root), "/")
	return nil
}

// rootOf is the longest prefix of the target that has .sigil/volume, else the
// longest that has epochs, else the target, or its directory where it is a file.
func (o *offline) rootOf(ctx context.Context, how access) (string, error) {
	root, found, err := o.searchRoot(ctx, o.objects.List)
	if err == nil && !found && o.set.lostEpochs { // they may all have been removed
		root, found, err = o.searchRoot(ctx, o.everListed)
	}
	switch whole := strings.TrimSuffix(o.path, "/"); {
	case err != nil:
		return "", err
	case found:
		return root, nil
	case whole == "":
		return "", nil
	case how&aFile != 0 && !strings.HasSuffix(o.set.source, "/"):
		return whole[:strings.LastIndexByte(whole, '/')+1], nil
	default:
		return whole + "/", nil
	}
}

// searchRoot is rootOf by a way to list. It begins at the shortest, and below a
// root whose names are encrypted it asks for none.
func (o *offline) searchRoot(ctx context.Context, list lister) (root string, found bool, err error) {
	byName := false
	for prefix := range shortestFirst(o.path) {
		if o.knownToHide(prefix) {
			return prefix, true, nil
		}
		named, sealed, err := looksLikeRoot(ctx, list, prefix)
		switch {
		case err != nil:
			return "", false, err
		case named:
			root, found, byName = prefix, true, true
			if hidden, err := o.hidesNames(ctx, prefix); err != nil || hidden {
				return root, found, err
			}
		case sealed && !byName:
			root, found = prefix, true
		}
	}
	return root, found, nil
}

// hidesNames tells whether names below a root are encrypted. Of a volume object
// that may not be read, or is damaged, they are: who opens the volume is told.
func (o *offline) hidesNames(ctx context.Context, root string) (bool, error) {
	object, _, err := readVolumeOf(ctx, o.objects, root)
	switch {
	case errors.Is(err, objstore.ErrAccess), errors.Is(err, keyring.ErrCorrupt), errors.Is(err, keyring.ErrVersion):
		return true, nil
	case err != nil:
		return false, err
	}
	return object != nil && object.Encrypted(), nil
}

// knownToHide tells whether this host knows a volume there whose names are
// encrypted: whoever removes the volume object is told none.
func (o *offline) knownToHide(root string) bool {
	if o.store == nil {
		return false
	}
	dir, err := state.Look(o.set.stateDir, state.ID{Endpoint: o.store.Endpoint(), Bucket: o.set.target.Bucket, VolumeRoot: root})
	if err != nil {
		return false
	}
	pin, _, err := dir.Pin()
	return err == nil && pin.Names != ""
}

// lister is List of an objstore.Store.
type lister func(context.Context, objstore.ListOptions) iter.Seq2[objstore.Entry, error]

// everListed lists what there is or was, in a bucket that keeps versions: of one
// key more than once.
func (o *offline) everListed(ctx context.Context, opt objstore.ListOptions) iter.Seq2[objstore.Entry, error] {
	return func(yield func(objstore.Entry, error) bool) {
		store, ok := o.objects.(objstore.Versioner)
		if !ok {
			return
		}
		for v, err := range store.Versions(ctx, opt) {
			if errors.Is(err, objstore.ErrUnsupported) {
				return
			}
			if !yield(objstore.Entry{Info: v.Info, Prefix: v.Prefix}, err) {
				return
			}
		}
	}
}

// shortestFirst gives the prefixes that path lies below, and its own as one.
func shortestFirst(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if !yield("") {
			return
		}
		path = strings.TrimSuffix(path, "/")
		if path == "" {
			return
		}
		for i := range len(path) {
			if path[i] == '/' && !yield(path[:i+1]) {
				return
			}
		}
		yield(path + "/")
	}
}

// mostBeneath is how many entries .sigil/ may have before those that are asked
// for; there are a handful.
const mostBeneath = 1000

// looksLikeRoot tells what lies below .sigil/ of a prefix. Where this host may not
// list, nothing does for it.
func looksLikeRoot(ctx context.Context, list lister, prefix string) (named, sealed bool, err error) {
	dir := prefix + ".sigil/"
	for e, err := range list(ctx, objstore.ListOptions{Prefix: dir, Delimiter: "/", Limit: mostBeneath}) {
		switch {
		case errors.Is(err, objstore.ErrAccess), errors.Is(err, objstore.ErrTooLong):
			return false, false, nil
		case err != nil:
			return false, false, err
		}
		named = named || e.Key == dir+"volume"
		sealed = sealed || e.Prefix == dir+"epochs/"
	}
	return named, sealed, nil
}

// recallState has what mounts of this host remember at hand, where there is any.
func (o *offline) recallState(context.Context) error {
	dir, err := state.Look(o.set.stateDir, o.stateID())
	if err != nil {
		return systemError("%w", err)
	}
	switch _, err := os.Lstat(dir.Epochs()); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return systemError("%w; name another directory with --state-dir", err)
	}
	o.state = dir
	return nil
}

// shareState has a mount's memory, and a place of the command's own.
func (o *offline) shareState(context.Context) error {
	dir, err := state.Share(o.set.stateDir, o.stateID())
	if err != nil {
		return explainState(err)
	}
	o.state = dir
	if o.work, err = dir.NewWork(); err != nil {
		return explainState(err)
	}
	o.passing = true
	if o.set.onConflict == "copy" { // a command tells of it, and leaves nothing
		o.set.onConflict = "fail"
	}
	return nil
}

// warnOfRaces is warn of what concerns one who writes and renames nothing.
func (o *offline) warnOfRaces(ctx context.Context) error {
	if o.caps.PutConditions && o.caps.UploadConditions && o.caps.Read {
		return nil
	}
	return o.warn(ctx)
}

// openPassing makes a spool that nobody opens again.
func (o *offline) openPassing(context.Context) (err error) {
	key := diskkey.New()
	defer clear(key[:])
	o.spoolDir = o.work.Spool()
	o.spool, err = spool.Open(o.spoolDir, spool.Options{Limit: o.set.spoolSize, Reserve: o.set.diskFree, Key: key})
	if err != nil {
		return systemError("%w", err)
	}
	return nil
}

func (o *offline) beginRecheck(ctx context.Context) error {
	o.stopRecheck = startRecheck(context.WithoutCancel(ctx), o.inUse(), o.set.keyRecheck, &o.rechecks, o.log)
	return nil
}

// end closes the volume and all below it. Attributes that waited are written;
// after an error, or a signal, nothing more is, and what was begun is taken back.
func (o *offline) end(ctx context.Context, failed error) error {
	if ctx.Err() != nil && failed == nil {
		failed = mountError("interrupted")
	}
	err := o.closeVolume(ctx, failed != nil)
	if o.stopRecheck != nil {
		o.stopRecheck()
	}
	o.volume = nil
	o.release()
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return explainStore(o.set.target.Spec, err)
	}
	return nil
}

func (o *offline) closeVolume(ctx context.Context, failed bool) error {
	if o.volume == nil {
		return nil
	}
	if failed {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
		defer cancel()
	}
	err := o.volume.Close(ctx)
	if failed && err != nil {
		o.log.WithError(err).Debug("closing after an error")
	}
	return err
}
