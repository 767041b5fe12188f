package integration

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/encrypt"
)

// An observer looks at the bucket with AWS's command line and another S3
// library, and knows the SSE-C keys: what an object really is, whatever the
// mount says of it.
type observer struct {
	t    *testing.T
	s3   s3Server // never through a test's proxy
	cli  tool
	raw  client
	keys keys
}

func newObserver(t *testing.T, bucket string, k keys) observer {
	t.Helper()
	s3 := minioServer(t)
	return observer{t: t, s3: s3, keys: k, raw: newClient(t, bucket), cli: newTool(t, t.TempDir(), awsCLI, append(s3.env(), "AWS_CA_BUNDLE="+s3.CAFile)...)}
}

// aws runs a command of `aws s3api` on the bucket.
func (o observer) aws(args ...string) (string, error) {
	o.t.Helper()
	command := append([]string{awsCLI, "--endpoint-url", o.s3.URL, "--output", "json", "s3api", args[0], "--bucket", o.raw.bucket}, args[1:]...)
	return o.cli.try(command...)
}

// must is aws for what has to work.
func (o observer) must(args ...string) string {
	o.t.Helper()
	out, err := o.aws(args...)
	if err != nil {
		o.t.Fatalf("aws s3api %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// head is what HEAD says of an object.
type head struct {
	ContentLength        int64
	ContentType          string
	ContentEncoding      string
	ETag                 string
	ServerSideEncryption string
	SSEKMSKeyId          string
	SSECustomerAlgorithm string
	SSECustomerKeyMD5    string
	Metadata             map[string]string
}

// head asks with the SSE-C key of a generation; 0 is with none.
func (o observer) head(key string, customer int) head {
	o.t.Helper()
	info, err := o.raw.s3.StatObject(o.t.Context(), o.raw.bucket, key, minio.StatObjectOptions{ServerSideEncryption: o.secret(customer)})
	if err != nil {
		o.t.Fatalf("HEAD %s: %v", key, err)
	}
	h := head{
		ContentLength: info.Size, ContentType: info.ContentType, ContentEncoding: info.Metadata.Get("Content-Encoding"), ETag: strings.Trim(info.ETag, `"`),
		ServerSideEncryption: info.Metadata.Get("X-Amz-Server-Side-Encryption"),
		SSEKMSKeyId:          info.Metadata.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"),
		SSECustomerAlgorithm: info.Metadata.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm"),
		SSECustomerKeyMD5:    info.Metadata.Get("X-Amz-Server-Side-Encryption-Customer-Key-Md5"),
		Metadata:             map[string]string{},
	}
	for name, value := range info.UserMetadata {
		h.Metadata[strings.ToLower(name)] = value
	}
	return h
}

// headByAWS is head by the AWS CLI.
func (o observer) headByAWS(key string, customer int) head {
	o.t.Helper()
	var h head
	out := o.must(append([]string{"head-object", "--key", key}, o.customer(customer)...)...)
	must(o.t, json.Unmarshal([]byte(out), &h))
	h.ETag = strings.Trim(h.ETag, `"`)
	return h
}

// bothAgree fails the test unless both clients say the same of an object.
func (o observer) bothAgree(key string, customer int) {
	o.t.Helper()
	one, other := o.head(key, customer), o.headByAWS(key, customer)
	if !reflect.DeepEqual(one, other) {
		o.t.Errorf("%s: AWS's command line says\n%+v\nminio-go says\n%+v", key, other, one)
	}
}

// secret is an SSE-C key for minio-go; nil for none.
func (o observer) secret(customer int) encrypt.ServerSide {
	o.t.Helper()
	if customer == 0 {
		return nil
	}
	key, err := os.ReadFile(o.keys.customer(customer))
	must(o.t, err)
	sse, err := encrypt.NewSSEC(key)
	must(o.t, err)
	return sse
}

// customer are the arguments that bring an SSE-C key.
func (o observer) customer(n int) []string {
	if n == 0 {
		return nil
	}
	return []string{"--sse-customer-algorithm", "AES256", "--sse-customer-key", "fileb://" + o.keys.customer(n)}
}

// put stores an object with more arguments of put-object.
func (o observer) put(key string, body []byte, args ...string) {
	o.t.Helper()
	file := filepath.Join(o.t.TempDir(), "body")
	must(o.t, os.WriteFile(file, body, 0o600))
	o.must(append([]string{"put-object", "--key", key, "--body", file}, args...)...)
}

// body gives the bytes as S3 gives them.
func (o observer) body(key string, customer int) []byte {
	o.t.Helper()
	r, err := o.raw.s3.GetObject(o.t.Context(), o.raw.bucket, key, minio.GetObjectOptions{ServerSideEncryption: o.secret(customer)})
	must(o.t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		o.t.Fatalf("%s: %v", key, err)
	}
	return b
}

// gone fails the test if there is anything at key.
func (o observer) gone(key string) {
	o.t.Helper()
	if keys := o.raw.keys(key); slices.Contains(keys, key) {
		o.t.Errorf("%s is still there", key)
	}
}

// check fails the test unless the object at key, of this plaintext, is as the
// mode has it.
func (o observer) check(m mode, key string, want []byte) {
	o.t.Helper()
	o.state(m, key)
	body := o.body(key, m.customer)
	if m.format == asItIs {
		if !bytes.Equal(body, want) {
			o.t.Errorf("%s: S3 has %d bytes that are not the plaintext of %d", key, len(body), len(want))
		}
		return
	}
	for off := 0; off+16 <= len(want); off += max(1, len(want)/64) { // not a piece of it
		if bytes.Contains(body, want[off:off+16]) {
			o.t.Errorf("%s: the plaintext at %d is readable in the bucket", key, off)
			break
		}
	}
	if len(body) <= len(want) && len(want) > 0 && m.format != s3ecV2 && m.format != s3ecV3 {
		o.t.Errorf("%s: %d bytes for a plaintext of %d", key, len(body), len(want))
	}
}

// state is check of all but the body.
func (o observer) state(m mode, key string) {
	o.t.Helper()
	h := o.head(key, m.customer)
	o.encryption(m, key, h)
	o.metadata(m, key, h)
}

// encryption compares what HEAD says of the server's encryption.
func (o observer) encryption(m mode, key string, h head) {
	o.t.Helper()
	wantMD5 := ""
	algorithm := h.ServerSideEncryption
	if m.customer != 0 {
		secret, err := os.ReadFile(o.keys.customer(m.customer))
		must(o.t, err)
		sum := md5.Sum(secret)
		wantMD5, algorithm = base64.StdEncoding.EncodeToString(sum[:]), ""
		if h.SSECustomerAlgorithm == "AES256" {
			algorithm = "SSE-C"
		}
		if info, err := o.raw.s3.StatObject(o.t.Context(), o.raw.bucket, key, minio.StatObjectOptions{}); err == nil {
			o.t.Errorf("%s: HEAD works without the key: %v", key, info)
		}
	}
	if algorithm != m.algorithm || h.SSECustomerKeyMD5 != wantMD5 {
		o.t.Errorf("%s: S3 says %q, key MD5 %q, want %q, %q", key, algorithm, h.SSECustomerKeyMD5, m.algorithm, wantMD5)
	}
	if byKMS := strings.TrimPrefix(h.SSEKMSKeyId, "arn:aws:kms:"); m.algorithm == "aws:kms" && byKMS != minioKey || m.algorithm != "aws:kms" && byKMS != "" {
		o.t.Errorf("%s: S3 says KMS key %q", key, byKMS)
	}
}

// metadata looks for what each format must have, and no more of sealed objects.
func (o observer) metadata(m mode, key string, h head) {
	o.t.Helper()
	names := slices.Sorted(maps.Keys(h.Metadata))
	var need []string
	switch m.format {
	case asItIs:
		need = []string{"mode", "uid", "gid", "mtime"}
	case sealed:
		want := []string{"sigil", "sigil-seal"}
		if m.moved {
			want = []string{"sigil", "sigil-move", "sigil-seal"}
		}
		if !slices.Equal(names, want) {
			o.t.Errorf("%s: metadata %q of a sealed object", key, names)
		}
	case s3ecV3:
		need = []string{"x-amz-c", "x-amz-3", "x-amz-w", "x-amz-d", "x-amz-i", "mode"}
	case s3ecV2:
		need = []string{"x-amz-key-v2", "x-amz-iv", "x-amz-cek-alg", "x-amz-wrap-alg", "mode"}
	}
	for _, name := range need {
		if !slices.Contains(names, name) {
			o.t.Errorf("%s: metadata %q lack %s", key, names, name)
		}
	}
}
