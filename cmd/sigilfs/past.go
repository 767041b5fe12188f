package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/past"
	"github.com/sirupsen/logrus"
)

// moment is the value of --at: a time, as it was given.
type moment struct {
	text  string
	at    time.Time
	fixed bool // not so long ago, but a time
}

func (m *moment) Set(s string) error {
	at, err := option.Moment(s, time.Now())
	if err == nil {
		again, _ := option.Moment(s, time.Now().Add(time.Minute))
		*m = moment{s, at, again.Equal(at)}
	}
	return err
}

func (m *moment) String() string {
	if m == nil { // pflag asks a zero value, to tell defaults
		return ""
	}
	return m.text
}

func (*moment) Type() string { return "value" }

func (m *moment) given() bool { return m.text != "" }

// checkAt: the past is only read.
func (s *settings) checkAt() error {
	s.readOnly = s.readOnly || s.at.given()
	return nil
}

// lookBack has files made of what the bucket was at --at. One that keeps no
// versions shows what it is, whatever it was, so that it is refused.
func (m *mounting) lookBack(ctx context.Context) error {
	if !m.set.at.given() {
		return nil
	}
	at := m.set.at.at
	m.objects = past.New(m.store, at)
	log := m.log.WithField("at", at.UTC().Format(time.RFC3339))
	switch state, err := m.store.Versioning(ctx); {
	case errors.Is(err, objstore.ErrAccess), errors.Is(err, objstore.ErrUnsupported):
		log.Warn("whether the bucket keeps versions cannot be asked for (s3:GetBucketVersioning): if it does not, or did not at that time, what is shown is not what was there")
	case err != nil:
		return explainStore(m.set.target.Spec, err)
	case state == objstore.VersionsNone:
		return mountError("%s: the bucket keeps no versions: what it was at %s is gone (turn versioning on, so that next time it is not)", m.set.target.Spec, at.Format(time.RFC3339))
	case state == objstore.VersionsStopped:
		log.Warn("versioning of the bucket is suspended: what was replaced since then is gone, and does not show")
	}
	m.warnExpired(ctx, at)
	return nil
}

// warnExpired tells of lifecycle rules by which versions of then may be gone.
func (m *mounting) warnExpired(ctx context.Context, at time.Time) {
	rules, err := m.store.Lifecycle(ctx)
	if err != nil {
		m.log.WithError(err).Debug("lifecycle rules cannot be asked for")
		return
	}
	for _, r := range rules {
		days := time.Duration(r.NoncurrentDays) * 24 * time.Hour
		if r.Enabled && days > 0 && time.Since(at) > days && r.Filter.Touches(m.set.target.Prefix) {
			m.log.Warnf("a lifecycle rule of the bucket removes versions %d days after they were replaced: of what was there at %s some may be gone, and does not show", r.NoncurrentDays, at.Format(time.RFC3339))
			return
		}
	}
}

// mostOlder bounds the versions of an epoch that are looked at: each is a request,
// and a call of KMS where it has the form of one. An epoch has a handful.
const mostOlder = 1000

// olderEpochs looks for epochs among older versions, for who reads what was:
// epochs are those of now, since keys are rotated, and the newest version that fits
// of one that was removed since, or has something else in its place.
func olderEpochs(versions past.Bucket, log logrus.FieldLogger) keyring.Older {
	return func(ctx context.Context, key string) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			seen := 0
			for v, err := range versions.Versions(ctx, objstore.ListOptions{Prefix: key}) {
				if seen++; seen > mostOlder {
					log.Warnf("%s has more than %d versions, of which older ones were not looked at: if the epoch is among them, put it back by hand", key, mostOlder)
					return
				}
				switch {
				case notTold(err):
					return // what is there now says what is the matter
				case err != nil:
					yield(nil, err)
					return
				case v.Key != key:
					return
				case v.Latest || v.Deleted || v.Size > keyring.MaxEpochSize:
					continue
				}
				data, err := olderEpoch(ctx, versions, v.ID)
				if errors.Is(err, objstore.ErrNotExist) || errors.Is(err, objstore.ErrChanged) || notTold(err) {
					continue // it was removed meanwhile, or is not for us
				}
				if !yield(data, err) || err != nil {
					return
				}
			}
		}
	}
}

// notTold: versions are not kept, or not for us to see.
func notTold(err error) bool {
	return errors.Is(err, objstore.ErrAccess) || errors.Is(err, objstore.ErrUnsupported) || errors.Is(err, objstore.ErrTooLong)
}

func olderEpoch(ctx context.Context, versions past.Bucket, id objstore.ID) ([]byte, error) {
	_, _, body, err := versions.Get(ctx, objstore.ID{Key: id.Key, VersionID: id.VersionID}, objstore.Range{})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, keyring.MaxEpochSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", id.Key, err)
	}
	return data, nil
}
