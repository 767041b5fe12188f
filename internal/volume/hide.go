package volume

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sys/unix"
)

// Hiding encrypts the names of what lies in a volume under readable ones: each
// object is copied inside the store to the key that its name becomes, sealed anew
// for it, and then removed from its old one. Whoever has it done walks a listing
// and calls Hide with each key; again until a walk finds nothing, since hosts that
// do not know yet may still write.
//
// The volume has Names, and its rules tell where they began before (Rule.Clear).
// Between the two steps an object is at both keys, so whatever is cut is begun
// again: what was copied is recognised, and not made over something newer. Objects
// that do not open stay where they are: nobody knows what they are.
//
// No host may have the volume mounted: with names it would show a part of it, and
// without write what is to be hidden. Callers see to that (HidingKey).
type Hiding struct {
	v *Volume
	j *journal // by which copies of a hiding are recognised
}

// HidingKey is the key, below a volume root, of an object that says that names of
// this volume are being encrypted, and not all are yet.
const HidingKey = hidden + "/hiding"

// ErrNotHidden: an object keeps its readable name. The text says why.
var ErrNotHidden = errors.New("its name stays readable")

// Hidden is what became of an object.
type Hidden struct {
	Key  string // as it was
	To   string // where it is now; "" where it was gone, or goes with another
	Size int64  // of the body as stored
}

// NewHiding begins. One of a read-only volume lists, and nothing more. Errors:
// ErrInvalid where the volume has no Names.
func (v *Volume) NewHiding() (*Hiding, error) {
	if v.hide == nil {
		return nil, fmt.Errorf("names of this volume are not encrypted: %w", ErrInvalid)
	}
	return &Hiding{v: v, j: &journal{key: v.opt.Root + HidingKey, resumed: true, hides: true}}, nil
}

// Begin says in the bucket that names are being encrypted; End, that all are. In
// between nobody else mounts the volume. Both may have been done before.
func (h *Hiding) Begin(ctx context.Context) error {
	_, err := h.v.putOwn(ctx, draft{key: h.j.key, cond: objstore.Condition{IfNone: true}}, []byte("{\"version\":1}\n"))
	if errors.Is(err, ErrExist) || errors.Is(err, ErrChanged) {
		return nil
	}
	return err
}

// End is told of at Begin.
func (h *Hiding) End(ctx context.Context) error { return h.v.delete(ctx, h.j.key, "") }

// List gives what lies under readable names in the volume, after a key, in order.
func (h *Hiding) List(ctx context.Context, after string) iter.Seq2[objstore.Entry, error] {
	return func(yield func(objstore.Entry, error) bool) {
		for e, err := range h.v.raw.List(ctx, objstore.ListOptions{Prefix: h.v.opt.Root, After: after}) {
			if err == nil && !h.Readable(e.Key) {
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Readable tells the keys of the volume that have a readable name.
func (h *Hiding) Readable(key string) bool {
	return !h.v.own(key) && key != h.v.opt.Root && !h.v.hide.mine(key)
}

// Target is the key that key becomes. Errors: ErrNotHidden where there is none: it
// is no name that a mount shows, is too long once it is encrypted, or belongs to
// another volume within this one.
func (h *Hiding) Target(key string) (string, error) {
	fail := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("%q: %w: %w", key, ErrNotHidden, fmt.Errorf(format, args...))
	}
	rest, ok := strings.CutPrefix(key, h.v.opt.Root)
	if !ok {
		return fail("it is in no directory of the volume")
	}
	rest, end := strings.TrimSuffix(rest, "/"), ""
	if len(rest) < len(key)-len(h.v.opt.Root) {
		end = "/"
	} else if h.v.isInstruction(key) {
		rest, end = cutInstruction(rest)
	}
	var out string
	for name := range strings.SplitSeq(rest, "/") {
		if name == hidden {
			return fail("another volume lies there; %w", ErrName)
		}
		if !expressible(name) {
			return fail("mounts do not show it; %w", ErrInvalid)
		}
		stored, err := h.v.hide.names.Encode(out, name)
		if err != nil {
			return fail("%w", err)
		}
		if most := h.v.opt.MaxComponent; most > 0 && len(stored)+len(strings.TrimSuffix(end, "/")) > most {
			return fail("a name of %d bytes, at most %d once they are encrypted; %w", len(name), sigil.DecodedLen(most), ErrTooLong)
		}
		out = join(out, stored)
	}
	if out = h.v.opt.Root + out + end; len(out) > objstore.MaxKeyLen {
		return fail("its key would have %d bytes; %w", len(out), ErrTooLong)
	}
	return out, nil
}

// Hide moves what is at a readable key. Errors: ErrNotHidden, ErrExist where
// something else lies under the name that it would get, those of the store.
func (h *Hiding) Hide(ctx context.Context, key string) (Hidden, error) {
	dst, err := h.Target(key)
	if err == nil && h.v.opt.ReadOnly {
		err = ErrReadOnly
	}
	if err != nil {
		return Hidden{Key: key}, err
	}
	unlock, err := h.v.names.lock(ctx, one(h.v.pathOf(key)), one(h.v.pathOf(dst)))
	if err != nil {
		return Hidden{Key: key}, err
	}
	defer unlock()
	for range maxRetries {
		m, size, err := h.copy(ctx, key, dst)
		if errors.Is(err, ErrChanged) {
			continue
		}
		if err == nil && m.key == "" {
			err = h.idle(ctx, key)
		}
		if err != nil || m.key == "" {
			return Hidden{Key: key}, err
		}
		if err := h.remove(ctx, m); err != nil {
			return Hidden{Key: key}, err
		}
		return Hidden{key, dst, size}, nil
	}
	return Hidden{Key: key}, fmt.Errorf("%s: replaced again and again: %w", key, ErrChanged)
}

// idle refuses an instruction file that is not copied, but goes with no object
// either. What else is not copied has gone.
func (h *Hiding) idle(ctx context.Context, key string) error {
	if !h.v.isInstruction(key) {
		return nil
	}
	if _, err := h.v.raw.Head(ctx, objstore.ID{Key: key}); err != nil {
		return orNothing(err)
	}
	o, err := h.v.fetch(ctx, keyOfFile(key))
	if err == nil && o.instruction() {
		return nil
	}
	return errors.Join(fmt.Errorf("%s: %w: no object that opens needs this instruction file", key, ErrNotHidden), orNothing(err))
}

// copy makes sure that what is at key is at dst too. None: it has gone, or comes
// with the object that it is the instruction file of.
func (h *Hiding) copy(ctx context.Context, key, dst string) (m moved, size int64, err error) {
	if h.v.isInstruction(key) {
		m, err = h.v.copyInstruction(ctx, h.j, key, dst)
		return m, 0, err
	}
	o, err := h.v.fetch(ctx, key)
	if errors.Is(err, ErrNotExist) {
		return moved{}, 0, nil
	}
	if err != nil {
		return moved{}, 0, err
	}
	if o.err != nil {
		return moved{}, 0, fmt.Errorf("%w: %w", ErrNotHidden, o.err)
	}
	if r := h.v.rule(key); o.attr.Mode&unix.S_IFMT == unix.S_IFLNK && r.Keys == nil && r.S3EC == nil {
		return moved{}, 0, fmt.Errorf("%s: %w: %w", key, ErrNotHidden, ErrPlainLink)
	}
	if m, err = h.v.copyWhole(ctx, h.j, o, dst); errors.Is(err, ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrChanged, err) // it has gone meanwhile
	}
	return m, o.length, err
}

// remove takes the source away, with its instruction file behind it.
func (h *Hiding) remove(ctx context.Context, m moved) error {
	if err := h.v.deleteSource(ctx, m); err != nil {
		return err
	}
	h.v.forget(h.v.pathOf(m.src))
	if m.file == "" {
		return nil
	}
	return h.v.deleteSource(ctx, moved{src: s3ec.InstructionKey(m.src), etag: m.file, key: s3ec.InstructionKey(m.key)})
}

// Clear removes what the volume keeps under hashes of readable names: the indexes,
// which are made anew. It gives how many there were.
func (h *Hiding) Clear(ctx context.Context) (n int, err error) {
	for e, err := range h.v.raw.List(ctx, objstore.ListOptions{Prefix: h.v.indexDir()}) {
		if err != nil {
			return n, err
		}
		if err := h.v.delete(ctx, e.Key, ""); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
