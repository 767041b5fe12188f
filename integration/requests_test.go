package integration

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
)

// manyFiles is how many small files the tools copy: enough that what a tool
// asks once does not count.
const manyFiles = 200

// ledger counts the requests of a mount about its own bucket, by what they ask.
// Those by which it finds out what the server can do are not a tool's.
type ledger struct {
	bucket string

	mu    sync.Mutex // guards count
	count map[string]int
}

// Fault counts a request and passes it on.
func (l *ledger) Fault(w http.ResponseWriter, r *http.Request, next http.Handler) {
	verb := r.Method
	switch {
	case r.Header.Get("X-Amz-Copy-Source") != "":
		verb = "COPY"
	case r.URL.Query().Has("list-type"):
		verb = "LIST"
	}
	if strings.HasPrefix(r.URL.Path, "/"+l.bucket) && !strings.Contains(r.URL.Path+r.URL.Query().Get("prefix"), ".sigil/") {
		l.mu.Lock()
		l.count[verb]++
		l.mu.Unlock()
	}
	next.ServeHTTP(w, r)
}

func (l *ledger) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count = map[string]int{}
}

// each gives the requests for one of n files, and what they were.
func (l *ledger) each(n int) (float64, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	total := 0
	var all []string
	for _, verb := range slices.Sorted(maps.Keys(l.count)) {
		total += l.count[verb]
		all = append(all, fmt.Sprintf("%s %d", verb, l.count[verb]))
	}
	return float64(total) / float64(n), strings.Join(all, ", ")
}

// smallFiles makes a directory of n files.
func smallFiles(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "source")
	must(t, os.Mkdir(dir, 0o755))
	for i := range n {
		p := filepath.Join(dir, fmt.Sprintf("file%03d", i))
		writeFile(t, p, content(uint64(i), int64(100+i)))
		must(t, os.Chmod(p, 0o640))
	}
	setTimes(t, dir)
	return dir
}

// A directory in use is asked for every --attr-timeout, and its listing, as long
// as a tool takes: so many requests in a second. A tool that takes longer than
// usualTime, on a busy machine, may send as many more.
const (
	asideRate = 5
	usualTime = 4 * time.Second
)

// What the tools cost, each through to the end of the mount, when all that was
// gathered is in the bucket.
func TestRequestsOfTools(t *testing.T) {
	k := newKeys(t, nil)
	src := smallFiles(t, manyFiles)
	archive := filepath.Join(t.TempDir(), "source.tar")
	newTool(t, src, "tar").run("tar", "--format=posix", "-cf", archive, ".")
	for _, m := range []struct {
		name, rule string
		rsync      float64
	}{
		{"client", "mode: client, key: main", 3.2},
		{"sse-s3", "mode: sse-s3", 4.2}, // MinIO says nothing of encryption to a copy
		{"none", "mode: none", 3.2},
	} {
		for _, tool := range []struct {
			name string
			most float64
			argv func(dst string) []string
		}{
			{"rsync", m.rsync, func(dst string) []string { return []string{"rsync", "-a", src + "/", dst} }},
			{"cp", 1.3, func(dst string) []string { return []string{"cp", "-a", src + "/.", dst} }},
			{"tar", 1.3, func(dst string) []string { return []string{"tar", "xf", archive, "-C", dst} }},
		} {
			t.Run(m.name+"/"+tool.name, func(t *testing.T) {
				mnt := newMount(t, mountOptions{Proxy: true, YAML: func(bucket string) string { return k.yaml(bucket, []string{m.rule}) }})
				l := &ledger{bucket: mnt.bucket}
				l.reset()
				mnt.proxy.Set(l.Fault)
				dst := mnt.Path("copy")
				must(t, os.Mkdir(dst, 0o755))
				began := time.Now()
				newTool(t, src, tool.argv(dst)[0]).run(tool.argv(dst)...)
				took := time.Since(began)
				mnt.Unmount(t)
				got, what := l.each(manyFiles)
				t.Logf("%.3f requests a file in %v: %s", got, took.Round(time.Millisecond), what)
				if slow := max(0, took-usualTime).Seconds(); got > tool.most+asideRate*slow/manyFiles {
					t.Errorf("%.3f requests a file, want at most %.1f", got, tool.most)
				}
				mnt.proxy.Set(faultproxy.Pass)
				mnt.Start(t)
				sameTree(t, src, dst)
			})
		}
	}
}
