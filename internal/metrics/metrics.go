// Package metrics is what a mount tells Prometheus. It knows the client library
// and the names, and nothing of where numbers come from: counters that cannot
// be asked for later (requests, failures) are its own and are told to it, all
// else is asked of a function at each scrape (Facts).
//
// Names follow "Metric and label naming" of the Prometheus documentation: the
// prefix sigilfs_, base units (_bytes, _seconds, a time as
// _timestamp_seconds since 1970), _total for what only grows. Labels have few
// values, each from a list in the code: no path, key, bucket or host is in
// one. A name, once released, keeps its meaning.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Build says which program it is.
type Build struct{ Version, Commit, Go string }

// Metrics of one mount. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec   // by operation and class of status
	latency  *prometheus.HistogramVec // by operation
	sent     prometheus.Counter
	received prometheus.Counter
	kms      *prometheus.CounterVec // by operation
	failed   *prometheus.CounterVec // by errno
	unproven *prometheus.CounterVec // by errno
}

// New makes them, with those of the process and of Go's runtime.
func New(b Build) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sigilfs_s3_requests_total",
			Help: "Requests sent to S3, every attempt, by operation and class of the answer's status; none: it was not answered; given_up: nobody waited for that any more.",
		}, []string{"operation", "status"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sigilfs_s3_request_duration_seconds",
			Help:    "Time from the beginning of a request to S3 to that of its answer, the request's body included.",
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"operation"}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sigilfs_s3_sent_bytes_total", Help: "Bytes of request bodies sent to S3.",
		}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sigilfs_s3_received_bytes_total", Help: "Bytes of answer bodies received from S3.",
		}),
		kms: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sigilfs_kms_failed_calls_total",
			Help: "Calls of KMS that failed after all attempts, by operation.",
		}, []string{"operation"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sigilfs_failed_operations_total",
			Help: "Operations of applications that failed because of the bucket, the keys or the disk, by errno.",
		}, []string{"errno"}),
		unproven: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sigilfs_authentication_failures_total",
			Help: "Of sigilfs_failed_operations_total, those of content that did not authenticate (EBADMSG) or had no key (ENOKEY, EKEYREJECTED).",
		}, []string{"errno"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sigilfs_build_info", Help: "1, with what was built.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "goversion": b.Go},
	})
	build.Set(1)
	for _, errno := range authentication() { // there from the start, so that the first one is an increase
		m.unproven.WithLabelValues(errno)
	}
	m.registry.MustRegister(build, m.requests, m.latency, m.sent, m.received, m.kms, m.failed, m.unproven,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// authentication are the errnos of content that is not given to anybody.
func authentication() []string { return []string{"EBADMSG", "ENOKEY", "EKEYREJECTED"} }

// Watch has facts asked at every scrape. It is called once at most.
func (m *Metrics) Watch(facts func() Facts) { m.registry.MustRegister(&asked{facts, descriptions()}) }

// Answered is told of a request: status is HTTP's, 0 if nothing was answered,
// negative if nobody waited for that any more.
func (m *Metrics) Answered(operation string, status int, took time.Duration) {
	if operation == "" {
		operation = "other"
	}
	m.requests.WithLabelValues(operation, class(status)).Inc()
	m.latency.WithLabelValues(operation).Observe(took.Seconds())
}

// class is "2xx" and its like.
func class(status int) string {
	switch {
	case status < 0:
		return "given_up"
	case status < 100 || status > 599:
		return "none"
	}
	return strconv.Itoa(status/100) + "xx"
}

// Sent is told of n bytes of a request's body.
func (m *Metrics) Sent(n int) { m.sent.Add(float64(max(n, 0))) }

// Received is told of n bytes of an answer's body.
func (m *Metrics) Received(n int) { m.received.Add(float64(max(n, 0))) }

// CalledKMS is told of a call of KMS that ended. One that did not fail has the
// counter be there, so that the first failure is an increase.
func (m *Metrics) CalledKMS(operation string, failed bool) {
	failures := m.kms.WithLabelValues(operation)
	if failed {
		failures.Inc()
	}
}

// Failed is told of an operation that failed with an errno, by its name
// ("EBADMSG").
func (m *Metrics) Failed(errno string) {
	m.failed.WithLabelValues(errno).Inc()
	for _, a := range authentication() {
		if errno == a {
			m.unproven.WithLabelValues(errno).Inc()
		}
	}
}

// Bounds of what is answered.
const (
	mostScrapes = 4 // at once
	scrapeTime  = 10 * time.Second
)

// Handler answers GET /metrics.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: mostScrapes, Timeout: scrapeTime,
	}))
	return mux
}
