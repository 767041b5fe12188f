package s3

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/sigilfs/sigilfs/internal/awsclient"
)

// load runs the SDK's default chain.
func load(ctx context.Context, cfg Config) (aws.Config, error) {
	loaded, err := awsclient.Load(ctx, awsclient.Config{
		Region: cfg.Region, Endpoint: cfg.Endpoint, Profile: cfg.Profile, CABundle: cfg.CABundle, Anonymous: cfg.NoSignRequest,
		PasswdFile: cfg.PasswdFile, Bucket: cfg.Bucket,
	})
	if err != nil {
		return aws.Config{}, fmt.Errorf("s3: %w", err)
	}
	if os.Getenv("AWS_RESPONSE_CHECKSUM_VALIDATION") == "" {
		// Reads are of ranges, which have none; and versitygw keeps a wrong
		// one of objects with copied parts.
		loaded.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}
	return loaded, nil
}

// maxAnswer bounds the answers that are documents, in bytes. A page of 1,000
// keys of 1,024 bytes, each escaped, has about 4 MiB.
const maxAnswer = 16 << 20

// newHTTP makes the client for the bucket. Requests are many and bodies large:
// HTTP/1.1 over many connections beats streams that share one (and its flow
// control), and the SDK's default of 10 idle ones would have them dialled anew:
// all that may be busy at once may rest at once.
func newHTTP(loaded aws.Config, cfg Config) *http.Client {
	t := awsclient.Transport(loaded, 10*time.Second)
	t.ForceAttemptHTTP2 = false
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, cfg.Concurrency
	t.IdleConnTimeout = 60 * time.Second
	t.ResponseHeaderTimeout = 0 // the watchdog of each attempt does it
	t.ExpectContinueTimeout = time.Second
	t.WriteBufferSize = 64 << 10
	t.ReadBufferSize = 16 << 10 // a TLS record: longer reads of a body go past the buffer, and are copied once less
	t.DisableCompression = true // an object stored as gzip stays gzip
	client := awsclient.Client(t, maxAnswer, isDocument)
	client.Transport = wired(client.Transport, cfg)
	return client
}

// isDocument tells every answer but the body of an object, which is read in
// pieces and may be of any length. The SDK names the operation in the query.
func isDocument(answer *http.Response) bool {
	return answer.StatusCode >= http.StatusMultipleChoices || answer.Request.URL.Query().Get("x-id") != "GetObject"
}
