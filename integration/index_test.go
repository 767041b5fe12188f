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

// A known tree is looked through, after a remount, for two requests a directory
// and one for a thousand entries, where it is listed at all: no file is asked for.
func TestKnownTree(t *testing.T) {
	const dirs, files = 12, 60
	src := filepath.Join(t.TempDir(), "source")
	for d := range dirs {
		for i := range files {
			p := filepath.Join(src, fmt.Sprintf("dir%02d", d), fmt.Sprintf("file%03d", i))
			must(t, os.MkdirAll(filepath.Dir(p), 0o755))
			writeFile(t, p, content(uint64(d*files+i), int64(100+i)))
			must(t, os.Chmod(p, 0o640))
		}
	}
	mnt := newMount(t, mountOptions{Proxy: true})
	dst := mnt.Path("tree")
	newTool(t, src, "rsync").run("rsync", "-a", "--modify-window=-1", src+"/", dst) // else times stay that are right to the second
	for _, tc := range []struct {
		tool []string
		most int // requests a directory
	}{
		{[]string{"find", dst, "-printf", `%P %y %m %U %G %s %T@\n`}, 2},
		{[]string{"ls", "-lR", "--time-style=full-iso", dst}, 2},
		{[]string{"rsync", "-a", "--dry-run", "--itemize-changes", src + "/", dst}, 3}, // it lists nothing there
		{[]string{"du", "-s", "--apparent-size", dst}, 2},
	} {
		tool := tc.tool
		t.Run(tool[0], func(t *testing.T) {
			mnt.proxy.Set(faultproxy.Pass)
			want := newTool(t, src, tool[0]).run(tool...)
			mnt.Unmount(t)
			mnt.Start(t)
			meter := faultproxy.NewMeter(func(r *http.Request) bool {
				return strings.HasPrefix(r.URL.Path, "/"+mnt.bucket) && !strings.Contains(r.URL.Path, ".sigil/epochs")
			})
			mnt.proxy.Set(meter.Fault)
			began := time.Now()
			got := newTool(t, src, tool[0]).run(tool...)
			tally := meter.Take()
			t.Logf("%v: %v", time.Since(began).Round(time.Millisecond), tally)
			if most := tc.most*(dirs+1) + dirs*files/1000 + 10; tally.Requests() > most {
				t.Errorf("%d requests, want at most %d", tally.Requests(), most)
			}
			if got != want {
				t.Errorf("shows\n%s\nand showed\n%s", got, want)
			}
		})
	}
}
