// Package audit counts how objects are encrypted and writes it down: as a table
// for a terminal, one JSON document, CSV, and one HTML page that needs nothing
// beside it. It is told of objects one by one, in any number, and keeps what is
// bounded: counts by mode, key, age and storage class, and the first findings of
// each kind. It knows no S3, no key and no format; what an object is, and what
// is wrong with it, is found out by who tells of it.
//
// Names of objects and keys come from who can write to the bucket. None of the
// writers lets one do more than be seen: the table escapes what a terminal would
// obey, the CSV what a spreadsheet would compute, the page is made by
// html/template under a policy that loads nothing.
package audit

import "time"

// Object is what was found at one key, or of one version of it.
type Object struct {
	Key     string
	Path    string // what people call it, where the key does not say so; "" is not known
	Version string // ID of the version; "" where none are kept
	Old     bool   // a later version hides it
	More    bool   // of its key more may be told

	// Mode is as the configuration names it: none, sse-s3, sse-kms, dsse-kms,
	// sse-c, client, s3ec; or Internal or Unknown.
	Mode string

	Algorithm  string // of who encrypts, such as AES-256-GCM; "" is not known
	KeyID      string // master keys, KMS key, ID of an SSE-C key, or what s3ec tells of its key; "" is none, or not known
	Epoch      string // of mode client
	EpochState string // open, retired or closed; "" is not known
	Commitment string // "yes", "no"; "" where there is no such thing
	Server     string // how the server encrypts beneath client or s3ec; "" is not known

	Class    string // storage class
	Stored   int64  // bytes in the bucket
	Plain    int64  // of plaintext; negative is not known
	Modified time.Time

	Findings []Finding
}

// Modes beside those of the configuration.
const (
	Internal = "internal" // a volume's own epochs, instruction files: what they hold is wrapped
	Unknown  = "unknown"  // nobody says
)

// modeNone is an object that nobody encrypts.
const modeNone = "none"

// Finding is something wrong with an object. Key is that of the object; "" is
// that of the Object it is in.
type Finding struct {
	Kind Kind
	Key  string
	Text string // a clause; may be ""
}

// BucketFinding is something about the bucket, as doctor tells it.
type BucketFinding struct {
	Check    string   `json:"check"`
	Status   string   `json:"status"` // ok, skipped, warning, failure
	Text     string   `json:"text"`
	Remedy   string   `json:"remedy,omitempty"`
	Commands []string `json:"commands,omitempty"`
}

// Bad tells whether it counts as a finding.
func (f BucketFinding) Bad() bool { return f.Status == "warning" || f.Status == "failure" }

// Head is what is known before the first object.
type Head struct {
	Target string // as the user wrote it
	Source string // FromBucket or FromInventory
	After  string // only keys after this were looked at; "" is all
	Policy []Rule // nil: none was given
	Began  time.Time
}

// Where the objects were found.
const (
	FromBucket    = "bucket"
	FromInventory = "inventory"
)

// Rule is what the policy asks of a prefix.
type Rule struct {
	Prefix string `json:"prefix"`
	Mode   string `json:"mode"`
}
