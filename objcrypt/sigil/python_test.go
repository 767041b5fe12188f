package sigil

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
)

const decryptor = "../../docs/decrypt_sigil.py"

// python finds a python3 that has the packages of the decryptor, or makes one in
// the repository's cache.
func python(t *testing.T) string {
	t.Helper()
	has := func(p string) bool {
		return exec.CommandContext(t.Context(), p, "-c", "import zstandard, cryptography.hazmat.primitives.ciphers.aead").Run() == nil
	}
	system, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed: docs/decrypt_sigil.py is not tested")
	}
	for _, p := range []string{system, "/usr/bin/python3"} { // Debian's, whatever shadows it
		if has(p) {
			return p
		}
	}
	dir, err := filepath.Abs("../../.cache/python")
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "bin", "python3")
	if has(own) {
		return own
	}
	for _, c := range [][]string{{system, "-m", "venv", dir}, {own, "-m", "pip", "install", "-q", "cryptography", "zstandard"}} {
		if out, err := exec.CommandContext(t.Context(), c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(c, " "), err, out)
		}
	}
	return own
}

// forker runs a script with the arguments of each line of stdin, in a process of
// its own that has the imports already, and answers with its exit status.
const forker = `
import base64, importlib.util, json, os, sys, zstandard
spec = importlib.util.spec_from_file_location("script", sys.argv[1])
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
for line in sys.stdin:
    job = json.loads(line)
    if (pid := os.fork()) == 0:
        os.dup2(os.open(job["Stdin"], os.O_RDONLY), 0)
        for fd, name in (1, "Stdout"), (2, "Stderr"): os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT), fd)
        sys.argv[1:] = [os.fsdecode(base64.b64decode(x)) for x in job["Args"]]
        script.main()
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
`

// script is the decryptor, kept ready for the length of a test.
type script struct {
	python string

	mu  sync.Mutex // guards in and out
	in  io.WriteCloser
	out *bufio.Scanner
}

func startScript(t *testing.T) *script {
	t.Helper()
	s := &script{python: python(t)}
	cmd := exec.CommandContext(t.Context(), s.python, "-B", "-c", forker, decryptor)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	s.in, s.out = in, bufio.NewScanner(out)
	return s
}

// run gives what the script says for these arguments and this input.
func (s *script) run(t *testing.T, stdin string, args ...string) (stdout []byte, stderr string, err error) {
	t.Helper()
	dir := t.TempDir()
	job := struct {
		Args                  [][]byte
		Stdin, Stdout, Stderr string
	}{Stdin: filepath.Join(dir, "stdin"), Stdout: filepath.Join(dir, "stdout"), Stderr: filepath.Join(dir, "stderr")}
	if err := os.WriteFile(job.Stdin, []byte(stdin), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, a := range args {
		job.Args = append(job.Args, []byte(a))
	}
	line, _ := json.Marshal(job)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.in.Write(append(line, '\n')); err != nil || !s.out.Scan() {
		t.Fatalf("the decryptor cannot be run: %v, %v", err, s.out.Err())
	}
	if code := s.out.Text(); code != "0" {
		err = fmt.Errorf("exit status %s", code)
	}
	stdout, _ = os.ReadFile(job.Stdout)
	said, _ := os.ReadFile(job.Stderr)
	return stdout, string(said), err
}

// decrypt runs the decryptor on an object as it would be downloaded.
func (s *script) decrypt(t *testing.T, key string, metadata map[string]string, body []byte, epoch string, args ...string) (stdout []byte, stderr string, err error) {
	t.Helper()
	dir := t.TempDir()
	head, _ := json.Marshal(map[string]any{"ContentLength": len(body), "ContentType": "application/octet-stream", "Metadata": metadata})
	for name, data := range map[string][]byte{"head.json": head, "body": body} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args = append([]string{"--key", key, "--meta", filepath.Join(dir, "head.json"), "--epoch", "testdata/epochs/" + epoch}, args...)
	return s.run(t, "", append(args, filepath.Join(dir, "body"))...)
}

func epochOf(metadata map[string]string) string {
	words := strings.Fields(metadata[MetaSigil])
	return words[len(words)-1]
}

func TestDecryptorOpensVectors(t *testing.T) {
	py := startScript(t)
	for file, v := range vectorFiles(t) {
		for _, o := range v.Objects {
			t.Run(file+"/"+o.Name, func(t *testing.T) {
				body, epoch := v.body(t, o), epochOf(o.Metadata)
				plain, stderr, err := py.decrypt(t, o.Key, o.Metadata, body, epoch, "--aes-key", "testdata/aes.key")
				if err != nil || !bytes.Equal(plain, o.plaintext(t)) {
					t.Fatalf("%d bytes, %v: %s", len(plain), err, stderr)
				}
				out, stderr, err := py.decrypt(t, o.Key, o.Metadata, body, epoch, "--aes-key", "testdata/aes.key", "--stat")
				if err != nil {
					t.Fatalf("--stat: %v: %s", err, stderr)
				}
				var got stat
				if err := json.Unmarshal(out, &got); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(o.Stat, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestDecryptorRefusesTamperedVectors(t *testing.T) {
	py := startScript(t)
	for file, v := range vectorFiles(t) {
		for _, c := range v.Tampered {
			t.Run(file+"/"+c.Name, func(t *testing.T) {
				key, metadata, body := v.apply(t, c)
				epoch := epochOf(v.object(t, c.Of).Metadata)
				plain, stderr, err := py.decrypt(t, key, metadata, body, epoch, "--aes-key", "testdata/aes.key")
				if err == nil || len(plain) != 0 || !strings.HasPrefix(stderr, "decrypt_sigil: ") || strings.Count(stderr, "\n") != 1 {
					t.Errorf("%d bytes, %v: %s", len(plain), err, stderr)
				}
			})
		}
	}
}

// What is compressed needs one package more, and says so; nothing else does.
func TestDecryptorNamesWhatIsMissing(t *testing.T) {
	v := loadVectors(t, framesFile)
	py := python(t)
	for name, needs := range map[string]bool{"compressed": true, "stored": false} {
		o := v.object(t, name)
		dir := t.TempDir()
		head, _ := json.Marshal(o.Metadata)
		for file, data := range map[string][]byte{"head.json": head, "body": v.body(t, o), "zstandard.py": []byte("raise ModuleNotFoundError(\"No module named 'zstandard'\")")} {
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), py, decryptor, "--key", o.Key, "--meta", filepath.Join(dir, "head.json"),
			"--epoch", "testdata/epochs/"+epochOf(o.Metadata), "--aes-key", "testdata/aes.key", filepath.Join(dir, "body"))
		cmd.Env = append(os.Environ(), "PYTHONPATH="+dir, "PYTHONDONTWRITEBYTECODE=1")
		var errs bytes.Buffer
		cmd.Stderr = &errs
		plain, err := cmd.Output()
		switch said := errs.String(); {
		case needs && (err == nil || len(plain) != 0 || !strings.Contains(said, "'zstandard'") || strings.Count(said, "\n") != 1):
			t.Errorf("%s: %d bytes, %v: %s", name, len(plain), err, said)
		case !needs && (err != nil || !bytes.Equal(plain, o.plaintext(t))):
			t.Errorf("%s: %d bytes, %v: %s", name, len(plain), err, said)
		}
	}
}

// The epoch key out of stock age, and every form of a master key file.
func TestDecryptorTakesKeys(t *testing.T) {
	py, v := startScript(t), loadVectors(t, vectorFile)
	o := v.object(t, "small")
	epoch := epochOf(o.Metadata)
	text, err := os.ReadFile("testdata/aes.key")
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, KeySize)
	if _, err := hex.Decode(raw, bytes.TrimSpace(text)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		flag string
		key  []byte
		ok   bool
	}{
		"raw":           {"--aes-key", raw, true},
		"hex":           {"--aes-key", text, true},
		"base64":        {"--aes-key", []byte(base64.StdEncoding.EncodeToString(raw) + "\n"), true},
		"another":       {"--aes-key", bytes.Repeat([]byte{7}, 32), false},
		"31 bytes":      {"--aes-key", raw[:31], false},
		"age":           {"--epoch-key", unwrapAge(t, epoch), true},
		"another epoch": {"--epoch-key", raw, false},
	} {
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, c.key, 0o600); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "plain")
		_, stderr, err := py.decrypt(t, o.Key, o.Metadata, v.body(t, o), epoch, c.flag, file, "-o", out)
		plain, _ := os.ReadFile(out)
		if (err == nil) != c.ok || c.ok != bytes.Equal(plain, o.plaintext(t)) {
			t.Errorf("%s: %d bytes, %v: %s", name, len(plain), err, stderr)
		}
	}
}

// What the script refuses with one sentence, and what it must not touch.
func TestDecryptorMinds(t *testing.T) {
	py, v := startScript(t), loadVectors(t, vectorFile)
	o := v.object(t, "small")
	run := func(key string, o vector, args ...string) (string, string, error) {
		t.Helper()
		out, stderr, err := py.decrypt(t, key, o.Metadata, v.body(t, o), epochOf(o.Metadata), append(args, "--aes-key", "testdata/aes.key")...)
		return string(out), stderr, err
	}
	refused := func(name, want string, out, stderr string, err error) {
		t.Helper()
		if err == nil || out != "" || !strings.HasPrefix(stderr, "decrypt_sigil: ") || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: %q, %v: %s", name, out, err, stderr)
		}
	}

	dir := t.TempDir()
	body := filepath.Join(dir, "body")
	if err := os.WriteFile(body, v.body(t, o), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(body, link); err != nil {
		t.Fatal(err)
	}
	cmd := func(target string) (string, string, error) {
		head, _ := json.Marshal(o.Metadata)
		meta := filepath.Join(dir, "meta")
		if err := os.WriteFile(meta, head, 0o600); err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), py.python, decryptor, "--key", o.Key, "--meta", meta, "--epoch", "testdata/epochs/"+epochOf(o.Metadata),
			"--aes-key", "testdata/aes.key", "-o", target, body)
		var errs bytes.Buffer
		c.Stderr = &errs
		out, err := c.Output()
		return string(out), errs.String(), err
	}
	out, stderr, err := cmd(link)
	refused("output over the body", "body", out, stderr, err)
	if b, err := os.ReadFile(body); err != nil || !bytes.Equal(b, v.body(t, o)) {
		t.Errorf("the body is spoilt: %v", err)
	}
	out, stderr, err = cmd(filepath.Join(dir, "absent", "plain"))
	refused("output where no directory is", "absent", out, stderr, err)

	bare := o
	bare.Metadata = map[string]string{MetaSigil: o.Metadata[MetaSigil]}
	out, stderr, err = run(o.Key, bare)
	refused("no seal", "sigil-seal", out, stderr, err)

	// Keys are bytes: one that is no UTF-8 is another name, not a crash.
	out, stderr, err = run("data/\xff", o)
	refused("key of other bytes", "moved", out, stderr, err)
}

// unwrapAge does what the decryptor's help says with jq, base64 and age.
func unwrapAge(t *testing.T, epoch string) []byte {
	t.Helper()
	stored, err := os.ReadFile("testdata/epochs/" + epoch)
	if err != nil {
		t.Fatal(err)
	}
	payload, _, _ := bytes.Cut(stored, []byte("\n"))
	var e struct {
		Wraps []struct {
			Type string
			Blob []byte
		}
	}
	if err := json.Unmarshal(payload, &e); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/age.key")
	if err != nil {
		t.Fatal(err)
	}
	ids, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range e.Wraps {
		if w.Type == "age" {
			r, err := age.Decrypt(bytes.NewReader(w.Blob), ids...)
			if err != nil {
				t.Fatal(err)
			}
			var key bytes.Buffer
			if _, err := key.ReadFrom(r); err != nil {
				t.Fatal(err)
			}
			return key.Bytes()
		}
	}
	t.Fatal("no age wrap")
	return nil
}

// The script stays short enough to be read by who needs it.
func TestDecryptorIsShort(t *testing.T) {
	b, err := os.ReadFile(decryptor)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b, []byte("\n")); n >= 150 {
		t.Errorf("%d lines", n)
	}
}
