package integration

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"golang.org/x/sys/unix"
)

// A plaintext in the place of a ciphertext is not read, unless the rule says so.
func TestDowngrade(t *testing.T) {
	k := newKeys(t, nil)
	m := newMount(t, mountOptions{YAML: func(bucket string) string {
		return k.yaml(bucket, []string{
			"mode: client, key: main",
			"prefix: open/, mode: client, key: main, allow-plaintext: true",
			"prefix: s3ec/, mode: s3ec, key: s3ec",
			"prefix: s3ec-open/, mode: s3ec, key: s3ec, allow-plaintext: true",
			"prefix: kms/, mode: sse-kms, key: minio, require-encryption: true",
			"prefix: kms-open/, mode: sse-kms, key: minio",
			"prefix: sse/, mode: sse-s3, require-encryption: true",
		})
	}})
	o := newObserver(t, m.bucket, k)
	planted := []byte("planted")
	sseS3 := []string{"--server-side-encryption", "AES256"}
	byKMS := []string{"--server-side-encryption", "aws:kms", "--ssekms-key-id", minioKey}
	for _, tt := range []struct {
		name string
		how  []string
		want error
	}{
		{"shut/x", nil, unix.EBADMSG},
		{"shut/sse", sseS3, unix.EBADMSG}, // the server's encryption is not the client's
		{"open/x", nil, nil},
		{"s3ec/x", nil, unix.EBADMSG},
		{"s3ec-open/x", nil, nil},
		{"kms/x", nil, unix.EBADMSG},
		{"kms/sse-s3", sseS3, unix.EBADMSG},
		{"kms/as-asked", byKMS, nil},
		{"kms-open/x", nil, nil},
		{"sse/x", nil, unix.EBADMSG},
		{"sse/stronger", byKMS, nil},
	} {
		o.put(tt.name, planted, tt.how...)
		got, err := readAll(m.Path(tt.name))
		if tt.want == nil && (err != nil || !bytes.Equal(got, planted)) || tt.want != nil && (!errors.Is(err, tt.want) || len(got) != 0) {
			t.Errorf("%s: %q, %v, want %v", tt.name, got, err, tt.want)
		}
	}
	m.WantLog(t, "shut/x", "kms/x", "requires sse-kms")
}

// requests are what a proxy has seen of objects' bodies.
type requests struct {
	mu   sync.Mutex // guards seen
	seen []string
}

func (q *requests) fault(w http.ResponseWriter, r *http.Request, next http.Handler) {
	what := ""
	switch {
	case isCopy(r):
		what = "copy"
	case r.Method == http.MethodPut, r.Method == http.MethodPost && r.URL.Query().Has("uploadId"):
		what = "put"
	case r.Method == http.MethodGet && strings.HasPrefix(r.Header.Get("Range"), "bytes=-"):
		// the end of a body, as it comes with its metadata
	case r.Method == http.MethodGet && !r.URL.Query().Has("list-type") && !r.URL.Query().Has("tagging") && !strings.Contains(r.URL.Path, "/.sigil/"):
		what = "get"
	}
	if what != "" {
		q.mu.Lock()
		q.seen = append(q.seen, what)
		q.mu.Unlock()
	}
	next.ServeHTTP(w, r)
}

func (q *requests) count(what string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, s := range q.seen {
		if s == what {
			n++
		}
	}
	return n
}

// A rename between rules is a copy within S3 where S3 can change the
// encryption, and goes through this host where only it can.
func TestRenameAcrossRules(t *testing.T) {
	k := newKeys(t, nil)
	modes := []mode{
		{name: "none", rule: "mode: none"},
		{name: "sse-s3", rule: "mode: sse-s3", algorithm: "AES256"},
		{name: "sse-kms", rule: "mode: sse-kms, key: minio", algorithm: "aws:kms"},
		{name: "c3", rule: "mode: sse-c, key: c3", algorithm: "SSE-C", customer: 3},
		{name: "c1", rule: "mode: sse-c, key: c1", algorithm: "SSE-C", customer: 1},
		{name: "client", rule: "mode: client, key: main", format: sealed},
		{name: "client-sse", rule: "mode: client, key: main, sse: sse-s3", algorithm: "AES256", format: sealed},
		{name: "client-age", rule: "mode: client, key: escrow", format: sealed},
		{name: "s3ec", rule: "mode: s3ec, key: s3ec", format: s3ecV3},
	}
	within := map[string]int{"none": 1, "sse-s3": 1, "sse-kms": 1, "c3": 1, "c1": 1, "client": 2, "client-sse": 2}
	m := newMount(t, mountOptions{Proxy: true, YAML: func(bucket string) string { return k.yaml(bucket, rules(modes)) }})
	o := newObserver(t, m.bucket, k)
	want := content(1, 3<<20)
	for _, md := range modes {
		must(t, os.Mkdir(m.Path(md.name), 0o755))
	}
	for _, from := range modes {
		for _, to := range modes {
			if from.name == to.name {
				continue
			}
			source, target := from.name+"/to-"+to.name, to.name+"/from-"+from.name
			writeFile(t, m.Path(source), want)
			q := &requests{}
			m.proxy.Set(q.fault)
			must(t, os.Rename(m.Path(source), m.Path(target)))
			m.proxy.Set(faultproxy.Pass)
			o.check(to, target, want)
			o.gone(source)
			inside := within[from.name] != 0 && within[from.name] == within[to.name]
			gets, puts, copies := q.count("get"), q.count("put"), q.count("copy")
			if inside != (copies == 1 && puts == 0 && gets == 0) || !inside && puts == 0 {
				t.Errorf("%s: %d copies, %d puts, %d gets; within S3: %v", target, copies, puts, gets, inside)
			}
			must(t, os.Remove(m.Path(target)))
		}
	}
}

// A host that is killed while it moves a large file between rules leaves it
// whole, under one name or the other, and never in the clear where the rule
// has it sealed.
func TestKillAcrossRules(t *testing.T) {
	k := newKeys(t, nil)
	modes := []mode{
		{name: "sse-c", rule: "mode: sse-c, key: c3", algorithm: "SSE-C", customer: 3},
		{name: "client", rule: "mode: client, key: main", format: sealed},
		{name: "s3ec", rule: "mode: s3ec, key: s3ec", format: s3ecV3},
	}
	want := content(1, 18<<20)
	for i, from := range modes {
		to := modes[(i+1)%len(modes)]
		t.Run(from.name+" to "+to.name, func(t *testing.T) {
			m := newMount(t, mountOptions{Proxy: true, YAML: func(bucket string) string { return k.yaml(bucket, rules(modes)) }})
			o := newObserver(t, m.bucket, k)
			must(t, os.Mkdir(m.Path(from.name), 0o755))
			must(t, os.Mkdir(m.Path(to.name), 0o755))
			place := func(dir string, md mode) string { return md.name + strings.TrimPrefix(dir, m.Dir()) }
			tt := crashCase{
				prepare: func(t *testing.T, dir string) { t.Helper(); writeFile(t, m.Path(place(dir, from)), want) },
				act:     func(dir string) error { return os.Rename(m.Path(place(dir, from)), m.Path(place(dir, to))) },
				check: func(t *testing.T, dir string, done bool) {
					t.Helper()
					there := 0
					for _, md := range []mode{from, to} {
						key := place(dir, md)
						if _, err := os.Lstat(m.Path(key)); err == nil {
							there++
							wantFile(t, m.Path(key), want)
							o.check(md, key, want)
						}
					}
					if _, err := os.Lstat(m.Path(place(dir, from))); there == 0 || done && err == nil {
						t.Errorf("under %d names, %v (acknowledged: %v)", there, err, done)
					}
				},
			}
			killAtEach(t, m, tt)
		})
	}
}
