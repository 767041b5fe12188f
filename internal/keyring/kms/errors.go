package kms

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/sigilfs/sigilfs/internal/awsclient"
	"github.com/sigilfs/sigilfs/internal/keyring"
)

// failure is what became of an attempt.
type failure struct {
	is    error  // a sentinel of the key ring; nil: it may pass
	cause string // one line, without secrets

	again    bool // worth another attempt
	few      bool // but not many
	slowDown bool // KMS has too much to do
	expired  bool // the credentials
	state    bool // the key's state forbids it, and KMS did not say which that is
}

// classify finds out. KMS's codes: AWS KMS API Reference, "Common Errors" and
// the errors of each action.
func (c *Client) classify(ctx context.Context, a action, keyID string, err error) *failure {
	var api smithy.APIError
	var noKeys awsclient.CredentialsError
	var response *smithyhttp.ResponseError
	switch {
	case errors.As(err, &noKeys):
		return &failure{cause: "no credentials: " + awsclient.OneLine(noKeys.Error(), 300), again: c.authed.Load()}
	case errors.As(err, &api):
		status := 0
		if errors.As(err, &response) {
			status = response.HTTPStatusCode()
		}
		return answered(a, keyID, status, api.ErrorCode(), api.ErrorMessage(), err)
	case errors.As(err, &response) && response.HTTPStatusCode() >= 400:
		return answered(a, keyID, response.HTTPStatusCode(), "", "the answer is not one of KMS", err)
	}
	return unanswered(ctx, err)
}

func answered(a action, keyID string, status int, code, message string, err error) *failure {
	f := byCode(code)
	if f == nil {
		f = byStatus(status)
	}
	if code != "" {
		code = " " + awsclient.OneLine(code, 60)
	}
	f.cause = fmt.Sprintf("%s (HTTP %d%s%s)", words(a, keyID, f, message), status, code, request(err))
	return f
}

func request(err error) string {
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.ServiceRequestID() != "" {
		return ", request " + awsclient.OneLine(response.ServiceRequestID(), 80)
	}
	return ""
}

// byCode knows what KMS and AWS's front call their errors; nil: it does not.
func byCode(code string) *failure {
	switch code {
	case "AccessDeniedException", "AccessDenied", "NotAuthorized", "OptInRequired",
		"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSignatureException",
		"IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException":
		return &failure{is: keyring.ErrAccess}
	case "ExpiredTokenException", "ExpiredToken", "RequestExpired", "RequestTimeTooSkewed":
		return &failure{again: true, few: true, expired: true}
	case "NotFoundException":
		return &failure{is: keyring.ErrNoKey}
	case "KMSInvalidStateException":
		return &failure{is: keyring.ErrWrongKey, state: true}
	case "DisabledException", "InvalidCiphertextException", "IncorrectKeyException", "InvalidKeyUsageException":
		return &failure{is: keyring.ErrWrongKey}
	case "ThrottlingException", "Throttling", "LimitExceededException", "TooManyRequestsException", "RequestLimitExceeded", "RequestThrottled",
		"RequestThrottledException", "SlowDown", "ServiceUnavailable", "ServiceUnavailableException":
		return &failure{again: true, slowDown: true}
	case "KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException", "InternalFailure", "InternalError", "RequestTimeout", "RequestTimeoutException":
		return &failure{again: true}
	}
	return nil
}

// byStatus knows an answer by HTTP alone: a proxy's, or a code to come.
func byStatus(status int) *failure {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return &failure{is: keyring.ErrAccess}
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return &failure{again: true, slowDown: true}
	case status >= 500, status == http.StatusRequestTimeout, status < 300: // 200 of what is no KMS
		return &failure{again: true}
	}
	return &failure{}
}

// words tells a person what happened, and what to do.
func words(a action, keyID string, f *failure, message string) string {
	message = awsclient.OneLine(message, 300)
	switch {
	case errors.Is(f.is, keyring.ErrAccess):
		what := "kms:" + a.String()
		if a == reEncrypt {
			what = "kms:ReEncryptFrom and kms:ReEncryptTo"
		}
		text := fmt.Sprintf("grant %s on %s to this identity in the key policy or by a grant", what, awsclient.OneLine(keyID, 2048))
		if a == describeKey {
			text += ", or name the key by its ARN"
		}
		if message != "" {
			text = message + "; " + text
		}
		return text
	case f.expired:
		return "the credentials have expired, or this host's clock is off: " + message
	case message == "":
		return "refused"
	}
	return "refused: " + message
}

// unanswered are the failures of DNS, connection, TLS and HTTP, and of answers
// that make no sense.
func unanswered(ctx context.Context, err error) *failure {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &failure{cause: "no answer in time", again: true}
	}
	if ctx.Err() != nil {
		return &failure{cause: "interrupted"}
	}
	cause := err
	var send *smithyhttp.RequestSendError
	var odd *smithy.DeserializationError
	f := &failure{}
	switch {
	case errors.As(err, &send):
		cause, f.again = send.Err, true
	case errors.As(err, &odd): // not KMS, or cut off
		f.again, f.few = true, true
	}
	f.cause = awsclient.OneLine(cause.Error(), 300)
	var cert *tls.CertificateVerificationError
	if errors.As(cause, &cert) {
		f.again = false
		f.cause += " (is it signed by a CA of your own? then name its certificate with --ca-bundle or AWS_CA_BUNDLE)"
	}
	return f
}
