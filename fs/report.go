package fs

import (
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

// A flood of failures (a bucket out of reach, and a find(1) over it) writes at
// most burst lines each interval.
const (
	burst    = 20
	interval = 10 * time.Second
)

// reporter turns errors into errnos and logs the unexpected ones, once each,
// here at the edge.
type reporter struct {
	log    logrus.FieldLogger
	failed func(syscall.Errno) // nil: nobody counts
	now    func() time.Time
	remedy func(path string, err error) string // what there is to do; nil, or "": nothing is said

	mu      sync.Mutex // guards what follows
	since   time.Time  // begin of the interval
	lines   int        // written in it
	dropped int        // not written in it
}

// errno gives the answer to an operation on path that ended with err.
func (r *reporter) errno(op, path string, err error) syscall.Errno {
	errno := toErrno(err)
	if !unexpected(err, errno) {
		return errno
	}
	if r.failed != nil {
		r.failed(errno)
	}
	write, dropped := r.admit()
	if dropped > 0 {
		r.log.WithField("dropped", dropped).Warn("more operations failed than were logged")
	}
	if write {
		log := r.log.WithError(err).WithFields(logrus.Fields{"op": op, "path": path, "errno": errno.Error()})
		if r.remedy != nil {
			if remedy := r.remedy(path, err); remedy != "" {
				log = log.WithField("remedy", remedy)
			}
		}
		log.Error("operation failed")
	}
	return errno
}

// admit tells whether another line may be written, and how many were not since
// the last interval.
func (r *reporter) admit() (write bool, dropped int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); now.Sub(r.since) >= interval {
		dropped = r.dropped
		r.since, r.lines, r.dropped = now, 0, 0
	}
	if r.lines == burst {
		r.dropped++
		return false, dropped
	}
	r.lines++
	return true, dropped
}
