package audit

import (
	"bufio"
	"encoding/json"
	"io"
	"time"
	"unicode/utf8"
)

// Version counts what a reader of the document must know of. A new field, kind
// or mode is nothing of that kind.
const Version = 1

// JSON writes one document, the objects as they come: nothing of them is kept.
// What ends early is closed too, with complete false.
type JSON struct {
	w   *bufio.Writer
	n   int64
	err error
}

// objectJSON is an object in the document.
type objectJSON struct {
	Key        string        `json:"key"`
	RawKey     []byte        `json:"rawKey,omitempty"` // of a key that is not UTF-8
	Path       string        `json:"path,omitempty"`   // where names are encrypted
	Version    string        `json:"version,omitempty"`
	Old        bool          `json:"old,omitempty"`
	Mode       string        `json:"mode"`
	Algorithm  string        `json:"algorithm,omitempty"`
	KeyID      string        `json:"keyID,omitempty"`
	Epoch      string        `json:"epoch,omitempty"`
	EpochState string        `json:"epochState,omitempty"`
	Commitment string        `json:"commitment,omitempty"`
	Server     string        `json:"server,omitempty"`
	Class      string        `json:"storageClass"`
	Stored     int64         `json:"stored"`
	Plain      *int64        `json:"plain,omitempty"`
	Modified   *time.Time    `json:"modified,omitempty"`
	Findings   []findingJSON `json:"findings,omitempty"`
}

type findingJSON struct {
	Kind Kind   `json:"kind"`
	Key  string `json:"key,omitempty"` // where it is another one than the object's
	Text string `json:"text,omitempty"`
}

type headJSON struct {
	Version int       `json:"version"`
	Target  string    `json:"target"`
	Source  string    `json:"source"`
	After   string    `json:"after,omitempty"`
	Policy  []Rule    `json:"policy,omitempty"`
	Began   time.Time `json:"began"`
}

type endJSON struct {
	Ended    time.Time `json:"ended"`
	Complete bool      `json:"complete"`
	Last     string    `json:"last,omitempty"`
	Notes    []string  `json:"notes,omitempty"`

	Totals struct {
		Count
		Encrypted   Count `json:"encrypted"`
		OldVersions Count `json:"oldVersions"`
	} `json:"totals"`
	ByMode  []Group `json:"byMode"`
	ByKey   []Group `json:"byKey"`
	ByAge   []Group `json:"byAge"`
	ByClass []Group `json:"byStorageClass"`

	Findings struct {
		Total    int64         `json:"total"` // of objects
		ByKind   []KindCount   `json:"byKind"`
		ByPrefix []PrefixCount `json:"byPrefix"`
	} `json:"findings"`
	Bucket []BucketFinding `json:"bucket"`
}

// NewJSON begins a document.
func NewJSON(w io.Writer, head Head) *JSON {
	j := &JSON{w: bufio.NewWriterSize(w, 64<<10)}
	h := headJSON{Version, head.Target, head.Source, head.After, head.Policy, head.Began.UTC()}
	j.open(h)
	j.write([]byte(",\"objects\":["))
	return j
}

// Object writes one.
func (j *JSON) Object(o Object) error {
	out := objectJSON{
		Key: o.Key, Path: o.Path, Version: o.Version, Old: o.Old, Mode: o.Mode, Algorithm: o.Algorithm, KeyID: o.KeyID, Epoch: o.Epoch,
		EpochState: o.EpochState, Commitment: o.Commitment, Server: o.Server, Class: classOf(o), Stored: o.Stored,
	}
	if !utf8.ValidString(o.Key) {
		out.RawKey = []byte(o.Key)
	}
	if o.Plain >= 0 {
		out.Plain = &o.Plain
	}
	if !o.Modified.IsZero() {
		at := o.Modified.UTC()
		out.Modified = &at
	}
	for _, f := range o.Findings {
		out.Findings = append(out.Findings, findingJSON(f))
	}
	if j.n++; j.n > 1 {
		j.write([]byte(","))
	}
	j.write([]byte("\n"))
	j.write(j.encode(out))
	return j.err
}

// Close ends the document.
func (j *JSON) Close(r *Report) error {
	end := endJSON{
		Ended: r.Ended.UTC(), Complete: r.Complete, Last: r.Last, Notes: r.Notes,
		ByMode: list(r.ByMode), ByKey: list(r.ByKey), ByAge: list(r.ByAge), ByClass: list(r.ByClass), Bucket: list(r.Bucket),
	}
	end.Totals.Count, end.Totals.Encrypted, end.Totals.OldVersions = r.Current, r.Encrypted, r.Old
	end.Findings.Total, end.Findings.ByKind, end.Findings.ByPrefix = r.Findings, list(r.ByKind), list(r.ByPrefix)
	j.write([]byte("\n],"))
	if b := j.encode(end); len(b) > 0 {
		j.write(b[1:]) // goes on with the members
	}
	j.write([]byte("\n"))
	if j.err == nil {
		j.err = j.w.Flush()
	}
	return j.err
}

// open writes an object that other members follow.
func (j *JSON) open(v any) {
	if b := j.encode(v); len(b) > 0 {
		j.write(b[:len(b)-1])
	}
}

func (j *JSON) encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil && j.err == nil {
		j.err = err
	}
	return b
}

func (j *JSON) write(b []byte) {
	if j.err == nil {
		_, j.err = j.w.Write(b)
	}
}

// list keeps null out of the document.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func classOf(o Object) string {
	if o.Class == "" {
		return "STANDARD"
	}
	return o.Class
}
