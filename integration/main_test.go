package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7/pkg/signer"
	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/server"
)

// world is what all tests share: made by TestMain, each part at its first use.
var world struct {
	dir    string
	binary func() (string, error)
	minio  func() (*server.Server, error)
}

func TestMain(m *testing.M) {
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func runAll(m *testing.M) (code int, err error) {
	world.dir, err = os.MkdirTemp("", "sigilfs-integration-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(world.dir)) }()
	ctx := context.Background()
	world.binary = sync.OnceValues(func() (string, error) { return daemon.Binary(ctx, world.dir) })
	var started atomic.Pointer[server.Server]
	world.minio = sync.OnceValues(func() (*server.Server, error) {
		s, err := server.MinIO(ctx, world.dir+"/minio")
		started.Store(s)
		return s, err
	})
	code = m.Run()
	if s := started.Load(); s != nil {
		err = s.Close()
	}
	return code, err
}

// binary is the sigilfs under test.
func binary(t *testing.T) string {
	t.Helper()
	bin, err := world.binary()
	must(t, err)
	return bin
}

// tryBinary runs it to its end.
func tryBinary(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	return daemon.Run(ctx, binary(t), env, args...)
}

// An s3Server is a server, or a proxy in front of it, as a client reaches it.
type s3Server struct {
	URL, CAFile                  string
	AccessKey, SecretKey, Region string
	Dir                          string // its raw data
}

func reached(s *server.Server) s3Server {
	return s3Server{URL: s.URL, CAFile: s.CAFile, AccessKey: s.AccessKey, SecretKey: s.SecretKey, Region: s.Region, Dir: s.Dir}
}

func (s s3Server) env() []string {
	return []string{"AWS_REGION=" + s.Region, "AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey}
}

// shared is the MinIO that most tests use.
func shared(t *testing.T) *server.Server {
	t.Helper()
	s, err := world.minio()
	must(t, err)
	return s
}

func minioServer(t *testing.T) s3Server {
	t.Helper()
	return reached(shared(t))
}

func newBucket(t *testing.T) string {
	t.Helper()
	return server.Bucket(t, shared(t))
}

// sign signs a request that somebody has changed. Its body stays as it was.
func (s s3Server) sign(r *http.Request) {
	signer.SignV4(*r, s.AccessKey, s.SecretKey, "", s.Region)
}
