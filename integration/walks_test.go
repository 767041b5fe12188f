package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
)

// walked is what a tool costs that reads a directory of small files which nothing
// is known of: requests a file.
type walked struct {
	tool string
	argv func(t *testing.T, dir string) []string
	most float64
}

// crowd counts the requests that are under way at one time.
type crowd struct{ now, most atomic.Int64 }

func (c *crowd) fault(w http.ResponseWriter, r *http.Request, next http.Handler) {
	n := c.now.Add(1)
	defer c.now.Add(-1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	next.ServeHTTP(w, r)
}

// readers are programs that read all of a directory, each in its own order.
func readers(src string) []walked {
	return []walked{
		{"tar", func(t *testing.T, dir string) []string {
			return []string{"tar", "-C", dir, "-cf", filepath.Join(t.TempDir(), "out.tar"), "."}
		}, 1.15},
		{"cp", func(t *testing.T, dir string) []string { return []string{"cp", "-a", dir + "/.", t.TempDir()} }, 1.15},
		{"grep", func(_ *testing.T, dir string) []string { return []string{"grep", "-rc", "", dir} }, 1.15},
		// It looks at all files before it reads the first.
		{"rsync", func(t *testing.T, dir string) []string { return []string{"rsync", "-a", dir + "/", t.TempDir()} }, 2.2},
		{"find", func(_ *testing.T, dir string) []string { return []string{"find", dir, "-printf", `%s %m %T@\n`} }, 1.15},
		{"restic", func(t *testing.T, dir string) []string {
			return []string{"sh", "-c", `export RESTIC_PASSWORD=x; restic -q init -r "$1" && restic -q backup -r "$1" "$2"`, "sh", t.TempDir(), dir}
		}, 1.15},
		{"diff", func(_ *testing.T, dir string) []string { return []string{"diff", "-r", src, dir} }, 1.15},
	}
}

// Who reads a directory of small files has the rest of it fetched ahead, sixteen
// at a time, whatever the order; how much faster that is is for make bench to
// say, on a machine that does nothing else.
func TestReadersOfSmallFiles(t *testing.T) {
	const files = 300
	src := filepath.Join(t.TempDir(), "source")
	must(t, os.Mkdir(src, 0o755))
	for i := range files {
		writeFile(t, filepath.Join(src, fmt.Sprintf("file%03d", i)), content(uint64(i), int64(4000+i*200)))
	}
	for _, rule := range []string{"client", "none"} {
		mnt := newMount(t, mountOptions{Proxy: true, YAML: func(bucket string) string {
			return newKeys(t, nil).yaml(bucket, []string{map[string]string{"client": "mode: client, key: main", "none": "mode: none"}[rule]})
		}})
		dst := mnt.Path("d")
		newTool(t, src, "cp").run("cp", "-a", src, dst)
		for _, w := range readers(src) {
			t.Run(rule+"/"+w.tool, func(t *testing.T) {
				mnt.Unmount(t)
				newClient(t, mnt.bucket).remove(".sigil/index/")
				mnt.Start(t)
				meter, crowd := faultproxy.NewMeter(ofVolume(mnt.bucket)), &crowd{}
				mnt.proxy.Set(faultproxy.Chain(meter.Fault, crowd.fault, faultproxy.Jitter(30*time.Millisecond)))
				tool := newTool(t, src, w.tool)
				argv := w.argv(t, dst)
				began := time.Now()
				tool.run(argv...)
				took := time.Since(began)
				tally := meter.Take()
				mnt.proxy.Set(faultproxy.Pass)
				each := float64(tally.Requests()) / files
				t.Logf("%v, %.3f requests a file, %d at a time: %v", took.Round(time.Millisecond), each, crowd.most.Load(), tally)
				if each > w.most+asideRate*took.Seconds()/files {
					t.Errorf("%.3f requests a file, want at most %.2f", each, w.most)
				}
				if most := crowd.most.Load(); most < 12 || most > 24 {
					t.Errorf("%d requests at a time", most)
				}
			})
		}
	}
}

// Who goes through a tree of small directories waits for about one answer in
// each.
func TestReadersOfTrees(t *testing.T) {
	const dirs, files = 40, 6
	src := filepath.Join(t.TempDir(), "source")
	for d := range dirs {
		sub := filepath.Join(src, fmt.Sprintf("dir%02d", d))
		must(t, os.MkdirAll(sub, 0o755))
		for i := range files {
			writeFile(t, filepath.Join(sub, fmt.Sprintf("file%d", i)), content(uint64(d*files+i), int64(5000+100*i)))
		}
	}
	mnt := newMount(t, mountOptions{Proxy: true, YAML: func(bucket string) string {
		return newKeys(t, nil).yaml(bucket, []string{"mode: none"})
	}})
	dst := mnt.Path("tree")
	newTool(t, src, "cp").run("cp", "-a", src, dst)
	for _, w := range readers(src) {
		if w.tool == "rsync" || w.tool == "find" {
			continue
		}
		t.Run(w.tool, func(t *testing.T) {
			mnt.Remount(t)
			meter, crowd := faultproxy.NewMeter(ofVolume(mnt.bucket)), &crowd{}
			mnt.proxy.Set(faultproxy.Chain(meter.Fault, crowd.fault, faultproxy.Jitter(30*time.Millisecond)))
			tool, argv := newTool(t, src, w.tool), w.argv(t, dst)
			began := time.Now()
			tool.run(argv...)
			took := time.Since(began)
			tally := meter.Take()
			mnt.proxy.Set(faultproxy.Pass)
			t.Logf("%v, %d at a time: %v", took.Round(time.Millisecond), crowd.most.Load(), tally)
			if most := int(1.2*dirs*(files+2)) + int(asideRate*took.Seconds()); tally.Requests() > most {
				t.Errorf("%d requests, want at most %d", tally.Requests(), most)
			}
			if crowd.most.Load() < files {
				t.Errorf("%d requests at a time", crowd.most.Load())
			}
		})
	}
}
