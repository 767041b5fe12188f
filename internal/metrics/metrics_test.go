package metrics

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// full are facts of which everything is there.
func full() Facts {
	at := time.Unix(1_700_000_000, 500_000_000)
	return Facts{
		Mounted: at, MemoryLimit: 1, DirtyFiles: 5, UploadingFiles: 2, FailingFiles: 1, DirtyBytes: 6, FailingSince: at,
		Uploads: 7, Chores: 8, Conflicts: 9, Spool: &Filled{10, 11}, MemoryCache: Cache{12, 13, Filled{14, 15}},
		DiskCache: &Cache{16, 17, Filled{18, 19}}, DiskLost: 20, KMSRequests: map[string]uint64{"Decrypt": 21},
		KeysByKind: map[string]int{"aes": 22}, OldestKeys: map[string]time.Time{"aes": at}, Rechecks: Outcomes{25, 24}, EpochsByState: map[string]int{"open": 23}, OldestCurrentEpoch: at,
		Older: 26, OlderSeen: map[string]uint64{"rollback": 27}, OlderEpochs: 28, Versions: 29, VersionsForgotten: 30,
	}
}

func get(t *testing.T, m *Metrics, method, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(method, path, nil))
	text, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(text)
}

func TestScrape(t *testing.T) {
	m := New(Build{"1.2.3", "abc", "go1.26"})
	m.Watch(full)
	m.Answered("PutObject", 200, 30*time.Millisecond)
	m.Answered("PutObject", 503, time.Second)
	m.Answered("GetObject", 0, time.Minute)
	m.Answered("GetObject", -1, time.Second)
	m.Answered("", 999, 0)
	m.Sent(100)
	m.Received(200)
	m.CalledKMS("Decrypt", true)
	m.CalledKMS("Encrypt", false)
	m.Failed("EBADMSG")
	m.Failed("EIO")
	code, text := get(t, m, http.MethodGet, "/metrics")
	if code != http.StatusOK {
		t.Fatal(code, text)
	}
	for _, line := range []string{
		`sigilfs_build_info{commit="abc",goversion="go1.26",version="1.2.3"} 1`,
		`sigilfs_s3_requests_total{operation="PutObject",status="2xx"} 1`,
		`sigilfs_s3_requests_total{operation="PutObject",status="5xx"} 1`,
		`sigilfs_s3_requests_total{operation="GetObject",status="none"} 1`,
		`sigilfs_s3_requests_total{operation="GetObject",status="given_up"} 1`,
		`sigilfs_s3_requests_total{operation="other",status="none"} 1`,
		`sigilfs_s3_request_duration_seconds_bucket{operation="PutObject",le="0.05"} 1`,
		`sigilfs_s3_request_duration_seconds_count{operation="PutObject"} 2`,
		`sigilfs_s3_sent_bytes_total 100`,
		`sigilfs_s3_received_bytes_total 200`,
		`sigilfs_failed_operations_total{errno="EIO"} 1`,
		`sigilfs_authentication_failures_total{errno="EBADMSG"} 1`,
		`sigilfs_authentication_failures_total{errno="ENOKEY"} 0`,
		`sigilfs_mount_start_timestamp_seconds 1.7000000005e+09`,
		`sigilfs_memory_limit_bytes 1`,
		`sigilfs_dirty_files 5`,
		`sigilfs_uploading_files 2`,
		`sigilfs_upload_queue_files 3`,
		`sigilfs_failing_files 1`,
		`sigilfs_failing_since_timestamp_seconds 1.7000000005e+09`,
		`sigilfs_dirty_bytes 6`,
		`sigilfs_multipart_uploads 7`,
		`sigilfs_deferred_operations 8`,
		`sigilfs_conflicts_total 9`,
		`sigilfs_spool_used_bytes 10`,
		`sigilfs_spool_limit_bytes 11`,
		`sigilfs_cache_hits_total{tier="memory"} 12`,
		`sigilfs_cache_misses_total{tier="memory"} 13`,
		`sigilfs_cache_bytes{tier="memory"} 14`,
		`sigilfs_cache_limit_bytes{tier="memory"} 15`,
		`sigilfs_cache_hits_total{tier="disk"} 16`,
		`sigilfs_cache_misses_total{tier="disk"} 17`,
		`sigilfs_cache_bytes{tier="disk"} 18`,
		`sigilfs_cache_limit_bytes{tier="disk"} 19`,
		`sigilfs_cache_lost_blocks_total 20`,
		`sigilfs_kms_requests_total{operation="Decrypt"} 21`,
		`sigilfs_kms_failed_calls_total{operation="Decrypt"} 1`,
		`sigilfs_kms_failed_calls_total{operation="Encrypt"} 0`,
		`sigilfs_keys{kind="aes"} 22`,
		`sigilfs_key_created_timestamp_seconds{kind="aes"} 1.7000000005e+09`,
		`sigilfs_key_rechecks_total 25`,
		`sigilfs_key_recheck_failures_total 24`,
		`sigilfs_epochs{state="open"} 23`,
		`sigilfs_epoch_created_timestamp_seconds 1.7000000005e+09`,
		`sigilfs_rolled_back_objects 26`,
		`sigilfs_rollbacks_total{kind="rollback"} 27`,
		`sigilfs_rolled_back_epochs 28`,
		`sigilfs_known_versions 29`,
		`sigilfs_forgotten_versions_total 30`,
		`process_start_time_seconds `,
		`go_goroutines `,
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("no line %s", line)
		}
	}
}

// What does not apply is absent, not zero.
func TestAbsent(t *testing.T) {
	m := New(Build{})
	m.Watch(func() Facts { return Facts{} })
	_, text := get(t, m, http.MethodGet, "/metrics")
	for _, name := range []string{"sigilfs_spool", `tier="disk"`, "sigilfs_failing_since", "sigilfs_epoch_created", "sigilfs_cache_lost", "sigilfs_kms", "sigilfs_key_created"} {
		if strings.Contains(text, "\n"+name) {
			t.Errorf("%s is there", name)
		}
	}
	if !strings.Contains(text, "\nsigilfs_dirty_files 0") {
		t.Error("what applies is not there")
	}
}

// Prometheus's own linter has nothing to say, nothing has more labels than are
// meant, and every name is ours.
func TestConventions(t *testing.T) {
	m := New(Build{})
	m.Watch(full)
	m.Answered("PutObject", 200, time.Second)
	m.Failed("EIO")
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "sigilfs_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	_, text := get(t, m, http.MethodGet, "/metrics")
	known := regexp.MustCompile(`^(operation|status|errno|tier|kind|state|le|version|commit|goversion)$`)
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "sigilfs_") {
			continue
		}
		for _, label := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(line, -1) {
			if !known.MatchString(label[1]) {
				t.Errorf("label %s: %s", label[1], line)
			}
		}
	}
}

func TestOtherPaths(t *testing.T) {
	m := New(Build{})
	if code, _ := get(t, m, http.MethodGet, "/"); code != http.StatusNotFound {
		t.Error(code)
	}
	if code, _ := get(t, m, http.MethodPost, "/metrics"); code != http.StatusMethodNotAllowed {
		t.Error(code)
	}
}
