package integration

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"golang.org/x/sys/unix"
)

// twoNames makes one file with the names file and sub/other.
func twoNames(t *testing.T, dir string) {
	t.Helper()
	must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	writeFile(t, filepath.Join(dir, "file"), oldContent)
	must(t, os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "sub/other")))
}

// whileDirty writes the new content to a file of dir, does something else, and
// closes it.
func whileDirty(name string, do func(dir string) error) func(dir string) error {
	return func(dir string) error {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			return err
		}
		if _, err := f.Write(newContent); err != nil {
			return errors.Join(err, f.Close())
		}
		return errors.Join(do(dir), f.Close())
	}
}

// wantNames fails the test unless each name has a body, all the same, old or
// new, the new one where done is set. A name that may have gone has gone then.
func wantNames(t *testing.T, dir string, done bool, stay, leave []string) {
	t.Helper()
	var first []byte
	for _, name := range slices.Concat(stay, leave) {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if os.IsNotExist(err) && !slices.Contains(stay, name) {
			continue
		}
		oldOrNew(t, filepath.Join(dir, name), done)
		if first == nil {
			first = got
		}
		if !bytes.Equal(got, first) {
			t.Errorf("%s: not what the first name shows", name)
		}
		if done && !slices.Contains(stay, name) {
			t.Errorf("%s is there, and had gone", name)
		}
	}
	if first == nil {
		t.Error("no name is left")
	}
}

var linkCrashCases = []crashCase{
	{
		name:    "close of a linked file",
		prepare: twoNames,
		act:     whileDirty("sub/other", func(string) error { return nil }),
		check: func(t *testing.T, dir string, done bool) {
			t.Helper()
			wantNames(t, dir, done, []string{"file", "sub/other"}, nil)
		},
	},
	{
		name:    "link of a dirty file",
		prepare: func(t *testing.T, dir string) { t.Helper(); writeFile(t, filepath.Join(dir, "file"), oldContent) },
		act: whileDirty("file", func(dir string) error {
			return os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "new"))
		}),
		check: func(t *testing.T, dir string, done bool) {
			t.Helper()
			if _, err := os.Lstat(filepath.Join(dir, "new")); err == nil || done {
				wantNames(t, dir, done, []string{"file", "new"}, nil)
			} else {
				wantNames(t, dir, done, []string{"file"}, nil)
			}
		},
	},
	{
		name:    "another link of a dirty file",
		prepare: twoNames,
		act: whileDirty("file", func(dir string) error {
			return os.Link(filepath.Join(dir, "sub/other"), filepath.Join(dir, "new"))
		}),
		check: func(t *testing.T, dir string, done bool) {
			t.Helper()
			names := []string{"file", "sub/other"}
			if _, err := os.Lstat(filepath.Join(dir, "new")); err == nil || done {
				names = append(names, "new")
			}
			wantNames(t, dir, done, names, nil)
		},
	},
	{
		name:    "unlink of a name of a dirty file",
		prepare: twoNames,
		act:     whileDirty("file", func(dir string) error { return os.Remove(filepath.Join(dir, "sub/other")) }),
		check: func(t *testing.T, dir string, done bool) {
			t.Helper()
			wantNames(t, dir, done, []string{"file"}, []string{"sub/other"})
		},
	},
	{
		name:    "unlink of the name a dirty file was opened by",
		prepare: twoNames,
		act:     whileDirty("file", func(dir string) error { return os.Remove(filepath.Join(dir, "file")) }),
		check: func(t *testing.T, dir string, done bool) {
			t.Helper()
			wantNames(t, dir, done, []string{"sub/other"}, []string{"file"})
		},
	},
	{
		name:    "rename of a name of a dirty file",
		prepare: twoNames,
		act: whileDirty("file", func(dir string) error {
			return os.Rename(filepath.Join(dir, "file"), filepath.Join(dir, "sub/moved"))
		}),
		check: func(t *testing.T, dir string, done bool) {
			t.Helper()
			stay := []string{"sub/other", "sub/moved"}
			if _, err := os.Lstat(filepath.Join(dir, "sub/moved")); err != nil && !done {
				stay[1] = "file"
			}
			wantNames(t, dir, done, stay, []string{"file"})
		},
	},
}

// A kill at every request never leaves a name without a body.
func TestKillOfALinkedFile(t *testing.T) {
	for _, tt := range linkCrashCases {
		t.Run(tt.name, func(t *testing.T) { killEverywhere(t, tt) })
	}
}

// What had seen its last close is brought to all its names by the next mount;
// what was still open stays as it was, until somebody has it committed.
func TestKillWithALinkedFileDirty(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true})
	must(t, os.Mkdir(m.Path("closed"), 0o755))
	must(t, os.Mkdir(m.Path("open"), 0o755))
	twoNames(t, m.Path("closed"))
	twoNames(t, m.Path("open"))
	blocks := content(8, 4<<16) // of the spool: the last one, were it a part, would be lost
	f, err := os.OpenFile(m.Path("open/file"), os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	_, err = f.Write(blocks)
	must(t, err)
	gate := faultproxy.NewGate(faultproxy.Mutating, 0, faultproxy.Before)
	m.proxy.Set(gate.Fault)
	ended := make(chan error, 1)
	go func() { ended <- os.WriteFile(m.Path("closed/sub/other"), newContent, 0o644) }()
	arrives(t, gate)
	m.Crash(t)
	gate.Drop()
	if err := <-ended; err == nil {
		t.Error("close was confirmed")
	}
	if err := f.Close(); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("close on a dead mount: %v", err)
	}
	m.proxy.Set(faultproxy.Pass)
	m.Start(t)
	for _, name := range []string{"file", "sub/other"} {
		wantFile(t, m.Path("closed/"+name), newContent)
		wantFile(t, m.Path("open/"+name), oldContent)
	}
	oneFile(t, m.Path("closed/file"), m.Path("closed/sub/other"))
	left := m.left(t)
	if len(left) != 1 || left[0].State != "open" {
		t.Fatalf("left: %+v", left)
	}
	m.Unmount(t)
	m.recover(t, "replay", left[0].ID)
	m.Start(t)
	wantFile(t, m.Path("open/file"), blocks)
	wantFile(t, m.Path("open/sub/other"), blocks)
	oneFile(t, m.Path("open/file"), m.Path("open/sub/other"))
}
