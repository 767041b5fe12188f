package metrics

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// names are those of all metrics of ours.
func names(t *testing.T) map[string]bool {
	t.Helper()
	m := New(Build{})
	m.Watch(full)
	m.Answered("PutObject", 200, time.Second)
	m.CalledKMS("Decrypt", true)
	m.Failed("EIO")
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, f := range families {
		all[f.GetName()] = true
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	name   = regexp.MustCompile(`\b(sigilfs|process|go)_[a-z0-9_]+`)
	braces = regexp.MustCompile(`(sigilfs_[a-z0-9_]*)\{([a-z_]*(?:,[a-z_]*)+)\}([a-z0-9_]*)`)
)

// An alert about a metric that does not exist never fires.
func TestAlertsAreAboutMetrics(t *testing.T) {
	known, n := names(t), 0
	for _, text := range strings.Split(read(t, "../../docs/alerts.yml"), "- alert:")[1:] {
		n++
		expr, _, ok := strings.Cut(text, "labels:")
		_, expr, isExpr := strings.Cut(expr, "expr:")
		if !ok || !isExpr || !strings.Contains(text, "severity:") || !strings.Contains(text, "summary:") {
			t.Errorf("without expression, severity or summary: %s", text)
		}
		for _, metric := range name.FindAllString(expr, -1) {
			if !known[metric] && !known[strings.TrimSuffix(metric, "_bucket")] {
				t.Errorf("%s: no such metric", metric)
			}
		}
	}
	if n < 10 {
		t.Errorf("%d alerts", n)
	}
}

// What is told is described.
func TestMetricsAreDescribed(t *testing.T) {
	text := read(t, "../../docs/OPERATIONS.md")
	described := map[string]bool{}
	for _, metric := range name.FindAllString(text, -1) {
		described[metric] = true
	}
	for _, several := range braces.FindAllStringSubmatch(text, -1) {
		for _, one := range strings.Split(several[2], ",") {
			described[several[1]+one+several[3]] = true
		}
	}
	for metric := range names(t) {
		if strings.HasPrefix(metric, "sigilfs_") && !described[metric] {
			t.Errorf("%s is not in docs/OPERATIONS.md", metric)
		}
	}
}
