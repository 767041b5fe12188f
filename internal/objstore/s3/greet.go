package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sigilfs/sigilfs/internal/awsclient"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

var _ objstore.Connection = (*Store)(nil)

// Greet is objstore.Connection's, by a HeadBucket.
func (s *Store) Greet(ctx context.Context) (g objstore.Greeting, err error) {
	err = s.do(ctx, s.reading("greet", "", "s3:ListBucket"), func(ctx context.Context, a *attempt) error {
		begin := time.Now()
		out, err := s.client.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: &s.cfg.Bucket, ExpectedBucketOwner: s.owner()}, s.options)
		var answer *http.Response
		var refused *smithyhttp.ResponseError
		switch {
		case err == nil:
			raw, _ := awsmiddleware.GetRawResponse(out.ResultMetadata).(*smithyhttp.Response)
			if raw == nil {
				return odd("the answer has no headers")
			}
			answer = raw.Response
		case errors.As(err, &refused) && refused.HTTPStatusCode() != 0 && refused.HTTPStatusCode() < http.StatusInternalServerError:
			answer = refused.Response.Response
		default:
			return err
		}
		defer a.end()
		g = greeting(answer, begin)
		return nil
	})
	g.Exposed = s.bare
	return g, err
}

func greeting(answer *http.Response, begin time.Time) objstore.Greeting {
	g := objstore.Greeting{Server: awsclient.OneLine(answer.Header.Get("Server"), 60), Arrived: time.Now()}
	g.Took = g.Arrived.Sub(begin)
	g.Date, _ = http.ParseTime(answer.Header.Get("Date"))
	if answer.Request != nil && answer.Request.URL != nil {
		g.Host = answer.Request.URL.Host
	}
	if answer.TLS != nil {
		g.Protocol = tls.VersionName(answer.TLS.Version)
		if chain := answer.TLS.PeerCertificates; len(chain) > 0 {
			g.Issuer, g.Expires = awsclient.OneLine(chain[0].Issuer.String(), 120), chain[0].NotAfter
		}
	}
	return g
}

// stsTime bounds the question who the caller is, to which nothing depends.
const stsTime = 10 * time.Second

// Caller is objstore.Connection's. AWS's own STS is asked of credentials for
// AWS's own S3 alone: those of another server are none of its business.
func (s *Store) Caller(ctx context.Context) (objstore.Caller, error) {
	if s.cfg.NoSignRequest {
		return objstore.Caller{Anonymous: true}, nil
	}
	keys, err := s.loaded.Credentials.Retrieve(ctx)
	if err != nil {
		return objstore.Caller{}, s.fail(call{verb: "credentials of"}, &failure{is: objstore.ErrBadAuth, cause: awsclient.OneLine(err.Error(), 300)}, false, nil)
	}
	who := objstore.Caller{Source: keys.Source, KeyID: keys.AccessKeyID[max(0, len(keys.AccessKeyID)-4):], Account: keys.AccountID}
	if keys.CanExpire {
		who.Expires = keys.Expires
	}
	client := sts.NewFromConfig(s.loaded, func(o *sts.Options) {
		o.HTTPClient, o.RetryMaxAttempts = s.http, 2
		o.Region = *s.region.Load()
	})
	if s.Endpoint() != "" && client.Options().BaseEndpoint == nil || s.cfg.Endpoint != "" {
		who.Silent = "the server is not Amazon S3, so AWS was not asked"
		return who, nil
	}
	ctx, cancel := context.WithTimeout(ctx, stsTime)
	defer cancel()
	out, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err == nil {
		who.Account, who.ARN = deref(out.Account), deref(out.Arn)
		return who, nil
	}
	var api smithy.APIError
	switch {
	case errors.As(err, &api) && s.Endpoint() == "" && sentinelSTS(api.ErrorCode()):
		return who, s.fail(call{verb: "credentials of"}, &failure{is: objstore.ErrBadAuth, cause: "sts:GetCallerIdentity is refused: " + awsclient.OneLine(api.ErrorMessage(), 200)}, false, nil)
	case errors.As(err, &api):
		who.Silent = "the server does not answer sts:GetCallerIdentity"
	default:
		who.Silent = "STS cannot be reached"
	}
	return who, nil
}

// sentinelSTS tells the codes of credentials that AWS does not take (AWS STS API
// Reference, "Common Errors").
func sentinelSTS(code string) bool {
	return code == "InvalidClientTokenId" || strings.HasPrefix(code, "ExpiredToken") || errors.Is(sentinel(code), objstore.ErrBadAuth)
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return awsclient.OneLine(*s, 300)
}
