package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Headers that ask for encryption (Amazon S3 API Reference, PutObject).
const (
	sseHeader       = "x-amz-server-side-encryption"
	sseKeyHeader    = sseHeader + "-aws-kms-key-id"
	bucketKeyHeader = sseHeader + "-bucket-key-enabled"
	customerHeader  = sseHeader + "-customer-algorithm"
)

// Write is what the objects of a rule are written with.
type Write struct {
	Prefix     string // of their keys
	Mode       string // of the rule
	Encryption objstore.Header
	Unasked    bool // it relies on the bucket's default
}

func (w Write) customer() bool { return w.Encryption[customerHeader] != "" }

// settings gives the store as one that tells of its bucket's guards.
func (e *exam) settings() (objstore.Settings, error) {
	if e.Settings == nil {
		return nil, objstore.ErrUnsupported
	}
	return e.Settings, nil
}

// public looks whether the bucket blocks what would make it public.
func (e *exam) public(ctx context.Context) Finding {
	const what, action = "public access block", "s3:GetBucketPublicAccessBlock"
	s, err := e.settings()
	if err != nil {
		return e.unanswered(what, action, err)
	}
	p, err := s.PublicAccess(ctx)
	if err != nil {
		return e.unanswered(what, action, err)
	}
	if p.All() {
		return ok("the bucket blocks public access")
	}
	return Finding{
		Status: Warning, Text: "the bucket does not block public access: one mistake in a policy or an ACL lets anybody in, unless the whole account blocks it",
		Remedy:   "block it all",
		Commands: []string{e.command("put-public-access-block", "--public-access-block-configuration", "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true")},
	}
}

// lock tells how long versions cannot be removed.
func (e *exam) lock(ctx context.Context) Finding {
	const what, action = "object lock", "s3:GetBucketObjectLockConfiguration"
	s, err := e.settings()
	if err != nil {
		return e.unanswered(what, action, err)
	}
	l, err := s.ObjectLock(ctx)
	switch {
	case err != nil:
		return e.unanswered(what, action, err)
	case !l.Enabled:
		return ok("the bucket has no object lock")
	case l.Mode == "":
		return ok("the bucket has object lock, and locks nothing by default")
	}
	f := ok("the bucket has object lock: each version is kept for %s (%s), so what is overwritten or removed stays as long, and is paid for, what was just tried too", retention(l), strings.ToLower(l.Mode))
	if rules, _ := e.enabled(ctx); e.outdating(rules) == nil {
		f.Remedy = "see to it that a lifecycle rule with NoncurrentVersionExpiration removes versions later than that"
	}
	return f
}

func retention(l objstore.ObjectLock) string {
	switch {
	case l.Years == 1:
		return "1 year"
	case l.Years > 0:
		return fmt.Sprintf("%d years", l.Years)
	}
	return days(l.Days)
}

const defaultAction = "s3:GetEncryptionConfiguration"

// standing asks once what the bucket does about encryption by itself.
func (e *exam) standing(ctx context.Context) (objstore.Default, error) {
	if e.defaults == nil {
		s, err := e.settings()
		if err != nil {
			return objstore.Default{}, err
		}
		d, err := s.DefaultEncryption(ctx)
		if err != nil {
			return objstore.Default{}, err
		}
		e.defaults = &d
	}
	return *e.defaults, nil
}

// byDefault tells how the bucket encrypts what nobody asks for, and what KMS
// costs without a bucket key.
func (e *exam) byDefault(ctx context.Context) Finding {
	d, err := e.standing(ctx)
	if err != nil {
		return e.unanswered("default encryption", defaultAction, err)
	}
	algorithm := d.Encrypted[sseHeader]
	switch {
	case algorithm == "":
		return ok("the bucket encrypts nothing by default")
	case algorithm != "aws:kms":
		return ok("the bucket encrypts by default: %s", algorithm)
	case d.Encrypted[bucketKeyHeader] == "true":
		return ok("the bucket encrypts by default: %s, with a bucket key", algorithm)
	}
	text := fmt.Sprintf("the bucket encrypts by default: %s, without a bucket key", algorithm)
	for _, w := range e.Writes {
		if w.Unasked || w.Encryption[sseHeader] == "aws:kms" && w.Encryption[bucketKeyHeader] == "" {
			return Finding{
				Status: Warning, Text: fmt.Sprintf("%s: each object of mode %s costs KMS requests of its own, to write and to read", text, w.Mode),
				Remedy:   "turn the bucket key on, there or in the rule (bucket-key: true)",
				Commands: []string{e.command("put-bucket-encryption", "--server-side-encryption-configuration", e.withBucketKey(d))},
			}
		}
	}
	return ok("%s; no rule writes so", text)
}

// withBucketKey is the configuration that is there, with a bucket key.
func (e *exam) withBucketKey(d objstore.Default) string {
	by := map[string]string{"SSEAlgorithm": d.Encrypted[sseHeader]}
	if key := d.Encrypted[sseKeyHeader]; key != "" {
		by["KMSMasterKeyID"] = key
	}
	rule := map[string]any{"ApplyServerSideEncryptionByDefault": by, "BucketKeyEnabled": true}
	if d.KeysBlocked {
		rule["BlockedEncryptionTypes"] = map[string]any{"EncryptionType": []string{"SSE-C"}}
	}
	return compact(map[string]any{"Rules": []any{rule}})
}

// customerKeys looks whether the bucket takes keys of SSE-C.
func (e *exam) customerKeys(ctx context.Context) Finding {
	d, err := e.standing(ctx)
	if err != nil {
		return e.unanswered("whether SSE-C is blocked", defaultAction, err)
	}
	wanted := ""
	for _, w := range e.Writes {
		if w.customer() {
			wanted = w.Mode
		}
	}
	switch {
	case d.KeysBlocked && wanted != "":
		return Finding{
			Status: Failure, Text: "the bucket blocks SSE-C, as new ones do since April 2026, and a rule of mode " + wanted + " writes with it",
			Remedy: "allow it (PutBucketEncryption with BlockedEncryptionTypes NONE, which takes s3:PutEncryptionConfiguration), or choose mode client, or sse-kms",
		}
	case d.KeysBlocked:
		return ok("the bucket blocks SSE-C, and no rule writes with it")
	case wanted != "":
		return ok("the bucket takes keys of SSE-C")
	}
	return Finding{
		Status: OK, Text: "the bucket does not block SSE-C, and no rule writes with it",
		Remedy: "block it, unless others in the bucket need it: who may write could lock everything under a key of their own",
	}
}
