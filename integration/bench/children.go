package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sigilfs/sigilfs/integration/bench/null"
	"github.com/sigilfs/sigilfs/integration/bench/raw"
	"github.com/sigilfs/sigilfs/integration/bench/report"
)

// First arguments of the processes that this program starts of itself.
const (
	rawCommand  = "raw"
	nullCommand = "null"
)

// Work of the raw client.
const (
	rawWrite        = "write"
	rawRead         = "read"
	rawWriteStreams = "write streams"
	rawReadStreams  = "read streams"
	rawRandom       = "random"
)

// flight is how many requests the raw client has under way.
const flight = 16

// block is what is read at random places.
const block = 4 * kib

// raw has the raw client do something and measures it. Time is from its first
// request to its last.
func (b *bed) raw(ctx context.Context, bucket, op string) (report.Sample, error) {
	cmd := exec.CommandContext(ctx, b.self, rawCommand, "-op", op, "-bucket", bucket, "-file", b.source.large(),
		"-streams", fmt.Sprint(b.opt.sizes.streams), "-random", fmt.Sprint(b.opt.sizes.random))
	cmd.Env, cmd.Stderr = b.env(), os.Stderr
	var s report.Sample
	out, err := cmd.Output()
	if err != nil {
		return s, fmt.Errorf("raw client: %w", errors.Join(err, ctx.Err()))
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return s, fmt.Errorf("raw client: %w", err)
	}
	s.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.RSS = usage.Maxrss * kib
	}
	return s, nil
}

// rawMain is the raw client's process.
func rawMain(ctx context.Context, args []string) error {
	f := flag.NewFlagSet(rawCommand, flag.ContinueOnError)
	op, bucket, file := f.String("op", "", ""), f.String("bucket", "", ""), f.String("file", "", "")
	streams, random := f.Int("streams", 0, ""), f.Int("random", 0, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	data, err := mapped(*file)
	if err != nil {
		return err
	}
	client, err := rawClient(*bucket)
	if err != nil {
		return err
	}
	s := report.Sample{}
	began := time.Now()
	switch *op {
	case rawWrite:
		err = client.Write(ctx, "large", data)
	case rawRead:
		err = client.Read(ctx, "large", data)
	case rawWriteStreams:
		err = inStreams(ctx, client, data, *streams, client.Write)
	case rawReadStreams:
		err = inStreams(ctx, client, data, *streams, client.Read)
	case rawRandom:
		var took []time.Duration
		took, err = client.Random(ctx, "large", data, *random, block)
		s.P50, s.P99 = raw.Percentile(took, 50).Seconds(), raw.Percentile(took, 99).Seconds()
	default:
		err = fmt.Errorf("no work %q", *op)
	}
	s.Seconds = time.Since(began).Seconds()
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(s))
}

// inStreams does so with parts of data, as objects of their own, at once. All
// together have as many requests under way as one.
func inStreams(ctx context.Context, c *raw.Client, data []byte, n int, do func(ctx context.Context, key string, data []byte) error) error {
	c.Flight /= n
	group, ctx := errgroup.WithContext(ctx)
	each := len(data) / n
	for i := range n {
		group.Go(func() error { return do(ctx, streamName(i), data[i*each:(i+1)*each]) })
	}
	return group.Wait()
}

// streamName is the i'th of the files that are moved at once.
func streamName(i int) string { return fmt.Sprintf("stream%d", i) }

// rawClient goes by the environment that all programs get.
func rawClient(bucket string) (*raw.Client, error) {
	pem, err := os.ReadFile(os.Getenv("AWS_CA_BUNDLE"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	endpoint := os.Getenv("AWS_ENDPOINT_URL")
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: flight, DisableCompression: true,
		ReadBufferSize: 64 * kib, WriteBufferSize: 64 * kib,
	}
	return &raw.Client{Bucket: bucket, Flight: flight, S3: s3.New(s3.Options{
		BaseEndpoint: &endpoint, Region: os.Getenv("AWS_REGION"), UsePathStyle: true, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
	})}, nil
}

// mapped is a file's content.
func mapped(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
}

// nullFS is the filesystem that does nothing, with the large file in it.
type nullFS struct{ b *bed }

func (f nullFS) version(context.Context) string { return "go-fuse, the version of sigilfs" }

func (f nullFS) mount(ctx context.Context, at place) (mounted, error) {
	p, err := spawn(ctx, f.b.env(), at.local, at.dir, f.b.self, nullCommand, at.dir, f.b.source.large())
	if err != nil {
		return nil, err
	}
	return p, nil
}

// nullMain is its process: it ends with its mount.
func nullMain(_ context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New("null: want a directory and a file")
	}
	data, err := mapped(args[1])
	if err != nil {
		return err
	}
	server, err := null.Mount(args[0], largeName, data)
	if err != nil {
		return err
	}
	server.Wait()
	return nil
}
