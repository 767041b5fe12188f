package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/build"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stored is the length of an object as AWS's command line tells it.
func (r rescuer) stored(key string) int64 {
	r.t.Helper()
	r.fetch(key)
	var head struct{ ContentLength int64 }
	raw, err := os.ReadFile(r.dir + "/head.json")
	must(r.t, err)
	must(r.t, json.Unmarshal(raw, &head))
	return head.ContentLength
}

// What is compressed takes less room in the bucket, reads as it was written, also
// after parts of it changed, and opens without sigilfs.
func TestCompressedFiles(t *testing.T) {
	m := newMount(t, mountOptions{Args: []string{"--compress", "zstd"}})
	text := []byte(strings.Repeat("The quick brown fox jumps over the lazy dog; and what follows is not the same.\n", 1<<18))
	for i := range text {
		if i%1009 == 0 {
			text[i] = byte('a' + i/1009%26)
		}
	}
	noise := content(3, 3*segment+5)
	for name, want := range map[string][]byte{"text": text, "noise": noise, "empty": nil, "small": []byte("small")} {
		writeFile(t, m.Path(name), want)
	}
	f, err := os.OpenFile(m.Path("noise"), os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt(text[:segment+77], segment/2)
	must(t, err)
	must(t, f.Close())
	copy(noise[segment/2:], text[:segment+77])
	f, err = os.OpenFile(m.Path("text"), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.Write([]byte("the end"))
	must(t, err)
	must(t, f.Close())
	text = append(text, "the end"...)
	must(t, os.Rename(m.Path("small"), m.Path("renamed")))
	m.Unmount(t)

	r := newRescuer(t, m)
	if n := r.stored(m.Key("text")); n > int64(len(text))/20 {
		t.Errorf("%d bytes of text take %d", len(text), n)
	}
	if n := r.stored(m.Key("noise")); n > int64(len(noise))-segment/2 || n < int64(len(noise))-2*segment {
		t.Errorf("%d bytes of noise and some text take %d", len(noise), n)
	}
	files := map[string][]byte{"text": text, "noise": noise, "empty": nil, "renamed": []byte("small")}
	for name, want := range files {
		if got, err := r.decrypt(name, "--aes-key", m.key); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s opens as %d bytes, %v", name, len(got), err)
		}
	}
	m.Start(t)
	for name, want := range files {
		if got, err := os.ReadFile(m.Path(name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s reads as %d bytes, %v", name, len(got), err)
		}
	}
}

// Text takes hardly more than `zstd -1` makes of it, and what does not shrink hardly
// more than it is: a frame of 256 KiB has 19 bytes more, a segment 16, a body 296.
func TestCompressedSize(t *testing.T) {
	m := newMount(t, mountOptions{Args: []string{"--compress", "zstd"}})
	tools := newTool(t, t.TempDir(), "zstd")
	tree := filepath.Join(tools.dir, "tree.tar")
	tools.run("tar", "-C", filepath.Join(build.Default.GOROOT, "src"), "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-cf", tree, "net", "go", "os")
	source, err := os.ReadFile(tree)
	must(t, err)
	files := map[string][]byte{"tree.tar": source, "access.log": accessLog(100_000), "noise": content(5, 2*segment+5)}
	for name, want := range files {
		writeFile(t, m.Path(name), want)
	}
	m.Unmount(t)

	r := newRescuer(t, m)
	for name, want := range files {
		local := filepath.Join(tools.dir, name)
		must(t, os.WriteFile(local, want, 0o600))
		tools.run("zstd", "-q", "-1", local, "-o", local+".zst")
		packed, err := os.Stat(local + ".zst")
		must(t, err)
		n, frames, segments := r.stored(m.Key(name)), (int64(len(want))+256<<10-1)/(256<<10), (int64(len(want))+segment-1)/segment
		t.Logf("%s: %d bytes, %d as stored, %d by zstd -1: %.3f", name, len(want), n, packed.Size(), float64(n)/float64(packed.Size()))
		if name == "noise" {
			if most := int64(len(want)) + 19*frames + 16*segments + 296; n != most {
				t.Errorf("%s takes %d bytes, not %d", name, n, most)
			}
		} else if n*100 > packed.Size()*105 {
			t.Errorf("%s takes %d bytes, zstd -1 %d", name, n, packed.Size())
		}
	}
}

// accessLog is what a web server writes, of so many lines.
func accessLog(lines int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	paths := []string{"/api/v1/users/%d", "/static/app.%x.js", "/api/v1/orders/%d/items", "/search?q=%d"}
	var b bytes.Buffer
	at := time.Unix(1_700_000_000, 0).UTC()
	for range lines {
		at = at.Add(time.Duration(random.IntN(int(time.Second))))
		fmt.Fprintf(&b, "10.%d.%d.%d - - [%s] \"GET "+paths[random.IntN(len(paths))]+" HTTP/1.1\" %d %d \"-\" \"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\"\n",
			random.IntN(4), random.IntN(256), random.IntN(256), at.Format("02/Jan/2006:15:04:05 -0700"), random.IntN(1<<20),
			[]int{200, 200, 200, 304, 404}[random.IntN(5)], random.IntN(90_000))
	}
	return b.Bytes()
}
