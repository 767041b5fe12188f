package fs

import (
	"hash/maphash"
	"iter"

	"github.com/sigilfs/sigilfs/internal/volume"
)

type entries = iter.Seq2[volume.Entry, error]

// stride is how many entries apart cookies are kept.
const stride = 256

// listing reads a directory entry by entry and finds back to any place it has
// been at. A place is "behind these names", not a number of entries: what is in
// the directory all the time is given exactly once, though names before it come
// and go (rm -r). Of an entry it keeps 8 bytes, and every stride entries a
// cookie.
type listing struct {
	from func(after string) entries

	pull func() (volume.Entry, error, bool)
	halt func()

	seed  maphash.Seed
	names []uint64            // hashes of the names given, in order
	marks []mark              // in order
	last  string              // cookie of the entry given last
	skip  map[uint64]struct{} // hashes of names that lie before the place sought
	far   string              // no cookie of theirs is greater
}

// mark is a place that a listing can go on from: the first n names given are
// those up to the cookie.
type mark struct {
	n      int
	cookie string
}

// given is the number of entries given so far, of all that are before here.
func (l *listing) given() int { return len(l.names) }

// next gives the next entry; not ok at the end. After an error it goes on
// behind what it gave last.
func (l *listing) next() (e volume.Entry, ok bool, err error) {
	if l.pull == nil {
		l.begin()
	}
	for {
		e, err, ok = l.pull()
		if err != nil {
			l.stop()
			return e, false, err
		}
		if !ok {
			return e, false, nil
		}
		h := maphash.String(l.seed, e.Name)
		if _, before := l.skip[h]; before {
			continue
		}
		l.record(h, e.Cookie)
		return e, true, nil
	}
}

func (l *listing) begin() {
	if l.names == nil {
		l.seed = maphash.MakeSeed()
	}
	l.pull, l.halt = iter.Pull2(l.from(l.last))
}

func (l *listing) record(h uint64, cookie string) {
	l.names = append(l.names, h)
	l.last = cookie
	// What has come before a name that is passed over makes no mark: behind it
	// that name would be given again.
	if len(l.names)-l.mark().n >= stride && cookie > l.far {
		l.marks = append(l.marks, mark{len(l.names), cookie})
	}
}

// mark is the last one, or the beginning.
func (l *listing) mark() mark {
	if len(l.marks) == 0 {
		return mark{}
	}
	return l.marks[len(l.marks)-1]
}

// stop ends the sequence that is being read; next begins another.
func (l *listing) stop() {
	if l.halt != nil {
		l.halt()
	}
	l.pull, l.halt = nil, nil
}

// seek goes behind the first n entries given, or, where that many were not
// given yet, forward to there. 0 begins anew.
func (l *listing) seek(n uint64) error {
	if n == 0 || n < uint64(len(l.names)) {
		l.back(int(n))
		return nil
	}
	for uint64(len(l.names)) < n {
		if _, ok, err := l.next(); !ok || err != nil {
			return err
		}
	}
	return nil
}

// back lists again from the last mark before the place, and passes over the
// names between the two.
func (l *listing) back(n int) {
	l.stop()
	for l.mark().n > n {
		l.marks = l.marks[:len(l.marks)-1]
	}
	from := l.mark()
	l.far, l.last = max(l.far, l.last), from.cookie
	l.names, l.skip = l.names[:n], make(map[uint64]struct{}, n-from.n)
	for _, h := range l.names[from.n:] {
		l.skip[h] = struct{}{}
	}
	if len(l.skip) == 0 {
		l.far = ""
	}
}
