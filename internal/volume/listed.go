package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// askListed is ask, but believes a fresh listing of the directory: of what it
// lacks that it is not there, of what is but a file that it is no directory.
// What this host has made or has open is asked for whatever a listing says.
func (v *Volume) askListed(ctx context.Context, p string) (*dentry, error) {
	if p == "" {
		return v.ask(ctx, p)
	}
	if err := v.checkPath(p); err != nil {
		return nil, absent(err)
	}
	if d, err := v.askWitness(ctx, p); d != nil || err != nil {
		v.walks.used(p)
		return d, err
	}
	v.walks.asking(ctx, p)
	d, err := v.askAs(ctx, p)
	if err == nil || errors.Is(err, ErrNotExist) {
		v.dirs.met(p, err != nil)
	}
	if err == nil {
		v.walks.asked(ctx, p)
	}
	return d, err
}

// askWitness believes anew what is remembered of p where a fresh listing shows
// it as it was; nil where none does.
func (v *Volume) askWitness(ctx context.Context, p string) (*dentry, error) {
	if f, at, ok := v.trees.marker(p); ok {
		return v.reaffirmDir(p, f, at), nil
	}
	l, at, known := v.dirs.find(p)
	if !known {
		return nil, nil
	}
	d := v.reaffirm(p, l, at)
	if d == nil || d.link == nil {
		return d, nil
	}
	return v.askInode(ctx, p, d.link)
}

func (v *Volume) askAs(ctx context.Context, p string) (*dentry, error) {
	if d, err := v.askMarker(ctx, p); d != nil || err != nil {
		return d, err
	}
	l, at, known := v.listed(ctx, p)
	switch {
	case !known || l.kind == 0 && v.mine(p):
		return v.ask(ctx, p)
	case l.kind == asFile:
		return v.askFile(ctx, p)
	case l.kind == asDir:
		return v.askOnlyDir(ctx, p, at)
	case l.kind != 0:
		return v.ask(ctx, p)
	}
	v.vanished(p)
	return nil, fmt.Errorf("%q: %w", p, ErrNotExist)
}

// askMarker asks for the marker alone of what was a directory with one: where it
// is there still, so is the directory. Nil: it has to be asked otherwise.
func (v *Volume) askMarker(ctx context.Context, p string) (*dentry, error) {
	if d := v.recall(p); d == nil || !d.dir || d.obj == nil {
		return nil, nil
	}
	o, err := v.fetch(ctx, v.dirKey(p))
	if errors.Is(err, ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return v.note(p, o, true), nil
}

// mine tells what this host shows at p whatever a listing says.
func (v *Volume) mine(p string) bool {
	d := v.recall(p)
	return d != nil && d.own || v.fileAt(p) != nil || v.isGhost(p)
}

// askFile is ask of what is listed as a file.
func (v *Volume) askFile(ctx context.Context, p string) (*dentry, error) {
	o, err := v.fetchEnd(ctx, v.fileKey(p), v.wanted(p))
	if errors.Is(err, ErrNotExist) {
		return v.ask(ctx, p)
	}
	if err != nil {
		return nil, err
	}
	return v.askObject(ctx, p, o)
}

// askOnlyDir is ask of what was listed as a directory at that time: so it has a
// marker, or was there without one, unless this host has removed it since.
func (v *Volume) askOnlyDir(ctx context.Context, p string, at time.Time) (*dentry, error) {
	o, err := v.fetch(ctx, v.dirKey(p))
	if errors.Is(err, ErrNotExist) && v.trees.outlived(p, at) {
		return v.ask(ctx, p)
	}
	if errors.Is(err, ErrNotExist) {
		return v.noteAt(p, nil, true, at), nil
	}
	if err != nil {
		return nil, err
	}
	v.logShut(p, o)
	return v.note(p, o, true), nil
}

// listed tells as what p is listed in its directory, which may be listed for
// that, and when it was. Trouble with the listing is no news of p.
func (v *Volume) listed(ctx context.Context, p string) (l listed, at time.Time, known bool) {
	if l, at, known = v.dirs.find(p); known {
		return l, at, known
	}
	switch plan := v.dirs.plan(parent(p)); {
	case plan.list != nil:
		v.listNames(ctx, parent(p), plan.list)
	case plan.wait != nil:
		select {
		case <-plan.wait:
		case <-ctx.Done():
		}
	case plan.glance:
		return listed{}, time.Time{}, v.lacks(ctx, p)
	default:
		return listed{}, time.Time{}, false
	}
	return v.dirs.find(p)
}

// listNames makes a listing of dir.
func (v *Volume) listNames(ctx context.Context, dir string, l *dirListing) {
	prefix, whole := v.dirKey(dir), true
	defer func() { l.end(whole) }()
	for e, err := range v.opt.Store.List(ctx, objstore.ListOptions{Prefix: prefix, Delimiter: "/"}) {
		if err != nil {
			whole = false
			return
		}
		if !l.entry(v.entry(dir, prefix, e), e) {
			return
		}
	}
}

// entry is give of an entry of a listing, which the store gave as raw.
func (l *dirListing) entry(e Entry, raw objstore.Entry) bool {
	return e.Name == "" || l.give(lineOf(e, raw), e.Cookie)
}

// lineOf is what a listing says of the entry e, which the store gave as raw.
func lineOf(e Entry, raw objstore.Entry) line {
	if raw.Prefix != "" {
		return line{e.Name, listed{kind: asDir}}
	}
	return line{e.Name, listed{asFile, factOf(raw.Info)}}
}

// glanceKeys bounds the keys that a name may be the beginning of in lacks.
const glanceKeys = 100

// lacks tells by one LIST whether p is certainly not there, as a file or a
// directory: between its two keys come those of names that begin like it.
func (v *Volume) lacks(ctx context.Context, p string) bool {
	file, dir := v.fileKey(p), v.dirKey(p)
	if len(dir) > objstore.MaxKeyLen {
		return false
	}
	n := 0
	for e, err := range v.opt.Store.List(ctx, objstore.ListOptions{Prefix: file, Delimiter: "/", Limit: glanceKeys}) {
		switch key := e.Key + e.Prefix; {
		case err != nil, key == file, key == dir:
			return false
		case key > dir:
			return true
		}
		n++
	}
	return n < glanceKeys
}

// collect begins to remember a listing of dir, begun at that time, that goes on
// after the cookie given.
func (v *Volume) collect(dir, after string, at time.Time) *dirListing {
	if after != "" {
		return nil
	}
	return v.dirs.start(dir, at)
}

// absentSince tells since when this host knows that p is not there.
func (v *Volume) absentSince(p string) time.Time {
	if at, ok := v.dirs.since(p); ok {
		return at
	}
	return v.opt.Now()
}
