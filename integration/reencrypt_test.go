package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/integration/server"
)

// TestReencryptEverything takes a bucket of six modes to client under KMS, while
// another host writes, and is killed twice: everything is there, and everything
// is sealed by the word of another client.
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
	files := map[string][]byte{}
	modes["client"] = ""
	for name := range modes {
		for i := range reencryptFiles {
			p := fmt.Sprintf("%s/d%d/f%03d", name, i%5, i)
			files[p] = content(uint64(len(files)), int64(100+i*37))
		}
		files[name+"/large"] = content(uint64(len(files)), 17<<20)
	}
	writeAll(t, m, files)
	must(t, os.Link(m.Path("client/d0/f000"), m.Path("client/linked")))

	today := k.yaml(m.bucket, []string{"mode: client, key: cloud"}, "main", "s3ec", "c1")
	m.Reconfigure(t, strings.Replace(today, "key: cloud", "key: cloud, allow-plaintext: true", 1))
	stop := make(chan struct{})
	var writer sync.WaitGroup
	written := 0
	writer.Go(func() {
		for ; ; written++ {
			select {
			case <-stop:
				return
			default:
			}
			name := m.Path(fmt.Sprintf("client/w%d", written))
			if os.WriteFile(name+".new", content(uint64(written), 1000), 0o600) != nil || os.Rename(name+".new", name) != nil {
				t.Errorf("%s could not be written", name)
				return
			}
		}
	})
	args := []string{"reencrypt", m.yaml, "--from", "client,s3ec,none,sse-s3,sse-kms,sse-c", "--json", "--endpoint-url", m.s3.URL, "--ca-bundle", m.s3.CAFile, "--state-dir", t.TempDir()}
	for range 2 {
		killAtFirstEvent(t, m, args)
	}
	close(stop)
	writer.Wait()
	out := m.sigilfs(t, args...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var res struct {
		Settled bool
		Failed  int
	}
	must(t, json.Unmarshal([]byte(lines[len(lines)-1]), &res))
	if !res.Settled || res.Failed != 0 {
		t.Errorf("it came to %s", lines[len(lines)-1])
	}

	m.Reconfigure(t, k.yaml(m.bucket, []string{"mode: client, key: cloud"})) // no other key, no plaintext
	for i := range written {
		files[fmt.Sprintf("client/w%d", i)] = content(uint64(i), 1000)
	}
	for p, want := range files {
		wantFile(t, m.Path(p), want)
	}
	oneFile(t, m.Path("client/d0/f000"), m.Path("client/linked"))
	if _, n := links(t, m.Path("client/linked")); n != 2 {
		t.Errorf("%d links", n)
	}
	o := newObserver(t, m.bucket, k)
	for _, name := range []string{"none/d0/f005", "s3/large", "kms/d1/f001", "cust/d0/f000", "s3ec/large", "client/d0/f000"} {
		if h := o.head(name, 0); !strings.HasPrefix(h.Metadata["sigil"], "1 0 ") || h.Metadata["mode"] != "" {
			t.Errorf("%s: %v", name, h.Metadata)
		}
	}
}

// reencryptFiles is how many small files each mode has.
const reencryptFiles = 30

func writeAll(t *testing.T, m *mount, files map[string][]byte) {
	t.Helper()
	for p, b := range files {
		must(t, os.MkdirAll(m.Path(p[:strings.LastIndexByte(p, '/')]), 0o755))
		writeFile(t, m.Path(p), b)
	}
}

// killAtFirstEvent begins a run and ends it by SIGKILL once it tells how far it
// is.
func killAtFirstEvent(t *testing.T, m *mount, args []string) {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	cmd.Env = m.env(t)
	out, err := cmd.StdoutPipe()
	must(t, err)
	var said strings.Builder
	cmd.Stderr = &said
	must(t, cmd.Start())
	line, _ := bufio.NewReader(out).ReadString('\n')
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if !strings.Contains(line, `"progress"`) {
		t.Errorf("it told %q, %s", line, said.String())
	}
}
