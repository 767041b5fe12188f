package volume

import (
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// fact is what a LIST says of an object.
type fact struct {
	etag     string // "" where nothing was listed
	size     int64  // of the body as stored
	modified int64  // LastModified in s since 1970: HEAD and GET tell no more
	class    string
}

func factOf(e objstore.Info) fact {
	return fact{e.ETag, e.Size, e.Modified.Unix(), e.StorageClass}
}

// listed is a name as a listing, or this host, has it.
type listed struct {
	kind nameKind
	fact fact // of the file, where one was listed
}

// and is what two say together, the later one last.
func (l listed) and(later listed) listed {
	later.kind |= l.kind
	if later.fact.etag == "" {
		later.fact = l.fact
	}
	return later
}

// line is one entry of a directory's listing.
type line struct {
	name string
	listed
}

// cookie is where the line stands; of a name that is a file and a directory the
// file.
func (l line) cookie() string {
	if l.kind == asDir {
		return l.name + "/"
	}
	return l.name
}

func byCookie(a, b line) int { return strings.Compare(a.cookie(), b.cookie()) }

// racy is for how long after its LastModified an object may be changed again
// without that, or the ETag of a copy onto itself, telling. What was read of it
// before is proved by no listing, as in git's index.
const racy = 2 * time.Second

// witnessed tells whether what a listing says proves that o still is what it was
// when it was read. By the store's clock on both sides: this host's may be off.
// Of an instruction file beside it the line of o says nothing, and nothing of
// whether an archived body was restored.
func (o *object) witnessed(f fact) bool {
	return o != nil && o.err == nil && f.etag != "" && !o.instruction() && !o.frozen() &&
		o.id.ETag == f.etag && o.length == f.size && o.class == f.class && o.seen.Unix() == f.modified &&
		!o.seen.IsZero() && !o.answered.Before(o.seen.Add(racy))
}

// reaffirm believes anew what is remembered of p where a listing, begun at that
// time, shows it unchanged; nil else. Of a hard link that is the name alone.
func (v *Volume) reaffirm(p string, l listed, at time.Time) *dentry {
	if l.kind != asFile || !v.current(v.recall(p)) {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.known[p]
	if d == nil || d.dir || !d.named().witnessed(l.fact) {
		return nil
	}
	if d.at.Before(at) {
		now := *d
		now.at, d = at, &now
		v.known[p] = d
	}
	return d
}

// reaffirmDir is reaffirm of a directory, of whose marker a listing says f: none
// where it has none.
func (v *Volume) reaffirmDir(p string, f fact, at time.Time) *dentry {
	if f.etag != "" && !v.current(v.recall(p)) {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.known[p]
	switch {
	case f.etag == "" && (d != nil && d.own || v.trees.outlived(p, at)):
		return nil
	case f.etag == "":
		return v.noted(p, nil, true, at)
	case d == nil || !d.dir || !d.obj.witnessed(f):
		return nil
	case d.at.After(at):
		return d
	}
	return v.noted(p, d.obj, true, at)
}
