package doctor

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// settings are a bucket's as a test says, or its refusal to tell.
type settings struct {
	policy   string
	public   objstore.PublicAccess
	lock     objstore.ObjectLock
	standing objstore.Default
	err      error
}

var _ objstore.Settings = settings{}

func (s settings) Policy(context.Context) ([]byte, error) { return []byte(s.policy), s.err }
func (s settings) PublicAccess(context.Context) (objstore.PublicAccess, error) {
	return s.public, s.err
}
func (s settings) ObjectLock(context.Context) (objstore.ObjectLock, error) { return s.lock, s.err }
func (s settings) DefaultEncryption(context.Context) (objstore.Default, error) {
	return s.standing, s.err
}

// line is a connection as a test says.
type line struct {
	greeting objstore.Greeting
	caller   objstore.Caller
	err      error
}

var _ objstore.Connection = line{}

func (l line) Greet(context.Context) (objstore.Greeting, error) { return l.greeting, l.err }
func (l line) Caller(context.Context) (objstore.Caller, error)  { return l.caller, l.err }

// of gives the bucket those settings, and those writes to it.
func (s settings) of(writes ...Write) patient {
	return patient{change: func(t *Target) { t.Settings, t.Writes = s, writes }}
}

func (l line) of() patient {
	return patient{change: func(t *Target) { t.Connection = l }}
}

// secure is a good connection, after change.
func secure(change func(*objstore.Greeting)) line {
	g := objstore.Greeting{
		Host: "s3.example", Protocol: "TLS 1.3", Issuer: "CN=ca", Expires: now.AddDate(1, 0, 0),
		Date: now, Arrived: now.Add(time.Second / 2), Took: 20 * time.Millisecond,
	}
	if change != nil {
		change(&g)
	}
	return line{greeting: g}
}

// off is a connection to a server whose clock is ahead by so much.
func off(by time.Duration) patient {
	return secure(func(g *objstore.Greeting) { g.Date = g.Date.Add(by) }).of()
}

func kms(more ...string) objstore.Header {
	h := objstore.Header{sseHeader: "aws:kms"}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = more[i+1]
	}
	return h
}

func TestFindingsOfConnections(t *testing.T) {
	for _, tc := range []struct {
		name  string
		of    patient
		check string
		want  Status
		says  []string
	}{
		{"a role", line{caller: objstore.Caller{Source: "EnvConfigCredentials", KeyID: "WXYZ", Account: "123456789012", ARN: "arn:aws:sts::123456789012:assumed-role/web/i-1"}}.of(), Credentials, OK, []string{"assumed-role/web", "123456789012", "ends in WXYZ", "EnvConfigCredentials"}},
		{"the root user", line{caller: objstore.Caller{Account: "1", ARN: "arn:aws:iam::1:root"}}.of(), Credentials, Warning, []string{"root user"}},
		{"nobody to ask", line{caller: objstore.Caller{KeyID: "WXYZ", Source: "x", Silent: "STS cannot be reached", Expires: now}}.of(), Credentials, OK, []string{"STS cannot be reached", "2026-11-21T12:00:00Z"}},
		{"unsigned", line{caller: objstore.Caller{Anonymous: true}}.of(), Credentials, OK, []string{"not signed"}},
		{"none", line{err: objstore.ErrBadAuth}.of(), Credentials, Failure, []string{"credentials are missing"}},
		{"cannot be asked", patient{}, Credentials, Skipped, nil},

		{"TLS", secure(nil).of(), Endpoint, OK, []string{"s3.example", "TLS 1.3", "CN=ca", "2027-11-21"}},
		{"a certificate near its end", secure(func(g *objstore.Greeting) { g.Expires = now.AddDate(0, 0, 13) }).of(), Endpoint, Warning, []string{"2026-12-04", "renewed"}},
		{"plain HTTP", secure(func(g *objstore.Greeting) { g.Protocol, g.Exposed = "", true }).of(), Endpoint, Warning, []string{"plain HTTP", "--endpoint-url"}},
		{"plain HTTP here", secure(func(g *objstore.Greeting) { g.Protocol = "" }).of(), Endpoint, OK, []string{"on this host"}},
		{"out of reach", line{err: objstore.ErrUnreachable}.of(), Endpoint, Failure, []string{"cannot be reached"}},
		{"out of reach, the rest", line{err: objstore.ErrUnreachable}.of(), Clock, Skipped, nil},
		{"out of reach, the rest", line{err: objstore.ErrUnreachable}.of(), Reach, Skipped, []string{"endpoint is failure"}},
		{"odd answers", line{err: objstore.ErrUnknown}.of(), Reach, OK, nil},

		{"right", secure(nil).of(), Clock, OK, []string{"agree to 1s"}},
		{"a second off", off(time.Second), Clock, OK, nil},
		{"behind", off(time.Minute), Clock, Warning, []string{"1m0s behind", "chrony"}},
		{"ahead", off(-time.Minute), Clock, Warning, []string{"ahead of"}},
		{"dead", off(16 * time.Minute), Clock, Failure, []string{"15 minutes"}},
		{"untold", secure(func(g *objstore.Greeting) { g.Date = time.Time{} }).of(), Clock, Skipped, nil},
	} {
		t.Run(tc.check+" "+tc.name, func(t *testing.T) { tc.of.examine(t)[tc.check].is(t, tc.want, tc.says) })
	}
}

func TestFindingsOfGuards(t *testing.T) {
	denied, unheard := settings{err: objstore.ErrAccess}, settings{err: objstore.ErrUnsupported}
	blocked := settings{standing: objstore.Default{KeysBlocked: true}}
	costly := settings{standing: objstore.Default{Encrypted: kms(sseKeyHeader, "arn:key"), KeysBlocked: true}}
	customer := Write{Mode: "sse-c", Encryption: objstore.Header{customerHeader: "AES256"}}
	client := Write{Prefix: "web1/", Mode: "client"}
	for _, tc := range []struct {
		name  string
		of    patient
		check string
		want  Status
		says  []string
	}{
		{"blocked", settings{public: objstore.PublicAccess{BlockACLs: true, IgnoreACLs: true, BlockPolicies: true, RestrictBuckets: true}}.of(), Public, OK, nil},
		{"open", settings{public: objstore.PublicAccess{BlockACLs: true, IgnoreACLs: true, BlockPolicies: true}}.of(), Public, Warning, []string{"aws s3api put-public-access-block --bucket acme"}},
		{"denied", denied.of(), Public, Warning, []string{"permission s3:GetBucketPublicAccessBlock is missing"}},
		{"unheard of", unheard.of(), Public, Skipped, nil},

		{"none", settings{}.of(), Lock, OK, []string{"no object lock"}},
		{"no default", settings{lock: objstore.ObjectLock{Enabled: true}}.of(), Lock, OK, []string{"nothing by default"}},
		{"days", settings{lock: objstore.ObjectLock{Enabled: true, Mode: "GOVERNANCE", Days: 30}}.of(), Lock, OK, []string{"30 days (governance)"}},
		{"years", settings{lock: objstore.ObjectLock{Enabled: true, Mode: "COMPLIANCE", Years: 7}}.of(), Lock, OK, []string{"7 years (compliance)", "NoncurrentVersionExpiration"}},
		{"denied", denied.of(), Lock, Warning, []string{"s3:GetBucketObjectLockConfiguration"}},

		{"none", settings{}.of(), ByDefault, OK, []string{"nothing"}},
		{"s3", settings{standing: objstore.Default{Encrypted: objstore.Header{sseHeader: "AES256"}}}.of(), ByDefault, OK, []string{"AES256"}},
		{"bucket key", settings{standing: objstore.Default{Encrypted: kms(bucketKeyHeader, "true")}}.of(Write{Unasked: true}), ByDefault, OK, []string{"with a bucket key"}},
		{"no bucket key, wanted", costly.of(Write{Mode: "bucket-default", Unasked: true}), ByDefault, Warning, []string{
			"bucket-default costs", `'{"Rules":[{"ApplyServerSideEncryptionByDefault":{"KMSMasterKeyID":"arn:key","SSEAlgorithm":"aws:kms"},"BlockedEncryptionTypes":{"EncryptionType":["SSE-C"]},"BucketKeyEnabled":true}]}'`,
		}},
		{"no bucket key, of a rule", costly.of(Write{Mode: "sse-kms", Encryption: kms()}), ByDefault, Warning, nil},
		{"no bucket key, the rule has", costly.of(Write{Mode: "sse-kms", Encryption: kms(bucketKeyHeader, "true")}), ByDefault, OK, nil},
		{"no bucket key, not wanted", costly.of(client), ByDefault, OK, []string{"no rule writes so"}},
		{"denied", denied.of(), ByDefault, Warning, []string{"s3:GetEncryptionConfiguration"}},

		{"blocked, wanted", blocked.of(customer), CustomerKeys, Failure, []string{"BlockedEncryptionTypes NONE"}},
		{"blocked", blocked.of(client), CustomerKeys, OK, nil},
		{"taken, wanted", settings{}.of(customer), CustomerKeys, OK, []string{"takes keys"}},
		{"taken", settings{}.of(client), CustomerKeys, OK, []string{"does not block"}},
		{"denied", denied.of(), CustomerKeys, Warning, []string{"s3:GetEncryptionConfiguration"}},

		{"denied", denied.of(), Policy, Warning, []string{"s3:GetBucketPolicy"}},
		{"unheard of", unheard.of(), Policy, Skipped, nil},
	} {
		t.Run(tc.check+" "+tc.name, func(t *testing.T) { tc.of.examine(t)[tc.check].is(t, tc.want, tc.says) })
	}
}

// simplified is a store whose configuration leaves checksums away.
type simplified struct{ objstore.Store }

var _ objstore.Simplifier = simplified{}

func (simplified) Simplify() bool   { return false }
func (simplified) Simplified() bool { return true }

func TestFindingsOfTrials(t *testing.T) {
	for _, tc := range []struct {
		name  string
		of    patient
		check string
		want  Status
		says  []string
	}{
		{"healthy", patient{}, Multipart, OK, nil},
		{"healthy", patient{}, Tagging, OK, []string{"read"}},
		{"tags denied", patient{mem: mem.Options{RefuseTags: true}}, Tagging, Warning, []string{"permission s3:PutObjectTagging is missing"}},
		{"tags unread", patient{script: fault(faulty.Tags, objstore.ErrAccess)}, Tagging, Warning, []string{"grant s3:GetObjectTagging"}},
		{"no tags", patient{mem: mem.Options{NoTags: true}}, Tagging, OK, []string{"none to lose"}},
		{"healthy", patient{}, Checksums, OK, []string{"CRC-64/NVME"}},
		{"left away", patient{change: func(t *Target) { t.Store = simplified{t.Store} }}, Checksums, OK, []string{"not all", "AWS_REQUEST_CHECKSUM_CALCULATION"}},
		{"read-only", patient{change: func(t *Target) { t.ReadOnly = true }}, Tagging, Skipped, nil},
		{"locked", patient{mem: mem.Options{Locked: true}}, Multipart, OK, nil},
		{"locked", patient{mem: mem.Options{Locked: true}}, Writing, OK, nil},
	} {
		t.Run(tc.check+" "+tc.name, func(t *testing.T) {
			tc.of.examine(t)[tc.check].is(t, tc.want, tc.says)
		})
	}
}

// Where a rule removes old versions there is nothing to be done about a lock.
func TestLockWithARule(t *testing.T) {
	p := settings{lock: objstore.ObjectLock{Enabled: true, Mode: "COMPLIANCE", Years: 1}}.of()
	p.examine(t)[Lock].is(t, OK, []string{"1 year (compliance)", "NoncurrentVersionExpiration"})
	p.mem.Lifecycle = []objstore.LifecycleRule{rule("old", "", func(r *objstore.LifecycleRule) { r.NoncurrentDays = 400 })}
	if f := p.examine(t)[Lock]; f.Status != OK || f.Remedy != "" {
		t.Errorf("%+v", f)
	}
}

// An upload that cannot be given up is completed and deleted.
func TestUploadsThatCannotBeGivenUp(t *testing.T) {
	m := mem.New(mem.Options{})
	e := &exam{Target: Target{Store: faulty.New(m, faulty.Options{Script: fault(faulty.Abort, objstore.ErrAccess)}), Bucket: "acme"}}
	e.write(t.Context()).is(t, OK, nil)
	before := len(m.Uploads()) // of the probe: one that failed has no parts, so it cannot be completed
	e.multipart(t.Context()).is(t, Warning, []string{"grant s3:AbortMultipartUpload"})
	if keys := m.Keys(); len(keys) != 0 || len(m.Uploads()) != before || before > 1 {
		t.Errorf("left behind are %q and %v", keys, m.Uploads())
	}
}

// An interruption leaves nothing behind.
func TestInterruptedTrialIsRemoved(t *testing.T) {
	for _, verb := range []faulty.Verb{faulty.Put, faulty.Part, faulty.Complete, faulty.Abort, faulty.Tags} {
		t.Run(string(verb), func(t *testing.T) {
			m := mem.New(mem.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			s := faulty.New(m, faulty.Options{Script: func(op faulty.Op) faulty.Fault {
				if op.Verb == verb {
					cancel()
					return faulty.Fault{Err: context.Canceled}
				}
				return faulty.Fault{}
			}})
			e := &exam{Target: Target{Store: s, Bucket: "acme"}}
			ask := e.multipart
			if verb == faulty.Put || verb == faulty.Tags {
				ask = e.tagging
			}
			if f := ask(ctx); f.Status != Failure || !strings.Contains(f.Text, "canceled") {
				t.Errorf("%+v", f)
			}
			if verb == faulty.Abort { // it is the removal that fails here
				return
			}
			if keys := m.Keys(); len(keys) != 0 || len(m.Uploads()) != 0 {
				t.Errorf("left behind are %q and %v", keys, m.Uploads())
			}
		})
	}
}

func TestSkew(t *testing.T) {
	for _, tc := range []struct {
		date, arrived, took, want time.Duration // from now
	}{
		{0, 0, 0, 0},
		{0, 900 * time.Millisecond, 0, 0},
		{0, 4 * time.Second, 4 * time.Second, 0},
		{10 * time.Second, 0, 0, 10 * time.Second},
		{0, 10 * time.Second, 0, -9 * time.Second},
		{0, 10 * time.Second, 3 * time.Second, -6 * time.Second},
	} {
		g := objstore.Greeting{Date: now.Add(tc.date), Arrived: now.Add(tc.arrived), Took: tc.took}
		if got := g.Skew(); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}
