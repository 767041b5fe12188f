package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Keys of conditions (Service Authorization Reference, "Actions, resources, and
// condition keys for Amazon S3").
const (
	secureKey   = "aws:securetransport"
	tlsKey      = "s3:tlsversion"
	sseKeyStart = "s3:" + sseHeader
)

// policy reads what the bucket's policy denies, and whom it lets in.
func (e *exam) policy(ctx context.Context) Finding {
	const what, action = "bucket policy", "s3:GetBucketPolicy"
	if e.deaf || e.gone {
		return skipped("not tried: %s is not reached", Reach)
	}
	s, err := e.settings()
	if err != nil {
		return e.unanswered(what, action, err)
	}
	raw, err := s.Policy(ctx)
	if err != nil {
		return e.unanswered(what, action, err)
	}
	if len(raw) == 0 {
		return e.advise("the bucket has no policy", nil)
	}
	doc, err := parsePolicy(raw)
	if err != nil {
		return Finding{Status: Warning, Text: "the bucket's policy makes no sense: " + oneLine(err), Remedy: "see what aws s3api get-bucket-policy gives"}
	}
	if f, found := e.denied(doc); found {
		return f
	}
	if f, found := anybody(doc); found {
		return f
	}
	if f, found := e.unsure(doc); found {
		return f
	}
	return e.judgePolicy(doc)
}

// asking is a request that a mount makes, and nobody has tried.
type asking struct {
	request
	what string // for a sentence
}

func (e *exam) untried() []asking {
	var all []asking
	for _, w := range e.Writes {
		if !e.ReadOnly && (!e.wrote || w.Prefix != e.Root) {
			what := fmt.Sprintf("what mode %s writes under %q", w.Mode, w.Prefix)
			all = append(all, asking{e.request("s3:PutObject", w.Prefix, w.Encryption), what})
		}
	}
	if !e.wrote {
		all = append(all, asking{e.request("s3:GetObject", e.Root, nil), "s3:GetObject"})
	}
	if !e.reached {
		all = append(all, asking{e.request("s3:ListBucket", e.Root, nil), "s3:ListBucket"})
	}
	return all
}

// denied looks for a statement that denies what a mount does.
func (e *exam) denied(doc document) (Finding, bool) {
	for _, a := range e.untried() {
		if s := denies(doc, a.request); s != nil {
			return Finding{Status: Failure, Text: fmt.Sprintf("the statement %s of the bucket's policy denies %s", s.name(), a.what), Remedy: s.remedy()}, true
		}
	}
	return Finding{}, false
}

// unsure looks for a statement that may deny what a mount does, on conditions
// that are not known here. What was tried, and let through, tells of some that
// they do not hold.
func (e *exam) unsure(doc document) (Finding, bool) {
	tried := e.tried()
	for _, a := range e.untried() {
		for _, s := range doc.Statement {
			through := func(r request) bool { return s.applies(r) != no }
			if s.Effect != "Deny" || s.applies(a.request) != perhaps || slices.ContainsFunc(tried, through) {
				continue
			}
			return Finding{
				Status: Warning, Text: fmt.Sprintf("whether the statement %s of the bucket's policy denies %s is not known here%s", s.name(), a.what, s.dependence()),
				Remedy: "see whether it is meant for this host, and try it once mounted",
			}, true
		}
	}
	return Finding{}, false
}

// tried are requests that the bucket has let through.
func (e *exam) tried() []request {
	var all []request
	if e.reached {
		all = append(all, e.request("s3:ListBucket", e.Root, nil))
	}
	if !e.wrote {
		return all
	}
	// One whose key of KMS is not known as policies name it tells nothing of others.
	headers := e.Encryption.Writes()
	if key := headers[sseKeyHeader]; key == "" || strings.HasPrefix(key, "arn:") {
		all = append(all, e.request("s3:PutObject", e.Root, headers))
	}
	if e.caps.Read {
		all = append(all, e.request("s3:GetObject", e.Root, nil))
	}
	if e.caps.Delete {
		all = append(all, e.request("s3:DeleteObject", e.Root, nil))
	}
	return all
}

// dependence names the conditions.
func (s statement) dependence() string {
	if keys := s.keys(); len(keys) > 0 {
		return fmt.Sprintf(": it depends on %.200q", strings.Join(keys, ", "))
	}
	return ": it depends on who asks, and for what"
}

// remedy is what to do about a statement that denies what a mount does.
func (s statement) remedy() string {
	for _, key := range s.keys() {
		if strings.HasPrefix(key, sseKeyStart) {
			return "ask S3 for the encryption that it wants, with the mode of the rule or, beneath what this host encrypts, with --sse (sse-kms with --sse-kms-key-id), or change that statement"
		}
	}
	return "change that statement" + s.hint()
}

// hint says what would meet a condition of the connection.
func (s statement) hint() string {
	keys := s.keys()
	switch {
	case slices.Contains(keys, secureKey):
		return ", or give an https:// URL with --endpoint-url"
	case slices.Contains(keys, tlsKey):
		return ", or let the proxy on the way speak the TLS that it wants"
	}
	return ""
}

// denies gives the first statement that surely denies the request; nil is none.
func denies(doc document, r request) *statement {
	for i, s := range doc.Statement {
		if s.Effect == "Deny" && s.applies(r) == yes {
			return &doc.Statement[i]
		}
	}
	return nil
}

// judgePolicy tells which of the usual protections are there.
func (e *exam) judgePolicy(doc document) Finding {
	n := len(doc.Statement)
	about := fmt.Sprintf("the bucket's policy has %d statements, none against what the rules write", n)
	if n == 1 {
		about = "the bucket's policy has 1 statement, not against what the rules write"
	}
	bare := e.request("s3:PutObject", e.Root, nil)
	if asked := e.with(bare, map[string]string{sseHeader: "AES256"}); denies(doc, bare) != nil && denies(doc, asked) == nil {
		about += "; it denies writes that ask for no encryption"
	} else if asked = e.with(bare, map[string]string{sseHeader: "aws:kms"}); denies(doc, bare) != nil && denies(doc, asked) == nil {
		about += "; it denies writes that do not ask for sse-kms"
	}
	return e.advise(about, e.plainDenied(doc))
}

// transfers are what should not go over plain HTTP.
func transfers() []string {
	return []string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"}
}

// plainDenied lists those of transfers that the policy denies over plain HTTP
// alone.
func (e *exam) plainDenied(doc document) []string {
	var all []string
	for _, action := range transfers() {
		plain, secure := e.request(action, e.Root, nil), e.request(action, e.Root, nil)
		plain.known[secureKey], secure.known[secureKey] = "false", "true"
		if denies(doc, plain) != nil && denies(doc, secure) == nil {
			all = append(all, action)
		}
	}
	return all
}

// advise ends a sentence about the policy: plain HTTP is denied, or should be.
func (e *exam) advise(text string, denied []string) Finding {
	var f Finding
	switch len(denied) {
	case len(transfers()):
		return ok("%s; it denies plain HTTP", text)
	case 0:
		f = ok("%s; plain HTTP is not denied", text)
	default:
		f = ok("%s; it denies plain HTTP for %s alone", text, strings.Join(denied, ", "))
	}
	f.Remedy = "to have S3 refuse requests that anybody may listen to, add " + compact(map[string]any{
		"Sid": "OnlyTLS", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
		"Resource":  []string{"arn:aws:s3:::" + e.Bucket, "arn:aws:s3:::" + e.Bucket + "/*"},
		"Condition": map[string]any{"Bool": map[string]string{"aws:SecureTransport": "false"}},
	})
	return f
}

// request is one of this host's.
func (e *exam) request(action, prefix string, headers map[string]string) request {
	r := request{action: action, known: map[string]string{"s3:authtype": "REST-HEADER", "s3:signatureversion": "AWS4-HMAC-SHA256"}}
	if e.greeting.Host != "" {
		r.known[secureKey] = fmt.Sprint(e.greeting.Protocol != "")
		if version, found := strings.CutPrefix(e.greeting.Protocol, "TLS "); found {
			r.known[tlsKey] = version
		}
	}
	if !strings.HasPrefix(e.Bucket, "arn:") { // of an access point: its bucket is not known
		r.object = e.Bucket
		if action != "s3:ListBucket" {
			r.object += "/" + prefix + "file"
		}
	}
	return e.with(r, headers)
}

// with is r with the headers of encryption.
func (e *exam) with(r request, headers map[string]string) request {
	r.known, r.absent = maps.Clone(r.known), nil
	for _, name := range []string{sseHeader, sseKeyHeader, customerHeader} {
		value := headers[name]
		switch {
		case value == "":
			r.absent = append(r.absent, "s3:"+name)
		case name != sseKeyHeader || strings.HasPrefix(value, "arn:"): // S3 compares the ARN
			r.known["s3:"+name] = value
		}
	}
	return r
}

// name is how a person finds it.
func (s statement) name() string {
	if s.Sid == "" {
		return "without a Sid"
	}
	return fmt.Sprintf("%.100q", s.Sid)
}

// keys are those of its conditions, in lower case.
func (s statement) keys() []string {
	var all []string
	for _, of := range s.Condition {
		for key := range of {
			all = append(all, strings.ToLower(key))
		}
	}
	slices.Sort(all)
	return all
}
