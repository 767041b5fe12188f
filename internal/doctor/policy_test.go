package doctor

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// deny is a policy of one statement against everybody. resource may be a list.
func deny(action, resource, condition string) string {
	if !strings.HasPrefix(resource, "[") {
		resource = strconv.Quote(resource)
	}
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"s","Effect":"Deny","Principal":"*","Action":%q,"Resource":%s%s}]}`, action, resource, condition)
}

// allow is one that lets everybody read, on that condition.
func allow(condition string) string {
	return strings.Replace(deny("s3:GetObject", everything, condition), "Deny", "Allow", 1)
}

const (
	everything  = "arn:aws:s3:::acme/*"
	whole       = `["arn:aws:s3:::acme","arn:aws:s3:::acme/*"]`
	noPlain     = `{"Bool":{"aws:SecureTransport":"false"}}`
	unencrypted = `{"Null":{"s3:x-amz-server-side-encryption":"true"}}`
	kmsOnly     = `{"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}`
)

func TestFindingsOfPolicies(t *testing.T) {
	other := func(h objstore.Header) []Write { // of a rule beside the root's, which the probe does not try
		return []Write{{Prefix: "web1/logs/", Mode: "m", Encryption: h}, {Prefix: "web1/", Mode: "client"}}
	}
	aes := objstore.Header{sseHeader: "AES256"}
	for _, tc := range []struct {
		name, policy string
		writes       []Write
		change       func(*Target)
		want         Status
		says         []string
	}{
		{"none", "", nil, nil, OK, []string{"has no policy; plain HTTP is not denied", `"aws:SecureTransport":"false"`}},
		{"nonsense", "{", nil, nil, Warning, []string{"makes no sense"}},
		{"no plain HTTP", deny("s3:*", whole, noPlain), other(nil), nil, OK, []string{"it denies plain HTTP"}},
		{"no plain HTTP, but to list", deny("s3:*", everything, noPlain), other(nil), nil, OK, []string{"it denies plain HTTP for s3:GetObject, s3:PutObject, s3:DeleteObject alone", "OnlyTLS"}},
		{"no plain HTTP to read", deny("s3:GetObject", everything, noPlain), other(nil), nil, OK, []string{"it denies plain HTTP for s3:GetObject alone", "OnlyTLS"}},
		{"encryption wanted, none asked", deny("s3:PutObject", everything, unencrypted), other(nil), nil, Failure, []string{`statement "s"`, `"web1/logs/"`, "--sse"}},
		{"encryption wanted, and asked", deny("s3:PutObject", everything, unencrypted), other(aes), nil, OK, []string{"denies writes that ask for no encryption"}},
		{"kms wanted, another asked", deny("s3:Put*", everything, kmsOnly), other(aes), nil, Failure, nil},
		{"kms wanted, and asked", deny("s3:Put*", everything, kmsOnly), other(kms()), nil, OK, []string{"that do not ask for sse-kms"}},
		{"of another key", deny("s3:PutObject", everything, `{"StringNotEqualsIfExists":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"arn:aws:kms:eu-west-1:1:key/a"}}`), other(kms(sseKeyHeader, "arn:aws:kms:eu-west-1:1:key/b")), nil, Failure, nil},
		{"of another key, by alias", deny("s3:PutObject", everything, `{"StringNotEqualsIfExists":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"arn:aws:kms:eu-west-1:1:key/a"}}`), other(kms(sseKeyHeader, "alias/b")), nil, OK, nil},
		{"no SSE-C", deny("s3:PutObject", everything, `{"Null":{"s3:x-amz-server-side-encryption-customer-algorithm":"false"}}`), other(objstore.Header{customerHeader: "AES256"}), nil, Failure, nil},
		{"elsewhere", deny("s3:PutObject", "arn:aws:s3:::acme/web2/*", unencrypted), other(nil), nil, OK, nil},
		{"from elsewhere", deny("s3:PutObject", everything, `{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), other(nil), nil, OK, nil},
		{"under the root, where it was tried", deny("s3:PutObject", everything, unencrypted), []Write{{Prefix: "web1/", Mode: "client"}}, nil, OK, nil},
		{"under the root, untried", deny("s3:GetObject", everything, noPlain), nil, func(t *Target) {
			t.ReadOnly, t.Connection = true, secure(func(g *objstore.Greeting) { g.Protocol = "" })
		}, Failure, []string{"s3:GetObject", "https:// URL"}},
		{"against listing", deny("s3:ListBucket", "arn:aws:s3:::acme", ""), nil, func(t *Target) {
			t.Store = faulty.New(mem.New(mem.Options{}), faulty.Options{Script: fault(faulty.List, objstore.ErrAccess)})
		}, Failure, []string{"denies s3:ListBucket"}},
		{"of no bucket", "", nil, func(t *Target) {
			t.Store = faulty.New(mem.New(mem.Options{}), faulty.Options{Script: fault(faulty.List, objstore.ErrBucket)})
		}, Skipped, nil},
		{"read-only writes nothing", deny("s3:PutObject", everything, unencrypted), other(nil), func(t *Target) { t.ReadOnly = true }, OK, nil},
		{"from elsewhere, of that prefix alone", deny("s3:PutObject", "arn:aws:s3:::acme/web1/logs/*", `{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), other(nil), nil, Warning, []string{`statement "s"`, `"web1/logs/"`, "aws:sourceip", "not known"}},
		{"of somebody", strings.Replace(deny("s3:PutObject", "arn:aws:s3:::acme/web1/logs/*", ""), `"*"`, `{"AWS":"arn:aws:iam::1:role/x"}`, 1), other(nil), nil, Warning, []string{"who asks"}},
		{"of another key, by alias, of that prefix alone", deny("s3:PutObject", "arn:aws:s3:::acme/web1/logs/*", `{"StringNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"arn:aws:kms:eu-west-1:1:key/a"}}`), other(kms(sseKeyHeader, "alias/b")), nil, Warning, []string{"not known"}},
		{"from elsewhere, to read", deny("s3:GetObject", everything, `{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), nil, func(t *Target) { t.ReadOnly = true }, Warning, []string{"s3:GetObject"}},
		{"from elsewhere, which a listing has tried", deny("s3:*", whole, `{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), nil, func(t *Target) { t.ReadOnly = true }, OK, nil},
		{"for anybody", allow(""), nil, nil, Warning, []string{"lets everybody in, on no condition"}},
		{"for all but one", strings.Replace(allow(""), `"Principal":"*"`, `"NotPrincipal":{"AWS":"1"}`, 1), nil, nil, Warning, []string{"lets everybody in"}},
		{"for anybody with TLS", allow(`{"Bool":{"aws:SecureTransport":"true"}}`), nil, nil, Warning, []string{"that says who"}},
		{"for anybody but", allow(`{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), nil, nil, Warning, nil},
		{"for anybody without", allow(`{"StringEqualsIfExists":{"aws:PrincipalOrgID":"o-1"}}`), nil, nil, Warning, nil},
		{"for the whole net", allow(`{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","0.0.0.0/0"]}}`), nil, nil, Warning, nil},
		{"for any of many", allow(`{"StringLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/web"}}`), nil, nil, Warning, nil},
		{"for a network", allow(`{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), nil, nil, OK, nil},
		{"for an organization with TLS", allow(`{"StringEquals":{"aws:PrincipalOrgID":"o-1"},"Bool":{"aws:SecureTransport":"true"}}`), nil, nil, OK, nil},
		{"for roles of an account", allow(`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::123456789012:role/*"}}`), nil, nil, OK, nil},
		{"for somebody", strings.Replace(allow(""), `"*"`, `{"AWS":"arn:aws:iam::123456789012:root"}`, 1), nil, nil, OK, nil},
		{"of an access point", deny("s3:PutObject", everything, unencrypted), other(nil), func(t *Target) { t.Bucket = "arn:aws:s3:eu-west-1:123456789012:accesspoint/web" }, OK, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := settings{policy: tc.policy}.of(tc.writes...)
			settle := p.change
			p.change = func(t *Target) {
				settle(t)
				if tc.change != nil {
					tc.change(t)
				}
			}
			p.examine(t)[Policy].is(t, tc.want, tc.says)
		})
	}
}

// The operators are as IAM's reference has them.
func TestConditions(t *testing.T) {
	r := request{known: map[string]string{"s3:tlsversion": "1.2", "aws:securetransport": "true", "s3:x-amz-server-side-encryption": "AES256"}, absent: []string{"s3:x-amz-acl"}}
	for _, tc := range []struct {
		operator, key, values string
		want                  verdict
	}{
		{"Bool", "aws:SecureTransport", `"false"`, no},
		{"Bool", "aws:SecureTransport", `true`, yes},
		{"BoolIfExists", "aws:SecureTransport", `["false"]`, no},
		{"NumericLessThan", "s3:TlsVersion", `1.3`, yes},
		{"NumericLessThan", "s3:TlsVersion", `"1.2"`, no},
		{"NumericGreaterThanEquals", "s3:TlsVersion", `["1.2"]`, yes},
		{"NumericEquals", "s3:TlsVersion", `"x"`, perhaps},
		{"StringEquals", "s3:x-amz-server-side-encryption", `["aws:kms","AES256"]`, yes},
		{"StringNotEquals", "s3:x-amz-server-side-encryption", `["aws:kms","AES256"]`, no},
		{"StringNotLike", "s3:x-amz-server-side-encryption", `"aws:*"`, yes},
		{"StringEquals", "s3:x-amz-acl", `"private"`, no},
		{"StringEqualsIfExists", "s3:x-amz-acl", `"private"`, yes},
		{"StringNotEquals", "s3:x-amz-acl", `"private"`, yes},
		{"Null", "s3:x-amz-acl", `"true"`, yes},
		{"Null", "s3:x-amz-server-side-encryption", `"true"`, no},
		{"StringEquals", "aws:PrincipalOrgID", `"o-1"`, perhaps},
		{"Null", "aws:PrincipalOrgID", `"true"`, perhaps},
		{"ForAllValues:StringEquals", "s3:x-amz-acl", `"a"`, perhaps},
		{"DateLessThan", "s3:TlsVersion", `"2020-01-01"`, perhaps},
		{"StringEquals", "s3:x-amz-server-side-encryption", `"${aws:x}"`, perhaps},
	} {
		var values list[text]
		if err := json.Unmarshal([]byte(tc.values), &values); err != nil {
			t.Fatal(err)
		}
		if got := r.meets(tc.operator, tc.key, values); got != tc.want {
			t.Errorf("%s %s %s: %d", tc.operator, tc.key, tc.values, got)
		}
	}
}

func TestWild(t *testing.T) {
	for _, tc := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true},
		{"", "", true},
		{"", "a", false},
		{"a*b*c", "a-b-b-c", true},
		{"a*b", "a-b-c", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"acme/*", "acme/x/y", true},
		{"acme/*", "acme", false},
	} {
		if got := wild(tc.pattern, tc.s); got != tc.want {
			t.Errorf("%q matches %q: %v", tc.pattern, tc.s, got)
		}
	}
}

func TestPoliciesAreBounded(t *testing.T) {
	for _, p := range []string{
		strings.Repeat(" ", maxPolicy+1), `{"Statement":[` + strings.Repeat("{},", maxStatements) + `{}]}`, "{} {}", "[]", `{"Statement":[{"Action":[{}]}]}`,
		strings.Repeat("[", 50_000), `{"Statement":[{"Principal":7.5e1}]} x`,
	} {
		if _, err := parsePolicy([]byte(p)); err == nil {
			t.Errorf("%.40q is a policy", p)
		}
	}
	if doc, err := parsePolicy([]byte(`{"Statement":{"Principal":{"AWS":["1","*"]},"Action":"a"}}`)); err != nil || len(doc.Statement) != 1 || !doc.Statement[0].Principal.everybody {
		t.Errorf("%+v, %v", doc, err)
	}
}

// Whatever a server says is its policy, the check comes to a finding of one line.
func FuzzPolicy(f *testing.F) {
	for _, s := range []string{
		deny("s3:*", everything, noPlain), deny("s3:PutObject", "*", kmsOnly), `{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"1"},"NotAction":"s3:Get*","NotResource":["a","b"]}}`,
		`{"Statement":[{"Effect":"Deny","Principal":{"Service":"x"},"Condition":{"NumericLessThan":{"s3:TlsVersion":1.2}}}]}`, "", "null", "[]",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := settings{policy: string(b)}.of(Write{Prefix: "a/", Encryption: kms()}, Write{Mode: "client"})
		target := Target{Bucket: "acme"}
		p.change(&target)
		got := (&exam{Target: target, greeting: secure(nil).greeting}).policy(t.Context())
		if got.Text == "" || strings.ContainsAny(got.Text, "\n\r\x1b") || got.Status == Skipped {
			t.Errorf("%+v", got)
		}
		if strings.Contains(got.Text, "makes no sense") != (got.Status == Warning && strings.Contains(got.Remedy, "get-bucket-policy")) {
			t.Errorf("%+v", got)
		}
	})
}
