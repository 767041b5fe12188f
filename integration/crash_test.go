package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
)

// A crashCase is something that a kill -9 may meet on its way to the bucket.
type crashCase struct {
	name    string
	prepare func(t *testing.T, dir string)
	act     func(dir string) error
	// check looks at a volume that was mounted again. done tells that act had
	// returned nil before the kill: then it has happened.
	check func(t *testing.T, dir string, done bool)
}

var (
	oldContent = content(1, 300_000)
	newContent = content(2, segment+300_000)
	manyParts  = content(3, 3*segment+300_000)
	piece      = content(4, 100_000)
)

// pieceAt lies across a boundary of segments.
const pieceAt = 2*segment - 50_000

// oldOrNew fails the test unless name holds exactly one of both, the new one
// where done is set.
func oldOrNew(t *testing.T, name string, done bool) {
	t.Helper()
	got, err := os.ReadFile(name)
	switch {
	case err != nil:
		t.Errorf("%s: %v", name, err)
	case bytes.Equal(got, newContent), bytes.Equal(got, oldContent) && !done:
	default:
		t.Errorf("%s: %d bytes that are neither old nor new (acknowledged: %v)", name, len(got), done)
	}
}

var crashCases = []crashCase{
	{
		name:    "close of a new file",
		prepare: func(*testing.T, string) {},
		act:     func(dir string) error { return os.WriteFile(filepath.Join(dir, "file"), newContent, 0o644) },
		check: func(t *testing.T, dir string, done bool) {
			if _, err := os.Lstat(filepath.Join(dir, "file")); os.IsNotExist(err) && !done {
				return
			}
			oldOrNew(t, filepath.Join(dir, "file"), true)
		},
	},
	{
		name:    "close of an overwritten file",
		prepare: func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "file"), oldContent) },
		act:     func(dir string) error { return os.WriteFile(filepath.Join(dir, "file"), newContent, 0o644) },
		check:   func(t *testing.T, dir string, done bool) { oldOrNew(t, filepath.Join(dir, "file"), done) },
	},
	{
		name:    "close of a new file in parts",
		prepare: func(*testing.T, string) {},
		act:     func(dir string) error { return os.WriteFile(filepath.Join(dir, "file"), manyParts, 0o644) },
		check: func(t *testing.T, dir string, done bool) {
			if _, err := os.Lstat(filepath.Join(dir, "file")); os.IsNotExist(err) && !done {
				return
			}
			wantFile(t, filepath.Join(dir, "file"), manyParts)
		},
	},
	{
		name:    "rewrite of a part",
		prepare: func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "file"), manyParts) },
		act: func(dir string) error {
			f, err := os.OpenFile(filepath.Join(dir, "file"), os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt(piece, pieceAt)
			return errors.Join(err, f.Close())
		},
		check: func(t *testing.T, dir string, done bool) {
			got, err := os.ReadFile(filepath.Join(dir, "file"))
			changed := bytes.Clone(manyParts)
			copy(changed[pieceAt:], piece)
			if err != nil || !bytes.Equal(got, changed) && (done || !bytes.Equal(got, manyParts)) {
				t.Errorf("%d bytes that are neither old nor new, %v (acknowledged: %v)", len(got), err, done)
			}
		},
	},
	{
		name: "rename over a file",
		prepare: func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "file"), oldContent)
			writeFile(t, filepath.Join(dir, "temporary"), newContent)
		},
		act: func(dir string) error { return os.Rename(filepath.Join(dir, "temporary"), filepath.Join(dir, "file")) },
		check: func(t *testing.T, dir string, done bool) {
			oldOrNew(t, filepath.Join(dir, "file"), done)
			got, err := os.ReadFile(filepath.Join(dir, "temporary"))
			if os.IsNotExist(err) {
				oldOrNew(t, filepath.Join(dir, "file"), true) // it left one name: it is under the other
			} else if err != nil || done || !bytes.Equal(got, newContent) {
				t.Errorf("the source: %d bytes, %v (acknowledged: %v)", len(got), err, done)
			}
		},
	},
	{
		name: "rename of a directory",
		prepare: func(t *testing.T, dir string) {
			must(t, os.MkdirAll(filepath.Join(dir, "from/sub"), 0o755))
			for i := range 4 {
				writeFile(t, filepath.Join(dir, fmt.Sprintf("from/sub/%d", i)), content(uint64(i), 100_000))
			}
		},
		act:   func(dir string) error { return os.Rename(filepath.Join(dir, "from"), filepath.Join(dir, "to")) },
		check: movedWhole,
	},
	{
		name:    "unlink",
		prepare: func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "file"), oldContent) },
		act:     func(dir string) error { return os.Remove(filepath.Join(dir, "file")) },
		check: func(t *testing.T, dir string, done bool) {
			got, err := os.ReadFile(filepath.Join(dir, "file"))
			if !os.IsNotExist(err) && (err != nil || done || !bytes.Equal(got, oldContent)) {
				t.Errorf("%d bytes, %v (acknowledged: %v)", len(got), err, done)
			}
		},
	},
	{
		name:    "chmod",
		prepare: func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "file"), oldContent) },
		act:     func(dir string) error { return chmodNow(filepath.Join(dir, "file"), 0o600) },
		check: func(t *testing.T, dir string, _ bool) {
			wantFile(t, filepath.Join(dir, "file"), oldContent)
			if info, err := os.Stat(filepath.Join(dir, "file")); err != nil || info.Mode() != 0o600 && info.Mode() != 0o644 {
				t.Errorf("mode %v, %v", info, err)
			}
		},
	},
}

// chmodNow changes a mode and has it written, which would wait for others.
func chmodNow(p string, mode os.FileMode) error {
	if err := os.Chmod(p, mode); err != nil {
		return err
	}
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// movedWhole fails the test unless the directory is under one name only, with
// all that it held: the mount completes what the one before it began.
func movedWhole(t *testing.T, dir string, done bool) {
	t.Helper()
	top := "from"
	if _, err := os.Lstat(filepath.Join(dir, "to")); err == nil {
		top = "to"
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 || done && top == "from" {
		t.Errorf("the directory shows %v, %v (acknowledged: %v)", entries, err, done)
	}
	for i := range 4 {
		wantFile(t, filepath.Join(dir, fmt.Sprintf("%s/sub/%d", top, i)), content(uint64(i), 100_000))
	}
}

// Each case is killed at every request that may change the bucket: before that
// is carried out, and when it was but its answer is lost.
func TestKillAtEveryRequest(t *testing.T) {
	for _, tt := range crashCases {
		t.Run(tt.name, func(t *testing.T) { killEverywhere(t, tt) })
	}
}

// killEverywhere kills one case at each of its requests, in a mount of its own.
func killEverywhere(t *testing.T, tt crashCase) {
	t.Helper()
	killAtEach(t, newMount(t, mountOptions{Proxy: true}), tt)
}

// killAtEach kills one case at each of its requests.
func killAtEach(t *testing.T, m *mount, tt crashCase) {
	t.Helper()
	n := requestsOf(t, m, tt)
	if n == 0 {
		t.Fatal("it sends no request: nothing was tested")
	}
	for i := range n {
		for _, side := range []faultproxy.Side{faultproxy.Before, faultproxy.After} {
			t.Run(fmt.Sprintf("%s request %d of %d", side, i+1, n), func(t *testing.T) {
				killAt(t, m, tt, faultproxy.NewGate(faultproxy.Mutating, i, side))
			})
		}
	}
}

// requestsOf counts the requests that a case sends when nothing goes wrong,
// and checks that then it has happened.
func requestsOf(t *testing.T, m *mount, tt crashCase) int {
	t.Helper()
	dir := round(t, m, tt)
	var n atomic.Int64
	m.proxy.Set(faultproxy.Count(faultproxy.Mutating, &n))
	must(t, tt.act(dir))
	m.proxy.Set(faultproxy.Pass)
	tt.check(t, dir, true)
	return int(n.Load())
}

// round is a fresh directory with what the case begins with.
func round(t *testing.T, m *mount, tt crashCase) string {
	t.Helper()
	dir, err := os.MkdirTemp(m.Dir(), "round")
	must(t, err)
	tt.prepare(t, dir)
	return dir
}

func killAt(t *testing.T, m *mount, tt crashCase, gate *faultproxy.Gate) {
	t.Helper()
	dir := round(t, m, tt)
	m.proxy.Set(gate.Fault)
	ended := make(chan error, 1)
	go func() { ended <- tt.act(dir) }()
	var err error
	select {
	case <-gate.Arrived():
		m.Crash(t)
		err = <-ended
	case err = <-ended: // it needed fewer requests this time
		m.Crash(t)
	}
	gate.Drop()
	m.proxy.Set(faultproxy.Pass)
	m.Start(t)
	tt.check(t, dir, err == nil)
}

// A kill between two writes, before anything was asked to be durable.
func TestKillWhileWriting(t *testing.T) {
	m := newMount(t, mountOptions{})
	for _, pieces := range []int{1, 3, 9, 20} {
		for _, flag := range []int{os.O_TRUNC, 0, os.O_APPEND} {
			t.Run(fmt.Sprintf("%d MiB, flag %#x", pieces, flag), func(t *testing.T) {
				file := m.Path(fmt.Sprintf("file-%d-%d", pieces, flag))
				writeFile(t, file, oldContent)
				f, err := os.OpenFile(file, os.O_WRONLY|flag, 0)
				must(t, err)
				for i := range pieces {
					_, err := f.Write(content(uint64(i), 1<<20))
					must(t, err)
				}
				m.Crash(t)
				if err := f.Close(); err == nil {
					t.Error("close(2) of a file of a dead daemon was acknowledged")
				}
				m.Start(t)
				wantFile(t, file, oldContent)
			})
		}
	}
}
