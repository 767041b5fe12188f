package integration

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/encrypt"
	"github.com/sigilfs/sigilfs/integration/server"
	"golang.org/x/sync/errgroup"
)

// reencryptFiles is how many small files each mode has, 5,000 in all. Those of
// the first four another client put there.
var reencryptFiles = map[string]int{"none": 1300, "s3": 1200, "kms": 800, "cust": 800, "s3ec": 400, "client": 494}

// TestReencryptEverything takes a bucket of six modes to client under KMS, while
// another host writes, and is killed twice: everything is there, and everything
// is sealed by the word of other clients.
func TestReencryptEverything(t *testing.T) {
	moto := server.Moto(t)
	k := newKeys(t, moto)
	modes := map[string]string{
		"none": "mode: none", "s3": "mode: sse-s3", "kms": "mode: sse-kms, key: minio", "cust": "mode: sse-c, key: c1", "s3ec": "mode: s3ec, key: s3ec",
	}
	rules := []string{"mode: client, key: main"}
	for name, rule := range modes {
		rules = append(rules, "prefix: "+name+"/, "+rule)
	}
	m := newMount(t, mountOptions{
		Env:  moto.Env(),
		YAML: func(bucket string) string { return k.yaml(bucket, rules) },
	})
	r := reencrypted{mount: m, keys: k, files: map[string][]byte{}}
	r.plant(t)

	today := k.yaml(m.bucket, []string{"mode: client, key: cloud"}, "main", "s3ec", "c1")
	m.Reconfigure(t, strings.Replace(today, "key: cloud", "key: cloud, allow-plaintext: true", 1))
	stop := r.write(t)
	args := []string{"reencrypt", m.yaml, "--from", "client,s3ec,none,sse-s3,sse-kms,sse-c", "--json", "--endpoint-url", m.s3.URL, "--ca-bundle", m.s3.CAFile, "--state-dir", t.TempDir()}
	done := killBehind(t, m, args, 500)
	killBehind(t, m, args, done+500)
	out := m.sigilfs(t, args...)
	stop()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var res struct {
		Resumed, Settled bool
		Failed           int
	}
	must(t, json.Unmarshal([]byte(lines[len(lines)-1]), &res))
	if !res.Resumed || !res.Settled || res.Failed != 0 {
		t.Errorf("it came to %s", lines[len(lines)-1])
	}

	m.Reconfigure(t, k.yaml(m.bucket, []string{"mode: client, key: cloud"})) // no other key, no plaintext
	r.same(t)
	oneFile(t, m.Path("client/linked"), m.Path("client/other"))
	r.sealed(t)
	r.decrypts(t, moto.URL)
}

// reencrypted is a bucket with files of all modes.
type reencrypted struct {
	*mount
	keys  keys
	files map[string][]byte
}

// plant has another client put what no mount has to write, all at once.
func (r reencrypted) plant(t *testing.T) {
	t.Helper()
	o := newObserver(t, r.bucket, r.keys)
	kms, err := encrypt.NewSSEKMS(minioKey, nil)
	must(t, err)
	by := map[string]encrypt.ServerSide{"none": nil, "s3": encrypt.NewSSE(), "kms": kms, "cust": o.secret(1)}
	var puts errgroup.Group
	puts.SetLimit(16)
	for mode, n := range reencryptFiles {
		must(t, os.MkdirAll(r.Path(mode), 0o755))
		for d := range 5 {
			must(t, os.MkdirAll(r.Path(fmt.Sprintf("%s/d%d", mode, d)), 0o755))
		}
		for i := range n {
			name := fmt.Sprintf("%s/d%d/f%04d", mode, i%5, i)
			if i == 0 {
				name = mode + "/large"
			}
			body := content(uint64(len(r.files)), int64(100+i*7%3000))
			if i == 0 {
				body = content(uint64(len(r.files)), 17<<20)
			}
			r.files[name] = body
			puts.Go(func() error {
				enc, ok := by[mode]
				if !ok {
					return os.WriteFile(r.Path(name), body, 0o644)
				}
				_, err := o.raw.s3.PutObject(t.Context(), r.bucket, name, bytes.NewReader(body), int64(len(body)),
					minio.PutObjectOptions{ServerSideEncryption: enc, PartSize: 8 << 20})
				return err
			})
		}
	}
	must(t, puts.Wait())
	for i := range 6 {
		name := fmt.Sprintf("client/parts%d", i)
		r.files[name] = content(uint64(len(r.files)), int64(60_000+i*10_000))
		writeFile(t, r.Path(name), r.files[name])
	}
	r.files["client/linked"] = content(uint64(len(r.files)), 5000)
	writeFile(t, r.Path("client/linked"), r.files["client/linked"])
	must(t, os.Link(r.Path("client/linked"), r.Path("client/other")))
}

// write begins to make, replace, move and remove files through the mount, at
// random; who stops it finds in files what should be there.
func (r reencrypted) write(t *testing.T) (stop func()) {
	t.Helper()
	names := slices.Sorted(maps.Keys(r.files))
	names = slices.DeleteFunc(names, func(n string) bool {
		return strings.HasSuffix(n, "/large") || n == "client/linked"
	})
	random := rand.New(rand.NewPCG(1, 2))
	ended := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := range 600 {
			select {
			case <-ended:
				return
			default:
			}
			i := random.IntN(len(names))
			if err := r.change(names, i, n); err != nil {
				t.Errorf("change %d, of %s: %v", n, names[i], err)
				return
			}
		}
	})
	return func() {
		close(ended)
		writer.Wait()
	}
}

// change does the n-th one, to the i-th name or its like.
func (r reencrypted) change(names []string, i, n int) error {
	name := names[i]
	body := content(uint64(1000_000+n), int64(500+n))
	switch n % 4 {
	case 0: // as editors do
		if err := os.WriteFile(r.Path(name+".new"), body, 0o600); err != nil {
			return err
		}
		r.files[name] = body
		return os.Rename(r.Path(name+".new"), r.Path(name))
	case 1:
		r.files[name] = body
		return os.WriteFile(r.Path(name), body, 0o600)
	case 2: // maybe to where the walk has been
		to := path.Join("a", strings.ReplaceAll(name, "/", "-")+fmt.Sprint(n))
		if err := os.MkdirAll(r.Path("a"), 0o755); err != nil {
			return err
		}
		r.files[to] = r.files[name]
		delete(r.files, name)
		names[i] = to
		return os.Rename(r.Path(name), r.Path(to))
	}
	delete(r.files, name)
	if err := os.Remove(r.Path(name)); err != nil {
		return err
	}
	names[i] = fmt.Sprintf("client/again%d", n)
	r.files[names[i]] = body
	return os.WriteFile(r.Path(names[i]), body, 0o600)
}

// same compares all files as the mount shows them.
func (r reencrypted) same(t *testing.T) {
	t.Helper()
	var reads errgroup.Group
	reads.SetLimit(8)
	for name, want := range r.files {
		reads.Go(func() error {
			got, err := os.ReadFile(r.Path(name))
			if err == nil && !bytes.Equal(got, want) {
				err = fmt.Errorf("%s: %d bytes that are not the %d that it should have", name, len(got), len(want))
			}
			return err
		})
	}
	must(t, reads.Wait())
}

// sealed has other clients say how everything is stored.
func (r reencrypted) sealed(t *testing.T) {
	t.Helper()
	o := newObserver(t, r.bucket, r.keys)
	seen := map[string]bool{}
	for info := range o.raw.s3.ListObjects(t.Context(), r.bucket, minio.ListObjectsOptions{Recursive: true, WithMetadata: true}) {
		must(t, info.Err)
		if strings.HasPrefix(info.Key, ".sigil/") {
			continue
		}
		seen[info.Key] = true
		if !strings.HasPrefix(info.UserMetadata["X-Amz-Meta-Sigil"], "1 0 ") || info.UserMetadata["X-Amz-Meta-Mode"] != "" {
			t.Errorf("%s: %v", info.Key, info.UserMetadata)
		}
	}
	for name := range r.files {
		if !seen[name] {
			t.Errorf("%s is not in the bucket", name)
		}
	}
	for mode := range reencryptFiles {
		if h := o.headByAWS(mode+"/large", 0); !strings.HasPrefix(h.Metadata["sigil"], "1 0 ") || h.SSECustomerAlgorithm != "" {
			t.Errorf("%s/large: %+v", mode, h)
		}
	}
}

// decrypts reads a sample by KMS and docs/decrypt_sigil.py alone.
func (r reencrypted) decrypts(t *testing.T, kms string) {
	t.Helper()
	var jobs bytes.Buffer
	var names []string
	d := newRescuer(t, r.mount)
	o := newObserver(t, r.bucket, r.keys)
	epochs := map[string]bool{}
	for i, name := range slices.Sorted(maps.Keys(r.files)) {
		if i%20 != 0 && !strings.HasSuffix(name, "/large") || name == "client/linked" {
			continue
		}
		h := o.head(name, 0)
		id := strings.TrimPrefix(h.Metadata["sigil"], "1 0 ")
		if !epochs[id] {
			epochs[id] = true
			d.epoch(o, id, kms)
		}
		meta, err := json.Marshal(map[string]any{"Metadata": h.Metadata})
		must(t, err)
		at := func(ext string) string { return fmt.Sprintf("%s/%d.%s", d.dir, i, ext) }
		must(t, os.WriteFile(at("json"), meta, 0o600))
		must(t, os.WriteFile(at("body"), o.body(name, 0), 0o600))
		must(t, json.NewEncoder(&jobs).Encode(map[string]string{
			"key": name, "meta": at("json"), "epoch": d.dir + "/" + id, "epoch_key": d.dir + "/" + id + ".key", "body": at("body"),
		}))
		names = append(names, name)
	}
	sums := d.decryptMany(&jobs)
	if len(sums) != len(names) || len(names) < 200 {
		t.Fatalf("%d sums of %d objects", len(sums), len(names))
	}
	for i, name := range names {
		if want := fmt.Sprintf("%x", sha256.Sum256(r.files[name])); sums[i] != want {
			t.Errorf("%s: %s, want %s", name, sums[i], want)
		}
	}
}

// epoch takes one out of the bucket and has KMS, by AWS's command line, open it.
func (r rescuer) epoch(o observer, id, kms string) {
	r.t.Helper()
	stored := o.body(".sigil/epochs/"+id, 0)
	must(r.t, os.WriteFile(filepath.Join(r.dir, id), stored, 0o600))
	line, _, _ := bytes.Cut(stored, []byte("\n"))
	var payload struct {
		Wraps []struct {
			Key, Type string
			Blob      []byte
			Context   json.RawMessage
		}
	}
	must(r.t, json.Unmarshal(line, &payload))
	if len(payload.Wraps) != 1 || payload.Wraps[0].Type != "kms" {
		r.t.Fatalf("epoch %s is not under KMS alone: %s", id, line)
	}
	w := payload.Wraps[0]
	must(r.t, os.WriteFile(filepath.Join(r.dir, "blob"), w.Blob, 0o600))
	out := r.run(awsCLI, "--endpoint-url", kms, "--output", "json", "kms", "decrypt", "--ciphertext-blob", "fileb://blob", "--encryption-context", string(w.Context), "--key-id", w.Key)
	var opened struct{ Plaintext []byte }
	must(r.t, json.Unmarshal([]byte(out), &opened))
	must(r.t, os.WriteFile(filepath.Join(r.dir, id+".key"), opened.Plaintext, 0o600))
}

// decryptMany gives the SHA-256 of each job's plaintext, or what is wrong.
func (r rescuer) decryptMany(jobs io.Reader) []string {
	r.t.Helper()
	docs, err := filepath.Abs("../docs")
	must(r.t, err)
	script, err := filepath.Abs("testdata/decryptmany.py")
	must(r.t, err)
	cmd := exec.CommandContext(r.t.Context(), "/usr/bin/python3", "-B", script, docs)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stderr = r.dir, r.env, jobs, os.Stderr
	out, err := cmd.Output()
	must(r.t, err)
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// killBehind begins a run and ends it by SIGKILL once it tells of more objects
// than those; it gives how many.
func killBehind(t *testing.T, m *mount, args []string, objects int) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	cmd.Env = m.env(t)
	out, err := cmd.StdoutPipe()
	must(t, err)
	var said strings.Builder
	cmd.Stderr = &said
	must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e struct {
			Event   string
			Objects int
		}
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Event == "progress" && e.Objects > objects {
			return e.Objects
		}
	}
	t.Fatalf("it ended before it could be killed: %s", said.String())
	return 0
}
