package integration

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// An inspection is what `sigilfs audit --json` prints.
type inspection struct {
	Version  int
	Source   string
	Complete bool
	Last     string
	Notes    []string
	Objects  []inspected
	Totals   struct {
		Objects, Bytes int64
	}
	ByMode []struct {
		Name           string
		Objects, Bytes int64
	}
	Findings struct{ Total int64 }
	Bucket   []struct{ Check, Status, Text string }
}

// An inspected is an object in it.
type inspected struct {
	Key, Version, Mode, Algorithm, KeyID, Epoch, EpochState, Commitment, Server string

	Old      bool
	Stored   int64
	Plain    *int64
	Findings []struct{ Kind, Key, Text string }
}

// flaws gives the kinds of findings by key, of old versions under KEY@old.
func (i inspection) flaws() map[string][]string {
	all := map[string][]string{}
	for _, o := range i.Objects {
		for _, f := range o.Findings {
			key := o.Key
			if f.Key != "" {
				key = f.Key
			}
			if o.Old {
				key += "@old"
			}
			all[key] = append(all[key], f.Kind)
			slices.Sort(all[key])
		}
	}
	return all
}

func (i inspection) mode(name string) (objects int64) {
	for _, m := range i.ByMode {
		if m.Name == name {
			objects = m.Objects
		}
	}
	return objects
}

// inspect runs `sigilfs audit --json`, which ends with this code.
func inspect(t *testing.T, m *mount, code int, args ...string) (i inspection) {
	t.Helper()
	out, err := tryBinary(t, m.env(t), slices.Concat([]string{"audit", "--json"}, m.config(t).Args, args)...)
	wantExit(t, out, err, code)
	begin, end := strings.IndexByte(out, '{'), strings.LastIndexByte(out, '}') // stderr goes to the same place
	if begin < 0 || end < begin {
		t.Fatalf("no document in %s", out)
	}
	must(t, json.Unmarshal([]byte(out[begin:end+1]), &i))
	return i
}

func wantExit(t *testing.T, out string, err error, code int) {
	t.Helper()
	got := 0
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		got = e.ExitCode()
	}
	if got != code {
		t.Errorf("exit code %d, want %d (%v): %s", got, code, err, out)
	}
}

// Names that try to be more than names; MinIO takes them.
var hostileNames = []string{
	"<script>document.title='owned'</script>",
	`"><img src=x onerror=document.title='owned'>`,
	`=HYPERLINK("https:evil")`,
	"esc\x1b]0;owned\a",
	"{{.R}}",
	"a\u202egpj.exe",
}

// audited is a bucket in six modes, with what others have done to it.
func audited(t *testing.T) (m *mount, o observer) {
	t.Helper()
	ks := newKeys(t, nil)
	rules := []string{
		"mode: client, key: main", "prefix: kms/, mode: sse-kms, key: minio", "prefix: s3/, mode: sse-s3",
		"prefix: cust/, mode: sse-c, key: c3", "prefix: enc/, mode: s3ec, key: s3ec", "prefix: open/, mode: none",
	}
	m = newMount(t, mountOptions{YAML: func(bucket string) string {
		o = newObserver(t, bucket, ks)
		o.must("put-bucket-versioning", "--versioning-configuration", "Status=Enabled")
		o.put("was-plain", []byte("secret"))
		o.must("delete-object", "--key", "was-plain")
		return ks.yaml(bucket, rules, "c2")
	}})
	for _, dir := range []string{"", "kms/", "s3/", "cust/", "enc/", "open/"} {
		if dir != "" {
			must(t, os.Mkdir(m.Path(dir), 0o755))
		}
		for i := range 3 {
			writeFile(t, m.Path(fmt.Sprint(dir, "file", i)), content(uint64(i), 1000*int64(i+1)))
		}
	}
	writeFile(t, m.Path("was-plain"), []byte("sealed"))
	m.Unmount(t)

	o.put("leak", []byte("plain"))
	o.put("s3/leak", []byte("plain"))
	o.put("kms/weak", []byte("x"), "--server-side-encryption", "AES256")
	o.put("cust/old", []byte("x"), o.customer(2)...)
	o.put("cust/unknown", []byte("x"), o.customer(4)...)
	o.put(".sigil/evil", []byte("x"))
	o.must("copy-object", "--key", "moved", "--copy-source", o.raw.bucket+"/file0")
	stolen := o.raw.get("file1")
	o.raw.put("cut", object{stolen.Body[:len(stolen.Body)-1-1000%16], map[string]string{"sigil": stolen.Metadata["sigil"], "sigil-seal": "AAAA"}})
	o.put("open/file0.d/x", nil)
	for _, name := range hostileNames {
		o.raw.put("names/"+name, object{Body: []byte("x")})
	}
	return m, o
}

// Every object of a bucket is told as what it is, and what others have done to
// it is found; the numbers are those of another client; nothing is written.
func TestAudit(t *testing.T) {
	t.Parallel()
	m, o := audited(t)
	before := o.must("list-object-versions", "--query", "length(Versions)")
	i := inspect(t, m, 64, m.yaml)
	want := map[string][]string{
		"leak": {"plaintext"}, "s3/leak": {"plaintext"}, "kms/weak": {"weaker"}, "cust/old": {"retired-key"}, "cust/unknown": {"unknown-key"},
		".sigil/evil": {"foreign-sigil"}, "moved": {"moved"}, "cut": {"corrupt"}, "was-plain@old": {"old-version"},
	}
	for _, name := range hostileNames {
		want["names/"+name] = []string{"plaintext"}
	}
	if got := i.flaws(); !reflect.DeepEqual(got, want) {
		t.Errorf("findings: %v\nwant %v", got, want)
	}
	if !i.Complete || i.Version != 1 || i.Source != "bucket" {
		t.Errorf("the document says %+v", i)
	}
	for _, b := range i.Bucket {
		if b.Status != "ok" && b.Status != "skipped" {
			t.Errorf("bucket: %+v", b)
		}
	}
	for _, got := range i.Objects {
		if got.Key == "file2" && !got.Old && (got.Mode != "client" || got.Commitment != "yes" || got.EpochState != "open" || got.Plain == nil || *got.Plain != 3000 || !strings.HasPrefix(got.KeyID, "aes:")) {
			t.Errorf("a sealed file is told as %+v", got)
		}
		if got.Key == "enc/file2" && !got.Old && (got.Mode != "s3ec" || got.Commitment != "yes" || got.Plain == nil || *got.Plain != 3000) {
			t.Errorf("a file of s3ec is told as %+v", got)
		}
	}
	numbers := func(query string) (n int64) {
		must(t, json.Unmarshal([]byte(o.must("list-objects-v2", "--query", query)), &n))
		return n
	}
	if n, bytes := numbers("length(Contents)"), numbers("sum(Contents[].Size)"); i.Totals.Objects != n || i.Totals.Bytes != bytes {
		t.Errorf("%d objects of %d bytes, where aws counts %d of %d", i.Totals.Objects, i.Totals.Bytes, n, bytes)
	}
	if i.mode("sse-kms") != 4 || i.mode("sse-c") != 6 || i.mode("s3ec") != 3 {
		t.Errorf("by mode: %+v", i.ByMode)
	}
	if after := o.must("list-object-versions", "--query", "length(Versions)"); after != before {
		t.Errorf("%s versions after it, %s before", after, before)
	}

	// Where nothing is wrong, in a part of the volume.
	if i := inspect(t, m, 0, m.yaml, "enc"); i.Totals.Objects != 4 || i.Findings.Total != 0 {
		t.Errorf("of enc: %+v", i)
	}
	// It goes on where it ended.
	if i := inspect(t, m, 64, m.yaml, "--after", "names/~"); i.mode("none") == 0 || slices.ContainsFunc(i.Objects, func(o inspected) bool {
		return o.Key <= "names/~"
	}) {
		t.Errorf("after names/~: %+v", i)
	}
}

// The first look at a bucket takes no policy: who asks is told how everything is
// encrypted, and what nobody encrypts.
func TestAuditWithoutPolicy(t *testing.T) {
	t.Parallel()
	m, o := audited(t)
	i := inspect(t, m, 64, "--current", "s3://"+o.raw.bucket)
	kinds := map[string]bool{}
	for _, all := range i.flaws() {
		for _, k := range all {
			kinds[k] = true
		}
	}
	if want := []string{"corrupt", "foreign-sigil", "plaintext"}; !slices.Equal(slices.Sorted(maps.Keys(kinds)), want) {
		t.Errorf("kinds: %v, want %v", kinds, want)
	}
	if i.mode("client") == 0 || i.mode("s3ec") != 3 || i.mode("sse-c") != 5+1 {
		t.Errorf("by mode: %+v", i.ByMode)
	}
	dir := t.TempDir()
	rows, page := filepath.Join(dir, "objects.csv"), filepath.Join(dir, "report.html")
	out, err := tryBinary(t, m.env(t), append([]string{"audit", "s3://" + o.raw.bucket, "--csv", rows, "--html", page}, m.config(t).Args...)...)
	wantExit(t, out, err, 64)
	for _, text := range []string{"MODE", "FINDINGS", "plaintext", "no policy was given", "BUCKET"} {
		if !strings.Contains(out, text) {
			t.Errorf("the table lacks %s: %s", text, out)
		}
	}
	if strings.ContainsAny(out, "\x1b\a\u202e") {
		t.Error("the table has what a terminal obeys")
	}
	f, err := os.Open(rows)
	must(t, err)
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	must(t, err)
	if got := len(all) - 1; got < int(i.Totals.Objects) {
		t.Errorf("%d rows of %d objects", got, i.Totals.Objects)
	}
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
}

// An audit that was interrupted, or killed, goes on: its rows and its numbers are
// those of one that was not.
func TestAuditGoesOn(t *testing.T) {
	t.Parallel()
	m := newMount(t, mountOptions{Proxy: true})
	m.Unmount(t)
	bucket := newClient(t, m.bucket)
	for i := range 60 {
		bucket.put(m.Key(fmt.Sprintf("f/%02d", i)), object{Body: []byte("plain")})
	}
	dir := t.TempDir()
	rows := filepath.Join(dir, "objects.csv")
	args := append([]string{"audit", m.volume(), "--parallel", "1"}, m.config(t).Args...)
	// end has the audit end by a signal when it asks for an object.
	end := func(at string, signal os.Signal) string {
		c := exec.CommandContext(t.Context(), binary(t), append(args, "--csv", rows)...)
		c.Env = m.env(t)
		var said strings.Builder
		c.Stdout, c.Stderr = &said, &said
		reached := make(chan struct{}, 100)
		m.proxy.Set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, at) {
				reached <- struct{}{}
				<-r.Context().Done()
				return
			}
			next.ServeHTTP(w, r)
		})
		defer m.proxy.Set(func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
		must(t, c.Start())
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		select {
		case <-reached:
			must(t, c.Process.Signal(signal))
		case err := <-ended:
			t.Fatalf("it ended before %s: %v: %s", at, err, said.String())
		}
		if err := <-ended; err == nil {
			t.Errorf("it ended well: %s", said.String())
		}
		return said.String()
	}
	if said := end("f/30", os.Interrupt); !strings.Contains(said, "the same command goes on") || !strings.Contains(said, "incomplete: it ended after") {
		t.Errorf("interrupted it says %s", said)
	}
	if _, err := os.Stat(rows); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half of the rows have the name: %v", err)
	}
	out, err := tryBinary(t, m.env(t), append(args, "--csv", filepath.Join(dir, "other.csv"))...)
	wantExit(t, out, err, 1)
	end("f/45", os.Kill)
	held, err := filepath.Glob(filepath.Join(m.state, "*", "journals", "audit-*.lock"))
	must(t, err)
	if len(held) != 1 {
		t.Fatalf("journals: %q", held)
	}
	lock, err := os.Open(held[0])
	must(t, err)
	must(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	out, err = tryBinary(t, m.env(t), args...)
	wantExit(t, out, err, 64)
	if !strings.Contains(out, "another process of this host") || !strings.Contains(out, "plaintext: 60.") {
		t.Errorf("beside another one it says %s", out)
	}
	must(t, lock.Close())
	out, err = tryBinary(t, m.env(t), append(args, "--csv", rows, "--html", filepath.Join(dir, "page.html"))...)
	wantExit(t, out, err, 64)
	if !strings.Contains(out, "going on with what was interrupted") || !strings.Contains(out, "is told of as it was then") || !strings.Contains(out, "plaintext: 60.") {
		t.Errorf("gone on with it says %s", out)
	}
	whole := filepath.Join(dir, "whole.csv")
	out, err = tryBinary(t, m.env(t), append(args, "--csv", whole)...)
	wantExit(t, out, err, 64)
	if strings.Contains(out, "going on") {
		t.Errorf("a new audit says %s", out)
	}
	got, err := os.ReadFile(rows)
	must(t, err)
	want, err := os.ReadFile(whole)
	must(t, err)
	if string(got) != string(want) || strings.Count(string(got), "\r\n") < 61 {
		t.Errorf("the rows are\n%s\nwant\n%s", got, want)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.partial")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
