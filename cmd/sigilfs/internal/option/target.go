package option

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Target is what is mounted.
type Target struct {
	Spec   string // as it was typed
	Bucket string // its name, or the ARN of an access point
	Prefix string // of every key: "" or ending in "/"
}

// maxPrefix leaves room for a name in the 1,024 bytes of a key.
const maxPrefix = 1024 - 2

// bucketName is wider than AWS's rules of today: old buckets and other servers
// know upper case and "_".
var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$`)

// accessPoint is the ARN of one of S3's access points (Amazon S3 User Guide,
// "Referencing access points"), in front of a prefix or nothing.
var accessPoint = regexp.MustCompile(`^(arn:aws[a-z-]*:s3:[a-z0-9-]+:[0-9]{12}:accesspoint[/:][a-z0-9][a-z0-9-]{1,48}[a-z0-9])(/|$)`)

// multiRegion is one of several regions: it cannot be the source of a copy
// (Amazon S3 API Reference, CopyObject), as every rename is, and the bucket that
// answers may not have what was just written.
var multiRegion = regexp.MustCompile(`^arn:aws[a-z-]*:s3::[0-9]{12}:accesspoint[/:]`)

// ParseTarget reads s3://BUCKET[/PREFIX], where BUCKET may be the ARN of an
// access point: arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME. Such an ARN needs no
// s3:// in front of it.
func ParseTarget(spec string) (Target, error) {
	rest, ok := strings.CutPrefix(spec, "s3://")
	if strings.HasPrefix(rest, "arn:") {
		return parseARN(spec, rest)
	}
	if !ok {
		return Target{}, fmt.Errorf("%q is not a bucket; write s3://bucket, s3://bucket/prefix or the path of a configuration file", spec)
	}
	bucket, prefix, _ := strings.Cut(rest, "/")
	if !bucketName.MatchString(bucket) {
		return Target{}, fmt.Errorf("%q: %q cannot be the name of a bucket", spec, bucket)
	}
	prefix, err := Prefix(prefix)
	if err != nil {
		return Target{}, fmt.Errorf("%q: %w", spec, err)
	}
	return Target{Spec: spec, Bucket: bucket, Prefix: prefix}, nil
}

func parseARN(spec, rest string) (Target, error) {
	if multiRegion.MatchString(rest) {
		return Target{}, fmt.Errorf("%q: a multi-Region access point cannot be mounted, since S3 copies nothing from it and its buckets differ for a while; name the access point, or the bucket, of one region", spec)
	}
	m := accessPoint.FindStringSubmatch(rest)
	if m == nil {
		return Target{}, fmt.Errorf("%q: the ARN is none of an access point; write arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME, with /PREFIX or without", spec)
	}
	prefix, err := Prefix(strings.TrimPrefix(rest[len(m[1]):], "/"))
	if err != nil {
		return Target{}, fmt.Errorf("%q: %w", spec, err)
	}
	return Target{Spec: spec, Bucket: m[1], Prefix: prefix}, nil
}

// Prefix gives s as the prefix of keys, "" or ending in one "/". Components
// that no path can express are refused.
func Prefix(s string) (string, error) {
	s = strings.TrimSuffix(s, "/")
	if s == "" {
		return "", nil
	}
	if !utf8.ValidString(s) {
		return "", errors.New("the prefix is not UTF-8")
	}
	if len(s) > maxPrefix {
		return "", fmt.Errorf("the prefix is longer than %d bytes", maxPrefix)
	}
	for name := range strings.SplitSeq(s, "/") {
		switch {
		case name == "":
			return "", errors.New("the prefix begins with a slash or has two in a row")
		case name == "." || name == ".." || name == ".sigil":
			return "", fmt.Errorf("the prefix has the reserved component %q", name)
		case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return "", errors.New("the prefix has a control character")
		}
	}
	return s + "/", nil
}

// ParsePath reads s3://BUCKET[/KEY] as a bucket and the path of something in it,
// "" for all. Of the path it is only said that it begins with no slash.
func ParsePath(spec string) (Target, string, error) {
	rest, s3 := strings.CutPrefix(spec, "s3://")
	bucket, path, _ := strings.Cut(rest, "/")
	if strings.HasPrefix(rest, "arn:") {
		if m := accessPoint.FindStringSubmatch(rest); m != nil {
			bucket, path = m[1], strings.TrimPrefix(rest[len(m[1]):], "/")
		}
		s3 = true
	}
	if !s3 {
		_, err := ParseTarget(spec)
		return Target{}, "", err
	}
	t, err := ParseTarget("s3://" + bucket)
	if err != nil {
		return Target{}, "", err
	}
	if strings.HasPrefix(path, "/") {
		return Target{}, "", fmt.Errorf("%q: the path begins with a slash", spec)
	}
	t.Spec = spec
	return t, strings.TrimSuffix(path, "/"), nil
}
