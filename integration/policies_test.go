package integration

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"
	"github.com/sigilfs/sigilfs/integration/daemon"
	"golang.org/x/sys/unix"
)

// The policies of docs/policies, held against MinIO: each bounds a session (STS,
// AssumeRole with an inline policy), and what it is to allow works, what it is to
// deny does not. MinIO judges nobody who signs by the bucket's policy, so the
// statements of bucket-*.json go into the policy of the session here. It does not
// know VPC endpoints, nor ArnNotLike.

// aPolicy is one as IAM has it, as far as it is changed here.
type aPolicy struct {
	Version   string
	Statement []map[string]any
}

// policyOf reads docs/policies/NAME.json, about the prefix of this bucket.
func policyOf(t *testing.T, name, bucket, prefix string) aPolicy {
	t.Helper()
	text := string(readFile(t, filepath.Join("..", "docs", "policies", name+".json")))
	text = strings.NewReplacer("acme-backups", bucket, "web1", prefix).Replace(text)
	var p aPolicy
	must(t, json.Unmarshal([]byte(text), &p))
	return p
}

// and adds the statements of a bucket's policy, which are about everybody.
func (p aPolicy) and(other aPolicy) aPolicy {
	for _, s := range other.Statement {
		delete(s, "Principal")
		p.Statement = append(p.Statement, s)
	}
	return p
}

// A session is temporary credentials.
type session struct {
	t *testing.T
	credentials.Value
	bucket string
	http   *http.Transport
}

// assume makes a session that may do what p says.
func assume(t *testing.T, bucket string, p aPolicy) session {
	t.Helper()
	text, err := json.Marshal(p)
	must(t, err)
	srv := minioServer(t)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(readFile(t, srv.CAFile))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	role := credentials.New(&credentials.STSAssumeRole{
		Client: &http.Client{Transport: transport}, STSEndpoint: srv.URL,
		Options: credentials.STSAssumeRoleOptions{AccessKey: srv.AccessKey, SecretKey: srv.SecretKey, Location: srv.Region, Policy: string(text)},
	})
	value, err := role.GetWithContext(nil)
	if err != nil {
		t.Fatalf("MinIO takes no session with the policy %s: %v", text, err)
	}
	return session{t, value, bucket, transport}
}

// env stands above the owner's.
func (s session) env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + s.SecretAccessKey, "AWS_SESSION_TOKEN=" + s.SessionToken}
}

// client is the other one, with these credentials.
func (s session) client() *minio.Client {
	s.t.Helper()
	srv := minioServer(s.t)
	u, err := url.Parse(srv.URL)
	must(s.t, err)
	c, err := minio.New(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(s.AccessKeyID, s.SecretAccessKey, s.SessionToken),
		Secure: true, Region: srv.Region, Transport: s.http,
	})
	must(s.t, err)
	return c
}

func (s session) reads(key string) error {
	_, err := s.client().StatObject(s.t.Context(), s.bucket, key, minio.StatObjectOptions{})
	return err
}

func (s session) writes(key string) error {
	body := []byte("by another program")
	_, err := s.client().PutObject(s.t.Context(), s.bucket, key, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{DisableMultipart: true})
	return err
}

func (s session) removes(key, version string) error {
	return s.client().RemoveObject(s.t.Context(), s.bucket, key, minio.RemoveObjectOptions{VersionID: version})
}

func (s session) lists(prefix string) error {
	for o := range s.client().ListObjects(s.t.Context(), s.bucket, minio.ListObjectsOptions{Prefix: prefix}) {
		if o.Err != nil {
			return o.Err
		}
	}
	return nil
}

// denied fails the test unless the server refused it.
func denied(t *testing.T, what string, err error) {
	t.Helper()
	if minio.ToErrorResponse(err).StatusCode != http.StatusForbidden {
		t.Errorf("%s: %v, want 403", what, err)
	}
}

// versioned makes a bucket that keeps versions.
func versioned(t *testing.T) string {
	t.Helper()
	bucket := newBucket(t)
	must(t, shared(t).Version(t.Context(), bucket))
	return bucket
}

// exercise does everything that a mount is for, and what is left has to be there
// after a remount.
func exercise(t *testing.T, m *mount) {
	t.Helper()
	large := content(1, 3*segment+123)
	must(t, os.MkdirAll(m.Path("d/e"), 0o750))
	writeFile(t, m.Path("d/large"), large)
	copy(large[segment+5:], "changed in the middle")
	f, err := os.OpenFile(m.Path("d/large"), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("changed in the middle"), segment+5)
	must(t, errors.Join(err, f.Sync(), f.Close()))
	for range 2 { // overwritten once
		writeFile(t, m.Path("d/e/small"), []byte("small"))
	}
	must(t, os.Chmod(m.Path("d/e/small"), 0o600))
	must(t, unix.Setxattr(m.Path("d/e/small"), "user.note", []byte("kept"), 0))
	must(t, os.Rename(m.Path("d/e/small"), m.Path("d/moved")))
	must(t, os.Symlink("moved", m.Path("d/link")))
	must(t, os.Remove(m.Path("d/e")))
	must(t, os.Rename(m.Path("d"), m.Path("dir")))
	writeFile(t, m.Path("gone"), []byte("gone"))
	must(t, os.Remove(m.Path("gone")))
	m.Remount(t)
	wantFile(t, m.Path("dir/large"), large)
	wantFile(t, m.Path("dir/link"), []byte("small"))
	if names, err := os.ReadDir(m.Dir()); err != nil || len(names) == 0 {
		t.Errorf("%v, %v", names, err)
	}
}

// unhindered fails the test where the log names a permission.
func unhindered(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		if strings.Contains(line, "permission") || strings.Contains(line, "may not") {
			t.Errorf("the log says %s", line)
		}
	}
}

func TestPolicyReadWrite(t *testing.T) {
	t.Parallel()
	bucket := versioned(t)
	s := assume(t, bucket, policyOf(t, "rw", bucket, "pre/fix"))
	m := newMount(t, mountOptions{Bucket: bucket, Env: s.env()})
	exercise(t, m)
	must(t, os.Link(m.Path("dir/moved"), m.Path("dir/second"))) // of mode client alone
	must(t, os.Remove(m.Path("dir/moved")))
	log := m.daemon.Log()
	m.Unmount(t)
	unhindered(t, log)

	denied(t, "another volume's names", s.lists("other/"))
	denied(t, "another volume's objects", s.writes("other/file"))
	cfg := m.config(t)
	cfg.Target = "s3://" + bucket + "/other"
	if text := mountRefused(t, cfg, daemon.ExitMount); !strings.Contains(text, "permission s3:ListBucket is missing") {
		t.Errorf("another volume: %s", text)
	}
}

// What doctor asks beside takes doctor.json; MinIO knows no public access block.
func TestPolicyOfDoctor(t *testing.T) {
	t.Parallel()
	bucket := versioned(t)
	asks := policyOf(t, "doctor", bucket, "pre/fix")
	for _, statement := range asks.Statement {
		var known []any
		for _, action := range statement["Action"].([]any) {
			if action != "s3:GetBucketPublicAccessBlock" {
				known = append(known, action)
			}
		}
		statement["Action"] = known
	}
	rw := policyOf(t, "rw", bucket, "pre/fix")
	for name, tt := range map[string]struct {
		policy aPolicy
		says   map[string]string
	}{
		"rw":        {rw, map[string]string{"bucket": "ok", "write": "ok", "multipart": "ok", "tagging": "ok", "epochs": "ok", "versions": "warning", "lifecycle": "warning", "policy": "warning"}},
		"and asked": {rw.and(asks), map[string]string{"bucket": "ok", "write": "ok", "versions": "ok", "lock": "ok", "policy": "ok", "default": "ok"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMount(t, mountOptions{Bucket: bucket, Env: assume(t, bucket, tt.policy).env()})
			d := diagnose(t, m.env(t), append([]string{m.target()}, m.config(t).Args...)...)
			for check, status := range tt.says {
				d.says(t, check, status+": ")
			}
			if text, _ := d.finding(t, "versions"); strings.Contains(text, "s3:GetBucketVersioning") != (name == "rw") {
				t.Errorf("versions: %s", text)
			}
		})
	}
}

// Objects under SSE-C have tags, which name their key.
func TestPolicyReadWriteOfTags(t *testing.T) {
	t.Parallel()
	k, bucket := newKeys(t, nil), versioned(t)
	s := assume(t, bucket, policyOf(t, "rw", bucket, "pre/fix"))
	m := newMount(t, mountOptions{Bucket: bucket, Env: s.env(), YAML: func(bucket string) string { return k.yaml(bucket+"/pre/fix", []string{"mode: sse-c, key: c1"}) }})
	exercise(t, m)
	log := m.daemon.Log()
	m.Unmount(t)
	unhindered(t, log)
}

func TestPolicyReadOnly(t *testing.T) {
	t.Parallel()
	bucket := versioned(t)
	m := newMount(t, mountOptions{Bucket: bucket})
	exercise(t, m)
	m.Unmount(t)

	s := assume(t, bucket, policyOf(t, "ro", bucket, "pre/fix"))
	reader := &mount{s3: m.s3, bucket: bucket, prefix: m.prefix, key: m.key, state: t.TempDir(), dir: m.dir, envs: s.env()}
	if text := mountRefused(t, reader.config(t), daemon.ExitMount); !strings.Contains(text, "permission s3:PutObject is missing") {
		t.Errorf("to write: %s", text)
	}
	reader.args = []string{"--read-only"}
	t.Cleanup(func() { reader.cleanup(t) })
	reader.Start(t)
	wantFile(t, reader.Path("dir/link"), []byte("small"))
	if got := readFile(t, reader.Path("dir/large")); len(got) != 3*segment+123 {
		t.Errorf("%d bytes", len(got))
	}
	if err := os.WriteFile(reader.Path("file"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("a write: %v", err)
	}
	unhindered(t, reader.daemon.Log())
	for _, key := range newClient(t, bucket).keys(m.Key("dir")) {
		denied(t, "overwriting "+key, s.writes(key))
		denied(t, "removing "+key, s.removes(key, ""))
	}
	denied(t, "another volume's objects", s.reads("other/file"))
}

// A host that only adds: it has no identity that opens what it wrote in an
// earlier mount, and no permission to take anything away.
func TestPolicyWriteOnly(t *testing.T) {
	t.Parallel()
	bucket := versioned(t)
	newClient(t, bucket).put("other/secret", object{Body: []byte("another host's")})
	s := assume(t, bucket, policyOf(t, "wo", bucket, "pre/fix"))
	k := newKeys(t, nil)
	m := newMount(t, mountOptions{Bucket: bucket, Env: s.env(), YAML: func(bucket string) string {
		return "bucket: s3://" + bucket + "/pre/fix\nkeys:\n  safe: {age: {recipients: [" + k.recipient + "]}}\nencryption:\n  - {mode: client, key: safe}\n"
	}})
	large := content(1, 3*segment+123)
	writeFile(t, m.Path("monday.tar"), large)
	must(t, os.Mkdir(m.Path("dir"), 0o755))
	writeFile(t, m.Path("dir/small"), []byte("small"))
	wantFile(t, m.Path("dir/small"), []byte("small")) // by this mount's own epoch
	log := m.daemon.Log()
	m.Unmount(t)
	unhindered(t, log)

	m.Start(t)
	writeFile(t, m.Path("tuesday.tar"), large)
	writeFile(t, m.Path("dir/more"), []byte("more"))
	if _, err := os.ReadFile(m.Path("monday.tar")); !errors.Is(err, unix.ENOKEY) {
		t.Errorf("reading what an earlier mount wrote: %v, want ENOKEY", err)
	}
	if err := os.Remove(m.Path("tuesday.tar")); !errors.Is(err, unix.EACCES) {
		t.Errorf("removing: %v, want EACCES", err)
	}
	m.WantLog(t, "permission s3:DeleteObject is missing")
	m.Unmount(t)
	for _, key := range newClient(t, bucket).keys("pre/fix/monday") {
		denied(t, "removing "+key, s.removes(key, ""))
	}
	denied(t, "another host's object", s.reads("other/secret"))
	denied(t, "another host's names", s.lists("other/"))
	denied(t, "overwriting another host's object", s.writes("other/secret"))
	if left := newClient(t, bucket).keys("pre/fix/.sigil/uploads/"); len(left) != 0 {
		t.Errorf("records of uploads stay: %q", left)
	}

	reader := &mount{
		s3: m.s3, bucket: bucket, prefix: "pre/fix", key: k.file("age.txt"), state: t.TempDir(), dir: m.dir,
		envs: assume(t, bucket, policyOf(t, "ro", bucket, "pre/fix")).env(), args: []string{"--read-only"},
	}
	t.Cleanup(func() { reader.cleanup(t) })
	reader.Start(t)
	wantFile(t, reader.Path("monday.tar"), large)
	wantFile(t, reader.Path("tuesday.tar"), large)
	wantFile(t, reader.Path("dir/small"), []byte("small"))
	wantFile(t, reader.Path("dir/more"), []byte("more"))
}

// A host that may do everything, but end what a version keeps.
func TestPolicyThatKeepsVersions(t *testing.T) {
	t.Parallel()
	bucket := versioned(t)
	s := assume(t, bucket, policyOf(t, "keep", bucket, "pre/fix"))
	m := newMount(t, mountOptions{Bucket: bucket, Env: s.env()})
	exercise(t, m)
	writeFile(t, m.Path("file"), []byte("the first"))
	must(t, os.Remove(m.Path("file")))
	log := m.daemon.Log()
	m.Unmount(t)
	unhindered(t, log)
	versions := 0
	for o := range newClient(t, bucket).s3.ListObjects(t.Context(), bucket, minio.ListObjectsOptions{Prefix: m.Key("file"), WithVersions: true}) {
		must(t, o.Err)
		denied(t, "removing the version "+o.VersionID, s.removes(o.Key, o.VersionID))
		versions++
	}
	if versions != 2 { // one, and the delete marker
		t.Errorf("%d versions", versions)
	}
	off := s.client().EnableVersioning(t.Context(), bucket)
	denied(t, "changing the versioning", off)
}

// What bucket-encrypted.json asks for. MinIO judges each part of an upload by
// itself, and a part names no encryption, S3 goes by that of the upload: so a
// whole mount is not to be had here, only one that is refused, with the reason.
func TestPolicyOfEncryptedBucket(t *testing.T) {
	t.Parallel()
	bucket := newBucket(t)
	s := assume(t, bucket, policyOf(t, "rw", bucket, "pre/fix").and(policyOf(t, "bucket-encrypted", bucket, "")))
	denied(t, "a write that asks for nothing", s.writes("pre/fix/file"))
	body := []byte("encrypted")
	_, err := s.client().PutObject(t.Context(), bucket, "pre/fix/file", bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{ServerSideEncryption: encrypt.NewSSE()})
	must(t, err)
	m := newMount(t, mountOptions{Bucket: bucket})
	m.Unmount(t)
	cfg := m.config(t)
	cfg.Env = append(cfg.Env, s.env()...)
	if text := mountRefused(t, cfg, daemon.ExitMount); !strings.Contains(text, "probe: put ") || !strings.Contains(text, "permission s3:PutObject is missing") {
		t.Errorf("without --sse: %s", text)
	}
	cfg.Args = append(cfg.Args, "--sse", "sse-s3")
	if text := mountRefused(t, cfg, daemon.ExitMount); !strings.Contains(text, "probe: put part 1 of ") {
		t.Errorf("with --sse: %s", text)
	}
}

// Over plain HTTP nobody is let in.
func TestPolicyOfTLS(t *testing.T) {
	t.Parallel()
	bucket := newBucket(t)
	p := policyOf(t, "rw", bucket, "pre/fix").and(policyOf(t, "bucket-tls", bucket, ""))
	s := assume(t, bucket, p)
	m := newMount(t, mountOptions{Bucket: bucket, Env: s.env()})
	writeFile(t, m.Path("file"), []byte("by TLS"))
	p.Statement[len(p.Statement)-1]["Condition"] = map[string]any{"Bool": map[string]any{"aws:SecureTransport": "true"}}
	denied(t, "the other way round", assume(t, bucket, p).lists("pre/fix/"))
}

// By address: the statement denies who comes from elsewhere. What MinIO does not
// know is left out.
func TestPolicyOfNetwork(t *testing.T) {
	bucket := newBucket(t)
	rw, network := policyOf(t, "rw", bucket, "pre/fix"), policyOf(t, "bucket-network", bucket, "")
	conditions := network.Statement[0]["Condition"].(map[string]any)
	delete(conditions, "StringNotEquals") // aws:SourceVpce
	delete(conditions, "ArnNotLike")
	denied(t, "from this host", assume(t, bucket, rw.and(network)).lists("pre/fix/"))

	addresses := conditions["NotIpAddress"].(map[string]any)
	addresses["aws:SourceIp"] = append(addresses["aws:SourceIp"].([]any), "127.0.0.0/8")
	s := assume(t, bucket, policyOf(t, "rw", bucket, "pre/fix").and(network))
	if err := errors.Join(s.lists("pre/fix/"), s.writes("pre/fix/file")); err != nil {
		t.Error(err)
	}
}
