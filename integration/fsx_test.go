package integration

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/fsx"
)

// fsxSeed is what TestRandomOperations begins with; SIGILFS_FSX_SEED and
// SIGILFS_FSX_OPS set others. A failure tells how to repeat it.
const fsxSeed = 31

// fsxRuns are those of TestRandomOperations. Where the spool is small, large
// files go up while they are written and do not stay in it.
var fsxRuns = []struct {
	name, rule string
	args       []string
	opt        fsx.Options
	aws        bool // the AWS CLI reads the same
}{
	{name: "client", rule: "mode: client, key: main", opt: fsx.Options{Ops: 50_000}},
	{name: "client-zstd", rule: "mode: client, key: main, compress: zstd", opt: fsx.Options{Ops: 20_000}},
	{
		name: "client-zstd-small-spool", rule: "mode: client, key: main, compress: 'zstd:1'", args: []string{"--spool-size", "64MiB"},
		opt: fsx.Options{Ops: 500, Large: 60, MaxSize: 80 << 20, Full: true},
	},
	{name: "sse-s3", rule: "mode: sse-s3", opt: fsx.Options{Ops: 50_000}, aws: true},
	{name: "s3ec", rule: "mode: s3ec, key: s3ec", opt: fsx.Options{Ops: 50_000}},
	{
		name: "client-small-spool", rule: "mode: client, key: main", args: []string{"--spool-size", "64MiB"},
		opt: fsx.Options{Ops: 1500, Large: 60, MaxSize: 80 << 20, Full: true},
	},
	{
		name: "sse-s3-small-spool", rule: "mode: sse-s3", args: []string{"--spool-size", "64MiB"},
		opt: fsx.Options{Ops: 1500, Large: 60, MaxSize: 80 << 20, Full: true}, aws: true,
	},
}

// Whatever is done to files through the mount, a local filesystem has the same
// afterwards: as the mount shows it, as the next one does, and, where objects
// are plain, as another client does.
func TestRandomOperations(t *testing.T) {
	for _, r := range fsxRuns {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			k := newKeys(t, nil)
			m := newMount(t, mountOptions{Args: r.args, YAML: func(bucket string) string { return k.yaml(bucket, []string{r.rule}) }})
			opt := r.opt
			opt.Dir, opt.Ref, opt.Remount = m.Path("fsx"), t.TempDir(), m.remounter(t)
			opt.Seed = fsxEnv(t, "SIGILFS_FSX_SEED", fsxSeed)
			opt.Ops = int(fsxEnv(t, "SIGILFS_FSX_OPS", uint64(opt.Ops)))
			must(t, os.Mkdir(opt.Dir, 0o755))
			if err := fsx.Run(t.Context(), opt); err != nil {
				t.Fatal(err)
			}
			if r.aws {
				m.sameByCLI(t, opt.Ref, "fsx")
			}
		})
	}
}

func fsxEnv(t *testing.T, name string, usual uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.ParseUint(text, 10, 64)
	must(t, err)
	return n
}

// remounter unmounts and mounts. An error is the caller's to tell.
func (m *mount) remounter(t *testing.T) func(context.Context) error {
	t.Helper()
	cfg := m.config(t)
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, daemonTime)
		defer cancel()
		err := m.daemon.Unmount(ctx)
		if err == nil {
			m.daemon, err = daemon.Start(ctx, cfg)
		}
		return err
	}
}

// sameByCLI fails the test unless AWS's client finds the files of want below
// the prefix, and nothing else.
func (m *mount) sameByCLI(t *testing.T, want, prefix string) {
	t.Helper()
	got := t.TempDir()
	s3 := minioServer(t)
	cli := newTool(t, got, awsCLI, append(s3.env(), "AWS_CA_BUNDLE="+s3.CAFile)...)
	cli.run(awsCLI, "--endpoint-url", s3.URL, "s3", "sync", "--only-show-errors", "s3://"+m.bucket+"/"+prefix, got)
	names := func(dir string) []string {
		found, err := filepath.Glob(filepath.Join(dir, "*"))
		must(t, err)
		return found
	}
	if a, b := names(want), names(got); len(a) != len(b) {
		t.Errorf("%s reads %q, want %q", awsCLI, b, a)
	}
	for _, name := range names(want) {
		a, err := sumFile(name)
		b, err2 := sumFile(filepath.Join(got, filepath.Base(name)))
		if err := errors.Join(err, err2); err != nil || a != b {
			t.Errorf("%s reads %s as %v, want %v: %v", awsCLI, name, b, a, err)
		}
	}
}
