package integration

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// A client is a second client of the bucket, with no key of the volume: the
// operator who looks, and the attacker who writes. It shares no code with what
// it attacks.
type client struct {
	t      *testing.T
	s3     *minio.Client
	bucket string
}

func newClient(t *testing.T, bucket string) client {
	t.Helper()
	return clientOf(t, minioServer(t), bucket) // never through a test's proxy
}

func clientOf(t *testing.T, server s3Server, bucket string) client {
	t.Helper()
	pem, err := os.ReadFile(server.CAFile)
	must(t, err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in " + server.CAFile)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	u, err := url.Parse(server.URL)
	must(t, err)
	s3, err := minio.New(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(server.AccessKey, server.SecretKey, ""),
		Secure: true, Region: server.Region, Transport: transport,
	})
	must(t, err)
	return client{t, s3, bucket}
}

// An object is a body with its user metadata, names in lower case.
type object struct {
	Body     []byte
	Metadata map[string]string
}

func (c client) get(key string) object {
	c.t.Helper()
	r, err := c.s3.GetObject(c.t.Context(), c.bucket, key, minio.GetObjectOptions{})
	must(c.t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	must(c.t, err)
	info, err := r.Stat()
	must(c.t, err)
	o := object{b, map[string]string{}}
	for name, value := range info.UserMetadata {
		o.Metadata[strings.ToLower(name)] = value
	}
	return o
}

func (c client) put(key string, o object) {
	c.t.Helper()
	_, err := c.s3.PutObject(c.t.Context(), c.bucket, key, bytes.NewReader(o.Body), int64(len(o.Body)),
		minio.PutObjectOptions{UserMetadata: o.Metadata, DisableMultipart: true})
	must(c.t, err)
}

// remove removes everything below prefix.
func (c client) remove(prefix string) {
	c.t.Helper()
	for _, key := range c.keys(prefix) {
		must(c.t, c.s3.RemoveObject(c.t.Context(), c.bucket, key, minio.RemoveObjectOptions{}))
	}
}

// keys lists everything below prefix.
func (c client) keys(prefix string) []string {
	c.t.Helper()
	var keys []string
	for o := range c.s3.ListObjects(c.t.Context(), c.bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		must(c.t, o.Err)
		keys = append(keys, o.Key)
	}
	return keys
}
