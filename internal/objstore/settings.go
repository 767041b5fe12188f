package objstore

import (
	"context"
	"time"
)

// Settings is what a Store also is that can tell how its bucket is guarded.
// Errors are those of Bucket; an access point answers few of these questions.
type Settings interface {
	Defaulter

	// Policy gives the bucket's policy, a JSON document of at most 20 KiB on
	// Amazon S3; nil where it has none.
	Policy(ctx context.Context) ([]byte, error)

	// PublicAccess gives the bucket's own block of public access, which that of
	// its account stands above, unseen; none is no error.
	PublicAccess(ctx context.Context) (PublicAccess, error)

	// ObjectLock gives the bucket's configuration; none is no error.
	ObjectLock(ctx context.Context) (ObjectLock, error)
}

// PublicAccess is what a bucket blocks (Amazon S3 User Guide, "Blocking public
// access to your Amazon S3 storage").
type PublicAccess struct {
	BlockACLs, IgnoreACLs, BlockPolicies, RestrictBuckets bool
}

// All tells whether everything is blocked.
func (p PublicAccess) All() bool {
	return p.BlockACLs && p.IgnoreACLs && p.BlockPolicies && p.RestrictBuckets
}

// ObjectLock is how long versions cannot be removed (Amazon S3 User Guide,
// "Locking objects with Object Lock"). Mode, Days and Years are of the bucket's
// default retention, under which every new version comes; zero is none.
type ObjectLock struct {
	Enabled     bool
	Mode        string // "GOVERNANCE" or "COMPLIANCE"
	Days, Years int    // one of them
}

// Connection is what a Store also is that can tell how its server is reached.
type Connection interface {
	// Greet asks for any answer, a refusal too. Errors: ErrUnreachable,
	// ErrBadAuth where there are no credentials.
	Greet(ctx context.Context) (Greeting, error)

	// Caller tells who the credentials are of. Errors: ErrBadAuth.
	Caller(ctx context.Context) (Caller, error)
}

// Greeting is what the connection and the answer's headers tell.
type Greeting struct {
	Host     string // name or address, with the port where it is not the scheme's
	Protocol string // "TLS 1.3"; "" is plain HTTP
	Exposed  bool   // plain HTTP to another host

	// Of the server's certificate.
	Issuer  string
	Expires time.Time

	Server  string    // as it calls itself; may be ""
	Date    time.Time // its clock, to the second; zero where it does not tell
	Arrived time.Time // ours, as the answer's headers came
	Took    time.Duration
}

// Skew is by how much the server's clock is ahead of ours, as far as its one
// second and the way there let it be known: 0 within those.
func (g Greeting) Skew() time.Duration {
	if g.Date.IsZero() {
		return 0
	}
	// The answer was made between Arrived-Took and Arrived, at Date or up to a
	// second after it.
	if ahead := g.Date.Sub(g.Arrived); ahead > 0 {
		return ahead
	}
	if behind := g.Arrived.Add(-g.Took).Sub(g.Date.Add(time.Second)); behind > 0 {
		return -behind
	}
	return 0
}

// Caller is whose credentials there are. None of it is secret.
type Caller struct {
	Anonymous bool
	Source    string    // where the credentials came from, as the SDK names it
	KeyID     string    // the last four characters of the access key ID
	Expires   time.Time // zero: they do not

	Account, ARN string // by sts:GetCallerIdentity; "" where nobody was there to ask
	Silent       string // why not, as a clause
}
