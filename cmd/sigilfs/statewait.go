package main

import (
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountpoint"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sirupsen/logrus"
)

// stateWait decides, again and again, whether the state of a volume is worth
// waiting for, and says once what for.
type stateWait struct {
	log     logrus.FieldLogger
	dead    string // a mountpoint that nobody serves, though a mount lies on it; "" is none
	told    bool
	unnamed int // how often the lock did not tell its owner
}

// patience is how often a lock's record may be unreadable before it is called
// damaged: it is met half written, too.
const patience = 10

// worth: a process that no longer serves its mountpoint commits what is left,
// and ends; so does one that mounts nothing.
func (w *stateWait) worth(locked *state.LockedError) bool {
	if locked.Record != nil {
		if w.unnamed++; w.unnamed == patience {
			w.log.WithError(locked.Record).WithField("file", locked.Path).Warn("the lock of this volume's state does not tell which process holds it, and is waited for: see fuser on that file")
		}
		return true
	}
	o := locked.Owner
	if o.Mountpoint != "" && o.Mountpoint != w.dead {
		if at, mounted, err := mountpoint.Find(o.Mountpoint); err != nil || mounted && at.Ours() {
			return false
		}
	}
	if !w.told {
		w.told = true
		what := "the process of an earlier mount, which still commits what was written"
		if o.Mountpoint == "" {
			what = "another command that works on this volume, such as sigilfs recover"
		}
		w.log.WithField("pid", o.PID).Info("waiting for " + what)
	}
	return true
}
