package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// commit puts l into the bucket, whose path is held.
func (r *Recovery) commit(ctx context.Context, l *leftover) (Replayed, error) {
	v := r.v
	where, err := r.locate(ctx, l)
	if err != nil {
		return Replayed{}, err
	}
	if where.done != "" {
		return Replayed{Path: where.done, Done: true}, r.catchUp(ctx, l, where.base)
	}
	l.complete(r, where)
	if l.Err != nil && !(l.ordered && unasked(l.Err)) {
		return Replayed{}, l.Err
	}
	s, err := r.snapshot(ctx, l, where)
	if err != nil {
		return Replayed{}, err
	}
	src, unload, err := v.load(ctx, s)
	if err != nil {
		return Replayed{}, err
	}
	defer unload()
	s.plain = src
	return v.replay(ctx, s, where.lost)
}

// replay writes s. lost: another host was first, as is known already.
func (v *Volume) replay(ctx context.Context, s *snapshot, lost error) (Replayed, error) {
	var o *object
	err := lost
	if err == nil {
		o, err = v.writeSnapshot(ctx, s)
	}
	if conflict(err) && v.opt.OnConflict == ConflictCopy {
		saved, o, err := v.saveBeside(ctx, s)
		if err != nil {
			return Replayed{}, err
		}
		return v.replayed(saved, o), nil
	}
	if err != nil {
		return Replayed{}, err
	}
	return v.replayed(s, o), nil
}

func (v *Volume) replayed(s *snapshot, o *object) Replayed {
	v.made(s.path, o, false)
	v.touch(s.path)
	return Replayed{Path: s.shown}
}

// located is what the store says of a file that was left.
type located struct {
	done string  // path where all of it lies; "" is nowhere
	base *object // what lies there, or else what it is to be written over; nil: nothing
	lost error   // ErrChanged: another host was first
}

// locate finds out what became of the file, and of the commits of it whose
// answer nobody heard.
func (r *Recovery) locate(ctx context.Context, l *leftover) (located, error) {
	n := l.note
	now, err := r.v.lookForNoted(ctx, n)
	if err != nil {
		return located{}, err
	}
	if now.isOf(n.Last, n.Attr.FileID) {
		return located{done: l.Path, base: now}, nil
	}
	if n.Beside != "" {
		beside, err := r.v.lookFor(ctx, r.v.fileKey(n.Beside))
		if err != nil {
			return located{}, err
		}
		if beside != nil && slices.Contains(n.Last, beside.mark) {
			return located{done: n.Beside, base: beside}, nil
		}
	}
	switch {
	case now != nil && n.ETag != "" && now.id.ETag == n.ETag, n.ours(now):
		return located{base: now}, nil
	case n.ETag == "", now == nil && n.Left:
		return located{}, nil // as what is there may be older, the write decides
	case r.v.opt.OnConflict == ConflictOverwrite:
		return located{base: now}, nil
	}
	return located{lost: fmt.Errorf("another host has replaced or removed it since: %w", ErrChanged)}, nil
}

// complete is for what was uploaded, and is not here: it is in an object of
// ours that stands, if one does.
func (l *leftover) complete(r *Recovery, where located) {
	if errors.Is(l.Err, errUploaded) && where.lost == nil && l.note.ours(where.base) {
		l.whole, l.Err = true, l.undecided(r)
	}
}

// catchUp gives o, which holds all of l, the attributes of l if it was made
// before them.
func (r *Recovery) catchUp(ctx context.Context, l *leftover, o *object) error {
	n := l.note
	if !n.Behind || n.describes(o) {
		return nil
	}
	got, err := r.v.restate(ctx, o, o.id.Key, objstore.Condition{IfMatch: o.id.ETag}, func(d *draft) {
		a := n.Attr
		a.Size, a.FileID, a.Nlink = d.attr.Size, d.attr.FileID, d.attr.Nlink
		d.attr, d.xat = a, n.Xattrs
		d.announce = func(w *stored) {
			r.announce(l, &snapshot{path: l.path}, append(slices.Clip(n.Last), w.marks()...), true)
		}
	})
	if conflict(err) || errors.Is(err, ErrNotExist) { // another host has replaced it
		return nil
	}
	if err == nil {
		r.v.made(l.path, got, false)
	}
	return err
}

// describes tells whether o has the attributes of the note.
func (n note) describes(o *object) bool {
	a, b := n.Attr, o.attr
	return a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.Mtime == b.Mtime && a.Ctime == b.Ctime && sameXattrs(n.Xattrs, o.xat)
}

// lookFor is fetch; nil for what is not there.
func (v *Volume) lookFor(ctx context.Context, key string) (*object, error) {
	o, err := v.fetch(ctx, key)
	if errors.Is(err, ErrNotExist) {
		return nil, nil
	}
	return o, err
}

// snapshot is l as a commit takes it.
func (r *Recovery) snapshot(ctx context.Context, l *leftover, where located) (*snapshot, error) {
	n := l.note
	s := &snapshot{
		path: l.path, shown: l.Path, attr: n.Attr, xat: n.Xattrs, base: where.base, excl: n.Excl, sent: n.Sent, left: n.Left, opened: n.Opened,
		data: l.content(), announce: func(s *snapshot, w *stored) { r.announce(l, s, w.marks(), w.behind) },
	}
	if s.base == nil && n.ETag != "" {
		s.base = n.base(r.v)
	}
	if !l.whole && !l.lacks(spool.Base) {
		return s, nil
	}
	src, err := r.borrowed(ctx, l, where)
	if s.borrowed = src != nil; err == nil && !s.borrowed {
		src, err = r.base(ctx, l, where)
	}
	s.src = src
	return s, err
}

// base reads what is not in the spool: of the very version from which the file
// was made, nothing else.
func (r *Recovery) base(ctx context.Context, l *leftover, where located) (*content, error) {
	o, n := where.base, l.note
	if o == nil || where.lost != nil || o.id.ETag != n.ETag && !n.ours(o) {
		var err error
		if o, err = r.v.fetchVersion(ctx, n); err != nil {
			return nil, err
		}
	}
	return r.contentOf(ctx, o)
}

// contentOf opens and proves what lies under what was left.
func (r *Recovery) contentOf(ctx context.Context, o *object) (*content, error) {
	src, err := r.v.contentOf(o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPartial, err)
	}
	return src, src.Verify(ctx)
}

// announce notes, durably, by what the body that is about to be sent is
// recognised.
func (r *Recovery) announce(l *leftover, s *snapshot, marks []string, behind bool) {
	n := l.note
	n.Sent, n.Last, n.Beside, n.Behind = append(slices.Clip(n.Sent), marks...), marks, "", behind
	n.Sent = n.Sent[max(0, len(n.Sent)-maxSent):]
	if s.path != l.path {
		n.Beside = s.path
	}
	l.note = n
	if err := l.in.SetMeta(l.ID, n.encode()); err != nil {
		r.v.opt.Log.WithField("path", l.path).WithError(err).Warn("a replay could not be noted: if this process dies now, the next one may make a conflict copy of the same file")
	}
}

// base is the object that the file was made from, as far as the note knows it.
func (n note) base(v *Volume) *object {
	return &object{id: objstore.ID{Key: n.Key, ETag: n.ETag, VersionID: n.Version}, rule: v.rule(n.name())}
}

// name is the key of the file's name.
func (n note) name() string {
	if n.Name != "" {
		return n.Name
	}
	return n.Key
}

// lookForNoted is lookFor of where the file was.
func (v *Volume) lookForNoted(ctx context.Context, n note) (*object, error) {
	if n.Name == "" {
		return v.lookFor(ctx, n.Key)
	}
	o, err := v.fetchInode(ctx, n.Key, v.rule(n.Name))
	if errors.Is(err, ErrNotExist) {
		return nil, nil
	}
	return o, err
}

// fetchVersion is the version that the file was made from, where the bucket has
// kept it.
func (v *Volume) fetchVersion(ctx context.Context, n note) (*object, error) {
	gone := fmt.Errorf("%w: the version from which it was made is not in the bucket any more", ErrPartial)
	if n.Version == "" {
		return nil, gone
	}
	var o *object
	err := v.unlocked(ctx, n.Key, func(enc *objstore.Encryption) error {
		info, suffix, err := v.ends(ctx, objstore.ID{Key: n.Key, ETag: n.ETag, VersionID: n.Version, Encryption: enc})
		if err == nil {
			o, err = v.decode(ctx, info, suffix)
		}
		return err
	})
	if errors.Is(err, ErrNotExist) || errors.Is(err, ErrChanged) {
		return nil, gone
	}
	return o, err
}
