package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// A client moves whole files without a mount, by what S3 offers for that.
type client struct {
	name string
	put  func(ctx context.Context, file, key string) error
	get  func(ctx context.Context, key, file string) error
}

// clients are those beside which the mount is measured.
func (b *bed) clients() ([]client, error) {
	library, err := b.library()
	if err != nil {
		return nil, err
	}
	cli := []string{awsCLI, "--endpoint-url", b.proxy.URL(), "s3", "cp", "--only-show-errors"}
	return []client{
		{
			name: "aws s3 cp",
			put: func(ctx context.Context, file, key string) error {
				return b.run(ctx, append(cli, file, "s3://"+bucket+"/"+key)...)
			},
			get: func(ctx context.Context, key, file string) error {
				return b.run(ctx, append(cli, "s3://"+bucket+"/"+key, file)...)
			},
		},
		{
			name: "minio-go",
			put: func(ctx context.Context, file, key string) error {
				_, err := library.FPutObject(ctx, bucket, key, file, minio.PutObjectOptions{})
				return err
			},
			get: func(ctx context.Context, key, file string) error {
				return library.FGetObject(ctx, bucket, key, file, minio.GetObjectOptions{})
			},
		},
	}, nil
}

// awsCLI is AWS's command line as Debian has it.
const awsCLI = "/usr/bin/aws"

// library is minio-go through the proxy.
func (b *bed) library() (*minio.Client, error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b.proxy.CA())
	return minio.New(strings.TrimPrefix(b.proxy.URL(), "https://"), &minio.Options{
		Creds:  credentials.NewStaticV4(b.s3.AccessKey, b.s3.SecretKey, ""),
		Secure: true, Region: b.s3.Region,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DisableCompression: true, MaxIdleConnsPerHost: 16,
		},
	})
}

// drop removes what a client put.
func (b *bed) drop(ctx context.Context, key string) error {
	return b.run(ctx, awsCLI, "--endpoint-url", b.proxy.URL(), "s3", "rm", "--only-show-errors", "--recursive", "s3://"+bucket+"/"+key)
}
