package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/server"
	"golang.org/x/sys/unix"
)

// A kmsMount is a mount under a KMS key, by its alias and with a context.
type kmsMount struct {
	*mount
	moto *server.KMS
	arn  string
}

func newKMSMount(t *testing.T, args ...string) *kmsMount {
	t.Helper()
	onMount(t)
	base := t.TempDir()
	m := &kmsMount{
		mount: &mount{
			s3: reached(shared(t)), bucket: server.Bucket(t, shared(t)), prefix: "pre/fix",
			state: filepath.Join(base, "state"), dir: filepath.Join(base, "mnt"), args: args,
		},
		moto: server.Moto(t),
	}
	must(t, os.Mkdir(m.dir, 0o755))
	must(t, os.Mkdir(m.state, 0o700))
	var err error
	m.arn, err = m.moto.Key(t.Context(), "")
	must(t, err)
	must(t, m.moto.Alias(t.Context(), "main", m.arn))
	t.Cleanup(func() { m.cleanup(t) })
	return m
}

// command is the command line of the mount.
func (m *kmsMount) command(t *testing.T) daemon.Config {
	t.Helper()
	args := []string{
		"--encryption", "client", "--key", "kms:alias/main,context=team=backup",
		"--endpoint-url", m.s3.URL, "--ca-bundle", m.s3.CAFile, "--state-dir", m.state,
	}
	return daemon.Config{
		Bin: binary(t), Args: append(args, m.args...), Target: m.target(), Dir: m.dir, Env: append(m.env(t), m.moto.Env()...),
	}
}

func (m *kmsMount) Start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	d, err := daemon.Start(ctx, m.command(t))
	must(t, err)
	m.daemon = d
}

// TestKMSMountCost: whatever number of files, KMS is asked once to write them,
// and once by a cold mount to read them.
func TestKMSMountCost(t *testing.T) {
	const files = 300
	m := newKMSMount(t)
	m.Start(t)
	for i := range files {
		must(t, os.MkdirAll(m.Path(fmt.Sprint(i%7)), 0o755))
		writeFile(t, m.Path(fmt.Sprint(i%7, "/", i)), fmt.Append(nil, "file ", i))
	}
	m.Unmount(t)
	wantCalls(t, m.moto, map[string]int{"DescribeKey": 1, "GenerateDataKey": 1})

	m.state, m.args = t.TempDir(), []string{"--read-only"}
	m.Start(t)
	for i := range files {
		wantFile(t, m.Path(fmt.Sprint(i%7, "/", i)), fmt.Append(nil, "file ", i))
	}
	wantCalls(t, m.moto, map[string]int{"DescribeKey": 2, "GenerateDataKey": 1, "Decrypt": 1})
}

// TestDoctorOfKMS: doctor tells of a key that is denied before a mount does, and
// makes nothing.
func TestDoctorOfKMS(t *testing.T) {
	m := newKMSMount(t)
	look := func() diagnosis {
		cfg := m.command(t)
		return diagnose(t, cfg.Env, append([]string{cfg.Target}, cfg.Args...)...)
	}
	look().says(t, "epochs", "ok: ")
	m.moto.Fault(server.Deny("GenerateDataKey"))
	look().says(t, "epochs", "failure: ", "grant kms:GenerateDataKey on "+m.arn)
	if keys := newClient(t, m.bucket).keys(m.Key("")); len(keys) != 0 {
		t.Errorf("the bucket has %q", keys)
	}
}

// TestKMSMountErrors: what a program sees, and an operator reads, when KMS
// refuses the key of a cold mount.
func TestKMSMountErrors(t *testing.T) {
	m := newKMSMount(t)
	m.Start(t)
	writeFile(t, m.Path("file"), []byte("content"))
	m.Unmount(t)
	m.state, m.args = t.TempDir(), []string{"--read-only"}
	for name, tt := range map[string]struct {
		do   func() error
		want unix.Errno
		log  []string
	}{
		"denied":   {func() error { m.moto.Fault(server.Deny("Decrypt")); return nil }, unix.EACCES, []string{"grant kms:Decrypt on " + m.arn}},
		"disabled": {func() error { return m.moto.Disable(t.Context(), m.arn) }, unix.EKEYREJECTED, []string{"DisabledException", m.arn}},
		"pending":  {func() error { return m.moto.ScheduleDeletion(t.Context(), m.arn) }, unix.EKEYREJECTED, []string{"pending deletion", m.arn}},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, tt.do())
			m.Start(t)
			if got, err := readAll(m.Path("file")); !errors.Is(err, tt.want) || len(got) != 0 {
				t.Errorf("read %q, %v, want %v", got, err, tt.want)
			}
			m.WantLog(t, tt.log...)
			m.Unmount(t)
			m.moto.Fault(nil)
			_ = m.moto.CancelDeletion(t.Context(), m.arn) // is an error but in one case
			must(t, m.moto.Enable(t.Context(), m.arn))
		})
	}
}

// TestKMSMountRevoked: a key that is revoked while mounted seals no more, and
// does again when it is given back.
func TestKMSMountRevoked(t *testing.T) {
	m := newKMSMount(t, "--key-recheck", "1s")
	m.Start(t)
	writeFile(t, m.Path("before"), []byte("content"))
	must(t, m.moto.Disable(t.Context(), m.arn))
	m.WantLog(t, "its key was revoked")
	if err := os.WriteFile(m.Path("after"), []byte("x"), 0o644); !errors.Is(err, unix.EKEYREJECTED) {
		t.Errorf("written under a revoked key: %v", err)
	}
	must(t, m.moto.Enable(t.Context(), m.arn))
	wait(t, func() bool {
		got, err := readAll(m.Path("before"))
		return err == nil && bytes.Equal(got, []byte("content")) && os.WriteFile(m.Path("again"), nil, 0o644) == nil
	})
}

// wait polls until what it waits for is so.
func wait(t *testing.T, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("it does not come to be")
		}
	}
}
