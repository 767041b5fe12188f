package integration

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"github.com/sigilfs/sigilfs/integration/server"
	"golang.org/x/sys/unix"
)

// wants fails the test unless text is one line that has each of the words.
func wants(t *testing.T, text string, words ...string) {
	t.Helper()
	if strings.Contains(strings.TrimSpace(text), "\n") {
		t.Errorf("more than a line:\n%s", text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("it does not say %q: %s", w, text)
		}
	}
}

// versitygw takes the headers of server-side encryption and ignores them: in
// no such mode is anything mounted.
func TestServerWithoutEncryption(t *testing.T) {
	k := newKeys(t, nil)
	t.Chdir(".") // the server changes the directory of the process
	srv := server.T(t, server.Versity)
	for _, tt := range []struct{ rule, says string }{
		{"mode: sse-s3", "sse-s3"},
		{"mode: sse-kms, key: minio", "sse-kms"},
		{"mode: dsse-kms", "dsse-kms"},
		{"mode: sse-c, key: c1", "sse-c"},
		{"mode: bucket-default", "default"},
		{"mode: client, key: main, sse: sse-s3", "sse-s3"},
		{"mode: s3ec, key: s3ec, sse: sse-s3", "sse-s3"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			bucket := server.Bucket(t, srv)
			text := mountRefused(t, yamlMount(t, reached(srv), bucket, k.yaml(bucket, []string{tt.rule})), daemon.ExitMount)
			wants(t, text, tt.says, "mount.yaml:")
		})
	}
}

// yamlMount is a mount that nobody has started.
func yamlMount(t *testing.T, s3 s3Server, bucket, text string) daemon.Config {
	t.Helper()
	base := t.TempDir()
	m := &mount{s3: s3, bucket: bucket, yaml: filepath.Join(base, "mount.yaml"), dir: filepath.Join(base, "mnt"), state: filepath.Join(base, "state")}
	must(t, os.Mkdir(m.dir, 0o755))
	must(t, os.Mkdir(m.state, 0o700))
	writeFile(t, m.yaml, []byte(text))
	return m.config(t)
}

// Requests that make a body.
func isPut(r *http.Request) bool {
	return r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") == "" && !r.URL.Query().Has("partNumber")
}

func isCreate(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploads")
}

func isCopy(r *http.Request) bool {
	return r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != ""
}

const encryptionHeaders = "x-amz-server-side-encryption"

// A server begins to ignore what is asked while it is mounted: nothing that is
// not encrypted stays, and nothing that was written is lost.
func TestEncryptionIgnoredLater(t *testing.T) {
	k := newKeys(t, nil)
	modes := []mode{
		{name: "sse-s3", rule: "mode: sse-s3", algorithm: "AES256"},
		{name: "sse-kms", rule: "mode: sse-kms, key: minio", algorithm: "aws:kms"},
		{name: "sse-c", rule: "mode: sse-c, key: c1", algorithm: "SSE-C", customer: 1},
		{name: "client-sse-s3", rule: "mode: client, key: main, sse: sse-s3", algorithm: "AES256", format: sealed},
	}
	m := newMount(t, mountOptions{
		Proxy: true, Args: []string{"--attr-timeout", "0s"}, // a failed copy has changed the object
		YAML: func(bucket string) string { return k.yaml(bucket, rules(modes)) },
	})
	strip := func(match faultproxy.Match) { m.proxy.Set(faultproxy.Strip(match, encryptionHeaders, m.s3.sign)) }
	small, large := content(1, 300_000), content(2, 20<<20)
	for _, md := range modes {
		t.Run(md.name, func(t *testing.T) {
			o := newObserver(t, m.bucket, k)
			must(t, os.Mkdir(m.Path(md.name), 0o755))
			for _, tt := range []struct {
				name  string
				match faultproxy.Match
				want  []byte
			}{{"put", isPut, small}, {"create", isCreate, large}} {
				file := md.name + "/" + tt.name
				strip(tt.match)
				err := os.WriteFile(m.Path(file), tt.want, 0o644)
				if !errors.Is(err, unix.EIO) {
					t.Errorf("%s: %v, want EIO", file, err)
				}
				o.gone(file)
				wantFile(t, m.Path(file), tt.want)
				m.proxy.Set(faultproxy.Pass)
				commit(t, m.Path(file))
				o.check(md, file, tt.want)
			}
			m.stripCopies(t, o, md, small, strip)
		})
	}
}

// commit writes what waits in the spool.
func commit(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	must(t, errors.Join(f.Sync(), f.Close()))
}

// stripCopies takes the encryption from copies: a rename fails and leaves the
// source; a chmod fails, and what it left is put right by the next.
func (m *mount) stripCopies(t *testing.T, o observer, md mode, want []byte, strip func(faultproxy.Match)) {
	t.Helper()
	from, to := md.name+"/put", md.name+"/moved"
	strip(isCopy)
	if err := os.Rename(m.Path(from), m.Path(to)); !errors.Is(err, unix.EIO) {
		t.Errorf("rename: %v, want EIO", err)
	}
	o.gone(to)
	o.check(md, from, want)
	chmod := func(mode os.FileMode) error {
		f, err := os.Open(m.Path(from))
		must(t, err)
		return errors.Join(os.Chmod(m.Path(from), mode), f.Sync(), f.Close())
	}
	if err := chmod(0o600); !errors.Is(err, unix.EIO) {
		t.Errorf("chmod: %v, want EIO", err)
	}
	m.proxy.Set(faultproxy.Pass)
	must(t, chmod(0o640))
	o.check(md, from, want)
	wantFile(t, m.Path(from), want)
	must(t, os.Rename(m.Path(from), m.Path(to)))
	o.check(md, to, want)
	m.Remount(t)
	wantFile(t, m.Path(to), want)
}

// A server that encrypts and does not say so in its answers is asked by HEAD.
func TestEncryptionConfirmedByHead(t *testing.T) {
	k := newKeys(t, nil)
	md := mode{name: "sse-s3", rule: "mode: sse-s3", algorithm: "AES256"}
	m := newMount(t, mountOptions{Proxy: true, YAML: func(bucket string) string { return k.yaml(bucket, rules([]mode{md})) }})
	o := newObserver(t, m.bucket, k)
	must(t, os.Mkdir(m.Path("sse-s3"), 0o755)) // MinIO tells two ETags of a directory
	m.proxy.Set(faultproxy.StripReply(faultproxy.Mutating, encryptionHeaders))
	for name, want := range map[string][]byte{"small": content(1, 100), "large": content(2, 20<<20)} {
		writeFile(t, m.Path("sse-s3/"+name), want)
		o.check(md, "sse-s3/"+name, want)
		must(t, os.Rename(m.Path("sse-s3/"+name), m.Path("sse-s3/moved-"+name)))
		o.check(md, "sse-s3/moved-"+name, want)
	}
}
