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
	marks []string            // marks[i] is the cookie of entry (i+1)*stride-1
	last  string              // cookie of the entry given last
	skip  map[uint64]struct{} // hashes of names that lie before the place sought
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
	if len(l.names)%stride == 0 {
		l.marks = append(l.marks, cookie)
	}
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

// back lists again from the last cookie before the place, and passes over the
// names between the two.
func (l *listing) back(n int) {
	l.stop()
	mark := n / stride
	l.last, l.skip = "", make(map[uint64]struct{})
	if mark > 0 {
		l.last = l.marks[mark-1]
	}
	for _, h := range l.names[mark*stride : n] {
		l.skip[h] = struct{}{}
	}
	l.names, l.marks = l.names[:n], l.marks[:mark]
}
