package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Facts are what a mount knows at one moment. Sizes are in bytes. Counts are
// since the mount began.
type Facts struct {
	Mounted     time.Time
	MemoryLimit int64

	DirtyFiles, UploadingFiles, FailingFiles int
	DirtyBytes                               int64
	FailingSince                             time.Time // zero: nothing fails
	Uploads, Chores                          int
	Conflicts                                uint64
	Foreign                                  uint64 // entries of listings that were hidden
	Suspended                                bool   // nothing is written

	Older             int               // objects in an older state than was known
	OlderSeen         map[string]uint64 // how often one was met, by kind
	OlderEpochs       int
	Versions          int // of so many objects one is known
	VersionsForgotten uint64

	Spool              *Filled // nil: read-only
	MemoryCache        Cache
	DiskCache          *Cache // nil: none
	DiskLost           int64  // blocks that could not be kept
	KMSRequests        map[string]uint64
	KeysByKind         map[string]int
	OldestKeys         map[string]time.Time // by kind, of those that are written under; none where it is not known
	EpochsByState      map[string]int
	OldestCurrentEpoch time.Time // zero: nothing is sealed under an epoch
	Rechecks           Outcomes  // of the keys in use
}

// Outcomes of something that is done again and again.
type Outcomes struct{ All, Failed uint64 }

// Filled is space that is bounded.
type Filled struct{ Used, Limit int64 }

// Cache is one tier of the read cache, in blocks and bytes.
type Cache struct {
	Hits, Misses uint64
	Filled
}

// fact is a metric without labels, or with one.
type fact struct {
	name, help, label string
	kind              prometheus.ValueType
	values            func(f *Facts) map[string]float64 // by value of the label; none: the metric is not there now
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// facts is the table of all that is asked at a scrape.
func facts() []fact {
	return []fact{
		{"sigilfs_mount_start_timestamp_seconds", "When the mount began.", "", gauge, moment(func(f *Facts) time.Time { return f.Mounted })},
		{"sigilfs_memory_limit_bytes", "What the mount stays under (--memory-limit).", "", gauge, one(func(f *Facts) int64 { return f.MemoryLimit })},

		{"sigilfs_dirty_files", "Files with content that is not in the bucket yet.", "", gauge, one(func(f *Facts) int { return f.DirtyFiles })},
		{"sigilfs_dirty_bytes", "Size of these files.", "", gauge, one(func(f *Facts) int64 { return f.DirtyBytes })},
		{"sigilfs_uploading_files", "Of these files, those that are being uploaded.", "", gauge, one(func(f *Facts) int { return f.UploadingFiles })},
		{"sigilfs_upload_queue_files", "Of these files, those that are not: still written, waiting, or waiting to be tried again.", "", gauge, one(func(f *Facts) int { return f.DirtyFiles - f.UploadingFiles })},
		{"sigilfs_failing_files", "Files of which content, or attributes alone, could not be brought to the bucket when it was last tried.", "", gauge, one(func(f *Facts) int { return f.FailingFiles })},
		{"sigilfs_failing_since_timestamp_seconds", "When the first of the failing files began to fail; absent where none does.", "", gauge, moment(func(f *Facts) time.Time { return f.FailingSince })},
		{"sigilfs_multipart_uploads", "Multipart uploads under way.", "", gauge, one(func(f *Facts) int { return f.Uploads })},
		{"sigilfs_deferred_operations", "Removals, renames and aborts that are still to be done in the bucket.", "", gauge, one(func(f *Facts) int { return f.Chores })},
		{"sigilfs_conflicts_total", "Commits that another host had overtaken, whose data was saved beside the file or kept here.", "", counter, one(func(f *Facts) uint64 { return f.Conflicts })},
		{"sigilfs_foreign_names_total", "Entries of listings that were hidden, since their names are not of this volume (encrypted names).", "", counter, one(func(f *Facts) uint64 { return f.Foreign })},
		{"sigilfs_suspended", "1 while nothing is written, since the volume is no more what it was mounted as.", "", gauge, one(func(f *Facts) int { return zeroOrOne(f.Suspended) })},

		{"sigilfs_rolled_back_objects", "Objects that are in an older state than this host has known, as far as they were looked at.", "", gauge, one(func(f *Facts) int { return f.Older })},
		{"sigilfs_rollbacks_total", "How often an object was met in an older state than this host had known, by kind.", "kind", counter, many(func(f *Facts) map[string]uint64 { return f.OlderSeen })},
		{"sigilfs_rolled_back_epochs", "Epochs that the bucket shows in an older state than this host has known; the newer one is used.", "", gauge, one(func(f *Facts) int { return f.OlderEpochs })},
		{"sigilfs_known_versions", "Objects of which this host knows the newest version, for --rollback.", "", gauge, one(func(f *Facts) int { return f.Versions })},
		{"sigilfs_forgotten_versions_total", "Objects whose version had to be forgotten (--rollback-size), so that an older state of them is not noticed.", "", counter, one(func(f *Facts) uint64 { return f.VersionsForgotten })},

		{"sigilfs_spool_used_bytes", "Taken on disk by what is not in the bucket.", "", gauge, filled(func(f Filled) int64 { return f.Used })},
		{"sigilfs_spool_limit_bytes", "What it may take (--spool-size).", "", gauge, filled(func(f Filled) int64 { return f.Limit })},

		{"sigilfs_cache_hits_total", "Blocks that the read cache had, by tier. What memory misses is asked of the disk.", "tier", counter, tiers(func(c Cache) float64 { return float64(c.Hits) })},
		{"sigilfs_cache_misses_total", "Blocks that the read cache did not have, by tier.", "tier", counter, tiers(func(c Cache) float64 { return float64(c.Misses) })},
		{"sigilfs_cache_bytes", "Taken by the read cache, by tier.", "tier", gauge, tiers(func(c Cache) float64 { return float64(c.Used) })},
		{"sigilfs_cache_limit_bytes", "What the read cache may take, by tier.", "tier", gauge, tiers(func(c Cache) float64 { return float64(c.Limit) })},
		{"sigilfs_cache_lost_blocks_total", "Blocks that the cache on disk could not keep: it was too slow, full or off.", "", counter, func(f *Facts) map[string]float64 {
			if f.DiskCache == nil {
				return nil
			}
			return only(float64(f.DiskLost))
		}},

		{"sigilfs_kms_requests_total", "Requests sent to KMS, every attempt, by operation.", "operation", counter, many(func(f *Facts) map[string]uint64 { return f.KMSRequests })},
		{"sigilfs_keys", "Keys that are configured, by kind.", "kind", gauge, many(func(f *Facts) map[string]int { return f.KeysByKind })},
		{"sigilfs_key_created_timestamp_seconds", "When the oldest key under which this host writes was made, by kind, as far as its source tells: when its file was last written, what KMS says.", "kind", gauge, many(func(f *Facts) map[string]float64 { return moments(f.OldestKeys) })},
		{"sigilfs_key_rechecks_total", "How often the keys in use were asked for again (--key-recheck).", "", counter, one(func(f *Facts) uint64 { return f.Rechecks.All })},
		{"sigilfs_key_recheck_failures_total", "Of these, how often there was no answer for all of them; what was seen last holds then.", "", counter, one(func(f *Facts) uint64 { return f.Rechecks.Failed })},
		{"sigilfs_epochs", "Epochs that are in use here, by state.", "state", gauge, many(func(f *Facts) map[string]int { return f.EpochsByState })},
		{"sigilfs_epoch_created_timestamp_seconds", "When the oldest epoch under which this host seals was made.", "", gauge, moment(func(f *Facts) time.Time { return f.OldestCurrentEpoch })},
	}
}

// only is the one value of a metric without label.
func only(v float64) map[string]float64 { return map[string]float64{"": v} }

// zeroOrOne is a metric of what is so or not.
func zeroOrOne(so bool) int {
	if so {
		return 1
	}
	return 0
}

type number interface{ int | int64 | uint64 | float64 }

func one[N number](of func(*Facts) N) func(*Facts) map[string]float64 {
	return func(f *Facts) map[string]float64 { return only(float64(of(f))) }
}

func many[N number](of func(*Facts) map[string]N) func(*Facts) map[string]float64 {
	return func(f *Facts) map[string]float64 {
		all := map[string]float64{}
		for label, n := range of(f) {
			all[label] = float64(n)
		}
		return all
	}
}

// moment is absent while it is zero.
func moment(of func(*Facts) time.Time) func(*Facts) map[string]float64 {
	return func(f *Facts) map[string]float64 {
		at := of(f)
		if at.IsZero() {
			return nil
		}
		return only(seconds(at))
	}
}

func moments(all map[string]time.Time) map[string]float64 {
	times := map[string]float64{}
	for label, at := range all {
		times[label] = seconds(at)
	}
	return times
}

// seconds since 1970.
func seconds(at time.Time) float64 { return float64(at.UnixNano()) / 1e9 }

func filled(of func(Filled) int64) func(*Facts) map[string]float64 {
	return func(f *Facts) map[string]float64 {
		if f.Spool == nil {
			return nil
		}
		return only(float64(of(*f.Spool)))
	}
}

func tiers(of func(Cache) float64) func(*Facts) map[string]float64 {
	return func(f *Facts) map[string]float64 {
		all := map[string]float64{"memory": of(f.MemoryCache)}
		if f.DiskCache != nil {
			all["disk"] = of(*f.DiskCache)
		}
		return all
	}
}

// asked collects the facts of a scrape, all at one moment.
type asked struct {
	facts func() Facts
	descs []*prometheus.Desc // as facts
}

var _ prometheus.Collector = (*asked)(nil)

func descriptions() []*prometheus.Desc {
	var all []*prometheus.Desc
	for _, f := range facts() {
		var labels []string
		if f.label != "" {
			labels = []string{f.label}
		}
		all = append(all, prometheus.NewDesc(f.name, f.help, labels, nil))
	}
	return all
}

// Describe is prometheus.Collector's.
func (a *asked) Describe(to chan<- *prometheus.Desc) {
	for _, d := range a.descs {
		to <- d
	}
}

// Collect is prometheus.Collector's.
func (a *asked) Collect(to chan<- prometheus.Metric) {
	now := a.facts()
	for i, f := range facts() {
		for label, v := range f.values(&now) {
			var labels []string
			if f.label != "" {
				labels = []string{label}
			}
			to <- prometheus.MustNewConstMetric(a.descs[i], f.kind, v, labels...)
		}
	}
}
