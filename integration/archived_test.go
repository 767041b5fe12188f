package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/server"
	"golang.org/x/sys/unix"
)

// progress has moto carry out orders to restore: at once, or from one look at an
// object to the next after so many.
func progress(t *testing.T, moto *server.KMS, looks int) {
	t.Helper()
	transition := map[string]any{"progression": "immediate"}
	if looks > 0 {
		transition = map[string]any{"progression": "manual", "times": looks}
	}
	body, err := json.Marshal(map[string]any{"model_name": "s3::keyrestore", "transition": transition})
	must(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, moto.Moto+"/moto-api/state-manager/set-transition", bytes.NewReader(body))
	must(t, err)
	answer, err := http.DefaultClient.Do(req)
	must(t, err)
	must(t, answer.Body.Close())
	if answer.StatusCode/100 != 2 {
		t.Fatalf("set-transition: %s", answer.Status)
	}
}

// A prefix goes to the deep archive, as another client sees it; what is there
// shows, is refused with a line that says what to do, and is brought back.
func TestArchived(t *testing.T) {
	moto := server.Moto(t)
	base := t.TempDir()
	const bucket = "archives"
	s := &server.Server{URL: moto.Moto, CAFile: shared(t).CAFile, AccessKey: moto.AccessKey, SecretKey: moto.SecretKey, Region: moto.Region}
	cli := newTool(t, base, awsCLI, append(baseEnv(t), "AWS_ACCESS_KEY_ID="+s.AccessKey, "AWS_SECRET_ACCESS_KEY="+s.SecretKey, "AWS_REGION="+s.Region, "AWS_DEFAULT_REGION="+s.Region)...)
	aws := func(args ...string) string {
		t.Helper()
		return cli.run(append([]string{awsCLI, "--endpoint-url", moto.Moto, "s3api", args[0], "--bucket", bucket}, args[1:]...)...)
	}
	aws("create-bucket")
	key := filepath.Join(base, "main.key")
	if out, err := tryBinary(t, baseEnv(t), "keygen", "-o", key); err != nil {
		t.Fatal(out)
	}
	m := newMount(t, mountOptions{Server: s, Bucket: bucket, Args: []string{"--attr-timeout", "0"}, YAML: func(bucket string) string {
		return fmt.Sprintf("bucket: s3://%s\nkeys: {main: {aes: 'file:%s'}}\nencryption:\n- {mode: client, key: main}\n"+
			"- {prefix: archive/, mode: client, key: main, storage-class: DEEP_ARCHIVE}\n", bucket, key)
	}})
	head := func(name string) (h struct{ StorageClass, Restore string }) {
		t.Helper()
		must(t, json.Unmarshal([]byte(aws("head-object", "--key", name)), &h))
		return h
	}
	restore := func(args ...string) string {
		t.Helper()
		return m.sigilfs(t, append([]string{"restore", m.yaml, "archive", "--endpoint-url", m.s3.URL, "--ca-bundle", m.s3.CAFile, "--state-dir", m.state}, args...)...)
	}
	state := func() string {
		t.Helper()
		buf := make([]byte, 100)
		n, err := unix.Getxattr(m.Path("archive/a"), "user.sigil.restore", buf)
		must(t, err)
		return string(buf[:n])
	}

	must(t, os.MkdirAll(m.Path("archive/d"), 0o755))
	must(t, os.Mkdir(m.Path("stage"), 0o755))
	big := content(1, 20<<20)
	for name, b := range map[string][]byte{"archive/a": []byte("to be kept"), "archive/d/big": big, "stage/x": []byte("moved")} {
		writeFile(t, m.Path(name), b)
	}
	must(t, os.Rename(m.Path("stage/x"), m.Path("archive/x")))
	must(t, os.Symlink("a", m.Path("archive/link")))
	for name, class := range map[string]string{
		"archive/a": "DEEP_ARCHIVE", "archive/d/big": "DEEP_ARCHIVE", "archive/x": "DEEP_ARCHIVE",
		"archive/link": "", "archive/": "", "archive/d/": "",
	} {
		if got := head(name).StorageClass; got != class && (class != "" || got != "STANDARD") {
			t.Errorf("%s has class %q, want %q", name, got, class)
		}
	}
	for _, name := range []string{"archive/a", "archive/d/big", "archive/link"} {
		if _, err := os.ReadFile(m.Path(name)); !errors.Is(err, unix.EREMOTE) {
			t.Errorf("read %s: %v", name, err)
		}
	}
	if fi, err := os.Stat(m.Path("archive/d/big")); err != nil || fi.Size() != int64(len(big)) || fi.Mode() != 0o644 {
		t.Errorf("stat: %+v, %v", fi, err)
	}
	if err := os.Rename(m.Path("archive/a"), m.Path("stage/a")); !errors.Is(err, unix.EREMOTE) {
		t.Errorf("rename: %v", err)
	}
	if err := os.Chmod(m.Path("archive/a"), 0o600); !errors.Is(err, unix.EREMOTE) {
		t.Errorf("chmod: %v", err)
	}
	if want := "sigilfs restore " + m.yaml + " archive/d/big"; strings.Count(m.running(t).Log(), want) != 1 {
		t.Errorf("the log has not one line with %q:\n%s", want, m.running(t).Log())
	}

	if out := restore("--dry-run"); !strings.Contains(out, "would be ordered archive/a") || head("archive/a").Restore != "" || state() != "archived" {
		t.Errorf("dry run: %s, %q", out, state())
	}
	progress(t, moto, 1)
	if out := restore("--days", "3", "--tier", "bulk"); !strings.Contains(out, "3 ordered, 0 in progress, 0 restored") {
		t.Errorf("restore: %s", out)
	}
	for _, name := range []string{"archive/a", "archive/d/big", "archive/x"} {
		if got := head(name).Restore; got != `ongoing-request="true"` {
			t.Errorf("%s: %q", name, got)
		}
	}
	progress(t, moto, 1<<30)
	if out := restore(); !strings.Contains(out, "0 ordered, 3 in progress, 0 restored") || state() != "ongoing" {
		t.Errorf("again: %s, %q", out, state())
	}
	if _, err := os.ReadFile(m.Path("archive/a")); !errors.Is(err, unix.EREMOTE) {
		t.Errorf("read what is on its way: %v", err)
	}
	progress(t, moto, 0)
	if out := restore("--wait", "--json"); !strings.Contains(out, `"restored":3`) {
		t.Errorf("wait: %s", out)
	}
	for name, want := range map[string][]byte{"archive/a": []byte("to be kept"), "archive/d/big": big, "archive/x": []byte("moved"), "archive/link": []byte("to be kept")} {
		if got, err := os.ReadFile(m.Path(name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if !strings.HasPrefix(state(), "until ") {
		t.Errorf("restored: %q", state())
	}
}
