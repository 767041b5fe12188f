package integration

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/server"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/objtest"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// TestObjectStore runs the conformance suite against the real servers. What
// each of them lacks was found by running it, and is written down here.
func TestObjectStore(t *testing.T) {
	t.Run("MinIO", func(t *testing.T) {
		srv := server.T(t, server.MinIO)
		opt := objtest.Options{
			IgnoresCopyConditions: true, IgnoresDeleteConditions: true, RefusesKey: noPath,
			KMSKey: "sigilfs-test", NoDSSE: true, NoBucketKeys: true, SilentCopies: true, TakesAnySource: true, PendingByKey: true,
			LosesSystem: func(name string) bool { return name == "x-amz-website-redirect-location" },
		}
		opt.Locks = func(t *testing.T) objstore.Store { return lockingBucket(t, srv) }
		t.Run("Plain", func(t *testing.T) { conforms(t, srv, opt, nil) })
		opt.Versioned = true
		opt.Suspend = func(t *testing.T, s objstore.Store) { must(t, srv.StopVersions(t.Context(), bucketOf(s))) }
		t.Run("Versioned", func(t *testing.T) { conforms(t, srv, opt, srv.Version) })
	})
	// Its versioned buckets are left out: If-Match and If-None-Match see what
	// lies under a delete marker there.
	t.Run("Versity", func(t *testing.T) {
		t.Chdir(".") // the server changes the directory of the process
		conforms(t, server.T(t, server.Versity), objtest.Options{
			IgnoresCopyConditions: true, CompletesTwice: true, IgnoresEncryption: true, NoDefault: true, NoLifecycle: true, KeepsTags: true, KeepsSystem: true,
			RefusesKey: func(key string) bool {
				// A directory holds no data, and not every control character comes back from a listing.
				return noPath(key) || strings.HasSuffix(key, "/") || strings.Contains(key, "\x01")
			},
		}, nil)
	})
}

// Servers that make a file of each object take no name beyond 255 bytes. MinIO says
// so to who asks for one, versitygw to who writes one.
func TestProbeComponent(t *testing.T) {
	for name, start := range map[string]func(context.Context, string) (*server.Server, error){"MinIO": nil, "Versity": server.Versity} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(".") // versitygw changes the directory of the process
			srv := shared(t)
			if start != nil {
				srv = server.T(t, start)
			}
			s := openBucket(t, srv, server.Bucket(t, srv))
			if n, err := objstore.ProbeComponent(t.Context(), s, "a/.sigil/doctor/", 362, nil, start == nil); err != nil || n != objstore.FileComponent {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
}

// noPath are keys that servers over a filesystem refuse, or keep under another
// name: those that are no clean path.
func noPath(key string) bool {
	return strings.HasPrefix(key, "/") || path.Clean("/"+key) != "/"+strings.TrimSuffix(key, "/")
}

// lockingBucket opens a new bucket that keeps locks.
func lockingBucket(t *testing.T, srv *server.Server) objstore.Store {
	t.Helper()
	bucket := strings.ToLower(strings.ReplaceAll("locks-"+rand.Text(), "_", ""))
	must(t, srv.MakeLockingBucket(t.Context(), bucket))
	return openBucket(t, srv, bucket)
}

// bucketOf is the name of a store's bucket.
func bucketOf(s objstore.Store) string { return strings.TrimPrefix(fmt.Sprint(s), "s3://") }

const noBucket = "there-is-none"

// conforms runs the suite, on a new bucket for every test of it.
func conforms(t *testing.T, srv *server.Server, opt objtest.Options, prepare func(context.Context, string) error) {
	t.Helper()
	settle(t)
	opt.NoBucket = func(t *testing.T) objstore.Store { return openBucket(t, srv, noBucket) }
	objtest.Run(t, func(t *testing.T) objstore.Store {
		bucket := server.Bucket(t, srv)
		if prepare != nil {
			if err := prepare(t.Context(), bucket); err != nil {
				t.Fatal(err)
			}
		}
		return openBucket(t, srv, bucket)
	}, opt)
}

// openBucket connects to a bucket with nothing of this process's own settings.
func openBucket(t *testing.T, srv *server.Server, bucket string) objstore.Store {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", srv.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", srv.SecretKey)
	s, err := s3.New(t.Context(), s3.Config{Bucket: bucket, Region: srv.Region, Endpoint: srv.URL, CABundle: srv.CAFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if bucket == noBucket {
		return s
	}
	// A mount probes first too: the client learns what the server cannot take.
	got, err := objstore.Probe(t.Context(), s, objstore.ProbeOptions{})
	if err != nil || !got.PutConditions || !got.CopyParts {
		t.Fatalf("probe: %+v, %v", got, err)
	}
	return s
}

// settle puts every setting of AWS out of the way.
func settle(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REQUEST_CHECKSUM_CALCULATION",
		"AWS_RESPONSE_CHECKSUM_VALIDATION", "AWS_MAX_ATTEMPTS",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
}

// TestEncryptionIsConfirmed asks real servers for every mode and believes only
// what their answers confirm. What each lacks is an error of the first write.
func TestEncryptionIsConfirmed(t *testing.T) {
	modes := encryptionModes(t)
	byHead := objstore.EncryptionSupport{Put: objstore.ByAnswer, Copy: objstore.ByHead, Upload: objstore.ByHead}
	t.Run("MinIO", func(t *testing.T) {
		settle(t)
		srv := server.T(t, server.MinIO)
		s := openBucket(t, srv, server.Bucket(t, srv))
		for name, m := range modes {
			got, err := probeMode(t, s, m)
			switch name {
			case "dsse-kms", "bucket key": // taken for none, and ignored
				if got.Put != objstore.Unconfirmed || err == nil {
					t.Errorf("%s: %+v, %v", name, got, err)
				}
			case "missing key":
				if !errors.Is(err, objstore.ErrKeyMissing) {
					t.Errorf("%s: %v", name, err)
				}
			default:
				if got != byHead || err != nil {
					t.Errorf("%s: %+v, %v", name, got, err)
				}
			}
		}
	})
	t.Run("Versity", func(t *testing.T) {
		settle(t)
		t.Chdir(".") // the server changes the directory of the process
		srv := server.T(t, server.Versity)
		s := openBucket(t, srv, server.Bucket(t, srv))
		for name, m := range modes {
			if got, err := probeMode(t, s, m); !errors.Is(err, sse.ErrUnconfirmed) || got.Put != objstore.Unconfirmed {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
	})
}

func encryptionModes(t *testing.T) map[string]*sse.Mode {
	t.Helper()
	yes := true
	key, err := sse.NewCustomerKey([]byte("32 bytes that are only for tests"))
	must(t, err)
	modes := map[string]*sse.Mode{"sse-s3": sse.S3()}
	add := func(name string, m *sse.Mode, err error) {
		must(t, err)
		modes[name] = m
	}
	m, err := sse.KMS("", nil, nil)
	add("sse-kms", m, err)
	m, err = sse.KMS("sigilfs-test", map[string]string{"team": "backup"}, nil)
	add("sse-kms by key", m, err)
	m, err = sse.KMS("arn:aws:kms:sigilfs-test", nil, nil)
	add("sse-kms by ARN", m, err)
	m, err = sse.KMS("there-is-none", nil, nil)
	add("missing key", m, err)
	m, err = sse.KMS("", nil, &yes)
	add("bucket key", m, err)
	m, err = sse.DSSE("", nil)
	add("dsse-kms", m, err)
	m, err = sse.Customer(key)
	add("sse-c", m, err)
	return modes
}

func probeMode(t *testing.T, s objstore.Store, m *sse.Mode) (objstore.EncryptionSupport, error) {
	t.Helper()
	enc := &objstore.Encryption{Write: m.Write(), Read: m.Read(), Source: m.Source()}
	got, err := objstore.ProbeEncryption(t.Context(), s, ".sigil/doctor/", enc, func(h objstore.Header) error { return m.Confirm(h) })
	for e, errList := range s.List(t.Context(), objstore.ListOptions{}) {
		t.Errorf("left behind: %q, %v", e.Key, errList)
	}
	return got, err
}
