package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
)

// manyFiles is how many small files the tools copy: enough that what a tool
// asks once does not count.
const manyFiles = 200

// ofVolume chooses the requests of a mount about its own bucket: those by which
// it finds out what the server can do are not a tool's.
func ofVolume(bucket string) faultproxy.Match {
	return func(r *http.Request) bool {
		return strings.HasPrefix(r.URL.Path, "/"+bucket) && !strings.Contains(r.URL.Path+r.URL.Query().Get("prefix"), ".sigil/")
	}
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
				meter := faultproxy.NewMeter(ofVolume(mnt.bucket))
				mnt.proxy.Set(meter.Fault)
				dst := mnt.Path("copy")
				must(t, os.Mkdir(dst, 0o755))
				began := time.Now()
				newTool(t, src, tool.argv(dst)[0]).run(tool.argv(dst)...)
				took := time.Since(began)
				mnt.Unmount(t)
				tally := meter.Take()
				got := float64(tally.Requests()) / manyFiles
				t.Logf("%.3f requests a file in %v: %v", got, took.Round(time.Millisecond), tally)
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
