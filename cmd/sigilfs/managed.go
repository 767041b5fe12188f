package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/background"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/status"
	"github.com/sigilfs/sigilfs/systemd"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

const (
	// tellManagerEvery is how often the service manager is told how a mount is,
	// or more often where its watchdog wants that.
	tellManagerEvery = 5 * time.Second

	// extension is the time for which the manager is asked at each of these,
	// while the mount ends.
	extension = 30 * time.Second
)

// managed is how the service manager that started this process hears of the
// mount. The zero managed is a process without one.
type managed struct {
	to      *systemd.Manager
	log     logrus.FieldLogger
	telling *telling // nil before it is ready
}

// openManager finds the service manager, whose socket nothing that is started
// from here on may have. A process in the background has none: the one that was
// started has ended.
func (m *mounting) openManager(child *background.Process) {
	to, err := systemd.Inherit()
	if err != nil {
		m.log.WithError(err).Warn("the service manager is told nothing")
	}
	if child != nil {
		_ = to.Close()
		return
	}
	m.managed = managed{to: to, log: m.log}
	m.managed.heard(to.Status("looking at " + m.set.target.Spec))
}

// heard logs that the manager did not hear something: it acts on that, not we.
func (g *managed) heard(err error) {
	if err != nil {
		g.log.WithError(err).Warn("the service manager does not listen")
	}
}

// tellManager says that the mount is ready, and from now on how it is.
func (m *mounting) tellManager() {
	if m.managed.to == nil {
		return
	}
	dir := m.dir
	t := startTelling(m.managed.to, m.log, m.condition(), func() {
		// Any answer will do; that of statfs(2) takes no request.
		_ = unix.Statfs(dir, new(unix.Statfs_t))
	})
	m.managed.telling = t
	m.managed.heard(m.managed.to.Ready(t.line()))
}

// condition says in one line how the mount is, also when it has been closed.
func (m *mounting) condition() func() string {
	volume, ended, where := m.volume, m.ended, m.set.target.Spec+" on "+m.dir
	return func() string {
		text := "serving " + where
		select {
		case <-ended:
			text = "committing what is left of " + where
		default:
		}
		s := volume.Stats()
		if s.Dirty > 0 {
			text += fmt.Sprintf("; not in the bucket yet: files %d, %s", s.Dirty, status.Size(s.DirtySize))
		}
		if s.Failing > 0 {
			text += fmt.Sprintf("; cannot be committed: files %d, see sigilfs status", s.Failing)
		}
		return text
	}
}

func (g *managed) reloading() { g.heard(g.to.Reloading()) }

func (g *managed) reloaded() {
	if g.telling != nil {
		g.heard(g.to.Ready(g.telling.line()))
	}
}

// ending says that the end has begun, which will not last longer than limit.
func (g *managed) ending(limit time.Duration) {
	if g.telling == nil {
		return
	}
	g.heard(g.to.Stopping("ending: " + g.telling.line()))
	deadline := time.Now().Add(limit)
	g.telling.deadline.Store(&deadline)
}

// failed leaves the reason where the manager shows it.
func (g *managed) failed(err error) { g.heard(g.to.Status(err.Error())) }

// stop ends the telling. ended is closed when the mount answers no more.
func (g *managed) stop(ended <-chan struct{}) {
	if g.telling != nil {
		g.telling.end(ended)
	}
}

// telling tells the manager again and again how the mount is, and for the
// watchdog that it has answered since. One that does not answer is not alive,
// whatever its process does.
type telling struct {
	to   *systemd.Manager
	log  logrus.FieldLogger
	line func() string
	ask  func() // returns when the mount has answered

	deadline atomic.Pointer[time.Time] // of the end; nil before it has begun
	answered chan struct{}             // one of: it holds an answer, or ask is under way
	stop     chan struct{}
	done     chan struct{} // closed when run has returned
}

func startTelling(to *systemd.Manager, log logrus.FieldLogger, line func() string, ask func()) *telling {
	t := &telling{to: to, log: log, line: line, ask: ask, answered: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go t.run(tellingEvery(to.Watchdog()))
	return t
}

// tellingEvery lets an answer that just missed one time come in the next.
func tellingEvery(watchdog time.Duration) time.Duration {
	if watchdog == 0 {
		return tellManagerEvery
	}
	return min(tellManagerEvery, max(watchdog/4, time.Millisecond))
}

func (t *telling) run(every time.Duration) {
	defer close(t.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	go t.inquire()
	last := ""
	for {
		select {
		case <-t.stop:
			return
		case <-tick.C:
			last = t.tell(last)
		}
	}
}

// tell says what is new since last, and gives that. Who hangs at the end asks for
// no more time.
func (t *telling) tell(last string) string {
	deadline := t.deadline.Load()
	if deadline != nil && time.Now().After(*deadline) {
		return last
	}
	line := t.line()
	if line != last {
		t.heard(t.to.Status(line))
	}
	if deadline != nil {
		t.heard(t.to.Extend(extension))
	}
	if t.to.Watchdog() > 0 && (deadline != nil || t.answers()) {
		t.heard(t.to.Alive())
	}
	return line
}

func (t *telling) heard(err error) {
	if err != nil {
		t.log.WithError(err).Debug("the service manager does not listen")
	}
}

// answers tells whether the mount has answered since it was asked, and asks
// again. What does not answer may never: it is asked apart.
func (t *telling) answers() bool {
	select {
	case <-t.answered:
		go t.inquire()
		return true
	default:
		return false
	}
}

func (t *telling) inquire() {
	t.ask()
	t.answered <- struct{}{}
}

// end waits for the goroutines: for a question to a mount that is still in use
// (ended is open), which may never be answered, it does not.
func (t *telling) end(ended <-chan struct{}) {
	close(t.stop)
	<-t.done
	select {
	case <-ended:
		<-t.answered
	default:
	}
}
