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
		return e.advise("the bucket has no policy", no)
	}
	doc, err := parsePolicy(raw)
	if err != nil {
		return Finding{Status: Warning, Text: "the bucket's policy makes no sense: " + oneLine(err), Remedy: "see what aws s3api get-bucket-policy gives"}
	}
	if f, found := e.denied(doc); found {
		return f
	}
	if f, found := e.anybody(doc); found {
		return f
	}
	return e.judgePolicy(doc)
}

// denied looks for a statement that denies what a mount does.
func (e *exam) denied(doc document) (Finding, bool) {
	for _, w := range e.Writes {
		if e.ReadOnly || e.wrote && w.Prefix == e.Root {
			continue // it was tried, which tells more
		}
		if s := denies(doc, e.request("s3:PutObject", w.Prefix, w.Encryption), yes); s != nil {
			return e.denial(*s, w), true
		}
	}
	for _, action := range []string{"s3:GetObject", "s3:ListBucket"} {
		if s := denies(doc, e.request(action, e.Root, nil), yes); s != nil && (e.ReadOnly || !e.wrote) {
			return Finding{
				Status: Failure, Text: fmt.Sprintf("the statement %s of the bucket's policy denies %s to everybody who comes as this host does", s.name(), action),
				Remedy: "change that statement" + s.hint(),
			}, true
		}
	}
	return Finding{}, false
}

func (e *exam) denial(s statement, w Write) Finding {
	f := Finding{
		Status: Failure,
		Text:   fmt.Sprintf("the statement %s of the bucket's policy denies what mode %s writes under %q", s.name(), w.Mode, w.Prefix),
		Remedy: "change that statement" + s.hint(),
	}
	for _, key := range s.keys() {
		if strings.HasPrefix(key, sseKeyStart) {
			f.Remedy = "ask S3 for the encryption that it wants, with the mode of the rule or, beneath what this host encrypts, with --sse (sse-kms with --sse-kms-key-id), or change that statement"
		}
	}
	return f
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

// denies gives the first statement of that kind that applies at least so surely.
func denies(doc document, r request, surely verdict) *statement {
	for i, s := range doc.Statement {
		if s.Effect == "Deny" && s.applies(r) >= surely {
			return &doc.Statement[i]
		}
	}
	return nil
}

// anybody looks for a statement that lets everybody in, on no condition.
func (e *exam) anybody(doc document) (Finding, bool) {
	for _, s := range doc.Statement {
		if s.Effect != "Allow" || !s.Principal.everybody || len(s.Condition) > 0 {
			continue
		}
		return Finding{
			Status: Warning, Text: fmt.Sprintf("the statement %s of the bucket's policy lets everybody in, on no condition", s.name()),
			Remedy: "name the principals that need it, or make the condition",
		}, true
	}
	return Finding{}, false
}

// judgePolicy tells which of the usual protections are there.
func (e *exam) judgePolicy(doc document) Finding {
	n := len(doc.Statement)
	about := fmt.Sprintf("the bucket's policy has %d statements, none against what the rules write", n)
	if n == 1 {
		about = "the bucket's policy has 1 statement, not against what the rules write"
	}
	bare := e.request("s3:PutObject", e.Root, nil)
	if asked := e.with(bare, map[string]string{sseHeader: "AES256"}); denies(doc, bare, yes) != nil && denies(doc, asked, yes) == nil {
		about += "; it denies writes that ask for no encryption"
	} else if asked = e.with(bare, map[string]string{sseHeader: "aws:kms"}); denies(doc, bare, yes) != nil && denies(doc, asked, yes) == nil {
		about += "; it denies writes that do not ask for sse-kms"
	}
	plain := e.request("s3:GetObject", e.Root, nil)
	plain.known[secureKey] = "false"
	secure := e.request("s3:GetObject", e.Root, nil)
	secure.known[secureKey] = "true"
	return e.advise(about, is(denies(doc, plain, yes) != nil && denies(doc, secure, yes) == nil))
}

// advise ends a sentence about the policy: plain HTTP is denied, or should be.
func (e *exam) advise(text string, denied verdict) Finding {
	if denied == yes {
		return ok("%s; it denies plain HTTP", text)
	}
	f := ok("%s; plain HTTP is not denied", text)
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
