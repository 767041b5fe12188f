package integration

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/server"
	"golang.org/x/sys/unix"
)

// Errnos of keys.
var (
	noKey    = []error{unix.ENOKEY}
	wrongKey = []error{unix.EKEYREJECTED, unix.ENOKEY}
)

// allModes are those that need nothing of the bucket.
var allModes = []mode{
	{name: "none", rule: "mode: none"},
	{name: "sse-s3", rule: "mode: sse-s3", algorithm: "AES256"},
	{name: "sse-kms", rule: "mode: sse-kms, key: minio", algorithm: "aws:kms"},
	{name: "sse-kms-context", rule: "mode: sse-kms, key: minio, context: {team: backup, host: web1}", algorithm: "aws:kms"},
	{name: "sse-c", rule: "mode: sse-c, key: c3", algorithm: "SSE-C", customer: 3, wrong: noKey, without: noKey},
	{name: "client", rule: "mode: client, key: main", format: sealed, wrong: wrongKey, without: noKey},
	{name: "client-age", rule: "mode: client, key: escrow", format: sealed, wrong: wrongKey, without: noKey},
	{name: "client-kms", rule: "mode: client, key: [cloud, escrow]", format: sealed, wrong: wrongKey, without: noKey},
	{name: "client-sse-s3", rule: "mode: client, key: main, sse: sse-s3", algorithm: "AES256", format: sealed, wrong: wrongKey, without: noKey},
	{name: "client-sse-c", rule: "mode: client, key: main, sse: {mode: sse-c, key: c3}", algorithm: "SSE-C", customer: 3, format: sealed, wrong: wrongKey, without: noKey},
	{name: "s3ec", rule: "mode: s3ec, key: s3ec", format: s3ecV3, wrong: wrongKey, without: noKey},
	{name: "s3ec-kms", rule: "mode: s3ec, key: cloud", format: s3ecV3, wrong: wrongKey, without: noKey},
	{name: "s3ec-v2", rule: "mode: s3ec, key: s3ec, s3ec-version: 2", format: s3ecV2, wrong: wrongKey, without: noKey},
}

// Every mode in one bucket, from one configuration: what is written by any
// system call lies there as its rule says, by the word of another client.
func TestEveryMode(t *testing.T) {
	matrix(t, allModes, nil)
}

// A bucket that encrypts by default: what is asked for stands above that.
func TestEveryModeWithBucketDefault(t *testing.T) {
	modes := []mode{
		{name: "bucket-default", rule: "mode: bucket-default", algorithm: "aws:kms"},
		{name: "sse-s3", rule: "mode: sse-s3", algorithm: "AES256"},
		{name: "sse-c", rule: "mode: sse-c, key: c3", algorithm: "SSE-C", customer: 3, wrong: noKey, without: noKey},
		{name: "client", rule: "mode: client, key: main", algorithm: "aws:kms", format: sealed, wrong: wrongKey, without: noKey},
	}
	matrix(t, modes, func(o observer) {
		o.must("put-bucket-encryption", "--server-side-encryption-configuration",
			`{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"`+minioKey+`"}}]}`)
	})
}

// A grid is a mount with a prefix for each mode.
type grid struct {
	*mount
	keys   keys
	others keys // of the same names, and other bytes
	kms    *server.KMS
	modes  []mode
}

func matrix(t *testing.T, modes []mode, prepare func(observer)) {
	kms := server.Moto(t)
	g := grid{keys: newKeys(t, kms), others: newKeys(t, kms), kms: kms, modes: modes}
	g.mount = newMount(t, mountOptions{Env: kms.Env(), YAML: func(bucket string) string {
		if prepare != nil {
			prepare(newObserver(t, bucket, g.keys))
		}
		return g.keys.yaml(bucket, rules(modes))
	}})
	each := func(name string, do func(t *testing.T, m mode)) {
		t.Run(name, func(t *testing.T) {
			for _, m := range modes {
				t.Run(m.name, func(t *testing.T) {
					t.Parallel()
					do(t, m)
				})
			}
		})
	}
	each("write", g.write)
	each("move", g.moveOut)
	t.Run("around", g.around)
	g.Remount(t)
	each("read", g.read)
	g.Reconfigure(t, g.others.yaml(g.bucket, rules(modes)))
	each("wrong key", func(t *testing.T, m mode) { t.Helper(); g.refused(t, m, m.wrong) })
	g.Reconfigure(t, g.others.yaml(g.bucket, []string{"mode: none"}))
	each("no key", func(t *testing.T, m mode) { t.Helper(); g.refused(t, m, m.without) })
}

// Reconfigure mounts as another host would, by another configuration.
func (m *mount) Reconfigure(t *testing.T, text string) {
	t.Helper()
	m.Unmount(t)
	writeFile(t, m.yaml, []byte(text))
	m.state = t.TempDir()
	m.Start(t)
}

// Contents of the files of each mode.
const (
	largeSize = 64 << 20
	moveSize  = 300_000
)

func (m mode) content(n int, size int64) []byte {
	seed := uint64(n)
	for _, c := range m.name {
		seed = seed*31 + uint64(c)
	}
	return content(seed, size)
}

// large is the file of 64 MiB as the last step left it.
func (m mode) large() []byte {
	b := m.content(2, largeSize)
	copy(b[20<<20:], m.content(3, 100_000))
	return b
}

// A step changes a file, which is then looked at in the bucket and the mount.
type step struct {
	name, file string
	do         func(t *testing.T, m mode, file string)
	want       func(m mode) []byte // nil: a later step sees to the content
}

var steps = []step{
	{"small", "small", func(t *testing.T, m mode, file string) { t.Helper(); writeFile(t, file, m.content(1, 1000)) }, func(m mode) []byte { return m.content(1, 1000) }},
	{"empty", "empty", func(t *testing.T, _ mode, file string) { t.Helper(); writeFile(t, file, nil) }, func(mode) []byte { return nil }},
	{"64 MiB", "large", func(t *testing.T, m mode, file string) { t.Helper(); writeFile(t, file, m.content(2, largeSize)) }, nil},
	{"rewrite of a part", "large", func(t *testing.T, m mode, file string) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteAt(m.content(3, 100_000), 20<<20)
		must(t, errors.Join(err, f.Close()))
	}, mode.large},
	{"overwrite", "small", func(t *testing.T, m mode, file string) { t.Helper(); writeFile(t, file, m.content(4, 70_000)) }, func(m mode) []byte { return m.content(4, 70_000) }},
	{"append", "small", func(t *testing.T, m mode, file string) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
		must(t, err)
		_, err = f.Write(m.content(5, 5000))
		must(t, errors.Join(err, f.Close()))
	}, func(m mode) []byte { return append(m.content(4, 70_000), m.content(5, 5000)...) }},
	{"truncate down", "small", func(t *testing.T, _ mode, file string) { t.Helper(); must(t, os.Truncate(file, 65_537)) }, func(m mode) []byte { return m.content(4, 70_000)[:65_537] }},
	{"truncate up", "small", func(t *testing.T, _ mode, file string) { t.Helper(); must(t, os.Truncate(file, 70_001)) }, mode.small},
	{"rename", "renamed", func(t *testing.T, _ mode, file string) {
		t.Helper()
		must(t, os.Rename(filepath.Join(filepath.Dir(file), "small"), file))
	}, mode.small},
	{"chmod", "renamed", func(t *testing.T, _ mode, file string) { t.Helper(); must(t, os.Chmod(file, 0o640)); syncFile(t, file) }, mode.small},
	{"utimens", "renamed", func(t *testing.T, _ mode, file string) {
		t.Helper()
		must(t, os.Chtimes(file, past, past))
		syncFile(t, file)
	}, mode.small},
	{"chmod of 64 MiB", "large", func(t *testing.T, _ mode, file string) { t.Helper(); must(t, os.Chmod(file, 0o640)); syncFile(t, file) }, nil},
	{"cp", "copy", func(t *testing.T, _ mode, file string) {
		t.Helper()
		newTool(t, filepath.Dir(file), "cp").run("cp", "--preserve=all", "renamed", "copy")
	}, mode.small},
	{"cp of 64 MiB", "large-copy", func(t *testing.T, _ mode, file string) {
		t.Helper()
		newTool(t, filepath.Dir(file), "cp").run("cp", "large", "large-copy")
	}, mode.large},
}

var past = time.Date(2001, 2, 3, 4, 5, 6, 7008, time.UTC)

// small is that file as the last step left it.
func (m mode) small() []byte {
	b := make([]byte, 70_001)
	copy(b, m.content(4, 70_000)[:65_537])
	return b
}

// syncFile has gathered attributes written.
func syncFile(t *testing.T, name string) {
	t.Helper()
	f, err := os.Open(name)
	must(t, err)
	must(t, errors.Join(f.Sync(), f.Close()))
}

func (g grid) write(t *testing.T, m mode) {
	t.Helper()
	o := newObserver(t, g.bucket, g.keys)
	must(t, os.Mkdir(g.Path(m.name), 0o755))
	for _, s := range steps {
		file := m.name + "/" + s.file
		s.do(t, m, g.Path(file))
		if s.want == nil {
			o.state(m, file)
		} else {
			want := s.want(m)
			wantFile(t, g.Path(file), want)
			o.check(m, file, want)
		}
		if t.Failed() {
			t.Fatalf("after %q", s.name)
		}
	}
	o.gone(m.name + "/small")
	for _, file := range []string{"empty", "large", "copy"} {
		o.bothAgree(m.name+"/"+file, m.customer)
	}
	g.links(t, o, m)
}

// links makes what is neither a file nor large: a link holds its target, and
// a directory nothing.
func (g grid) links(t *testing.T, o observer, m mode) {
	t.Helper()
	target := "a/target/that/tells/nobody/anything"
	must(t, os.Symlink(target, g.Path(m.name+"/link")))
	o.check(m, m.name+"/link", []byte(target))
	must(t, os.Mkdir(g.Path(m.name+"/dir"), 0o751))
	dir := m
	if m.format == s3ecV3 || m.format == s3ecV2 { // those formats have no directories
		dir.format = asItIs
	}
	o.check(dir, m.name+"/dir/", nil)
	must(t, os.Mkdir(g.Path(m.name+"/passing"), 0o700))
	must(t, os.Chmod(g.Path(m.name+"/passing"), 0o755))
	must(t, os.Rename(g.Path(m.name+"/passing"), g.Path(m.name+"/past")))
	dir.moved = true
	o.check(dir, m.name+"/past/", nil)
	must(t, os.Remove(g.Path(m.name+"/past")))
	o.gone(m.name + "/past/")
}

// moveOut renames a file into each other prefix.
func (g grid) moveOut(t *testing.T, from mode) {
	t.Helper()
	o := newObserver(t, g.bucket, g.keys)
	for i, to := range g.modes {
		if to.name == from.name {
			continue
		}
		want := from.content(10+i, moveSize)
		source, target := from.name+"/to-"+to.name, to.name+"/from-"+from.name
		writeFile(t, g.Path(source), want)
		must(t, os.Chmod(g.Path(source), 0o640))
		must(t, os.Rename(g.Path(source), g.Path(target)))
		o.check(to, target, want)
		o.gone(source)
		wantFile(t, g.Path(target), want)
		if info, err := os.Stat(g.Path(target)); err != nil || info.Mode() != 0o640 {
			t.Errorf("%s: %v, %v", target, info, err)
		}
	}
}

// around moves one file of many parts through all modes.
func (g grid) around(t *testing.T) {
	o := newObserver(t, g.bucket, g.keys)
	want := content(9, 20<<20)
	from := g.modes[0].name + "/travels"
	writeFile(t, g.Path(from), want)
	for _, to := range append(slices.Clone(g.modes[1:]), g.modes[0]) {
		target := to.name + "/travels"
		must(t, os.Rename(g.Path(from), g.Path(target)))
		o.check(to, target, want)
		o.gone(from)
		from = target
	}
	wantFile(t, g.Path(from), want)
}

// read reads everything cold: ranges first, as no reader begins at 0 must.
func (g grid) read(t *testing.T, m mode) {
	t.Helper()
	preads(t, g.Path(m.name+"/large-copy"), m.large())
	wantFile(t, g.Path(m.name+"/large"), m.large())
	wantFile(t, g.Path(m.name+"/renamed"), m.small())
	wantFile(t, g.Path(m.name+"/copy"), m.small())
	wantFile(t, g.Path(m.name+"/empty"), nil)
	for i, to := range g.modes {
		if to.name != m.name {
			wantFile(t, g.Path(to.name+"/from-"+m.name), m.content(10+i, moveSize))
		}
	}
	if target, err := os.Readlink(g.Path(m.name + "/link")); err != nil || !strings.HasPrefix(target, "a/target") {
		t.Errorf("link: %q, %v", target, err)
	}
	for _, name := range []string{"renamed", "copy"} {
		if info, err := os.Stat(g.Path(m.name + "/" + name)); err != nil || info.Mode() != 0o640 || !info.ModTime().Equal(past) {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if info, err := os.Stat(g.Path(m.name + "/dir")); err != nil || info.Mode() != os.ModeDir|0o751 {
		t.Errorf("dir: %v, %v", info, err)
	}
}

// preads reads at random, and across every sort of boundary.
func preads(t *testing.T, name string, want []byte) {
	t.Helper()
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	r := rand.New(rand.NewPCG(1, 2))
	offsets := []int64{int64(len(want)) - 10, 8<<20 - 5, 16<<20 - 5, 65_536 - 5, 0}
	for range 30 {
		offsets = append(offsets, r.Int64N(int64(len(want))))
	}
	for _, off := range offsets {
		n := min(1+r.Int64N(200_000), int64(len(want))-off)
		got := make([]byte, n)
		if _, err := f.ReadAt(got, off); err != nil || !bytes.Equal(got, want[off:off+n]) {
			t.Fatalf("pread of %d at %d: wrong bytes or %v", n, off, err)
		}
	}
}

// refused tells that nothing of a mode is readable but with its key; what needs
// none goes on being read.
func (g grid) refused(t *testing.T, m mode, errnos []error) {
	t.Helper()
	for name, want := range map[string][]byte{"renamed": m.small(), "large": m.large()} {
		file := g.Path(m.name + "/" + name)
		if errnos == nil {
			wantFile(t, file, want)
			continue
		}
		got, err := readAll(file)
		if len(got) != 0 || !slices.ContainsFunc(errnos, func(e error) bool { return errors.Is(err, e) }) {
			t.Errorf("%s: %d bytes, %v, want %v", file, len(got), err, errnos)
		}
		if _, err := os.Lstat(file); err != nil {
			t.Errorf("ls: %v", err)
		}
	}
	entries, err := os.ReadDir(g.Path(m.name))
	if err != nil || len(entries) < len(steps)/2 {
		t.Errorf("listing: %v, %v", entries, err)
	}
}
