package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sys/unix"
)

// token names a name; see object.token.
type token = sigil.Generation

// maxLinks bounds the names of a file, as ext4 does (its LINK_MAX is 65,000).
const maxLinks = 65000

// maxRollTries bounds how often one call begins anew because another host
// changed the roll.
const maxRollTries = 20

// roll is the list of an inode's names: the tokens of all of them, ascending, in
// a small sealed object. A name is enrolled before it is made and struck after
// it has gone, so that a crash leaves one too many, never one too few; and the
// body goes only when the roll is empty. It decides, not the nlink of the
// inode's record, since a copy of an object over itself keeps its ETag on most
// servers: two hosts that count there under If-Match can lose an update. A roll
// is written with PUT, and its bytes are new each time. That a name is struck
// twice, by two hosts that remove it at once or after a lost answer, does no
// harm. An empty roll is never added to.
type roll struct {
	obj   *object
	names []token
}

// rollKey is where the roll of the inode at key lies.
func rollKey(key string) string {
	i := strings.LastIndexByte(key, '/') + 1
	return key[:i] + rollDir + key[i:]
}

// parseRoll reads the content of a roll.
func parseRoll(b []byte) ([]token, error) {
	if len(b)%len(token{}) != 0 || len(b) > maxLinks*len(token{}) {
		return nil, fmt.Errorf("roll of %d bytes: %w", len(b), ErrCorrupt)
	}
	var names []token
	for chunk := range slices.Chunk(b, len(token{})) {
		t := token(chunk)
		if n := len(names); n > 0 && compareTokens(names[n-1], t) >= 0 {
			return nil, fmt.Errorf("roll is not in order: %w", ErrCorrupt)
		}
		names = append(names, t)
	}
	return names, nil
}

func compareTokens(a, b token) int { return bytes.Compare(a[:], b[:]) }

// rollWith gives the names of a roll of two.
func rollWith(a, b token) []token {
	return (&roll{names: []token{a}}).with(b)
}

func (r *roll) bytes() []byte {
	var b []byte
	for _, t := range r.names {
		b = append(b, t[:]...)
	}
	return b
}

// with gives the names and t, without the names alone.
func (r *roll) with(t token) []token {
	i, found := slices.BinarySearchFunc(r.names, t, compareTokens)
	if found {
		return r.names
	}
	return slices.Insert(slices.Clone(r.names), i, t)
}

func (r *roll) without(t token) []token {
	i, found := slices.BinarySearchFunc(r.names, t, compareTokens)
	if !found {
		return r.names
	}
	return slices.Delete(slices.Clone(r.names), i, i+1)
}

// rollOf gives the roll of an inode, as remembered or else as it lies there now.
func (v *Volume) rollOf(ctx context.Context, in *object) (r *roll, now bool, err error) {
	v.mu.Lock()
	r = v.rolls[in.id.Key]
	v.mu.Unlock()
	if r != nil {
		return r, false, nil
	}
	r, err = v.readRoll(ctx, in)
	return r, true, err
}

func (v *Volume) readRoll(ctx context.Context, in *object) (*roll, error) {
	o, b, err := v.fetchSealed(ctx, rollKey(in.id.Key), maxLinks*int64(len(token{})))
	if err != nil {
		return nil, err
	}
	if o.attr.FileID != in.attr.FileID {
		return nil, fmt.Errorf("%s: roll is of another file: %w", o.id.Key, ErrCorrupt)
	}
	names, err := parseRoll(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.id.Key, err)
	}
	r := &roll{obj: o, names: names}
	v.rememberRoll(in, r)
	return r, nil
}

// fetchSealed gets an object of the volume with its content, in one request
// where that is short.
func (v *Volume) fetchSealed(ctx context.Context, key string, limit int64) (*object, []byte, error) {
	var info objstore.Info
	var suffix []byte
	known := v.knownOf(key)
	err := v.unlocked(ctx, key, func(enc *objstore.Encryption) (err error) {
		info, suffix, err = v.ends(ctx, objstore.ID{Key: key, Encryption: enc})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	o, err := v.decodeNow(ctx, info, suffix, known)
	if err != nil {
		return nil, nil, err
	}
	f, sealed := o.form.(*sealedForm)
	switch {
	case o.err != nil:
		return nil, nil, o.err
	case !sealed:
		return nil, nil, fmt.Errorf("%s: object is %s: %w", key, o.form.mode(o), ErrDowngrade)
	case int64(len(suffix)) < o.length:
		b, err := v.readAll(ctx, o, limit)
		return o, b, err
	}
	b, err := f.whole(ctx, v, o, suffix)
	return o, b, err
}

// whole reads a body that is here.
func (f *sealedForm) whole(ctx context.Context, v *Volume, o *object, body []byte) ([]byte, error) {
	if err := f.ours(o); err != nil {
		return nil, err
	}
	r, err := sigil.NewReader(f.rec, f.header, sigil.Bytes(body), o.length, v.frames)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.id.Key, err)
	}
	if err := r.Verify(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", o.id.Key, err)
	}
	b := make([]byte, o.attr.Size)
	n, err := r.ReadAt(ctx, b, 0)
	return b, filled(n, len(b), err)
}

func (v *Volume) rememberRoll(in *object, r *roll) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if r == nil {
		delete(v.rolls, in.id.Key)
		return
	}
	bounded(v.rolls, in.id.Key, r)
}

// writeRoll puts names into the roll of in, over old; nil for a new inode.
func (v *Volume) writeRoll(ctx context.Context, in *object, old *roll, names []token) error {
	r := &roll{names: names}
	b := r.bytes()
	d := draft{key: rollKey(in.id.Key), rule: v.ruleOf(in), src: sigil.Bytes(b), cond: objstore.Condition{IfNone: true}}
	d.attr = v.newAttr(Attr{Mode: 0o600}, unix.S_IFREG)
	d.attr.FileID, d.attr.Size = in.attr.FileID, int64(len(b))
	if old != nil {
		d.cond, d.above, d.older = objstore.Condition{IfMatch: old.obj.id.ETag}, []*object{old.obj}, v.isOlder(old.obj)
	}
	o, err := v.put(ctx, d)
	if err != nil {
		v.rememberRoll(in, nil)
		return err
	}
	r.obj = o
	v.rememberRoll(in, r)
	return nil
}

// amend changes the roll of in, whose path is held, and tells how many names
// are on it. What is remembered of it may be older than what another host has
// made of it: it is looked at again where it cannot be changed.
func (v *Volume) amend(ctx context.Context, in *object, change func(*roll) ([]token, error)) (int, error) {
	for range maxRollTries {
		r, now, err := v.rollOf(ctx, in)
		if err != nil {
			return 0, err
		}
		names, err := change(r)
		switch same := len(names) == len(r.names); {
		case now && (err != nil || same):
			return len(names), err
		case err != nil || same:
			v.rememberRoll(in, nil)
			continue
		}
		if err = v.writeRoll(ctx, in, r, names); !conflict(err) {
			return len(names), err
		}
	}
	return 0, fmt.Errorf("%s: changed again and again: %w", rollKey(in.id.Key), ErrChanged)
}

// enrol adds a name to the roll of in. ErrNotExist: the last one has gone.
func (v *Volume) enrol(ctx context.Context, in *object, t token) (int, error) {
	return v.amend(ctx, in, func(r *roll) ([]token, error) {
		switch {
		case len(r.names) == 0:
			return nil, fmt.Errorf("%s: all names have gone: %w", in.id.Key, ErrNotExist)
		case len(r.names) >= maxLinks:
			return nil, fmt.Errorf("%s: %w", in.id.Key, ErrManyLinks)
		}
		return r.with(t), nil
	})
}

// strike takes a name off the roll of in.
func (v *Volume) strike(ctx context.Context, in *object, t token) (int, error) {
	n, err := v.amend(ctx, in, func(r *roll) ([]token, error) { return r.without(t), nil })
	if errors.Is(err, ErrNotExist) {
		return 0, fmt.Errorf("%s: roll is missing: %w", rollKey(in.id.Key), ErrCorrupt)
	}
	return n, err
}
