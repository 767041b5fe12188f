package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/control"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountpoint"
	"github.com/sirupsen/logrus"
)

const (
	// busyGrace is how long SIGTERM waits for the mount to be left before it
	// detaches it: who is in it goes on, nobody else comes in.
	busyGrace = 3 * time.Second

	// closeGrace is what the last commits get when --stop-timeout is over.
	closeGrace = 10 * time.Second

	tellEvery = 200 * time.Millisecond
)

// errSecond: a second SIGTERM or SIGINT, which waits for nothing more.
var errSecond = errors.New("a second signal")

// serve returns when the mount has ended, from outside or by one of signals,
// and what was written is committed or said to be left.
func (m *mounting) serve(ctx context.Context, signals <-chan os.Signal) error {
	for {
		select {
		case <-m.ended:
			by := "from outside"
			if m.control != nil && m.control.Announced() {
				by = "by sigilfs umount"
			}
			m.log.Infof("%s was unmounted %s, committing what is left", m.dir, by)
			return m.end(ctx, signals, false)
		case <-ctx.Done():
			return m.end(context.WithoutCancel(ctx), signals, true)
		case sig := <-signals:
			if sig == syscall.SIGHUP { // the terminal went, or somebody expects a reload
				m.reload(ctx)
				continue
			}
			if m.handle(sig) {
				m.log.WithField("signal", sig.String()).Infof("ending the mount on %s; %v are left for open files and uploads", m.dir, m.set.stopTimeout)
				return m.end(ctx, signals, true)
			}
		}
	}
}

// handle answers a signal, but for SIGHUP while it serves; true is for those that
// end the mount.
func (m *mounting) handle(sig os.Signal) bool {
	switch sig {
	case syscall.SIGHUP:
		m.log.Info("SIGHUP: nothing is reloaded, since the mount is ending")
	case syscall.SIGUSR1:
		m.dump()
	case syscall.SIGUSR2:
		cycleLevel(m.log)
	default:
		return true
	}
	return false
}

func (m *mounting) dump() {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	fields := logrus.Fields{"goroutines": runtime.NumGoroutine(), "heap": mem.HeapAlloc, "system": mem.Sys}
	if m.spool != nil {
		fields["pending"], fields["spool-size"] = m.spool.Used(), m.spool.Limit()
	}
	if m.disk != nil {
		s := m.disk.Stats()
		fields["cached"], fields["cache-hits"], fields["cache-misses"], fields["cache-lost"] = s.Bytes, s.Hits, s.Misses, s.Lost
	}
	if m.kms != nil {
		fields["kms"] = m.kms.Stats().String()
	}
	m.log.WithFields(fields).Infof("serving %s on %s", m.set.target.Spec, m.dir)
}

// end takes the mount away, if it still is there, and lets go of everything in
// the order opposite to start. Files that are closed in time are committed.
func (m *mounting) end(ctx context.Context, signals <-chan os.Signal, unmount bool) error {
	m.managed.ending(m.set.stopTimeout + closeGrace + extension)
	ctx, cancel := context.WithCancelCause(ctx)
	stopped := make(chan struct{})
	spare := 0
	if !unmount {
		spare = 1 // the first signal after an unmount from outside asks for what is under way
	}
	watched := m.watch(signals, spare, cancel, stopped)
	stopping, cancelStopping := context.WithTimeout(ctx, m.set.stopTimeout)
	defer cancelStopping()
	if unmount {
		m.leave(stopping)
	}
	err := m.commit(ctx, stopping)
	close(stopped)
	<-watched
	cancel(nil)
	m.release()
	m.managed.stop(m.ended)
	if err = m.verdict(err); err != nil {
		m.managed.failed(err)
		if m.sink != nil { // else the log is on stderr, where it is said next
			m.log.WithError(err).Error("the mount has ended, and not well")
		}
		return err
	}
	m.log.Infof("unmounted %s from %s", m.set.target.Spec, m.dir)
	return nil
}

// watch waits for a second signal (spare ones more are let pass) and tells the
// control file what is pending, until stopped is closed; then it closes the
// channel that it gives.
func (m *mounting) watch(signals <-chan os.Signal, spare int, cancel context.CancelCauseFunc, stopped <-chan struct{}) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(tellEvery)
		defer tick.Stop()
		for {
			select {
			case <-stopped:
				return
			case sig := <-signals:
				if !m.handle(sig) {
					continue
				}
				if spare--; spare < 0 {
					m.log.Warn("a second signal: what is not committed now is left on disk, sealed")
					cancel(errSecond)
				}
			case <-tick.C:
				m.tell(func(r *control.Record) {
					r.Ending = true
					if m.spool != nil {
						r.Pending = m.spool.Used()
					}
				})
			}
		}
	}()
	return done
}

// tell changes the control file, where there is one.
func (m *mounting) tell(change func(*control.Record)) {
	if m.control == nil {
		return
	}
	if err := m.control.Update(change); err != nil {
		m.log.WithError(err).Debug("control file")
	}
}

// leave unmounts: plainly while there is hope that nobody is in it, then by
// detaching. It returns when the last handle was closed, or ctx ends.
func (m *mounting) leave(ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	var err error
	for begin := time.Now(); ; {
		err = mountpoint.Unmount(ctx, m.dir)
		if !errors.Is(err, mountpoint.ErrBusy) || time.Since(begin) >= busyGrace || ctx.Err() != nil {
			break
		}
		select {
		case <-m.ended:
			return
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	if err != nil && !errors.Is(err, mountpoint.ErrNotMounted) { // else what is there by now is another's
		m.detach(ctx)
	}
	select {
	case <-m.ended:
	case <-ctx.Done():
	}
}

func (m *mounting) detach(ctx context.Context) {
	if at, mounted, err := mountpoint.Find(m.dir); err != nil || !mounted || !at.Ours() {
		return
	}
	m.log.Warnf("%s is still in use: it is taken out of sight, and its open files are waited for", m.dir)
	if err := mountpoint.Detach(context.WithoutCancel(ctx), m.dir); err != nil {
		m.log.WithError(err).Error("the mount could not be taken away")
	}
}

// commit closes the volume: within stopping, and a little more for what was
// closed last. What is left then stays in the spool. Rechecks go on until then,
// and no longer: they tell the volume what was revoked.
func (m *mounting) commit(ctx, stopping context.Context) error {
	deadline, _ := stopping.Deadline()
	closing, cancel := context.WithDeadline(ctx, deadline.Add(closeGrace))
	defer cancel()
	err := m.volume.Close(closing)
	if m.recheck != nil {
		m.recheck() // which may tell the volume of a key
	}
	m.recheck, m.volume = nil, nil
	return err
}

// verdict says how the mount ended, when all is closed: a spool directory that
// is still there holds what was not committed. Programs that only read, or
// stood in a directory, lose nothing.
func (m *mounting) verdict(err error) error {
	select {
	case <-m.ended:
	default:
		m.log.Warn("programs still had files open in the mount; they will see errors")
	}
	kept := ""
	if m.spool != nil {
		if _, statErr := os.Lstat(m.spoolDir); statErr == nil {
			kept = "what was not committed is kept, sealed, in " + m.spoolDir + "; the next mount commits what was closed, sigilfs recover shows the rest"
		}
	}
	switch {
	case err == nil && kept == "":
		m.tell(func(r *control.Record) { r.Done = true })
		return nil
	case err == nil:
		err = errors.New(kept)
	case kept != "":
		err = fmt.Errorf("%w; %s", err, kept)
	}
	m.tell(func(r *control.Record) { r.Failed = err.Error() })
	return mountError("%s: %w", m.set.target.Spec, err)
}

// abandon lets go of what a start that failed had opened.
func (m *mounting) abandon(ctx context.Context) {
	if m.volume != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
		defer cancel()
		if err := m.volume.Close(ctx); err != nil {
			m.log.WithError(err).Warn("closing what was begun")
		}
		m.volume = nil
	}
	m.release()
}

// release closes all below the volume. What fails loses nothing any more.
func (m *mounting) release() {
	errs := []error{m.seen.stop()}
	if m.endLife != nil {
		m.endLife()
	}
	if m.cache != nil {
		errs = append(errs, m.cache.Close())
	}
	m.closeCache()
	if m.memory != nil {
		errs = append(errs, m.memory.Save())
	}
	if m.seals != nil {
		errs = append(errs, m.seals.Close())
	}
	if m.spool != nil {
		errs = append(errs, m.spool.Close())
		_ = os.Remove(m.spoolDir) // goes if it is empty
	}
	errs = append(errs, m.closeLeftovers())
	if m.store != nil {
		errs = append(errs, m.store.Close())
	}
	if m.kms != nil {
		m.log.WithField("requests", m.kms.Stats().String()).Info("what this mount asked of KMS")
		errs = append(errs, m.kms.Close())
	}
	errs = append(errs, m.claim.Release())
	if m.control != nil {
		errs = append(errs, m.control.Remove())
	}
	if m.work != nil {
		errs = append(errs, m.work.Release())
	}
	if m.state != nil {
		errs = append(errs, m.state.Close())
	}
	if err := errors.Join(errs...); err != nil {
		m.log.WithError(err).Warn("at the end of the mount")
	}
}
