package volume

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Remove removes what is at p, unless it is a directory. A file that somebody
// has open goes on working until its last handle is released: its body moves
// out of sight first. Dirty data of a file that nobody has open is discarded.
func (v *Volume) Remove(ctx context.Context, p string) error {
	if v.opt.ReadOnly {
		return ErrReadOnly
	}
	ctx = context.WithoutCancel(ctx)
	unlock, err := v.names.lock(ctx, one(p))
	if err != nil {
		return err
	}
	defer unlock()
	if err := v.remove(ctx, p); err != nil {
		return fmt.Errorf("remove %q: %w", p, err)
	}
	v.haunt(p)
	v.touch(p)
	return nil
}

// remove needs p held.
func (v *Volume) remove(ctx context.Context, p string) error {
	f := v.fileAt(p)
	if f == nil || !f.dirty() {
		d, err := v.lookup(ctx, p)
		if err != nil {
			return err
		}
		if d.dir {
			return ErrIsDir
		}
		if d.link != nil {
			return v.removeName(ctx, p, d)
		}
		if f == nil || !f.refresh(d.obj) { // another host's version
			return v.deleteKey(ctx, p, d.obj)
		}
	}
	unpark, err := v.park(ctx, f)
	if err != nil {
		return err
	}
	switch err := v.deleteFile(ctx, f, p); {
	case errors.Is(err, errRemoved):
		v.unlink(f)
		f.stopStream(ctx, true)
		return ErrNotExist
	case err != nil:
		unpark()
		f.mu.Lock()
		f.left = f.left || errors.Is(err, objstore.ErrUnknown)
		f.mu.Unlock()
		return err
	}
	v.unlink(f)
	f.stopStream(ctx, true)
	return nil
}

// errRemoved: the object of a file was removed before, by a request whose answer
// was lost; nobody lists it any more.
var errRemoved = errors.New("removed already")

// deleteFile removes the object of f. Where nothing of f was ever known to be
// committed, an object at its key is another host's, unless it is what a
// commit of unknown outcome left.
func (v *Volume) deleteFile(ctx context.Context, f *File, p string) error {
	f.mu.Lock()
	base, sent, id, left := f.base, f.sent, f.attr.FileID, f.left
	f.mu.Unlock()
	if base != nil && left {
		if _, err := v.head(ctx, v.fileKey(p)); errors.Is(err, ErrNotExist) {
			return errRemoved
		}
	}
	if base != nil {
		return v.deleteKey(ctx, p, base)
	}
	if len(sent) == 0 {
		return nil
	}
	o, err := v.fetch(ctx, v.fileKey(p))
	switch {
	case errors.Is(err, ErrNotExist):
		return nil
	case err != nil:
		return err
	case o.isOf(sent, id):
		return v.deleteKey(ctx, p, o)
	}
	return nil
}

// deleteKey removes what o is at p, with its instruction file.
func (v *Volume) deleteKey(ctx context.Context, p string, o *object) error {
	key := v.fileKey(p)
	if err := v.delete(ctx, key, ""); err != nil {
		v.suspect(p) // it may be done
		return err
	}
	if o.instruction() {
		v.dropInstruction(ctx, key, o) // which may be what was parked
	}
	v.forget(p)
	v.dirs.drop(p, asFile)
	return nil
}

// delete removes key, and finds out whether it is gone where the answer was
// lost. With an ETag, and where the server honours that, only that body goes:
// ErrChanged.
func (v *Volume) delete(ctx context.Context, key, etag string) error {
	if !v.opt.Capabilities.DeleteConditions {
		etag = ""
	}
	removed := v.removing(key)
	err := v.opt.Store.Delete(ctx, objstore.ID{Key: key}, objstore.Condition{IfMatch: etag})
	if errors.Is(err, objstore.ErrUnknown) {
		if _, herr := v.head(ctx, key); errors.Is(herr, ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		removed()
	}
	return err
}

// unlink takes its name from f, whose path is held and whose object has gone
// or been replaced.
func (v *Volume) unlink(f *File) {
	v.mu.Lock()
	f.mu.Lock()
	if v.files[f.path] == f {
		delete(v.files, f.path)
	}
	f.gone = true
	f.mu.Unlock()
	v.mu.Unlock()
	v.retire(f)
	f.retell()
}

// inUse tells whether somebody has f open; held, whether anybody needs its body.
func (v *Volume) inUse(f *File) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refs > len(f.loans)
}

func (v *Volume) held(f *File) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return f.refs > 0
}

// parked is where the bodies of this host's unlinked files lie that are still
// open: no name is there.
func (v *Volume) parked() string { return v.parkedOf(v.opt.Host) }

func (v *Volume) parkedOf(host string) string {
	return v.opt.Root + hidden + "/inodes/open/" + url.PathEscape(host) + "/"
}

// park copies the committed body of f, whose path is held, to where no name
// is, if a handle still needs it once the name has gone. unpark takes that
// back, for when the name stays after all.
func (v *Volume) park(ctx context.Context, f *File) (unpark func(), err error) {
	if !v.held(f) {
		return func() {}, nil
	}
	if err := f.bringBack(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	base := f.base
	f.mu.Unlock()
	if base == nil || base.archived() { // nobody could read it
		return func() {}, nil
	}
	o, err := v.parkBody(ctx, base)
	if err != nil || o == nil {
		return func() {}, err
	}
	v.lay(f, o, o.id.Key)
	f.tellLoans()
	return func() {
		v.lay(f, base, "")
		f.tellLoans()
		v.condemn(o.id.Key)
		v.wakeUp()
	}, nil
}

// lay says where the body of f is, and which key goes with its last handle.
func (v *Volume) lay(f *File, o *object, doom string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.base, f.doom = o, doom
	f.src.moved(o.id)
	f.carryLoans(o)
}

// Rmdir removes the empty directory at p.
func (v *Volume) Rmdir(ctx context.Context, p string) error {
	if v.opt.ReadOnly {
		return ErrReadOnly
	}
	if p == "" {
		return fmt.Errorf("rmdir of the root: %w", ErrInvalid)
	}
	ctx = context.WithoutCancel(ctx)
	unlock, err := v.names.lock(ctx, tree(p))
	if err != nil {
		return err
	}
	defer unlock()
	if err := v.rmdir(ctx, p); err != nil {
		return fmt.Errorf("rmdir %q: %w", p, err)
	}
	v.unindex(p)
	v.haunt(p)
	v.touch(p)
	return nil
}

// rmdir needs the tree p held.
func (v *Volume) rmdir(ctx context.Context, p string) error {
	if f := v.fileAt(p); f != nil && f.dirty() {
		return ErrNotDir
	}
	d, err := v.ask(ctx, p)
	if err != nil {
		return err
	}
	if !d.dir {
		return ErrNotDir
	}
	if err := v.empty(ctx, p); err != nil {
		return err
	}
	if d.obj != nil {
		if err := v.delete(ctx, v.dirKey(p), ""); err != nil {
			v.suspect(p) // it may be done
			return err
		}
	}
	v.trees.gone(p)
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.known, p)
	v.index.doubt(p)
	delete(v.touched, p)
	delete(v.dirDue, p)
	delete(v.ghosts, p)
	v.dirs.drop(p, asDir)
	return nil
}

// empty gives ErrNotEmpty if anything lies below p, in the bucket (the hidden
// too: it is never removed with a directory) or dirty here.
func (v *Volume) empty(ctx context.Context, p string) error {
	for _, f := range v.under(p) {
		if f.dirty() {
			return ErrNotEmpty
		}
	}
	v.mu.Lock()
	haunted := v.haunted(p)
	v.mu.Unlock()
	if haunted {
		return ErrNotEmpty
	}
	for e, err := range v.raw.List(ctx, objstore.ListOptions{Prefix: v.dirKey(p), Limit: 2}) { // hidden entries too: it would stay
		if err != nil {
			return err
		}
		if e.Key != v.dirKey(p) {
			return ErrNotEmpty
		}
	}
	return nil
}
