package fsx

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func small(t *testing.T) Options {
	return Options{Dir: t.TempDir(), Ref: t.TempDir(), Seed: 7, Ops: 4000, MaxSize: 1 << 20}
}

// A local filesystem is like itself, and a seed like itself.
func TestLocalDirectories(t *testing.T) {
	for _, full := range []bool{false, true} {
		var traces [2]bytes.Buffer
		for i := range traces {
			opt := small(t)
			opt.Full, opt.Trace = full, &traces[i]
			if err := Run(t.Context(), opt); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(traces[0].Bytes(), traces[1].Bytes()) {
			t.Error("two runs of one seed differ")
		}
		for _, want := range []string{"append", "punch hole", "write by map", "copy", "rename", "unlink", "remount"} {
			if found := bytes.Contains(traces[0].Bytes(), []byte(": "+want)); found == (full && want == "write by map") {
				t.Errorf("full %v: %q in the trace: %v", full, want, found)
			}
		}
	}
}

// What a remount changes is found.
func TestDamageIsFound(t *testing.T) {
	damages := map[string]func(name string) error{
		"one bit": func(name string) error {
			b, err := os.ReadFile(name)
			if err == nil && len(b) > 0 {
				b[len(b)/2] ^= 4
				err = os.WriteFile(name, b, 0o600)
			}
			return err
		},
		"a longer file": func(name string) error {
			b, err := os.ReadFile(name)
			return errors.Join(err, os.WriteFile(name, append(b, 0), 0o600))
		},
		"a missing file":  os.Remove,
		"another name":    func(name string) error { return os.Rename(name, name+".conflict") },
		"a file too many": func(name string) error { return os.WriteFile(name+"2", nil, 0o600) },
		"another mode":    func(name string) error { return os.Chmod(name, 0o600) },
	}
	for what, damage := range damages {
		t.Run(what, func(t *testing.T) {
			opt := small(t)
			opt.Remount = func(context.Context) error {
				names, err := filepath.Glob(filepath.Join(opt.Dir, "s*"))
				if err != nil || len(names) == 0 {
					return err
				}
				return damage(slices.MaxFunc(names, bySize))
			}
			err := Run(t.Context(), opt)
			var f *Failure
			if !errors.As(err, &f) || f.Op == 0 || !strings.Contains(err.Error(), "seed 7, operation") {
				t.Errorf("%v, want a failure with its seed", err)
			}
		})
	}
}

func bySize(a, b string) int {
	size := func(name string) int64 {
		info, err := os.Stat(name)
		if err != nil {
			return -1
		}
		return info.Size()
	}
	return int(size(a) - size(b))
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, small(t)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A hole that hides data is found wherever it lies.
func TestZeros(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{1}, chunk+5); err != nil {
		t.Fatal(err)
	}
	fd := int(f.Fd())
	if err := errors.Join(zeros(fd, 0, chunk+5), zeros(fd, chunk+6, 2*chunk)); err != nil {
		t.Error(err)
	}
	if zeros(fd, 0, chunk+6) == nil || zeros(fd, chunk+5, chunk+6) == nil {
		t.Error("data taken for a hole")
	}
}
