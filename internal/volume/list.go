package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"golang.org/x/sys/unix"
)

// List gives the entries of directory p in bytewise order of their keys, each
// name once, without `.` and `..`, from LIST alone. It goes on after the
// entry with the cookie after; "" is the start. New files of this host that
// are not committed yet are among them. Keys that no path can express are left
// out.
func (v *Volume) List(ctx context.Context, p, after string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := v.checkPath(p); err != nil {
			yield(Entry{}, err)
			return
		}
		m := merge{
			yield: yield, local: v.local(p, after),
			exists: func(e Entry) (bool, error) { return v.exists(ctx, p, e) },
			given:  func(name string) (bool, error) { return v.given(ctx, p, name, after) },
		}
		all, at := v.reading(ctx, p, after)
		names, whole := v.collect(p, after, at), false
		defer func() { names.end(whole) }()
		prefix := v.dirKey(p)
		for e, err := range all {
			if err != nil {
				m.fail(err)
				break
			}
			if e.Key != "" && e.Key == prefix {
				v.reaffirmDir(p, factOf(e.Info), at)
			}
			entry := v.entry(p, prefix, e)
			names.entry(entry, e)
			if !m.next(entry) {
				break
			}
		}
		whole = !m.ended
		m.rest()
		if m.err != nil {
			yield(Entry{}, fmt.Errorf("list %q: %w", p, m.err))
		}
	}
}

// reading gives what a LIST says of directory p for an application, and when it
// was made.
func (v *Volume) reading(ctx context.Context, p, after string) (all iter.Seq2[objstore.Entry, error], at time.Time) {
	opt := objstore.ListOptions{Prefix: v.dirKey(p), Delimiter: "/"}
	if after != "" {
		opt.After = opt.Prefix + after
		return v.pagesAhead(ctx, opt), v.opt.Now()
	}
	v.walks.shown(p)
	ahead, ok := v.trees.take(ctx, p)
	v.trees.listed(ctx, p, ok)
	if !ok {
		return v.pagesAhead(ctx, opt), v.opt.Now()
	}
	return func(yield func(objstore.Entry, error) bool) {
		for _, e := range ahead.entries {
			if !yield(e, nil) {
				return
			}
		}
	}, ahead.at
}

// pagesAhead lists, and asks for the next page while one is given.
func (v *Volume) pagesAhead(ctx context.Context, opt objstore.ListOptions) iter.Seq2[objstore.Entry, error] {
	type answer struct {
		e   objstore.Entry
		err error
	}
	return func(yield func(objstore.Entry, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		answers := make(chan answer, listPage)
		go func() {
			defer close(answers)
			for e, err := range v.opt.Store.List(ctx, opt) {
				select {
				case answers <- answer{e, err}:
				case <-ctx.Done():
					return
				}
			}
		}()
		defer func() {
			cancel()
			for range answers { // until it has ended
			}
		}()
		for a := range answers {
			if !yield(a.e, a.err) {
				return
			}
		}
	}
}

// exists tells whether an entry that this host has made, and a listing lacks,
// is there: absence is believed only from a clean answer for its very key.
func (v *Volume) exists(ctx context.Context, dir string, e Entry) (bool, error) {
	_, err := v.head(ctx, v.dirKey(dir)+e.Cookie)
	if errors.Is(err, ErrNotExist) {
		v.forget(join(dir, e.Name))
		return false, nil
	}
	return there(err)
}

// given tells whether a listing that goes on after the cookie after has shown
// name already, as a file beside the directory that comes now.
func (v *Volume) given(ctx context.Context, dir, name, after string) (bool, error) {
	switch {
	case !strings.HasPrefix(after, name) || name+"/" <= after:
		return false, nil
	case name == after || v.fileAt(join(dir, name)) != nil:
		return true, nil
	}
	_, err := v.head(ctx, v.fileKey(join(dir, name)))
	return there(err)
}

// there tells whether an object is there by the error of a look at it; that it
// does not open is none of that.
func there(err error) (bool, error) {
	switch {
	case err == nil || unopenable(err):
		return true, nil
	case errors.Is(err, ErrNotExist):
		return false, nil
	}
	return false, err
}

// entry makes of a line of a LIST an entry; one without a name is to be
// passed over.
func (v *Volume) entry(dir, prefix string, e objstore.Entry) Entry {
	cookie := strings.TrimPrefix(e.Key+e.Prefix, prefix)
	name := strings.TrimSuffix(cookie, "/")
	if !v.nameable(name) || strings.HasSuffix(e.Key, "/") || e.Key != "" && v.isInstruction(e.Key) {
		return Entry{Cookie: cookie}
	}
	out := Entry{Name: name, Cookie: cookie}
	if e.Prefix != "" {
		out.Type = unix.S_IFDIR
		return out
	}
	out.Type = v.typeOf(join(dir, name), e)
	return out
}

// typeOf gives the type of a file that this mount has seen as it is listed.
func (v *Volume) typeOf(p string, e objstore.Entry) uint32 {
	d := v.recall(p)
	if d == nil || d.obj == nil || d.obj.err != nil || d.named().id.ETag != e.ETag {
		return 0
	}
	return d.obj.attr.Mode & unix.S_IFMT
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// localEntry is one that this host shows whatever the store lists.
type localEntry struct {
	Entry
	check bool // but only if its key is there: another host may have removed it
}

// local gives, in order, the entries of dir after the cookie that this host
// shows whatever the store lists: new files, implicit directories that
// emptied, and what it has made.
func (v *Volume) local(dir, after string) []localEntry {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []localEntry
	add := func(p string, leaf uint32, cookieEnd string, check bool) {
		if !below(p, dir) {
			return
		}
		name, direct := child(p, dir)
		e := Entry{Name: name, Type: leaf, Cookie: name + cookieEnd}
		if !direct {
			e = Entry{Name: name, Type: unix.S_IFDIR, Cookie: name + "/"}
		}
		if e.Cookie > after && (direct || !check) {
			out = append(out, localEntry{e, check})
		}
	}
	for p, f := range v.files {
		if f.unborn() {
			add(p, unix.S_IFREG, "", false)
		}
	}
	for p := range v.ghosts {
		add(p, unix.S_IFDIR, "/", false)
	}
	for p, d := range v.known {
		switch {
		case !d.own || d.obj == nil:
		case d.dir:
			add(p, unix.S_IFDIR, "/", true)
		default:
			add(p, d.obj.attr.Mode&unix.S_IFMT, "", true)
		}
	}
	sure := func(e localEntry) int {
		if e.check {
			return 1
		}
		return 0
	}
	slices.SortFunc(out, func(a, b localEntry) int {
		return cmp.Or(strings.Compare(a.Cookie, b.Cookie), cmp.Compare(sure(a), sure(b)))
	})
	return slices.CompactFunc(out, func(a, b localEntry) bool { return a.Cookie == b.Cookie })
}

// unborn tells a file of which nothing is committed yet.
func (f *File) unborn() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.base == nil
}

// merge joins two ordered sequences and gives each name once. A file `a` and
// a directory `a/` may have names between them (`a!`, `a-b`): files that a
// directory of the same name can still follow are kept in mind.
type merge struct {
	yield  func(Entry, error) bool
	exists func(Entry) (bool, error)       // of local entries that are to be checked
	given  func(name string) (bool, error) // before the listing began
	local  []localEntry
	files  []string // names given that "name/" may still follow
	ended  bool     // the caller has enough, or err
	err    error
}

// next gives the local entries before e, then e. False: it has ended.
func (m *merge) next(e Entry) bool {
	for len(m.local) > 0 && m.local[0].Cookie <= e.Cookie {
		l := m.local[0]
		m.local = m.local[1:]
		if l.Cookie == e.Cookie {
			break // e stands for it
		}
		m.giveLocal(l)
	}
	if e.Name != "" {
		m.give(e)
	}
	return !m.ended
}

func (m *merge) rest() {
	for _, l := range m.local {
		m.giveLocal(l)
	}
}

func (m *merge) fail(err error) { m.ended, m.err = true, err }

func (m *merge) giveLocal(l localEntry) {
	if l.check && !m.ended {
		there, err := m.exists(l.Entry)
		if err != nil {
			m.fail(err)
		}
		if !there {
			return
		}
	}
	m.give(l.Entry)
}

func (m *merge) give(e Entry) {
	if m.ended {
		return
	}
	m.files = slices.DeleteFunc(m.files, func(name string) bool { return name+"/" < e.Cookie })
	if !strings.HasSuffix(e.Cookie, "/") {
		m.files = append(m.files, e.Name)
	} else if shown, err := m.shown(e.Name); err != nil {
		m.fail(err)
		return
	} else if shown {
		return // under the same name, as a file
	}
	m.ended = !m.yield(e, nil)
}

func (m *merge) shown(name string) (bool, error) {
	if slices.Contains(m.files, name) {
		return true, nil
	}
	return m.given(name)
}
