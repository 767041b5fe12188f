package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"golang.org/x/sys/unix"
)

// generations is a mount whose rule writes under c3, and that reads c1 and c2.
func generations(t *testing.T, k keys, also ...string) *mount {
	t.Helper()
	return newMount(t, mountOptions{
		Proxy: true, Args: []string{"--debug", "--attr-timeout", "0s"},
		YAML: func(bucket string) string { return k.yaml(bucket, []string{"mode: sse-c, key: c3"}, also...) },
	})
}

// planted is what other hosts put there in the course of three years.
func planted(o observer, n int) map[string][]byte {
	all := map[string][]byte{}
	for i := range n {
		for g := range 4 { // 0 is plain
			name := fmt.Sprintf("old/g%d-%d", g, i)
			all[name] = content(uint64(10*i+g), int64(i*50_000))
			o.put(name, all[name], o.customer(g)...)
		}
	}
	o.put("old/dir1/", nil, o.customer(1)...)
	o.put("old/dir0/", nil)
	return all
}

// Three generations of keys and none, side by side: all of it reads, and what is
// changed comes under the key of today.
func TestSSECGenerations(t *testing.T) {
	k := newKeys(t, nil)
	m := generations(t, k, "c1", "c2")
	o := newObserver(t, m.bucket, k)
	files := planted(o, 2)
	now := mode{algorithm: "SSE-C", customer: 3}
	newTool(t, m.Dir(), "ls").run("ls", "-lR")
	for name, want := range files {
		wantFile(t, m.Path(name), want)
		if info, err := os.Stat(m.Path(name)); err != nil || info.Size() != int64(len(want)) {
			t.Errorf("stat %s: %v, %v", name, info, err)
		}
	}
	var asked atomic.Int64
	m.proxy.Set(faultproxy.Count(asksForTags, &asked))
	m.Remount(t)
	for name, want := range files {
		wantFile(t, m.Path(name), want)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("after a remount %d objects were asked for their key: it does not remember", n)
	}
	m.proxy.Set(faultproxy.Pass)
	cp := newTool(t, m.Dir(), "cp")
	must(t, os.Mkdir(m.Path("new"), 0o755))
	for name, want := range files {
		base := filepath.Base(name)
		cp.run("cp", name, "new/copy-"+base)
		o.check(now, "new/copy-"+base, want)
		must(t, os.Chmod(m.Path(name), 0o600))
		syncFile(t, m.Path(name))
		must(t, os.Rename(m.Path(name), m.Path("new/"+base)))
		o.check(now, "new/"+base, want)
		wantFile(t, m.Path("new/"+base), want)
		o.gone(name)
		if strings.HasPrefix(base, "g3") {
			continue // a copy under the same key keeps its tags: it has none
		}
		if tags := o.must("get-object-tagging", "--key", "new/"+base); !strings.Contains(tags, "sigil-key-id") {
			t.Errorf("%s has no tag of its key: %s", base, tags)
		}
	}
	m.Remount(t)
	for name, want := range files {
		wantFile(t, m.Path("new/"+filepath.Base(name)), want)
	}
	m.noCustomerKeys(t, k)
}

// Files that are no more to be under SSE-C are written over those that are, renamed
// over them and removed, though MinIO wants a key before it looks at a condition.
func TestSSECIsLeft(t *testing.T) {
	k := newKeys(t, nil)
	m := newMount(t, mountOptions{YAML: func(bucket string) string { return k.yaml(bucket, []string{"mode: sse-c, key: c1"}) }})
	sizes := map[string]int64{"empty": 0, "small": 1000, "parts": 18 << 20}
	for name := range sizes {
		for _, what := range []string{"over-", "under-", "gone-"} {
			writeFile(t, m.Path(what+name), content(1, 5000))
		}
	}
	m.Reconfigure(t, k.yaml(m.bucket, []string{"mode: sse-s3"}, "c1"))
	o, now := newObserver(t, m.bucket, k), mode{algorithm: "AES256"}
	for name, size := range sizes {
		text := content(2, size)
		writeFile(t, m.Path("over-"+name), text)
		o.check(now, "over-"+name, text)
		writeFile(t, m.Path("new-"+name), text)
		must(t, os.Rename(m.Path("new-"+name), m.Path("under-"+name)))
		o.check(now, "under-"+name, text)
		must(t, os.Remove(m.Path("gone-"+name)))
		o.gone("gone-" + name)
	}
	m.Reconfigure(t, k.yaml(m.bucket, []string{"mode: sse-s3"}))
	for name, size := range sizes {
		wantFile(t, m.Path("over-"+name), content(2, size))
		wantFile(t, m.Path("under-"+name), content(2, size))
	}
}

// asksForTags chooses what asks an object that today's key does not open for its
// tags, of which one says which key does.
func asksForTags(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Query().Has("tagging")
}

// noCustomerKeys looks for keys wherever somebody else might.
func (m *mount) noCustomerKeys(t *testing.T, k keys) {
	t.Helper()
	log := []byte(m.daemon.Log())
	places := map[string][]byte{"the log": log}
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", m.daemon.PID(), name))
		must(t, err)
		places[name] = b
	}
	for g := 1; g <= 3; g++ {
		secret, err := os.ReadFile(k.customer(g))
		must(t, err)
		for where, text := range places {
			for _, form := range []string{string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret)} {
				if bytes.Contains(text, []byte(form)) {
					t.Errorf("key c%d is in %s", g, where)
				}
			}
		}
		for _, name := range filesWith(t, m.state, secret) {
			t.Errorf("key c%d is in %s", g, name)
		}
	}
}

// A key that is not this host's is named if its object says which it is.
func TestSSECKeysThatAreMissing(t *testing.T) {
	k := newKeys(t, nil)
	m := generations(t, k)
	o := newObserver(t, m.bucket, k)
	o.put("untagged", content(1, 1000), o.customer(1)...)
	o.put("tagged", content(2, 1000), append(o.customer(2), "--tagging", "sigil-key-id=0123456789abcdef")...)
	o.put("dir/", nil, o.customer(1)...)
	for name, want := range map[string]error{"untagged": unix.EKEYREJECTED, "tagged": unix.ENOKEY} {
		if got, err := readAll(m.Path(name)); !errors.Is(err, want) || len(got) != 0 {
			t.Errorf("%s: %d bytes, %v, want %v", name, len(got), err, want)
		}
		if info, err := os.Lstat(m.Path(name)); err != nil || info.Size() != 1000 {
			t.Errorf("ls -l %s: %v, %v", name, info, err)
		}
		if err := os.Chmod(m.Path(name), 0o600); err == nil {
			t.Errorf("chmod %s without its key", name)
		}
	}
	if _, err := os.ReadDir(m.Path("dir")); err != nil {
		t.Error(err)
	}
	m.WantLog(t, "0123456789abcdef", "untagged")
	m.noCustomerKeys(t, k)
}

// What AWS answers where a bucket blocks SSE-C, as new ones do.
const blocked = `User: u is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::b/k" because this bucket has blocked upload requests ` +
	`that specify Server Side Encryption with Customer provided keys (SSE-C). Please specify a different server-side encryption type`

func TestSSECRefused(t *testing.T) {
	k := newKeys(t, nil)
	rule := []string{"mode: sse-c, key: c1"}
	t.Run("blocked by the bucket", func(t *testing.T) {
		s3, bucket := minioServer(t), newBucket(t)
		proxy := newProxy(t, &s3)
		withKey := func(r *http.Request) bool {
			return isPut(r) && r.Header.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != ""
		}
		proxy.Set(faultproxy.Say(withKey, http.StatusForbidden, "AccessDenied", blocked))
		text := mountRefused(t, yamlMount(t, s3, bucket, k.yaml(bucket, rule)), daemon.ExitMount)
		wants(t, text, "SSE-C", "April 2026", "BlockedEncryptionTypes", "another mode")
		if n := strings.Count(text, "April 2026"); n != 1 {
			t.Errorf("it says so %d times", n)
		}
	})
	t.Run("plain http", func(t *testing.T) {
		s3, bucket := minioServer(t), newBucket(t)
		proxy, err := faultproxy.StartPlain(s3.URL, readFile(t, s3.CAFile))
		must(t, err)
		t.Cleanup(proxy.Close)
		s3.URL = proxy.URL()
		cfg := yamlMount(t, s3, bucket, k.yaml(bucket, rule))
		var asked atomic.Int64
		proxy.Set(faultproxy.Count(func(r *http.Request) bool { return r.Header.Get("X-Amz-Server-Side-Encryption-Customer-Key") != "" }, &asked))
		text := mountRefused(t, cfg, daemon.ExitUsage)
		wants(t, text, "sse-c", "https")
		if asked.Load() != 0 {
			t.Error("the key went out in the clear")
		}
	})
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	return b
}
