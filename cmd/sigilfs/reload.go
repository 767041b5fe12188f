package main

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
)

// reloadTimeout bounds what a SIGHUP asks of sources of credentials: nothing
// else is handled meanwhile.
const reloadTimeout = 30 * time.Second

// reload is SIGHUP. The log file is opened anew, so that logrotate can do its
// work; credentials are read and asked for anew; the configuration file is read
// again, and of it what a mount can change is changed: debug, key-recheck and
// stop-timeout. Of everything else that differs one line says that it waits for
// the next mount. What cannot be read changes nothing.
func (m *mounting) reload(serving context.Context) {
	m.managed.reloading()
	defer m.managed.reloaded()
	ctx, cancel := context.WithTimeout(serving, reloadTimeout)
	defer cancel()
	if m.sink != nil {
		if err := m.sink.Reopen(); err != nil {
			m.log.WithError(err).Error("the log goes on in the old file")
		}
	}
	m.reloadCredentials(ctx)
	m.reloadFile(serving)
}

func (m *mounting) reloadCredentials(ctx context.Context) {
	err := m.store.ReloadCredentials(ctx)
	if err == nil && m.kms != nil {
		err = m.kms.ReloadCredentials(ctx)
	}
	if err != nil {
		m.log.WithError(err).Error("SIGHUP: credentials stay as they were")
		return
	}
	m.log.Info("SIGHUP: credentials were read again (those of the environment stay)")
}

func (m *mounting) reloadFile(ctx context.Context) {
	if !m.set.ofFile {
		m.log.Info("SIGHUP: this mount has no configuration file, flags stay as they were")
		return
	}
	fresh, err := m.set.again()
	if err != nil {
		m.log.WithError(err).Error("SIGHUP: the configuration stays as it was")
		return
	}
	if n := m.adopt(ctx, fresh); n == 0 {
		m.log.Infof("SIGHUP: %s says what it said", m.set.path)
	}
}

// adopt takes over what can be, and counts what differs.
func (m *mounting) adopt(ctx context.Context, fresh *settings) (differs int) {
	fresh.bound.VisitAll(func(f *pflag.Flag) {
		running := m.set.bound.Lookup(f.Name)
		if running == nil || running.Value.String() == f.Value.String() {
			return
		}
		differs++
		log := m.log.WithFields(differing(f.Name, running.Value, f.Value))
		if !m.change(ctx, f.Name, fresh) {
			log.Warnf("SIGHUP: %s is changed in %s; it holds from the next mount on", f.Name, m.set.path)
			return
		}
		_ = running.Value.Set(f.Value.String())
		log.Infof("SIGHUP: %s is changed", f.Name)
	})
	for _, part := range []struct {
		name     string
		was, now any
	}{
		{"bucket", m.set.target.Spec, fresh.target.Spec},
		{"encryption", placeless(m.set.policy.Rules), placeless(fresh.policy.Rules)},
		{"keys", keysPlaceless(m.set.policy.Keys), keysPlaceless(fresh.policy.Keys)},
	} {
		if !same(part.was, part.now) {
			differs++
			m.log.Warnf("SIGHUP: %s is changed in %s; it holds from the next mount on", part.name, m.set.path)
		}
	}
	return differs
}

// differing are the values of a flag, for the log; never of one about keys.
func differing(name string, was, is pflag.Value) logrus.Fields {
	if aboutKeys(name) {
		return nil
	}
	return logrus.Fields{"was": was.String(), "is": is.String()}
}

// change takes over the flag of that name; false if that takes a new mount.
func (m *mounting) change(ctx context.Context, name string, fresh *settings) bool {
	switch name {
	case "debug":
		m.log.SetLevel(logrus.InfoLevel)
		if fresh.debug {
			m.log.SetLevel(logrus.DebugLevel)
		}
	case "stop-timeout":
		m.set.stopTimeout = fresh.stopTimeout
	case "key-recheck":
		m.recheck()
		m.recheck = startRecheck(context.WithoutCancel(ctx), m.inUse(), fresh.keyRecheck, &m.rechecks, m.log)
	default:
		return false
	}
	return true
}

// placeless are rules without their lines, which move with a comment.
func placeless(rules []config.Rule) []config.Rule {
	var out []config.Rule
	for _, r := range rules {
		r.At = config.Place{}
		if r.SSE != nil {
			beneath := *r.SSE
			beneath.At, r.SSE = config.Place{}, &beneath
		}
		out = append(out, r)
	}
	return out
}

func keysPlaceless(keys []config.Key) []config.Key {
	var out []config.Key
	for _, k := range keys {
		k.At = config.Place{}
		out = append(out, k)
	}
	return out
}

// same compares what is exported.
func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// again reads the configuration file anew, under the flags of the command line.
func (s *settings) again() (*settings, error) {
	fresh := defaultSettings()
	flags := pflag.NewFlagSet("mount", pflag.ContinueOnError)
	flags.SetNormalizeFunc(normalize)
	fresh.addFlags(flags)
	*fresh = *s.line
	fresh.bound, fresh.base = flags, s.base
	for _, name := range s.given {
		if f := flags.Lookup(name); f != nil { // else it sets nothing
			f.Changed = true
		}
	}
	if err := fresh.open(s.path, flags); err != nil {
		return nil, err
	}
	if err := fresh.check(); err != nil {
		return nil, err
	}
	fresh.settlePaths()
	return fresh, nil
}
