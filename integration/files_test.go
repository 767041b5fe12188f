package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnlinkedOpenFileGoesOn(t *testing.T) {
	d := newDisk(t)
	name := filepath.Join(d.Dir(), "file")
	writeFile(t, name, []byte("before"))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	must(t, os.Remove(name))
	if _, err := os.Lstat(name); !os.IsNotExist(err) {
		t.Errorf("name after unlink: %v", err)
	}
	_, err = f.WriteAt([]byte("after"), 3)
	must(t, err)
	if got, err := io.ReadAll(io.NewSectionReader(f, 0, 100)); err != nil || string(got) != "befafter" {
		t.Errorf("read %q, %v", got, err)
	}
	writeFile(t, name, []byte("another"))
	must(t, f.Close())
	wantFile(t, name, []byte("another"))
	d.Remount(t)
	wantFile(t, name, []byte("another"))
}

func TestRenameOverOpenFile(t *testing.T) {
	d := newDisk(t)
	oldName, newName := filepath.Join(d.Dir(), "old"), filepath.Join(d.Dir(), "new")
	writeFile(t, oldName, []byte("old content"))
	f, err := os.Open(oldName)
	must(t, err)
	defer f.Close()
	writeFile(t, newName, []byte("new content"))
	must(t, os.Rename(newName, oldName))
	if got, err := io.ReadAll(f); err != nil || string(got) != "old content" {
		t.Errorf("the open file reads %q, %v", got, err)
	}
	must(t, f.Close())
	wantFile(t, oldName, []byte("new content"))
	d.Remount(t)
	wantFile(t, oldName, []byte("new content"))
}

func TestRenameOfAFileThatIsBeingWritten(t *testing.T) {
	d := newDisk(t)
	from, to := filepath.Join(d.Dir(), "from"), filepath.Join(d.Dir(), "to")
	f, err := os.Create(from)
	must(t, err)
	_, err = f.WriteString("first, ")
	must(t, err)
	must(t, os.Rename(from, to))
	_, err = f.WriteString("second")
	must(t, err)
	must(t, f.Close())
	d.Remount(t)
	wantFile(t, to, []byte("first, second"))
	if _, err := os.Lstat(from); !os.IsNotExist(err) {
		t.Errorf("the old name: %v", err)
	}
}

func TestSparseFilesAndTruncation(t *testing.T) {
	d := newDisk(t)
	name := filepath.Join(d.Dir(), "sparse")
	const size = 20 << 20
	want := make([]byte, size)
	f, err := os.Create(name)
	must(t, err)
	must(t, f.Truncate(size))
	for _, off := range []int64{0, 8<<20 - 3, 16<<20 + 1, size - 4} {
		_, err = f.WriteAt([]byte("data"), off)
		must(t, err)
		copy(want[off:], "data")
	}
	must(t, f.Close())
	wantFile(t, name, want)
	d.Remount(t)
	wantFile(t, name, want)

	// Down and up again: what was cut off is gone, not hidden.
	must(t, os.Truncate(name, 8<<20-1))
	must(t, os.Truncate(name, size))
	clear(want[8<<20-1:])
	d.Remount(t)
	wantFile(t, name, want)
	for _, n := range []int64{8<<20 + 1, 8 << 20, 65537, 65536, 65535, 1, 0} {
		must(t, os.Truncate(name, n))
		wantFile(t, name, want[:n])
	}
	d.Remount(t)
	wantFile(t, name, nil)
}

func TestFallocateAndPunchHole(t *testing.T) {
	d := newDisk(t)
	name := filepath.Join(d.Dir(), "file")
	want := content(1, 300_000)
	f, err := os.Create(name)
	must(t, err)
	_, err = f.Write(want)
	must(t, err)
	fd := int(f.Fd())
	must(t, unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 1000, 150_000))
	clear(want[1000:151_000])
	must(t, unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20))
	if info, err := f.Stat(); err != nil || info.Size() != 300_000 {
		t.Errorf("KEEP_SIZE: %v, %v", info, err)
	}
	must(t, unix.Fallocate(fd, 0, 290_000, 20_000))
	want = append(want, make([]byte, 10_000)...)
	must(t, f.Close())
	wantFile(t, name, want)
	d.Remount(t)
	wantFile(t, name, want)
}

func TestSharedMmapIsWrittenBack(t *testing.T) {
	d := newDisk(t)
	name := filepath.Join(d.Dir(), "mapped")
	want := content(1, 1<<20)
	writeFile(t, name, want)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	m, err := unix.Mmap(int(f.Fd()), 0, len(want), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	must(t, f.Close()) // the map outlives the handle
	for off := 0; off < len(want); off += 70_001 {
		m[off] ^= 0xff
		want[off] ^= 0xff
	}
	if !bytes.Equal(m, want) {
		t.Error("the map reads something else")
	}
	must(t, unix.Msync(m, unix.MS_SYNC))
	must(t, unix.Munmap(m))
	wantFile(t, name, want)
	d.Remount(t)
	wantFile(t, name, want)
}

func TestTwoProcessesAppend(t *testing.T) {
	d := newDisk(t)
	bash := newTool(t, d.Dir(), "bash")
	const each = 500
	done := make(chan string, 2)
	for _, who := range []string{"a", "b"} {
		go func() {
			out, err := bash.try("bash", "-c", `for ((i = 0; i < 500; i++)); do echo "$0 $i"; done >>log`, who)
			if err != nil {
				out += err.Error()
			}
			done <- out
		}()
	}
	for range 2 {
		if out := <-done; out != "" {
			t.Errorf("appending: %s", out)
		}
	}
	d.Remount(t)
	got, err := os.ReadFile(filepath.Join(d.Dir(), "log"))
	must(t, err)
	next := map[string]int{}
	for line := range strings.Lines(string(got)) {
		who, _, _ := strings.Cut(line, " ")
		next[who]++
	}
	if len(next) != 2 || next["a"] != each || next["b"] != each {
		t.Errorf("lines of each: %v", next)
	}
}

func TestExclusiveCreate(t *testing.T) {
	d := newDisk(t)
	name := filepath.Join(d.Dir(), "lock")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	must(t, err)
	must(t, f.Close())
	if _, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second O_EXCL: %v", err)
	}
	d.Remount(t)
	if _, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second O_EXCL after a remount: %v", err)
	}
}

// A commit of a file that is dirty in part needs the rest of the old object;
// some servers let nobody read an object while it is being replaced. Sizes lie
// on both sides of the line between one PUT and many parts.
func TestRewriteOfAPartOfWhatIsNotCached(t *testing.T) {
	for _, size := range []int64{3 << 20, segment - 1, 2*segment + 17} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			d := newDisk(t)
			name := filepath.Join(d.Dir(), "file")
			want := content(1, size)
			writeFile(t, name, want)
			d.Remount(t)
			writer := newTool(t, t.TempDir(), "dd")
			writeFile(t, filepath.Join(writer.dir, "piece"), []byte("piece"))
			writer.run("dd", "if=piece", "of="+name, "conv=notrunc,fsync", "oflag=seek_bytes", "seek=70000", "status=none")
			copy(want[70000:], "piece")
			wantFile(t, name, want)
			d.Remount(t)
			wantFile(t, name, want)
		})
	}
}
