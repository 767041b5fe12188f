package s3

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sigilfs/sigilfs/internal/awsclient"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// failure is what became of an attempt: the sentinel, the words, and what to
// do about it.
type failure struct {
	is     error
	cause  string // one line, without secrets
	status int    // of HTTP; 0 without an answer
	code   string // of S3

	again    bool          // worth another attempt
	few      bool          // but not many
	now      bool          // at once
	after    time.Duration // or not before
	slowDown bool          // the server has too much to do
	maybe    bool          // the request may have been done
	region   string        // the bucket's, where the answer names it
	expired  bool          // the credentials
	digest   bool          // a Content-MD5 is missing
	kept     bool          // the object is under a lock
	owner    string        // of the bucket, as it was expected; "" is anybody
}

// oddAnswer is an answer that cannot be used although it says success.
type oddAnswer struct{ text string }

func (e oddAnswer) Error() string { return e.text }

func odd(format string, args ...any) error { return oddAnswer{fmt.Sprintf(format, args...)} }

// sentinels by S3's codes (Amazon S3 API Reference, "Error responses") and
// those of other servers. What is not here goes by the HTTP status.
func sentinel(code string) error {
	switch code {
	case "NoSuchBucket":
		return objstore.ErrBucket
	case "NoSuchUpload":
		return objstore.ErrNoUpload
	case "AccessDenied", "AllAccessDisabled", "AccountProblem", "InvalidPayer", "NotSignedUp":
		return objstore.ErrAccess
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException", "InvalidToken", "InvalidSecurity", "TokenRefreshRequired",
		"RequestExpired", "AuthorizationHeaderMalformed", "RequestTimeTooSkewed", "MissingSecurityHeader", "CredentialsNotSupported", "UnrecognizedClientException":
		return objstore.ErrBadAuth
	case "InvalidObjectState", "ObjectNotInActiveTierError": // the latter of the source of a copy
		return objstore.ErrArchived
	case "SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "ReduceYourRequestRate", "Throttling", "ThrottlingException", "RequestLimitExceeded",
		"TooManyRequests", "TooManyRequestsException", "BandwidthLimitExceeded", "RequestThrottled", "XMinioServerNotInitialized":
		return objstore.ErrThrottled
	case "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "StorageFull", "InsufficientCapacity":
		return objstore.ErrQuota
	case "KeyTooLongError", "KeyTooLong":
		return objstore.ErrTooLong
	case "EntityTooLarge", "MetadataTooLarge", "RequestHeaderSectionTooLarge":
		return objstore.ErrTooLarge
	case "NotImplemented", "GlacierExpeditedRetrievalNotAvailable":
		return objstore.ErrUnsupported
	case "ServerSideEncryptionConfigurationNotFoundError", "NoSuchLifecycleConfiguration", "NoSuchBucketPolicy",
		"NoSuchPublicAccessBlockConfiguration", "ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration":
		return errUnset
	case "InvalidRange", "InvalidPart", "InvalidPartOrder", "EntityTooSmall", "MalformedXML":
		return objstore.ErrInvalid
	}
	return nil
}

// classify makes a failure of what the SDK returned.
func (s *Store) classify(c call, a *attempt, err error) *failure {
	if f := s.local(c, a, err); f != nil {
		return f
	}
	f := &failure{}
	var answer *awshttp.ResponseError
	var bare *smithyhttp.ResponseError
	var header http.Header
	request := ""
	switch {
	case errors.As(err, &answer):
		f.status, header, request = answer.HTTPStatusCode(), answer.Response.Header, answer.ServiceRequestID()
	case errors.As(err, &bare):
		f.status, header = bare.HTTPStatusCode(), bare.Response.Header
	}
	if f.status == 0 { // the SDK makes up an empty answer where none came
		return s.unanswered(a, err)
	}
	message := ""
	var api smithy.APIError
	if errors.As(err, &api) {
		f.code, message = api.ErrorCode(), api.ErrorMessage()
	}
	if code := header.Get("X-Minio-Error-Code"); code != "" { // HEAD has no body to say it in
		f.code, message = code, cmp.Or(strings.Trim(header.Get("X-Minio-Error-Desc"), `"`), message)
	}
	if f.status < 300 && f.code == "" { // success in the header, no sense in the body
		f.is, f.cause, f.again, f.few, f.maybe = objstore.ErrUnknown, "the answer makes no sense", true, true, true
		return f
	}
	if request == "" {
		request = header.Get("X-Amz-Request-Id")
	}
	f.region = header.Get("X-Amz-Bucket-Region")
	f.after = retryAfter(header.Get("Retry-After"), time.Now())
	f.kept = c.write && keptByLock(f.code, message)
	switch f.is = f.keys(c, message); {
	case f.kept:
		f.is = objstore.ErrAccess
	case lockless(f.code, message):
		f.is = errUnset
	case f.status == http.StatusMethodNotAllowed && header.Get("X-Amz-Delete-Marker") == "true":
		f.is = c.absent // the version that was asked for
	case c.thaws && f.code == "InvalidObjectState":
		f.is = objstore.ErrInvalid // not archived, it means here
	case f.is == nil:
		f.name(c)
	}
	f.digest = c.write && !a.digest && wantsDigest(f.code, message)
	f.decide(s)
	f.owner = s.cfg.ExpectedBucketOwner
	f.cause = f.words(c, message, request, *s.region.Load())
	return f
}

// local are the failures on this side of the wire.
func (s *Store) local(c call, a *attempt, err error) *failure {
	var own bodyError
	var noKeys awsclient.CredentialsError
	var strange oddAnswer
	switch {
	case errors.As(err, &own):
		return &failure{is: own.error, cause: "body to send", maybe: a.sent.Load()}
	case errors.As(err, &noKeys):
		again := s.authed.Load() // they were there: their source is down for now
		return &failure{is: objstore.ErrBadAuth, cause: "no credentials: " + awsclient.OneLine(noKeys.Error(), 300), again: again}
	case errors.As(err, &strange):
		return &failure{is: objstore.ErrUnknown, cause: strange.text, again: true, few: true, maybe: true}
	}
	for _, e := range []error{objstore.ErrChanged, objstore.ErrUnsupported, objstore.ErrInvalid} {
		if errors.Is(err, e) { // found out by the attempt itself
			return &failure{is: e, cause: strings.TrimSuffix(err.Error(), ": "+e.Error())}
		}
	}
	return nil
}

// unanswered are the failures of DNS, connection, TLS and HTTP.
func (s *Store) unanswered(a *attempt, err error) *failure {
	f := &failure{is: objstore.ErrUnreachable, again: true, maybe: a.sent.Load()}
	if f.maybe {
		f.is = objstore.ErrUnknown
	}
	var send *smithyhttp.RequestSendError
	cause := err
	if errors.As(err, &send) {
		cause = send.Err
	} else if !f.maybe && a.ctx.Err() == nil { // it was refused while it was built
		f.is, f.again = objstore.ErrInvalid, false
	}
	if a.stalled() {
		f.cause = fmt.Sprintf("no byte moved for %v", a.patience)
		return f
	}
	if e := a.ctx.Err(); e != nil {
		f.is = context.Cause(a.ctx)
		if errors.Is(f.is, context.Canceled) || errors.Is(f.is, context.DeadlineExceeded) {
			f.cause = "interrupted"
			return f
		}
	}
	var cert *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(cause, &authority):
		f.again, f.cause = false, awsclient.OneLine(cause.Error(), 300)+" (is it signed by a CA of your own? then name its certificate with --ca-bundle or AWS_CA_BUNDLE)"
	case errors.As(cause, &cert):
		f.again, f.cause = false, awsclient.OneLine(cause.Error(), 300)
	default:
		f.cause = awsclient.OneLine(cause.Error(), 300)
	}
	return f
}

// name finds the sentinel.
func (f *failure) name(c call) {
	if f.is = sentinel(f.code); f.is != nil {
		return
	}
	switch {
	case f.code == "NoSuchKey", f.code == "NoSuchVersion", f.status == http.StatusNotFound:
		f.is = c.absent
	case f.status == http.StatusPreconditionFailed, f.code == "PreconditionFailed", f.code == "ConditionalRequestConflict":
		f.is = c.held
	case f.status == http.StatusUnauthorized:
		f.is = objstore.ErrBadAuth
	case f.status == http.StatusForbidden:
		f.is = objstore.ErrAccess
	case f.status == http.StatusTooManyRequests, f.status == http.StatusServiceUnavailable:
		f.is = objstore.ErrThrottled
	case f.status == http.StatusInsufficientStorage:
		f.is = objstore.ErrQuota
	case f.status == http.StatusRequestEntityTooLarge:
		f.is = objstore.ErrTooLarge
	case f.status == http.StatusNotImplemented, f.status == http.StatusMethodNotAllowed:
		f.is = objstore.ErrUnsupported
	case f.status == http.StatusRequestTimeout, f.status >= 500, f.status < 300:
		f.is = objstore.ErrUnknown
	default:
		f.is = objstore.ErrInvalid
	}
}

// decide says whether another attempt is worth it, and whether this one may
// have been done.
func (f *failure) decide(s *Store) {
	switch {
	case errors.Is(f.is, objstore.ErrThrottled):
		// S3's own refusal comes before anything is done; a proxy's may not.
		f.again, f.slowDown, f.maybe = true, true, sentinel(f.code) == nil && keyCode(f.code, f.status) == nil && f.status != http.StatusTooManyRequests
	case f.status == http.StatusNotImplemented, errors.Is(f.is, objstore.ErrQuota), errors.Is(f.is, objstore.ErrUnsupported):
	case errors.Is(f.is, objstore.ErrKeyMissing), errors.Is(f.is, objstore.ErrKeyDisabled), errors.Is(f.is, objstore.ErrKeyAccess):
		// Also inside of a 200: nothing was done, and no time mends it.
	case f.status >= 500, f.status < 300, f.code == "InternalError":
		f.again, f.maybe = true, true
	case f.status == http.StatusRequestTimeout, f.code == "RequestTimeout", f.code == "IncompleteBody":
		f.again, f.is = true, objstore.ErrUnknown // the server did not get all of it: not done
	case f.status == http.StatusConflict && (f.code == "ConditionalRequestConflict" || f.code == "OperationAborted"):
		f.again = true
	case f.code == "BadDigest", f.code == "XAmzContentChecksumMismatch", f.code == "XAmzContentSHA256Mismatch", f.code == "ContentChecksumMismatch":
		f.again, f.few = true, true
	case f.code == "RequestTimeTooSkewed": // the SDK has set its clock by the answer
		f.again, f.few = true, true
	case f.code == "ExpiredToken" || f.code == "ExpiredTokenException" || f.code == "TokenRefreshRequired":
		f.again, f.few, f.expired = true, true, true
	case f.digest:
		f.again, f.few, f.now = true, true, true
	case f.region != "" && f.region != *s.region.Load() && (f.status == http.StatusMovedPermanently || f.status == http.StatusTemporaryRedirect || f.status == http.StatusBadRequest || f.status == http.StatusForbidden):
		f.again, f.few, f.now = true, true, true
	}
}

// learn keeps what a failure teaches for the next attempt.
func (s *Store) learn(f *failure) {
	if f.digest {
		s.locked.Store(true)
	}
	if f.now && f.region != "" {
		s.region.Store(&f.region)
	}
	if f.code == "NoSuchKey" || f.code == "NoSuchUpload" {
		s.seen.Store(time.Now().UnixNano())
	}
	if f.expired {
		awsclient.Invalidate(s.client.Options().Credentials)
	}
}

// needed finds the permission that AWS names: "... is not authorized to
// perform: kms:Decrypt on resource: ...".
var needed = regexp.MustCompile(`not authorized to perform: ([A-Za-z0-9-]+:[A-Za-z0-9]+)`)

// words tells a person what happened.
func (f *failure) words(c call, message, request, region string) string {
	var b strings.Builder
	switch key := f.keyWords(c, message); {
	case f.kept:
		b.WriteString("an object lock keeps it: it can be removed when its retention or legal hold has ended")
	case key != "":
		b.WriteString(key)
	case errors.Is(f.is, objstore.ErrAccess):
		action := c.action
		if m := needed.FindStringSubmatch(message); m != nil {
			action = m[1]
		}
		fmt.Fprintf(&b, "permission %s is missing", action)
	case f.code == "RequestTimeTooSkewed":
		b.WriteString("this host's clock is off by more than 15 minutes, set it")
	case f.status >= 300 && f.status < 400 && f.region != "":
		fmt.Fprintf(&b, "the bucket is in region %s, not %s: use --region %s", f.region, region, f.region)
	case f.status >= 300 && f.status < 400:
		b.WriteString("redirected: the bucket is in another region or has another endpoint")
	case f.code == "SignatureDoesNotMatch":
		b.WriteString("the secret access key is wrong")
	case f.code == "InvalidAccessKeyId":
		b.WriteString("the access key ID is not known")
	case f.expired:
		b.WriteString("the session token has expired")
	case f.code == "AuthorizationHeaderMalformed":
		b.WriteString(awsclient.OneLine(message, 200))
	default:
		b.WriteString("refused")
		if message != "" && (f.status < 500 || f.status == http.StatusNotImplemented) {
			b.WriteString(": " + awsclient.OneLine(message, 200))
		}
	}
	if f.owner != "" && !f.kept && errors.Is(f.is, objstore.ErrAccess) && !needed.MatchString(message) {
		fmt.Fprintf(&b, ", or the bucket is not of account %s (--expected-bucket-owner)", f.owner)
	}
	fmt.Fprintf(&b, " (HTTP %d", f.status)
	if f.code != "" {
		b.WriteString(" " + awsclient.OneLine(f.code, 60))
	}
	if request != "" {
		b.WriteString(", request " + awsclient.OneLine(request, 80))
	}
	b.WriteString(")")
	return b.String()
}

// retryAfter reads the header (RFC 9110, 10.2.3): seconds or a date. Half a
// minute is the most that is believed.
func retryAfter(value string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		d = time.Duration(n) * time.Second //nolint:gosec // below 2^31
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), 30*time.Second)
}

// isChecksum tells a body that does not match its checksum; the SDK has no
// type for it but this text.
func isChecksum(err error) bool { return strings.Contains(err.Error(), "checksum did not match") }
