package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"golang.org/x/sys/unix"
)

// askListed is ask, but believes a fresh listing of the directory: of what it
// lacks that it is not there, of what is but a file that it is no directory.
// What this host has made or has open is asked for whatever a listing says.
func (v *Volume) askListed(ctx context.Context, p string) (*dentry, error) {
	if p == "" {
		return v.ask(ctx, p)
	}
	if err := checkPath(p); err != nil {
		return nil, absent(err)
	}
	d, err := v.askAs(ctx, p)
	if err == nil || errors.Is(err, ErrNotExist) {
		v.dirs.met(p, err != nil)
	}
	return d, err
}

func (v *Volume) askAs(ctx context.Context, p string) (*dentry, error) {
	if d, err := v.askMarker(ctx, p); d != nil || err != nil {
		return d, err
	}
	kind, known := v.listed(ctx, p)
	switch {
	case !known || kind == 0 && v.mine(p):
		return v.ask(ctx, p)
	case kind == asFile:
		return v.askFile(ctx, p)
	case kind == asDir:
		return v.askOnlyDir(ctx, p)
	case kind != 0:
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
	o, err := v.fetch(ctx, v.fileKey(p))
	if errors.Is(err, ErrNotExist) {
		return v.ask(ctx, p)
	}
	if err != nil {
		return nil, err
	}
	return v.askObject(ctx, p, o)
}

// askOnlyDir is ask of what is listed as a directory.
func (v *Volume) askOnlyDir(ctx context.Context, p string) (*dentry, error) {
	first, err := v.firstIn(ctx, p)
	if err != nil {
		return nil, err
	}
	if first == nil {
		return v.ask(ctx, p)
	}
	return v.askDir(ctx, p, first)
}

// listed tells as what p is listed in its directory, which may be listed for
// that. Trouble with the listing is no news of p.
func (v *Volume) listed(ctx context.Context, p string) (kind nameKind, known bool) {
	if kind, known = v.dirs.find(p); known {
		return kind, known
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
		return 0, v.lacks(ctx, p)
	default:
		return 0, false
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
		if !l.entry(v.entry(dir, prefix, e)) {
			return
		}
	}
}

// entry is give of an entry of a listing.
func (l *dirListing) entry(e Entry) bool {
	switch {
	case e.Name == "":
		return true
	case e.Type == unix.S_IFDIR:
		return l.give(e.Name, asDir)
	}
	return l.give(e.Name, asFile)
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

// collect begins to remember a listing of dir that goes on after the cookie
// given.
func (v *Volume) collect(dir, after string) *dirListing {
	if after != "" {
		return nil
	}
	return v.dirs.start(dir)
}

// absentSince tells since when this host knows that p is not there.
func (v *Volume) absentSince(p string) time.Time {
	if at, ok := v.dirs.since(p); ok {
		return at
	}
	return v.opt.Now()
}
