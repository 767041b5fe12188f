package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sigilfs/sigilfs/internal/bulk"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/internal/volume/named"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/spf13/cobra"
)

type hidingFlags struct {
	noWriters, leave, dry, json bool

	parallel int
}

func newEncryptNames() *cobra.Command {
	var f hidingFlags
	cmd := &cobra.Command{
		Use:   "encrypt-names [flags] TARGET",
		Short: "Have the names of a volume encrypted that has readable ones",
		Long: `encrypt-names draws a name key for a volume, as init does for a new one, and then
copies each object inside the store to the key that its name becomes, sealed anew
for it, and removes the old one. No content goes through this host.

    sigilfs encrypt-names s3://bucket/prefix --no-writers --encryption client --key file:main.key

Nobody may have the volume mounted meanwhile: who has would write readable names, or
see a part of the files. --no-writers says that nobody has. Until all is done the
volume is not mounted. What was interrupted is begun again, and goes on; look at
--dry-run before, which finds what cannot be done: names that get too long, other
volumes within this one.

Objects that do not open keep their names, and the volume is not mounted; with
--leave it is, and they are hidden in it. Where the bucket keeps versions the older
ones keep their names too, and are counted: remove them as what they are, by the
bucket's lifecycle or with aws s3api.

The exit code is 0 if all names are encrypted, 64 if some are left with --leave, and
32 if something is still to be done.`,
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	s := defaultSettings()
	cmd.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case f.parallel < 1 || f.parallel > 1000:
			return usageError("--parallel is from 1 to 1000")
		case !f.noWriters && !f.dry:
			return usageError("unmount the volume on every host and stop what else writes to it, and say so with --no-writers; --dry-run looks before")
		}
		return withTarget(c, s, args[0], "", writes, func(ctx context.Context, o *offline) error {
			h := &hider{offline: o, f: f, out: newPrinter(c.OutOrStdout(), c.ErrOrStderr(), "encrypting names", f.json)}
			defer h.out.bar.Done()
			defer h.unlock()
			return h.run(ctx)
		})
	}
	flags.BoolVar(&f.noWriters, "no-writers", false, "say that no host has the volume mounted, and nothing else writes to it")
	flags.BoolVar(&f.leave, "leave", false, "leave what does not open under its readable name, hidden from mounts")
	flags.BoolVar(&f.dry, "dry-run", false, "say what would be done and what cannot be, and write nothing")
	flags.IntVar(&f.parallel, "parallel", 16, "how many `OBJECTS` are moved at a time")
	flags.BoolVar(&f.json, "json", false, "print events as JSON, one a line, and a summary as the last")
	s.addFlags(flags)
	return cmd
}

// hider encrypts the names of one volume.
type hider struct {
	*offline
	out *printer
	f   hidingFlags

	lock  *state.Dir // that of a mount, for as long as this lasts
	work  *volume.Hiding
	fresh *keyring.VolumeObject // to be written; nil: there is one, of a run before

	moved, left, failed atomic.Int64
}

// run opens the volume with the key that it has, or is to have.
func (h *hider) run(ctx context.Context) error {
	h.hides = true
	steps := []func(context.Context) error{h.openKeys, h.openStore, func(ctx context.Context) error { return h.findRoot(ctx, writes) }, h.isWhole}
	if h.set.readOnly {
		steps = append(steps, h.recallState, h.lookVolume, h.newRing, h.openNames)
	} else {
		steps = append(steps, h.isAlone, h.shareState, h.probe, h.lookVolume, h.openRing, h.openNames)
	}
	for _, step := range append(steps, h.isSafe, h.draw, h.openPolicy, h.openSpool, h.openVolume, h.noMoves, h.hide) {
		if err := step(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return mountError("interrupted; the same command goes on")
		}
	}
	return nil
}

// isWhole refuses a part of a volume.
func (h *hider) isWhole(context.Context) error {
	if h.path != "" || h.set.target.Prefix != h.set.volumeRoot {
		return usageError("names are those of a whole volume, which begins at %s: give that", quoted("s3://"+h.set.target.Bucket+"/"+h.set.volumeRoot))
	}
	if h.root().Mode != config.Client {
		return usageError("%s: names are encrypted under an epoch of mode client, and the rule without a prefix is of mode %s", h.root().At, h.root().Mode)
	}
	return nil
}

// isAlone refuses a volume that a mount of this host has, or of which there is data
// that was not committed.
func (h *hider) isAlone(ctx context.Context) error {
	dir, err := state.Open(ctx, state.Options{Root: h.set.stateDir, ID: h.stateID()})
	if err != nil {
		return explainState(err)
	}
	h.lock = dir
	left, err := dir.Leftovers()
	switch {
	case err != nil:
		return systemError("%w", err)
	case len(left) > 0:
		return mountError("%s: what earlier mounts of this host could not commit is in %s, under its readable names: sigilfs recover commits it", h.set.target.Spec, left[0].Path)
	}
	return nil
}

func (h *hider) unlock() {
	if h.lock != nil {
		_ = h.lock.Close()
	}
}

// isSafe refuses a server on which somebody else could replace the key of names in
// the same moment, unseen.
func (h *hider) isSafe(context.Context) error {
	if h.set.readOnly || h.caps.PutConditions {
		return nil
	}
	return mountError("%s: the server does not honour conditional writes (If-Match, If-None-Match), and the key of names could be lost to another host that writes one", h.set.target.Spec)
}

// draw makes a name key for a volume without one: nothing is written yet.
func (h *hider) draw(ctx context.Context) error {
	n := &h.naming
	if n.siv != nil {
		return nil
	}
	object := keyring.NewVolumeObject()
	if n.object != nil {
		object = *n.object
	}
	key := [keyring.NameKeySize]byte(sigil.NewNameKey())
	defer clear(key[:])
	if !h.set.readOnly {
		set, err := h.setOf(h.root())
		if err != nil {
			return mountError("%s: %w", h.root().At, err)
		}
		id, epoch, err := set.Current(ctx)
		if err != nil {
			return explainStore(h.set.target.Spec, err)
		}
		object = object.Sealed(id, &epoch, &key)
		clear(epoch[:])
	}
	var err error
	if n.longest, err = h.probeComponent(ctx); err != nil {
		return explainStore(h.set.target.Spec, err)
	}
	n.print, n.siv, h.fresh = fingerprint(&key), sigil.NewNames(sigil.NameKey(key)), &object
	h.names, err = named.New(n.siv, "", n.longest)
	return err
}

func (h *hider) openSpool(ctx context.Context) error {
	if h.set.readOnly {
		return nil
	}
	return h.openPassing(ctx)
}

// noMoves refuses a volume in which a directory rename is unfinished: its journal
// names keys that are about to change.
func (h *hider) noMoves(ctx context.Context) error {
	for e, err := range h.store.List(ctx, objstore.ListOptions{Prefix: h.set.volumeRoot + ".sigil/journal/", Limit: 1}) {
		if err != nil {
			return explainStore(h.set.target.Spec, err)
		}
		return mountError("%s: a directory rename is unfinished (%s): mount the volume once, which completes it, and unmount it", h.set.target.Spec, e.Key)
	}
	return nil
}

// hide looks whether all can be done, and does it.
func (h *hider) hide(ctx context.Context) (err error) {
	if h.work, err = h.volume.NewHiding(); err != nil {
		return explainStore(h.set.target.Spec, err)
	}
	n, err := h.preflight(ctx)
	if err != nil {
		return err
	}
	if h.set.readOnly {
		h.out.line(fmt.Sprintf("%s: a dry run, nothing was written: %d objects would be moved", h.set.target.Spec, n), event{"event": "done-encrypting-names", "objects": n, "dry-run": true})
		return nil
	}
	if err := h.announce(ctx); err != nil {
		return err
	}
	h.out.bar.Total(n, 0)
	if err := h.walks(ctx); err != nil {
		return err
	}
	return h.end(ctx)
}

// shownRefusals is how many objects are named that cannot be moved.
const shownRefusals = 20

// preflight counts what is to be moved, and refuses all where something has no key
// to go to.
func (h *hider) preflight(ctx context.Context) (n int64, err error) {
	refused := 0
	for e, err := range h.work.List(ctx, "") {
		if err != nil {
			return n, explainStore(h.set.target.Spec, err)
		}
		n++
		_, err := h.work.Target(e.Key)
		switch {
		case strings.Contains("/"+e.Key, "/.sigil/"):
			return n, mountError("%s: another volume lies within this one (%s), and its files are not this one's to move; nothing was changed", h.set.target.Spec, shownName(e.Key))
		case frozen(e.StorageClass):
			err = fmt.Errorf("it is archived (%s), and cannot be copied before sigilfs restore has brought it back", e.StorageClass)
		}
		if err != nil {
			if refused++; refused <= shownRefusals {
				h.told(e.Key, err)
			}
		}
	}
	if refused > 0 && !h.f.leave {
		return n, mountError("%s: %d of %d objects cannot get an encrypted name, and nothing was changed: rename or remove them; with --leave they stay, and are hidden", h.set.target.Spec, refused, n)
	}
	return n, nil
}

// frozen tells the classes whose objects cannot be read at once.
func frozen(class string) bool { return class == "GLACIER" || class == "DEEP_ARCHIVE" }

// told names an object that is left.
func (h *hider) told(key string, err error) {
	h.out.line(inOneLine(fmt.Sprintf("left %s: %v", shownName(key), err)), event{"event": "left", "key": key, "reason": err.Error()})
}

// announce says in the bucket that names are being encrypted, and under which key:
// in this order, so that no host ever shows a part for the whole.
func (h *hider) announce(ctx context.Context) error {
	if err := h.work.Begin(ctx); err != nil {
		return explainStore(h.set.target.Spec, err)
	}
	if h.fresh != nil {
		if err := h.write(ctx, *h.fresh, h.naming.etag); err != nil {
			return err
		}
	}
	if err := h.state.Repin(h.naming.seen()); err != nil {
		return systemError("%w", err)
	}
	return nil
}

// write puts the volume object over the one without names, or where none is. Where
// the answer is lost, what is there tells.
func (h *hider) write(ctx context.Context, object keyring.VolumeObject, over string) error {
	beneath, err := h.beneath()
	if err != nil {
		return err
	}
	at, key := bucket{h.store, beneath}, volumeKey(h.set.volumeRoot)
	if over == "" {
		err = at.Create(ctx, key, object.Marshal())
	} else {
		err = at.Replace(ctx, key, object.Marshal(), over)
	}
	have, etag, rerr := h.readVolume(ctx, h.set.volumeRoot)
	switch {
	case rerr != nil:
		return h.unreadVolume(errors.Join(err, rerr))
	case have == nil && err != nil:
		return explainStore(h.set.target.Spec, err)
	case have == nil || !have.Same(object):
		return mountError("%s: somebody else has written %s at this moment: begin again", h.set.target.Spec, key)
	}
	h.naming.object, h.naming.etag = have, etag
	return nil
}

// mostWalks is how often the volume is walked: nobody writes to it.
const mostWalks = 5

// walks move all, until a walk has nothing to move.
func (h *hider) walks(ctx context.Context) error {
	for range mostWalks {
		if err := h.stands(ctx); err != nil {
			return err
		}
		h.left.Store(0)
		h.failed.Store(0)
		before := h.moved.Load()
		_, err := bulk.Run(ctx, bulk.Walk[objstore.Entry]{
			List: h.work.List, Key: func(e objstore.Entry) string { return e.Key },
			Do: h.do, Fatal: hopeless, Parallel: h.f.parallel,
		})
		if err != nil {
			return explainStore(h.set.target.Spec, err)
		}
		if ctx.Err() != nil {
			return mountError("interrupted; the same command goes on")
		}
		if h.moved.Load() == before {
			return nil
		}
	}
	return mountError("%s: every walk finds more objects with readable names: something still writes", h.set.target.Spec)
}

// stands sees to it that the volume object is the one under which names are being
// encrypted: there is no other copy of their key.
func (h *hider) stands(ctx context.Context) error {
	have, _, err := h.readVolume(ctx, h.set.volumeRoot)
	switch {
	case err != nil:
		return h.unreadVolume(err)
	case have != nil && have.Same(*h.naming.object):
		return nil
	case have == nil:
		return h.write(ctx, *h.naming.object, "")
	}
	return h.refuseNames("%s was replaced while names were being encrypted: put it back as it was, which the line in this message is, and begin again: %s",
		volumeKey(h.set.volumeRoot), strings.TrimSpace(string(h.naming.object.Marshal())))
}

func (h *hider) do(ctx context.Context, e objstore.Entry) (bulk.Outcome, error) {
	done, err := h.work.Hide(ctx, e.Key)
	switch {
	case err == nil && done.To != "":
		h.moved.Add(1)
		h.out.bar.Add(1, 0)
	case err == nil:
	case errors.Is(err, volume.ErrNotHidden):
		h.left.Add(1)
		h.told(e.Key, err)
		return bulk.Outcome{Kind: "left"}, nil
	case !errors.Is(err, context.Canceled):
		h.failed.Add(1)
		h.out.failed(e.Key, err)
	}
	return bulk.Outcome{Kind: "moved", Bytes: done.Size}, err
}

// end removes what tells of readable names, and lets the volume be mounted.
func (h *hider) end(ctx context.Context) error {
	moved, failed := h.moved.Load(), h.failed.Load()
	left, err := h.readable(ctx) // what is there counts, not what was done
	if err != nil {
		return explainStore(h.set.target.Spec, err)
	}
	var old int64
	done := failed == 0 && (left == 0 || h.f.leave && left == h.left.Load())
	if done {
		if err := h.stands(ctx); err != nil {
			return err
		}
		if _, err := h.work.Clear(ctx); err != nil {
			return explainStore(h.set.target.Spec, err)
		}
		if err := h.work.End(ctx); err != nil {
			return explainStore(h.set.target.Spec, err)
		}
		if old, err = h.oldVersions(ctx); err != nil {
			return explainStore(h.set.target.Spec, err)
		}
	}
	h.out.line(h.summary(moved, left, failed, old),
		event{"event": "done-encrypting-names", "moved": moved, "left": left, "failed": failed, "older-versions": old, "done": done, "fingerprint": h.naming.print})
	switch {
	case h.out.bad != nil:
		return systemError("%w", h.out.bad)
	case !done:
		return mountError("%s: %d objects keep readable names, and the volume is not mounted until they are dealt with: repair or remove them and begin again, or leave them with --leave", h.set.target.Spec, left)
	case left > 0:
		return &exitError{exitWarned, fmt.Errorf("%d objects keep their names, and are hidden", left)}
	}
	return nil
}

func (h *hider) summary(moved, left, failed, old int64) string {
	lines := []string{fmt.Sprintf("%d objects moved, %d left, %d failed", moved, left, failed)}
	if old > 0 {
		lines = append(lines, fmt.Sprintf("%d older versions, and marks of removal, keep readable names", old))
	}
	return strings.Join(append(lines,
		"the fingerprint of the name key is "+h.naming.print,
		"for the configuration of each host:",
		"names: "+namesEncrypted+":"+h.naming.print,
		"there is one copy of the key of names, in .sigil/volume: sigilfs keys export makes another"), "\n")
}

// readable counts the objects that have readable names.
func (h *hider) readable(ctx context.Context) (n int64, err error) {
	for _, err := range h.work.List(ctx, "") {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// oldVersions counts the versions, and marks of removal, that have readable names
// and are no objects any more.
func (h *hider) oldVersions(ctx context.Context) (n int64, err error) {
	store, ok := h.objects.(objstore.Versioner)
	if !ok {
		return 0, nil
	}
	for ver, err := range store.Versions(ctx, objstore.ListOptions{Prefix: h.set.volumeRoot}) {
		if hidesVersions(err) {
			h.log.WithError(err).Warn("whether older versions keep readable names is not known: s3:ListBucketVersions is denied, or the server has none")
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if ver.Prefix == "" && (!ver.Latest || ver.Deleted) && h.work.Readable(ver.Key) {
			n++
		}
	}
	return n, nil
}

// hidesVersions tells the errors of who may not ask for versions, or cannot.
func hidesVersions(err error) bool {
	return errors.Is(err, objstore.ErrAccess) || errors.Is(err, objstore.ErrUnsupported) || errors.Is(err, objstore.ErrInvalid)
}
