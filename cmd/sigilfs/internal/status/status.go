// Package status is the document that a mount gives of itself: what sigilfs
// status prints. It is data, its judgement, and how a person reads it; it opens
// no socket and knows no other package of ours.
//
// The JSON of --json is a Report:
//
//	{"version": 1, "mounts": [ … ]}
//
// Fields are only ever added within a version; a field that is removed, or gets
// another meaning, makes a new one. Times are RFC 3339, sizes bytes. A field
// that is left out is empty, zero, or not known. docs/OPERATIONS.md describes
// it for who reads it.
package status

import (
	"encoding/json"
	"fmt"
	"time"
)

// Version of the document.
const Version = 1

// Report is the whole document.
type Report struct {
	Version int     `json:"version"`
	Mounts  []Mount `json:"mounts"`
}

// Health is the judgement of a mount.
type Health string

// Healths, from good to bad.
const (
	OK       Health = "ok"
	Degraded Health = "degraded" // it works, and somebody should look: Reasons say why
	Silent   Health = "silent"   // its process does not answer; Error says why
)

// States of a mount.
const (
	Serving = "serving"
	Ending  = "ending" // it is unmounted, and commits what is left
)

// Mount is one mount. Of one that is silent only Dir, Source, PID, Health and
// Error are known.
type Mount struct {
	Version int    `json:"version"` // of this document, as the process of the mount has it
	Dir     string `json:"dir"`
	Source  string `json:"source"` // as it was given: a bucket or a configuration file
	Bucket  string `json:"bucket,omitempty"`
	PID     int    `json:"pid"`
	UID     int    `json:"uid"`
	Program string `json:"program,omitempty"` // version of it

	Health  Health    `json:"health"`
	Reasons []string  `json:"reasons,omitempty"` // why it is degraded, a sentence each
	Error   string    `json:"error,omitempty"`   // why it is silent
	State   string    `json:"state,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Asked   time.Time `json:"asked,omitzero"` // when all this was so

	ReadOnly bool              `json:"read_only,omitempty"`
	Options  map[string]string `json:"options,omitempty"` // that were given, by the name of the flag; those about keys are in Rules and Keys
	Rules    []Rule            `json:"rules,omitempty"`   // the longest prefix first

	Files     *Files  `json:"files,omitempty"`
	Uploads   int     `json:"multipart_uploads,omitempty"`
	Chores    int     `json:"deferred_operations,omitempty"`
	Conflicts uint64  `json:"conflicts,omitempty"`   // since the mount began
	Names     *Names  `json:"names,omitempty"`       // nil: they lie in the bucket as they are
	Suspended string  `json:"suspended,omitempty"`   // why nothing is written
	Older     *Older  `json:"rolled_back,omitempty"` // nil: nothing is
	Versions  *Known  `json:"versions,omitempty"`
	Spool     *Space  `json:"spool,omitempty"`
	Cache     *Cache  `json:"cache,omitempty"`
	Memory    *Memory `json:"memory,omitempty"`

	Keys        []Key             `json:"keys,omitempty"`
	Epochs      []Epoch           `json:"epochs,omitempty"` // the newest first
	MoreEpochs  int               `json:"more_epochs,omitempty"`
	KeysFailing *Failing          `json:"keys_failing,omitempty"` // nil: the keys in use could be asked for again, or never were
	KMSRequests map[string]uint64 `json:"kms_requests,omitempty"`

	Errors []Event `json:"errors,omitempty"` // last warnings and errors of the log, the newest last
}

// Names are how encrypted names are.
type Names struct {
	Fingerprint string `json:"fingerprint"` // of their key
	Foreign     uint64 `json:"foreign"`     // entries of listings that were hidden, since the mount began: their names are not this volume's
}

// Rule says how what is under a prefix is encrypted.
type Rule struct {
	Prefix string   `json:"prefix"`
	Mode   string   `json:"mode"`
	Keys   []string `json:"keys,omitempty"` // names
}

// Files are those that are not all in the bucket.
type Files struct {
	Dirty     int    `json:"dirty"`
	Size      int64  `json:"size"`
	Uploading int    `json:"uploading"`
	Failing   int    `json:"failing"`        // with attributes alone, too
	List      []File `json:"list,omitempty"` // failing ones first, then by path
	More      int    `json:"more,omitempty"` // that are not in List
}

// File is one of them.
type File struct {
	Path           string    `json:"path"` // in the mount; what is unlinked and open has none
	Size           int64     `json:"size"`
	AttributesOnly bool      `json:"attributes_only,omitempty"`
	Open           bool      `json:"open,omitempty"`
	Uploading      bool      `json:"uploading,omitempty"`
	Uploaded       int64     `json:"uploaded,omitempty"` // bytes of a large file that are in the bucket, not yet under its name
	Error          string    `json:"error,omitempty"`
	Since          time.Time `json:"failing_since,omitzero"`
	Next           time.Time `json:"next_try,omitzero"`
}

// Older are objects that show an older state than this host has known.
type Older struct {
	Objects int           `json:"objects"`
	List    []OlderObject `json:"list,omitempty"` // by key
	More    int           `json:"more,omitempty"` // that are not in List
}

// OlderObject is one of them.
type OlderObject struct {
	Path  string    `json:"path"` // in the mount; of the volume's own objects the key
	Kind  string    `json:"kind"` // rollback, conflict, resurrection, descendant or ahead
	Shown uint64    `json:"shown_version"`
	Known uint64    `json:"known_version"`
	Since time.Time `json:"since"`
}

// Known is what this host remembers of objects' versions.
type Known struct {
	Records   int    `json:"records"`
	Limit     int    `json:"limit"`
	Forgotten uint64 `json:"forgotten,omitempty"` // since the mount began
	Error     string `json:"error,omitempty"`     // why it cannot be used now
}

// Space is disk or memory that is bounded.
type Space struct {
	Dir   string `json:"dir,omitempty"`
	Used  int64  `json:"used"`
	Limit int64  `json:"limit"`
}

// Cache is the read cache.
type Cache struct {
	Memory Tier  `json:"memory"`
	Disk   *Tier `json:"disk,omitempty"` // nil: none
}

// Tier is one part of it; hits and misses are blocks since the mount began.
type Tier struct {
	Space
	Hits   uint64 `json:"hits"`
	Misses uint64 `json:"misses"`
	Lost   int64  `json:"lost,omitempty"` // blocks that could not be kept
}

// Memory is that of the process.
type Memory struct {
	Heap   int64 `json:"heap"`
	System int64 `json:"system"` // got from the kernel
	Limit  int64 `json:"limit"`
}

// Key is a configured key. It is never shown, nor where it comes from.
type Key struct {
	Name    string    `json:"name,omitempty"`
	Kind    string    `json:"kind"`
	ID      string    `json:"id,omitempty"`
	Created time.Time `json:"created,omitzero"` // as far as its source tells
}

// Failing is something that is tried again and again, and has failed since.
type Failing struct {
	Since time.Time `json:"since"`
	Error string    `json:"error"`
}

// Epoch is a key under which objects are sealed, and which the keys open.
type Epoch struct {
	ID      string    `json:"id"`
	State   string    `json:"state"` // open, retired or closed
	Created time.Time `json:"created,omitzero"`
	Host    string    `json:"host,omitempty"`
	Keys    []string  `json:"keys,omitempty"` // ids of those that it is wrapped for
	Current bool      `json:"current,omitempty"`
	Lost    bool      `json:"lost,omitempty"`   // not in the bucket any more
	Signer  string    `json:"signer,omitempty"` // who signed it, of those whom the host knows

	RolledBack bool `json:"rolled_back,omitempty"` // the bucket shows an older revision, or another one, than this host has known
}

// Event is a line of the log.
type Event struct {
	Time  time.Time `json:"time"`
	Level string    `json:"level"`
	Text  string    `json:"text"`
	Path  string    `json:"path,omitempty"`
	Op    string    `json:"op,omitempty"`
	Error string    `json:"error,omitempty"`
	Again int       `json:"again,omitempty"` // so often was it followed by the same

	More map[string]string `json:"more,omitempty"` // what else the line has, by name
}

// almostFull is the part of a spool from which on the mount is degraded: what
// writes faster than the bucket takes will soon wait, or fail.
const almostFull = 0.9

// Judge sets Health and Reasons from the rest.
func (m *Mount) Judge() {
	m.Health, m.Reasons = OK, nil
	if m.Error != "" {
		m.Health = Silent
		return
	}
	if m.Suspended != "" {
		m.reason("%s", m.Suspended)
	}
	if f := m.Files; f != nil && f.Failing > 0 {
		m.reason("%s could not be committed and will be tried again", count(f.Failing, "file"))
	}
	if s := m.Spool; s != nil && s.Limit > 0 && float64(s.Used) >= almostFull*float64(s.Limit) {
		m.reason("the spool is %d %% full", s.Used*100/s.Limit)
	}
	if k := m.KeysFailing; k != nil {
		m.reason("the keys in use could not be asked for again since %s: %s", k.Since.Format(time.RFC3339), k.Error)
	}
	if o := m.Older; o != nil {
		m.reason("%s in an older state than this host has known: somebody has put it back, or restored it", is(o.Objects, "object"))
	}
	if v := m.Versions; v != nil && v.Error != "" {
		m.reason("what this host remembers of versions cannot be used, so that rollback is not noticed: %s", v.Error)
	}
	for _, e := range m.Epochs {
		if e.RolledBack {
			m.reason("the bucket shows epoch %s in an older state than this host has known; the newer one is used", e.ID)
		}
		if e.Lost && e.Current {
			m.reason("epoch %s, under which this host seals, is not in the bucket any more", e.ID)
		}
	}
	if len(m.Reasons) > 0 {
		m.Health = Degraded
	}
}

func (m *Mount) reason(format string, args ...any) {
	m.Reasons = append(m.Reasons, fmt.Sprintf(format, args...))
}

// Encode gives the JSON of one mount, as its process tells it.
func (m *Mount) Encode() ([]byte, error) { return json.Marshal(m) }

// Decode reads what a process of another version may have told.
func Decode(text []byte) (Mount, error) {
	var m Mount
	if err := json.Unmarshal(text, &m); err != nil {
		return Mount{}, fmt.Errorf("answer of the mount: %w", err)
	}
	if m.Version < 1 || m.Version > Version {
		return Mount{}, fmt.Errorf("the mount answers in version %d, and this program knows up to %d: use the sigilfs that mounted it", m.Version, Version)
	}
	return m, nil
}

// Worst is the worst health of the mounts; OK of none.
func (r *Report) Worst() Health {
	worst := OK
	for _, m := range r.Mounts {
		switch {
		case m.Health == Silent:
			return Silent
		case m.Health != OK:
			worst = Degraded
		}
	}
	return worst
}
