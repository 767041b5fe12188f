package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"golang.org/x/sys/unix"
)

// A cachedMount keeps what it reads on disk.
type cachedMount struct {
	*mount
	cache string
	meter *faultproxy.Meter
}

// newCachedMount makes one, in mode client with more rules, behind a meter.
func newCachedMount(t *testing.T, rules []string, args ...string) *cachedMount {
	t.Helper()
	c := &cachedMount{cache: filepath.Join(t.TempDir(), "cache")}
	k := newKeys(t, nil)
	c.mount = newMount(t, mountOptions{
		Proxy: true, Args: append([]string{"--cache", c.cache}, args...),
		YAML: func(bucket string) string {
			return k.yaml(bucket, append([]string{"mode: client, key: main"}, rules...))
		},
	})
	c.meter = faultproxy.NewMeter(ofVolume(c.bucket))
	c.proxy.Set(c.meter.Fault)
	return c
}

// forget has the kernel forget what it has of a file, so that a read of it
// reaches the daemon.
func forget(t *testing.T, f *os.File) {
	t.Helper()
	must(t, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// held is what the blocks in a cache directory take on disk.
func held(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, "sigilfs.blocks"))
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// numbered is content that every place of is told by.
func numbered(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "READABLE-line-%09d-of-the-file\n", i)
	}
	return b.Bytes()[:n]
}

// What a mount has read the next one has on disk, in every mode, after an end
// and after a crash; and nothing of it can be read there.
func TestCacheOutlivesTheMount(t *testing.T) {
	c := newCachedMount(t, []string{"prefix: none/, mode: none", "prefix: sse/, mode: sse-s3"})
	files := map[string][]byte{}
	for _, dir := range []string{"client", "none", "sse"} {
		must(t, os.Mkdir(c.Path(dir), 0o755))
		files[dir+"/large"], files[dir+"/small"] = numbered(12<<20+345), numbered(100<<10)
	}
	for name, text := range files {
		writeFile(t, c.Path(name), text)
	}
	read := func() int64 {
		t.Helper()
		c.meter.Take()
		due := int64(0)
		for name, text := range files {
			wantFile(t, c.Path(name), text)
			// A disk that is too slow keeps less; so let it.
			due += int64(len(text))
			wait(t, func() bool { return held(t, c.cache) >= due })
		}
		return c.meter.Take().Received
	}
	c.Remount(t)
	if n := read(); n < 36<<20 {
		t.Errorf("%d bytes came of what nobody had read yet", n)
	}
	for i, end := range []func(*testing.T){c.Unmount, c.Crash, c.Unmount} {
		end(t)
		if i == 2 { // which writes no epoch, and reads by that of the others
			c.args = append(c.args, "--read-only")
		}
		for _, secret := range []string{"READABLE-line", "client/large", "none/large", c.bucket} {
			for _, name := range filesWith(t, c.cache, []byte(secret)) {
				t.Errorf("%s is readable in %s", secret, name)
			}
		}
		c.Start(t)
		if n := read(); n > 1<<20 {
			t.Errorf("%d bytes came of what lies on disk", n)
		}
	}
	if c.WantLog(t, "mounted"); strings.Contains(c.daemon.Log(), "cache") {
		t.Error("the log speaks of the cache")
	}
	// The search finds what it looks for.
	writeFile(t, filepath.Join(c.cache, "control"), numbered(1000))
	if len(filesWith(t, c.cache, []byte("READABLE-line"))) != 1 {
		t.Error("the search does not find its control")
	}
}

// Without an epoch of its own a host makes the cache anew, unless --state-key
// keeps its key.
func TestCacheOfAHostWithoutEpoch(t *testing.T) {
	k := newKeys(t, nil)
	for _, keyed := range []bool{false, true} {
		args := []string{"--cache", filepath.Join(t.TempDir(), "cache")}
		if keyed {
			args = append(args, "--state-key", "file:"+k.file("main.key"))
		}
		m := newMount(t, mountOptions{
			Proxy: true, Args: args,
			YAML: func(bucket string) string { return k.yaml(bucket, []string{"mode: sse-s3"}) },
		})
		meter := faultproxy.NewMeter(ofVolume(m.bucket))
		m.proxy.Set(meter.Fault)
		text := content(1, 3<<20)
		writeFile(t, m.Path("file"), text)
		for round := range 2 {
			m.Remount(t)
			meter.Take()
			wantFile(t, m.Path("file"), text)
			if n, kept := meter.Take().Received, keyed && round > 0; (n < 1<<20) != kept {
				t.Errorf("state key %v, round %d: %d bytes came", keyed, round, n)
			}
		}
	}
}

// Two buckets hold the same under the same name, and one directory caches both
// in turn: each is read from itself, even if one's key came to be the other's.
func TestCacheOfTwoBuckets(t *testing.T) {
	k, cache := newKeys(t, nil), filepath.Join(t.TempDir(), "cache")
	text := content(1, 3<<20)
	one := func() (*mount, func() int64) {
		m := newMount(t, mountOptions{
			Proxy: true, Args: []string{"--cache", cache, "--state-key", "file:" + k.file("main.key")},
			YAML: func(bucket string) string { return k.yaml(bucket, []string{"mode: none"}) },
		})
		meter := faultproxy.NewMeter(ofVolume(m.bucket))
		m.proxy.Set(meter.Fault)
		writeFile(t, m.Path("file"), text)
		m.Unmount(t)
		return m, func() int64 {
			m.Start(t)
			defer m.Unmount(t)
			meter.Take()
			wantFile(t, m.Path("file"), text)
			return meter.Take().Received
		}
	}
	records := func() []string {
		names, err := filepath.Glob(filepath.Join(cache, "sigilfs.key-*"))
		must(t, err)
		return names
	}
	_, readFirst := one()
	key := records()
	_, readSecond := one()
	for _, name := range records() {
		if len(key) != 1 {
			t.Fatalf("%d keys of one volume", len(key))
		}
		if name != key[0] {
			record, err := os.ReadFile(key[0])
			must(t, err)
			writeFile(t, name, record)
		}
	}
	for _, tt := range []struct {
		of    string
		read  func() int64
		known bool
	}{{"first", readFirst, false}, {"first", readFirst, true}, {"second", readSecond, false}, {"first", readFirst, true}, {"second", readSecond, true}} {
		if n := tt.read(); (n < 1<<20) != tt.known {
			t.Errorf("%d bytes came of the %s bucket, read before: %v", n, tt.of, tt.known)
		}
	}
}

// --max-cache-size 0 leaves nothing, and a size is kept to.
func TestCacheSize(t *testing.T) {
	for _, size := range []string{"0", "8MiB"} {
		c := newCachedMount(t, nil, "--max-cache-size", size)
		text := content(1, 20<<20)
		writeFile(t, c.Path("file"), text)
		c.Remount(t)
		wantFile(t, c.Path("file"), text)
		c.Unmount(t)
		if _, err := os.Stat(c.cache); size == "0" {
			if err == nil {
				t.Error("there is a cache directory all the same")
			}
		} else if taken := held(t, c.cache); taken > 8<<20+64<<10 || taken < 4<<20 {
			t.Errorf("of %s %d bytes are taken", size, taken)
		}
		c.Start(t)
	}
}

// One directory serves one mount at a time; who comes second is told by whom it
// is held, and mounts when that has gone.
func TestCacheOfTwoMounts(t *testing.T) {
	first := newCachedMount(t, nil)
	second := newMount(t, mountOptions{})
	second.Unmount(t)
	second.args = []string{"--cache", first.cache}
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	d, err := daemon.Start(ctx, second.config(t))
	if err == nil {
		second.daemon = d
		t.Fatal("both are mounted")
	}
	for _, says := range []string{first.cache, first.dir, fmt.Sprint(first.daemon.PID()), "--cache"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("the message does not say %s: %v", says, err)
		}
	}
	text := content(1, 1<<20)
	writeFile(t, first.Path("file"), text)
	wantFile(t, first.Path("file"), text)
	first.Unmount(t)
	second.Start(t)
	writeFile(t, second.Path("file"), text)
	second.Remount(t)
	wantFile(t, second.Path("file"), text)
	second.Unmount(t)
	first.Start(t)
}

func TestCacheRefusals(t *testing.T) {
	m := newMount(t, mountOptions{})
	m.Unmount(t)
	open := t.TempDir()
	must(t, os.Chmod(open, 0o777))
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"--cache", open}, "chmod 700"},
		{[]string{"--cache", filepath.Join(m.dir, "cache")}, "below the mountpoint"},
		{[]string{"--cache", t.TempDir(), "--max-cache-size", "1MiB"}, "under 8MiB"},
	} {
		m.args = tt.args
		ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
		d, err := daemon.Start(ctx, m.config(t))
		cancel()
		if err == nil {
			m.daemon = d
			t.Fatalf("%v is mounted", tt.args)
		}
		if !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v: %v", tt.args, err)
		}
	}
}

// What is damaged on disk is read from the bucket: nothing wrong, and no error.
func TestCacheDamaged(t *testing.T) {
	c := newCachedMount(t, []string{"prefix: none/, mode: none"})
	must(t, os.Mkdir(c.Path("none"), 0o755))
	text := content(1, 12<<20)
	for _, name := range []string{"file", "none/file"} {
		writeFile(t, c.Path(name), text)
	}
	c.Remount(t)
	read := func() {
		t.Helper()
		wantFile(t, c.Path("file"), text)
		wantFile(t, c.Path("none/file"), text)
	}
	read()
	blocks, index := filepath.Join(c.cache, "sigilfs.blocks"), filepath.Join(c.cache, "sigilfs.index")
	for what, do := range map[string]func(){
		"bits": func() {
			b, err := os.ReadFile(blocks)
			must(t, err)
			for i := 0; i < len(b); i += 50_000 {
				b[i] ^= 4
			}
			must(t, os.WriteFile(blocks, b, 0o600))
		},
		"cut":           func() { must(t, os.Truncate(blocks, 1<<20+12345)) },
		"another index": func() { must(t, os.WriteFile(index, content(7, 100_000), 0o600)) },
		"no blocks":     func() { must(t, os.Remove(blocks)) },
	} {
		t.Run(what, func(t *testing.T) {
			c.Unmount(t)
			do()
			c.Start(t)
			read()
			read()
		})
	}
}

// A disk that is full, or a directory that somebody removes, costs speed only.
func TestCacheWithoutDisk(t *testing.T) {
	text := content(1, 30<<20)
	t.Run("full", func(t *testing.T) {
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=12m,mode=700"); err != nil {
			t.Skip("no file system of its own: ", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		m := newMount(t, mountOptions{Args: []string{"--cache", dir, "--max-cache-size", "1GiB"}})
		writeFile(t, m.Path("file"), text)
		m.Remount(t)
		wantFile(t, m.Path("file"), text)
		filler, err := os.Create(filepath.Join(dir, "of somebody else"))
		must(t, err)
		defer filler.Close()
		for err == nil {
			_, err = filler.Write(make([]byte, 1<<20))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		m.Remount(t)
		wantFile(t, m.Path("file"), text)
		m.Unmount(t) // before what is below it
	})
	t.Run("removed", func(t *testing.T) {
		c := newCachedMount(t, nil)
		writeFile(t, c.Path("file"), text)
		wantFile(t, c.Path("file"), text)
		must(t, os.RemoveAll(c.cache))
		c.WantLog(t, "cache directory was removed")
		f, err := os.Open(c.Path("file"))
		must(t, err)
		forget(t, f)
		must(t, f.Close())
		wantFile(t, c.Path("file"), text)
		c.Remount(t)
		wantFile(t, c.Path("file"), text)
	})
	t.Run("no directory", func(t *testing.T) {
		m := newMount(t, mountOptions{Args: []string{"--cache", "/proc/self/nothing"}})
		m.WantLog(t, "nothing is cached on disk")
		writeFile(t, m.Path("file"), text)
		m.Remount(t)
		wantFile(t, m.Path("file"), text)
	})
}

// A key that KMS takes back: what is cached under its epoch is not read any more
// after the next look, by who has the file open neither, and is gone from the
// disk; and is read again when the key is back.
func TestCacheOfARevokedEpoch(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	m := newKMSMount(t, "--key-recheck", "1s", "--cache", cache)
	m.Start(t)
	text := content(1, 3<<20)
	writeFile(t, m.Path("file"), text)
	m.Unmount(t)
	m.Start(t)
	f, err := os.Open(m.Path("file"))
	must(t, err)
	defer f.Close()
	got := make([]byte, len(text))
	_, err = f.ReadAt(got, 0)
	must(t, err)
	wait(t, func() bool { return held(t, cache) > 3<<20 })
	must(t, m.moto.Disable(t.Context(), m.arn))
	m.WantLog(t, "its key was revoked")
	wait(t, func() bool { return held(t, cache) == 0 })
	forget(t, f)
	if n, err := f.ReadAt(got, 0); !errors.Is(err, unix.EKEYREJECTED) || n > 0 {
		t.Errorf("%d bytes are read under a revoked key: %v", n, err)
	}
	must(t, m.moto.Enable(t.Context(), m.arn))
	wait(t, func() bool {
		forget(t, f)
		n, err := f.ReadAt(got, 0)
		return err == nil && bytes.Equal(got[:n], text)
	})
}

// So it is with a key that S3 uses, of which only S3 can tell.
func TestCacheOfARevokedServerKey(t *testing.T) {
	k := newKeys(t, nil)
	m := newMount(t, mountOptions{
		Proxy: true, Args: []string{"--cache", filepath.Join(t.TempDir(), "cache"), "--key-recheck", "1s", "--attr-timeout", "1h", "--retry-timeout", "1s"},
		YAML: func(bucket string) string { return k.yaml(bucket, []string{"mode: sse-kms, key: minio"}) },
	})
	text := content(1, 3<<20)
	writeFile(t, m.Path("file"), text)
	m.Remount(t)
	f, err := os.Open(m.Path("file"))
	must(t, err)
	defer f.Close()
	got := make([]byte, len(text))
	read := func() error {
		forget(t, f)
		clear(got)
		n, err := f.ReadAt(got, 0)
		if !bytes.Equal(got[:n], text[:n]) {
			t.Error("read something else")
		}
		return err
	}
	must(t, read())
	isGet := func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/file")
	}
	m.proxy.Set(faultproxy.Say(isGet, 403, "AccessDenied", "User: arn:aws:iam::1:user/u is not authorized to perform: kms:Decrypt on resource: "+minioKey+" because no identity-based policy allows it"))
	m.WantLog(t, "the server gives nothing under this key any more")
	if err := read(); !errors.Is(err, unix.EACCES) {
		t.Errorf("read what S3 refuses: %v", err)
	}
	m.proxy.Set(faultproxy.Pass)
	must(t, read())
}
