package volume

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// sweep asks ahead for what a directory has: for the names behind one that was
// looked up, and in a directory that an application has listed for those before
// it too.
type sweep struct {
	k      *walks
	w      *walk
	from   string // the name: as a cookie, of a file
	around bool   // those before it too
	whole  bool   // small files with their content
	cancel context.CancelFunc
	wake   chan struct{} // there may be room
	asks   sync.WaitGroup

	credit int // names that may still be asked; guarded by walks.mu
}

// stop ends s; nil is none.
func (s *sweep) stop() {
	if s != nil {
		s.cancel()
	}
}

// stir has s look for room again.
func (s *sweep) stir() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *sweep) run(ctx context.Context) {
	idle := !s.span(ctx, s.from, "")
	if !idle && s.around {
		idle = !s.span(ctx, "", s.from)
	}
	s.asks.Wait()
	s.k.done(s, idle)
}

// span sweeps the entries behind one cookie and before another; "" is the end of
// the directory. False: nobody walks on, or there is trouble.
func (s *sweep) span(ctx context.Context, after, until string) bool {
	for {
		page, err := s.k.v.linesAfter(ctx, s.w.dir, after)
		if err != nil {
			return false // whoever walks on will hear of it
		}
		next, ok := s.page(ctx, page, until)
		if !ok || next == "" {
			return ok
		}
		after = next
	}
}

// page asks for the names of one page. next is where to go on behind, "" if that
// was all.
func (s *sweep) page(ctx context.Context, page linesPage, until string) (next string, ok bool) {
	v := s.k.v
	for _, l := range page.lines {
		v.reaffirm(join(s.w.dir, l.name), l.listed, page.at)
	}
	if !s.whole && v.affirmPage(ctx, s.w.dir, page) {
		return "", false // whoever walks on needs nobody to ask ahead
	}
	s.trees(ctx, page.lines)
	for i, l := range page.lines {
		if until != "" && l.cookie() >= until {
			return "", true
		}
		if i > 0 && v.opt.Now().Sub(page.at) >= v.opt.AttrTimeout {
			return page.lines[i-1].cookie(), true // it is not to be believed any more
		}
		if !s.line(ctx, l, page.at) {
			return "", false
		}
	}
	return page.next, true
}

// sweptDirs is how many directories on one page are worth a listing of all that
// is in them, which tells of their markers too.
const sweptDirs = 8

// trees has directories listed ahead, where there are many that nothing is known
// of now.
func (s *sweep) trees(ctx context.Context, lines []line) {
	v, dirs := s.k.v, 0
	for i, l := range lines {
		if l.kind != asDir || v.believed(join(s.w.dir, l.name)) != nil {
			continue
		}
		if dirs++; dirs == sweptDirs {
			v.trees.looked(ctx, s.w.dir, join(s.w.dir, lines[max(0, i-sweptDirs)].name))
			return
		}
	}
}

// line asks for one name, unless nothing is to be learned of it. False as of
// span.
func (s *sweep) line(ctx context.Context, l line, at time.Time) bool {
	bytes := s.content(l)
	if p := join(s.w.dir, l.name); bytes == 0 && (s.k.v.believed(p) != nil || s.k.v.index.affirms(p)) {
		return true
	}
	ok, idle := s.k.admit(ctx, s, l.name, bytes)
	if !ok {
		return !idle
	}
	select {
	case s.k.slots <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	s.asks.Go(func() {
		defer func() { <-s.k.slots }()
		s.k.v.askAhead(ctx, s.w.dir, l, at, bytes > 0)
	})
	return true
}

// content is how many bytes of content are fetched for a line.
func (s *sweep) content(l line) int64 {
	if !s.whole || l.kind != asFile || l.fact.etag == "" || l.fact.size > smallFile || s.k.wasOpened(s.w, l.name) {
		return 0
	}
	return l.fact.size
}

// wasOpened tells whether a name of w was opened since the directory was shown.
func (k *walks) wasOpened(w *walk, name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.opens.has(visit{w.row, name})
}

// askAhead asks for what is listed at that time as a line of dir, where nobody
// else does or wants to change it. What fails whoever walks on will hear of.
func (v *Volume) askAhead(ctx context.Context, dir string, l line, at time.Time, whole bool) {
	p := join(dir, l.name)
	unlock, ok := v.names.spare(one(p))
	if !ok {
		return
	}
	defer unlock()
	if f := v.fileAt(p); f != nil && f.dirty() {
		return // this host knows better
	}
	d := v.believed(p)
	if d == nil {
		d = v.askLine(ctx, p, l, at, whole)
	}
	if d != nil && whole && !d.dir {
		v.warm(ctx, d.obj)
	}
}

// askLine asks for what is listed as l; nil where that says nothing.
func (v *Volume) askLine(ctx context.Context, p string, l line, at time.Time, whole bool) *dentry {
	switch l.kind {
	case asFile:
		most := int64(sigil.TailReadSize)
		if whole {
			most = smallFile
		}
		o, err := v.fetchEnd(ctx, v.fileKey(p), most)
		if err != nil {
			return nil
		}
		d, _ := v.askObject(ctx, p, o)
		return d
	case asDir:
		if v.affirmDir(ctx, p) {
			return nil
		}
		if t, ok := v.trees.get(ctx, p, false); ok {
			if d := v.reaffirmDir(p, t.marker(), t.at); d != nil {
				return d
			}
		}
		if d, err := v.askOnlyDir(ctx, p, at); err == nil {
			return d
		}
	}
	return nil
}

// linesPage is a part of a directory's listing, in order of cookies.
type linesPage struct {
	lines []line
	at    time.Time // when it began
	next  string    // cookie behind which others may follow; "" is none
}

// linesAfter lists dir on behind a cookie: from memory where that is fresh.
func (v *Volume) linesAfter(ctx context.Context, dir, after string) (linesPage, error) {
	if lines, at, ok := v.dirs.whole(dir); ok {
		i, there := slices.BinarySearchFunc(lines, after, func(l line, cookie string) int { return strings.Compare(l.cookie(), cookie) })
		if there {
			i++
		}
		return linesPage{lines: lines[i:], at: at}, nil
	}
	page, prefix := linesPage{at: v.opt.Now()}, v.dirKey(dir)
	opt := objstore.ListOptions{Prefix: prefix, Delimiter: "/", Limit: listPage}
	if after != "" {
		opt.After = prefix + after
	}
	n, last := 0, ""
	for e, err := range v.opt.Store.List(ctx, opt) {
		if err != nil {
			return page, err
		}
		entry := v.entry(dir, prefix, e)
		n, last = n+1, entry.Cookie
		if entry.Name != "" {
			page.lines = append(page.lines, lineOf(entry, e))
		}
	}
	if n == listPage {
		page.next = last
	}
	page.lines = oneEach(page.lines, page.next)
	return page, nil
}

// oneEach marks the files beside which a directory of the same name stands, or,
// where the listing goes on behind next, may yet come.
func oneEach(lines []line, next string) []line {
	files := map[string]int{}
	for i := range lines {
		l := &lines[i]
		if l.kind == asFile {
			files[l.name] = i
			if next != "" && l.name+"/" > next {
				l.kind |= asDir
			}
		} else if j, ok := files[l.name]; ok {
			lines[j].kind, l.kind = asFile|asDir, asFile|asDir
		}
	}
	return lines
}
