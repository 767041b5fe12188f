// Package server starts real S3 servers on the loopback interface, for tests
// and for the demo: MinIO as a process of its own, built by the Go toolchain
// from the module pinned in go.mod, and versitygw inside this process. Each has
// a data directory, random credentials and a TLS certificate by a CA that was
// made on the spot, all under one directory that the caller gave.
package server

import (
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Region is what every server here says it is in.
const Region = "us-east-1"

// patience bounds the start and the end of a server.
const patience = 60 * time.Second

// Server is a running S3 server.
type Server struct {
	URL       string // https://127.0.0.1:port
	CAFile    string // PEM
	AccessKey string
	SecretKey string
	Region    string
	Dir       string // what the server wrote: the raw bytes of every bucket
	LogFile   string

	root   string // all of the server's directories
	client *http.Client
	stop   func() error
}

// prepare makes the directories, certificate and credentials of a server under
// root.
func prepare(ctx context.Context, root string) (*Server, string, error) {
	address, err := freePort(ctx)
	if err != nil {
		return nil, "", err
	}
	s := &Server{
		URL: "https://" + address, Region: Region, root: root,
		AccessKey: "AK" + random(9), SecretKey: random(20),
		CAFile: filepath.Join(root, "ca.crt"), Dir: filepath.Join(root, "data"), LogFile: filepath.Join(root, "server.log"),
	}
	certs := filepath.Join(root, "certs")
	if err := makeDirs(s.Dir, certs); err != nil {
		return nil, "", err
	}
	if err := writeCertificates(s.CAFile, certs); err != nil {
		return nil, "", err
	}
	if s.client, err = trusting(s.CAFile); err != nil {
		return nil, "", err
	}
	return s, address, nil
}

func makeDirs(dirs ...string) error {
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = crand.Read(b) // it never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// freePort finds one by taking it for a moment. It is none of those that Linux
// gives to clients and to who listens on any (ip_local_port_range, from 32768
// on): one of them could have it before the server does.
func freePort(ctx context.Context) (string, error) {
	for tries := 0; ; tries++ {
		address := fmt.Sprintf("127.0.0.1:%d", 12_000+rand.IntN(20_000)) //nolint:gosec // any will do
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err == nil {
			return address, l.Close()
		}
		if tries == 100 {
			return "", fmt.Errorf("no free port: %w", err)
		}
	}
}

func trusting(caFile string) (*http.Client, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
		Timeout:   10 * time.Second,
	}, nil
}

// Client is an S3 client of the server's owner, for what the tests do beside
// the program under test.
func (s *Server) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &s.URL, Region: s.Region, UsePathStyle: true, HTTPClient: s.client,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
}

// MakeBucket makes a bucket of that name; one that is there already is fine.
func (s *Server) MakeBucket(ctx context.Context, name string) error {
	_, err := s.Client().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
	var owned *types.BucketAlreadyOwnedByYou
	if errors.As(err, &owned) {
		return nil
	}
	return err
}

// Version turns on versioning for a bucket.
func (s *Server) Version(ctx context.Context, name string) error {
	_, err := s.Client().PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: &name, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	return err
}

// StopVersions suspends versioning of a bucket.
func (s *Server) StopVersions(ctx context.Context, name string) error {
	_, err := s.Client().PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: &name, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended},
	})
	return err
}

// MakeLockingBucket makes a bucket with Object Lock, under which a version stays
// only where its writer asks for it.
func (s *Server) MakeLockingBucket(ctx context.Context, name string) error {
	locked := true
	_, err := s.Client().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: &locked})
	return err
}

// MakeLockedBucket makes a bucket with Object Lock, under whose default retention
// every version is kept for a day.
func (s *Server) MakeLockedBucket(ctx context.Context, name string) error {
	locked := true
	if _, err := s.Client().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: &locked}); err != nil {
		return err
	}
	days := int32(1)
	_, err := s.Client().PutObjectLockConfiguration(ctx, &s3.PutObjectLockConfigurationInput{
		Bucket: &name, ObjectLockConfiguration: &types.ObjectLockConfiguration{
			ObjectLockEnabled: types.ObjectLockEnabledEnabled,
			Rule:              &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeGovernance, Days: &days}},
		},
	})
	return err
}

// Env is the whole environment of a child process that is to use this server:
// nothing of this process's AWS settings is left in it. Endpoint and CA are
// those of flags, or AWS_ENDPOINT_URL and AWS_CA_BUNDLE here.
func (s *Server) Env() []string {
	env := []string{
		"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey, "AWS_REGION=" + s.Region,
		"AWS_ENDPOINT_URL=" + s.URL, "AWS_CA_BUNDLE=" + s.CAFile,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
	}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LANG", "TERM", "USER", "GOCOVERDIR"} {
		if v, set := os.LookupEnv(name); set {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// Close ends the server and waits for it. Its files are the caller's to remove.
func (s *Server) Close() error {
	s.client.CloseIdleConnections()
	return s.stop()
}

// await polls path until it answers 200, or ended gives the server's own end.
func (s *Server) await(ctx context.Context, path string, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.alive(ctx, path) {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("server ended at once: %w\n%s", err, s.tail())
		case <-ctx.Done():
			return fmt.Errorf("server does not answer: %w\n%s", ctx.Err(), s.tail())
		case <-tick.C:
		}
	}
}

func (s *Server) alive(ctx context.Context, path string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		return false
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// tail is the end of the server's log.
func (s *Server) tail() string {
	b, _ := os.ReadFile(s.LogFile)
	return string(b[max(0, len(b)-2000):])
}

// T starts a server for a test and ends it with it; start is MinIO or Versity.
func T(t testing.TB, start func(ctx context.Context, root string) (*Server, error)) *Server {
	t.Helper()
	s, err := start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Bucket makes a bucket with a name of its own for a test.
func Bucket(t testing.TB, s *Server) string {
	t.Helper()
	name := "t-" + random(8)
	if err := s.MakeBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return name
}
