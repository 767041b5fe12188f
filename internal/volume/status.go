package volume

import (
	"cmp"
	"slices"
	"time"
)

// Stats are counts since New, and what is unfinished now.
type Stats struct {
	Dirty     int   // files with content that is not committed
	DirtySize int64 // of them together, in bytes
	Uploading int   // of them, those of which a commit or an upload is under way
	Failing   int   // files and directories whose last commit failed, of content or of attributes alone

	// FailingSince is when the first of these began to fail; zero if none does.
	FailingSince time.Time

	Uploads   int // multipart uploads that are under way
	Chores    int // bodies to remove, renames to complete and uploads to abort
	Conflicts uint64

	Older int // objects in an older state than was known

	Foreign   uint64 // entries of listings that were hidden, as their names are not this volume's
	Suspended error  // why nothing is written now; nil: it is
}

// Unfinished is a file of which the bucket does not have all, or a directory whose
// attributes it refuses.
type Unfinished struct {
	Path      string // "" of one that is unlinked; "." is the root
	Size      int64  // in bytes
	AttrsOnly bool   // only attributes are missing
	Open      bool   // somebody has it open
	Uploading bool
	Uploaded  int64 // bytes that a multipart upload under way has sent or copied, at most Size

	Err   error     // of the last commit; nil where none failed since one succeeded
	Since time.Time // when it began to fail
	Next  time.Time // of the next try by the volume itself; zero: at the next close or fsync, or at once
}

// Stats tells how the volume does.
func (v *Volume) Stats() Stats {
	v.mu.Lock()
	s := Stats{
		Uploads: len(v.uploads), Chores: len(v.doomed) + len(v.unfinished) + len(v.strays),
		Conflicts: v.conflicts.Load(), Suspended: v.gate.err(),
	}
	v.mu.Unlock()
	if v.hide != nil {
		s.Foreign = v.hide.hidden.Load()
	}
	older, more := v.Rollbacks()
	s.Older = len(older) + int(more) //nolint:gosec // a count
	for _, f := range v.allFiles() {
		if u, unfinished := f.unfinished(); unfinished {
			s.add(u)
		}
	}
	for _, u := range v.unfinishedDirs() {
		s.add(u)
	}
	return s
}

func (s *Stats) add(u Unfinished) {
	if u.Err != nil {
		s.Failing++
		if s.FailingSince.IsZero() || u.Since.Before(s.FailingSince) {
			s.FailingSince = u.Since
		}
	}
	if u.AttrsOnly {
		return
	}
	s.Dirty++
	s.DirtySize += u.Size
	if u.Uploading {
		s.Uploading++
	}
}

// Unfinished lists the files that are dirty, and directories that fail: those that
// fail first and then by path.
func (v *Volume) Unfinished() []Unfinished {
	sent, all := v.sentOf(), v.unfinishedDirs()
	for _, f := range v.allFiles() {
		u, unfinished := f.unfinished()
		if !unfinished {
			continue
		}
		u.Open = v.inUse(f)
		if n, ok := sent[v.fileKey(f.Path())]; ok {
			u.Uploading, u.Uploaded = true, min(n, u.Size)
		}
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b Unfinished) int {
		if (a.Err != nil) != (b.Err != nil) {
			if a.Err != nil {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Path, b.Path)
	})
	return all
}

// unfinishedDirs are those whose attributes could not be written; others wait for
// a moment alone.
func (v *Volume) unfinishedDirs() []Unfinished {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []Unfinished
	for p, due := range v.dirDue {
		if due.fail != nil {
			all = append(all, Unfinished{Path: cmp.Or(p, "."), AttrsOnly: true, Err: due.fail, Since: due.failing, Next: due.wait.at})
		}
	}
	return all
}

// sentOf gives how much of each upload under way is in the store, by its key.
func (v *Volume) sentOf() map[string]int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	sent := map[string]int64{}
	for u := range v.uploads {
		sent[u.key] = max(sent[u.key], u.sent.Load())
	}
	return sent
}

// unfinished is false for a file that is in the bucket, or will not be.
func (f *File) unfinished() (Unfinished, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seq == f.done || f.gone {
		return Unfinished{}, false
	}
	u := Unfinished{
		Path: f.shown(), Size: f.attr.Size, AttrsOnly: f.onlyAttrs(),
		Uploading: f.growth.frozen > 0 || f.growth.stream != nil,
	}
	if f.data != nil {
		u.Size = f.data.Size()
	}
	if f.fail != nil {
		u.Err, u.Since, u.Next = f.fail, f.failing, f.wait.at
	}
	return u, true
}

// fails needs f.mu: err is why f is dirty still.
func (f *File) fails(err error) {
	now := f.v.opt.Now()
	if f.fail == nil {
		f.failing = now
	}
	if f.v.opt.OnConflict == ConflictFail && conflict(err) && !conflict(f.fail) {
		f.v.conflicts.Add(1)
	}
	f.fail = err
	f.wait.later(now)
}
