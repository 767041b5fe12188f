package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/socket"
	"github.com/sigilfs/sigilfs/internal/keyring/kms"
	"github.com/sigilfs/sigilfs/internal/metrics"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// observing is how a mount is seen from outside: by sigilfs status at the
// socket beside its control file, and by Prometheus where --metrics says. Both
// are asked, nothing is sent anywhere.
type observing struct {
	errors  lastErrors
	metrics *metrics.Metrics // nil: nobody asked for them
	server  *http.Server     // nil: none
	served  sync.WaitGroup
	stops   []func() error
}

// openMetrics begins to count, where --metrics asks for it.
func (m *mounting) openMetrics(context.Context) error {
	if m.set.metrics != "" {
		v, commit := built()
		m.seen.metrics = metrics.New(metrics.Build{Version: v, Commit: commit, Go: runtime.Version()})
	}
	return nil
}

// listenMetrics begins to listen at --metrics. It comes before the bucket is
// tried, so that an address that cannot be had refuses the mount; and after the
// state is ours, since a process that still commits what was unmounted has the
// address until then.
func (m *mounting) listenMetrics(ctx context.Context) error {
	if m.seen.metrics == nil {
		return nil
	}
	at, err := socket.Parse(m.set.metrics)
	if err != nil { // which check has looked at
		return m.set.wrong("metrics", "%w", err)
	}
	l, err := at.Listen(ctx)
	if err != nil {
		return systemError("--metrics: %w", err)
	}
	m.seen.serve(l, m.log)
	m.log.WithField("address", l.Addr().String()).Info("metrics are given to Prometheus")
	return nil
}

// mostScrapers bounds the connections at --metrics.
const mostScrapers = 32

// serve answers at l until stop.
func (o *observing) serve(l net.Listener, log logrus.FieldLogger) {
	l = socket.Bounded(l, mostScrapers)
	o.server = &http.Server{
		Handler: o.metrics.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	o.served.Go(func() {
		if err := o.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.WithError(err).Warn("metrics are not given any more")
		}
	})
	o.stops = append(o.stops, func() error {
		err := o.server.Close()
		o.served.Wait()
		return err
	})
}

// observer is told of requests; a nil interface without --metrics.
func (o *observing) observer() s3.Observer {
	if o.metrics == nil {
		return nil
	}
	return o.metrics
}

// failed is told of operations that failed; nil without --metrics.
func (o *observing) failed() func(syscall.Errno) {
	if o.metrics == nil {
		return nil
	}
	return func(errno syscall.Errno) { o.metrics.Failed(unix.ErrnoName(errno)) }
}

// calledKMS is told of a call of KMS that ended, and counted where anybody asked
// for that. One that was given up by whoever made it did not fail.
func (o *observing) calledKMS(c kms.Call) {
	if o.metrics != nil {
		o.metrics.CalledKMS(c.Action, c.Err != nil && !errors.Is(c.Err, context.Canceled))
	}
}

// stop ends all of it.
func (o *observing) stop() error {
	var errs []error
	for _, stop := range o.stops {
		errs = append(errs, stop())
	}
	o.stops = nil
	return errors.Join(errs...)
}

// tellOthers begins to tell what the mount knows of itself, when all of it is there.
// Who cannot be told is a warning: the mount works without.
func (m *mounting) tellOthers(ctx context.Context) {
	a := m.account()
	if m.seen.metrics != nil {
		m.seen.metrics.Watch(a.facts)
	}
	if m.control == nil {
		return
	}
	l, err := socket.Private(ctx, m.control.Socket())
	if err != nil {
		m.log.WithError(err).Warn("sigilfs status will not be able to ask this mount")
		return
	}
	m.seen.stops = append(m.seen.stops, socket.Answer(l, func() []byte {
		doc := a.document(time.Now(), m.seen.errors.all())
		text, err := doc.Encode()
		if err != nil {
			return nil
		}
		return append(text, '\n')
	}))
}
