package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/control"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sirupsen/logrus"
)

// checks is a ring whose rechecks fail as told.
type checks struct {
	n    int
	fail func(n int) error
}

func (c *checks) Recheck(context.Context) error {
	c.n++
	return c.fail(c.n)
}

func testLog() (*logrus.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	return newLog(&out, "json", false), &out
}

func TestRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := testLog()
		var count rechecks
		begin := time.Now()
		ring := &checks{fail: func(n int) error {
			if got := count.tally(); n == 4 && (got.failed != 2 || got.since.Sub(begin) != 2*time.Minute) {
				t.Errorf("after three: %+v", got)
			}
			if n == 2 || n == 3 {
				return errors.New("bucket is away")
			}
			return nil
		}}
		stop := startRecheck(t.Context(), ring, time.Minute, &count, log)
		<-time.After(4*time.Minute + time.Second)
		stop()
		if ring.n != 4 {
			t.Errorf("%d rechecks in four minutes", ring.n)
		}
		if got := count.tally(); got.all != 4 || got.failed != 2 || !got.since.IsZero() || got.err != nil {
			t.Errorf("counted %+v", got)
		}
		if text := out.String(); strings.Count(text, "bucket is away") != 1 || strings.Count(text, "could be asked for again") != 1 {
			t.Errorf("logged %s", text)
		}
	})
}

// --key-recheck 0: the keys are asked for at the mount, and never again.
func TestRecheckNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := parseFlags("--key-recheck", "0")
		if err != nil {
			t.Fatal(err)
		}
		log, out := testLog()
		ring := &checks{fail: func(int) error { return errors.New("asked") }}
		stop := startRecheck(t.Context(), ring, s.keyRecheck, &rechecks{}, log)
		<-time.After(1000 * time.Hour)
		stop()
		if ring.n != 0 || out.Len() != 0 {
			t.Errorf("%d rechecks, logged %s", ring.n, out)
		}
	})
}

// stuck waits for the end of its context.
type stuck struct{ began chan struct{} }

func (s stuck) Recheck(ctx context.Context) error {
	close(s.began)
	<-ctx.Done()
	return ctx.Err()
}

func TestRecheckStops(t *testing.T) {
	log, out := testLog()
	ring := stuck{make(chan struct{})}
	stop := startRecheck(t.Context(), ring, time.Millisecond, &rechecks{}, log)
	<-ring.began
	stop()
	if out.Len() != 0 {
		t.Errorf("logged %s", out)
	}
}

// revoking finds out at its very end that an epoch was revoked.
type revoking struct {
	m     *mounting
	began chan struct{}
	ended atomic.Bool
}

func (r *revoking) Recheck(ctx context.Context) error {
	close(r.began)
	<-ctx.Done()
	r.m.revoke(keyring.EpochID{1}, nil)
	r.ended.Store(true)
	return ctx.Err()
}

// A recheck tells the volume what was revoked, and none goes on behind it.
func TestRecheckEndsWithTheVolume(t *testing.T) {
	log, _ := testLog()
	m := &mounting{set: defaultSettings(), log: log}
	blocks := cache.New(cache.Options{})
	defer blocks.Close() //nolint:errcheck // nothing is in it
	m.volume = volume.New(volume.Options{
		Store: mem.New(mem.Options{}), Rules: []volume.Rule{{Mode: "none"}}, Cache: blocks, Log: log, ReadOnly: true,
	})
	ring := &revoking{m: m, began: make(chan struct{})}
	m.recheck = startRecheck(t.Context(), ring, time.Millisecond, &rechecks{}, log)
	<-ring.began
	stopping, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := m.commit(t.Context(), stopping); err != nil {
		t.Error(err)
	}
	if !ring.ended.Load() {
		t.Error("a recheck goes on, and there is no volume to tell")
	}
}

func TestReporterSaysOnce(t *testing.T) {
	log, out := testLog()
	r := newReporter(log)
	for range 3 {
		r.report(keyring.EpochID{1}, "it is gone")
		r.report(keyring.EpochID{2}, "it is gone")
	}
	if n := strings.Count(out.String(), "it is gone"); n != 2 {
		t.Errorf("said %d times: %s", n, out)
	}
}

func TestLastWord(t *testing.T) {
	for _, tc := range []struct {
		name string
		rec  control.Record
		want string
	}{
		{"all committed", control.Record{PID: 7, Ending: true, Done: true}, ""},
		{"some left", control.Record{PID: 7, Ending: true, Failed: "bucket is away"}, "bucket is away"},
		{"killed", control.Record{PID: 7, Ending: true, Pending: 1}, "process 7 ended without a word"},
	} {
		err := lastWord("/mnt", tc.rec)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if err != nil && exitCode(err) != exitMount {
			t.Errorf("%s: exit code %d", tc.name, exitCode(err))
		}
	}
}
