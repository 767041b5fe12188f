package integration

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"github.com/sigilfs/sigilfs/integration/server"
)

// samples are what one scrape told: by name with labels.
type samples map[string]float64

// sum adds up all series of a name.
func (s samples) sum(name string, having ...string) float64 {
	total := 0.0
next:
	for series, v := range s {
		if bare, _, _ := strings.Cut(series, "{"); bare != name {
			continue
		}
		for _, label := range having {
			if !strings.Contains(series, label) {
				continue next
			}
		}
		total += v
	}
	return total
}

// scrape asks as Prometheus does, at HOST:PORT or unix:PATH.
func scrape(t *testing.T, address string) (samples, string) {
	t.Helper()
	network, at := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, at = "unix", path
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, at)
		},
	}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://metrics/metrics", nil)
	must(t, err)
	answer, err := client.Do(r)
	must(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(t, err)
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("scrape: %s\n%s", answer.Status, text)
	}
	all := samples{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			v, err := strconv.ParseFloat(line[i+1:], 64)
			must(t, err)
			all[line[:i]] = v
		}
	}
	return all, string(text)
}

// metricsAt is where a mount that was started with 127.0.0.1:0 gives its metrics.
func metricsAt(t *testing.T, m *mount) string {
	t.Helper()
	found := regexp.MustCompile(`address="?(127\.0\.0\.1:\d+)`).FindStringSubmatch(m.running(t).Log())
	if found == nil {
		t.Fatalf("the log does not say where:\n%s", m.running(t).Log())
	}
	return found[1]
}

// What the mount counts is what passed the proxy, request by request and byte
// by byte, failures included.
func TestMetricsCountWhatPassed(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true, Args: []string{"--metrics", "127.0.0.1:0"}})
	address := metricsAt(t, m)
	meter := faultproxy.NewMeter(func(*http.Request) bool { return true })
	m.proxy.Set(meter.Fault)
	before, _ := scrape(t, address)
	for i, size := range []int64{0, 100, 100_000, 20 << 20} {
		name := m.Path("file" + strconv.Itoa(i))
		writeFile(t, name, content(uint64(i), size))
		wantFile(t, name, content(uint64(i), size))
	}
	must(t, os.Rename(m.Path("file1"), m.Path("renamed")))
	must(t, os.Remove(m.Path("file2")))
	_, err := os.ReadDir(m.Dir())
	must(t, err)
	tally := faultproxy.Tally{Verbs: map[string]int{}}
	var after samples
	same := func(name string, passed int64) bool { return int64(after.sum(name)-before.sum(name)) == passed }
	wait(t, func() bool { // the background has ended what it does
		after, _ = scrape(t, address)
		tally = tally.Add(meter.Take())
		return same("sigilfs_s3_requests_total", int64(tally.Requests())) &&
			same("sigilfs_s3_sent_bytes_total", tally.Sent) && same("sigilfs_s3_received_bytes_total", tally.Received)
	})
	if tally.Requests() < 8 || tally.Sent < 20<<20 {
		t.Errorf("only %v passed, %d bytes", tally, tally.Sent)
	}
	if n := after.sum("sigilfs_s3_request_duration_seconds_count"); n != after.sum("sigilfs_s3_requests_total") {
		t.Errorf("%v latencies of %v requests", n, after.sum("sigilfs_s3_requests_total"))
	}
	if n := after.sum("sigilfs_s3_requests_total", `operation="UploadPart"`); n == 0 {
		t.Error("no part of a large file was counted")
	}
}

func TestMetricsOfFailures(t *testing.T) {
	at := filepath.Join(t.TempDir(), "metrics.sock")
	m := newMount(t, mountOptions{Proxy: true, Args: []string{"--metrics", "unix:" + at, "--attr-timeout", "0"}})
	if info, err := os.Lstat(at); err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
		t.Errorf("%v, %v", info, err)
	}
	now, text := scrape(t, "unix:"+at)
	for _, secret := range []string{m.bucket, "pre/fix", m.dir, m.key} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is among the metrics", secret)
		}
	}
	if n := now.sum("sigilfs_build_info"); n != 1 {
		t.Errorf("build info: %v", n)
	}
	if now.sum("sigilfs_epoch_created_timestamp_seconds") < 1.5e9 || now.sum("sigilfs_epochs", `state="open"`) != 1 || now.sum("sigilfs_keys", `kind="aes"`) != 1 {
		t.Errorf("keys and epochs:\n%s", text)
	}
	if now.sum("sigilfs_authentication_failures_total") != 0 {
		t.Error("failures before the first")
	}

	// A body that was tampered with.
	writeFile(t, m.Path("file"), content(1, 1000))
	m.Unmount(t)
	if _, err := os.Lstat(at); err == nil {
		t.Error("the socket is there after the mount")
	}
	c := newClient(t, m.bucket)
	o := c.get(m.Key("file"))
	o.Body[500] ^= 1
	c.put(m.Key("file"), o)
	m.Start(t)
	if _, err := os.ReadFile(m.Path("file")); err == nil {
		t.Fatal("it was read")
	}
	now, _ = scrape(t, "unix:"+at)
	if now.sum("sigilfs_authentication_failures_total", `errno="EBADMSG"`) == 0 {
		t.Error("what did not authenticate was not counted")
	}

	// A bucket that refuses writes: what is dirty and fails is told.
	failUploads(m, "dirty")
	if err := os.WriteFile(m.Path("dirty"), content(2, 5000), 0o644); err == nil {
		t.Fatal("it was written")
	}
	now, _ = scrape(t, "unix:"+at)
	if now.sum("sigilfs_failing_files") != 1 || now.sum("sigilfs_dirty_files") != 1 || now.sum("sigilfs_dirty_bytes") != 5000 || now.sum("sigilfs_failing_since_timestamp_seconds") < 1.5e9 {
		t.Errorf("failing %v, dirty %v with %v bytes", now.sum("sigilfs_failing_files"), now.sum("sigilfs_dirty_files"), now.sum("sigilfs_dirty_bytes"))
	}
	if now.sum("sigilfs_s3_requests_total", `operation="PutObject"`, `status="4xx"`) == 0 || now.sum("sigilfs_failed_operations_total", `errno="EACCES"`) == 0 {
		t.Error("the refusal was not counted")
	}
	m.proxy.Set(faultproxy.Pass)
	wait(t, func() bool {
		now, _ = scrape(t, "unix:"+at)
		return now.sum("sigilfs_dirty_files") == 0 && now.sum("sigilfs_failing_files") == 0
	})
}

// A mount that follows at once one that has not ended takes its place at
// --metrics too.
func TestMetricsOfTheNextMount(t *testing.T) {
	m := idle(t, mountOptions{})
	at := "unix:" + filepath.Join(t.TempDir(), "metrics.sock")
	first := m.behind(t, "--metrics", at)
	f, err := os.Create(m.Path("file"))
	must(t, err)
	defer func() { _ = f.Close() }()
	must(t, daemon.Detach(m.dir)) // it goes on for who has the file open
	cfg := m.config(t)
	log := filepath.Join(t.TempDir(), "log")
	next := exec.CommandContext(t.Context(), cfg.Bin, slices.Concat([]string{"mount", "--metrics", at, "--log-file", log}, cfg.Args, []string{cfg.Target, cfg.Dir})...)
	next.Env = cfg.Env
	var said bytes.Buffer
	next.Stderr = &said
	must(t, next.Start())
	ended := make(chan error, 1)
	go func() { ended <- next.Wait() }()
	awaitText(t, log, "waiting for the process of an earlier mount")
	must(t, f.Close())
	awaitEnd(t, first)
	if err := <-ended; err != nil {
		t.Fatalf("%v: %s", err, &said)
	}
	if now, _ := scrape(t, at); now.sum("sigilfs_build_info") != 1 {
		t.Error("it gives no metrics")
	}
	m.sigilfs(t, "umount", m.dir)
}

// Nobody beyond this host is let in, by a sentence before anything is touched.
func TestMetricsAreForThisHost(t *testing.T) {
	for _, address := range []string{"0.0.0.0:9417", ":9417", "192.0.2.1:9417", "[::]:9417", "9417", "unix:metrics.sock"} {
		out, err := tryBinary(t, baseEnv(t), "mount", "-f", "--encryption", "none", "--metrics", address, "s3://bucket", t.TempDir())
		if err == nil || !strings.Contains(out, "--metrics") {
			t.Errorf("%s: %v\n%s", address, err, out)
		}
	}
}

// Keys in KMS: what is asked of it, what it refuses, how old the key is, and
// that it could not be asked for again.
func TestMetricsOfKMS(t *testing.T) {
	m := newKMSMount(t, "--metrics", "127.0.0.1:0", "--key-recheck", "200ms", "--retry-timeout", "1s")
	m.Start(t)
	address := metricsAt(t, m.mount)
	writeFile(t, m.Path("file"), []byte("content"))
	now, text := scrape(t, address)
	if now.sum("sigilfs_kms_requests_total", `operation="GenerateDataKey"`) != 1 || now.sum("sigilfs_kms_requests_total", `operation="DescribeKey"`) != 1 || now.sum("sigilfs_kms_failed_calls_total") != 0 {
		t.Errorf("what was asked of KMS:\n%s", text)
	}
	if age := time.Since(time.Unix(int64(now.sum("sigilfs_key_created_timestamp_seconds", `kind="kms"`)), 0)); age < -time.Minute || age > daemonTime {
		t.Errorf("the key is %v old", age)
	}
	wait(t, func() bool {
		now, _ = scrape(t, address)
		return now.sum("sigilfs_key_rechecks_total") >= 2
	})
	if now.sum("sigilfs_key_recheck_failures_total") != 0 {
		t.Error("rechecks failed")
	}
	// KMS is away: nothing is revoked, and it is told.
	m.moto.Fault(func(server.KMSCall) *server.KMSAnswer {
		return &server.KMSAnswer{Status: http.StatusInternalServerError, Code: "KMSInternalException", Message: "not now"}
	})
	wait(t, func() bool {
		now, _ = scrape(t, address)
		return now.sum("sigilfs_key_recheck_failures_total") >= 1 && now.sum("sigilfs_kms_failed_calls_total", `operation="Decrypt"`) >= 1
	})
	if r, text, code := status(t, m.mount, m.dir); code != 64 || len(r.Mounts) != 1 || !strings.Contains(strings.Join(r.Mounts[0].Reasons, ""), "could not be asked for again since") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	m.moto.Fault(nil)
	wait(t, func() bool {
		_, _, code := status(t, m.mount, m.dir)
		return code == 0
	})
	wantFile(t, m.Path("file"), []byte("content"))
}
