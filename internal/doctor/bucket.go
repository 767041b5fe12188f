package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Target is what is looked at.
type Target struct {
	Store  objstore.Store
	Bucket string // its name, for commands
	Root   string // of the volume: "" or a prefix that ends in a slash

	Settings   objstore.Settings   // of the bucket; nil: cannot be asked
	Connection objstore.Connection // to it; nil: as well

	ReadOnly   bool                 // send nothing that writes
	Encryption *objstore.Encryption // of what is written to try
	Writes     []Write              // what the rules write, the root's last

	// Records gives the uploads that mounts of the volume have noted, or
	// ErrNoKeys; nil is the same.
	Records func(ctx context.Context) ([]Record, error)

	// Explain says what to do about an error of the store; "" is nothing.
	Explain func(error) string

	AWS []string         // arguments by which aws(1) reaches the same server
	Now func() time.Time // nil is time.Now
}

// Record is a note of a mount's multipart upload. One that could not be read
// names its host alone.
type Record struct {
	Host          string
	Key, UploadID string
}

// ErrNoKeys: nothing is there to read the volume's own objects with.
var ErrNoKeys = errors.New("the keys of the volume are not there")

// exam is one run over a target.
type exam struct {
	Target
	caps     objstore.Capabilities // once wrote
	wrote    bool                  // as the root's rule does
	greeting objstore.Greeting
	deaf     bool              // the server cannot be reached
	gone     bool              // there is no bucket to ask about
	reached  bool              // it was listed
	defaults *objstore.Default // nil: not asked

	asked    bool // for the rules
	rules    []objstore.LifecycleRule
	rulesErr error
}

// Names of the checks of a bucket.
const (
	Credentials  = "credentials" // whose they are
	Endpoint     = "endpoint"    // the way there: name, protocol, certificate
	Clock        = "clock"       // of this host, against the server's
	Reach        = "bucket"      // it is there and lets us list
	Writing      = "write"       // what is written can be read again, copied, and deleted
	Conditions   = "conditions"  // of writes are honoured
	Multipart    = "multipart"   // uploads can be made and given up
	Tagging      = "tagging"     // tags can be written and read
	Checksums    = "checksums"   // go with what is written
	Uploads      = "uploads"     // that nobody ended
	Lifecycle    = "lifecycle"   // a rule ends such uploads
	Expiry       = "expiry"      // no rule takes the volume's own objects away
	Versions     = "versions"    // what becomes of those that are replaced
	Lock         = "lock"        // how long they cannot be removed
	Public       = "public"      // access is blocked
	Policy       = "policy"      // denies nothing that a rule writes, lets nobody else in
	ByDefault    = "default"     // encryption, and bucket key
	CustomerKeys = "sse-c"       // is blocked, or wanted
)

// Bucket gives the checks of a bucket. needs is what all of them need; write is
// what those need besides that write.
func Bucket(t Target, needs, write []string) []Check {
	if t.Now == nil {
		t.Now = time.Now
	}
	e := &exam{Target: t}
	reached := []string{Reach}
	return []Check{
		{Credentials, needs, e.credentials},
		{Endpoint, needs, e.endpoint},
		{Clock, []string{Endpoint}, e.clock},
		{Reach, needs, e.reach},
		{Writing, append(reached, write...), e.write},
		{Conditions, []string{Writing}, e.conditions},
		{Multipart, []string{Writing}, e.multipart},
		{Tagging, []string{Writing}, e.tagging},
		{Checksums, []string{Writing}, e.checksums},
		{Uploads, reached, e.uploads},
		{Lifecycle, reached, e.lifecycle},
		{Expiry, reached, e.expiry},
		{Versions, reached, e.versions},
		{Lock, reached, e.lock},
		{Public, reached, e.public},
		{Policy, needs, e.policy}, // it may say why the bucket is not reached
		{ByDefault, reached, e.byDefault},
		{CustomerKeys, reached, e.customerKeys},
	}
}

// Scratch is where what is tried lies, of the volume with that root.
func Scratch(root string) string { return root + ".sigil/doctor/" }

func (e *exam) scratch() string { return Scratch(e.Root) }

func ok(format string, args ...any) Finding {
	return Finding{Status: OK, Text: fmt.Sprintf(format, args...)}
}

func skipped(format string, args ...any) Finding {
	return Finding{Status: Skipped, Text: fmt.Sprintf(format, args...)}
}

// failed is the finding of an error that a mount would meet too.
func (e *exam) failed(err error) Finding {
	f := Finding{Status: Failure, Text: oneLine(err)}
	if e.Explain != nil {
		f.Remedy = e.Explain(err)
	}
	return f
}

// unanswered is the finding of a question which no mount depends on: whoever may
// not ask it is told which permission it takes, and nothing is known.
func (e *exam) unanswered(what, action string, err error) Finding {
	switch {
	case errors.Is(err, objstore.ErrAccess):
		return Finding{Status: Warning, Text: fmt.Sprintf("%s: cannot be looked at: permission %s is missing", what, action), Remedy: "grant " + action + " to who runs this, to have it looked at; no mount needs it"}
	case errors.Is(err, objstore.ErrUnsupported), errors.Is(err, objstore.ErrInvalid):
		return skipped("%s: this server cannot be asked", what)
	}
	return e.failed(fmt.Errorf("%s: %w", what, err))
}

// bucket gives the store as one that tells of its bucket.
func (e *exam) bucket() (objstore.Bucket, error) {
	b, ok := e.Store.(objstore.Bucket)
	if !ok {
		return nil, objstore.ErrUnsupported
	}
	return b, nil
}

// volume names the volume in a sentence.
func (e *exam) volume() string { return "s3://" + e.Bucket + "/" + e.Root }

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// Only gives the checks of these names, in the order of all. What they need must
// be among them.
func Only(checks []Check, names ...string) []Check {
	return slices.DeleteFunc(checks, func(c Check) bool { return !slices.Contains(names, c.Name) })
}
