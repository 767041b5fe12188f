package sse

import "fmt"

// State is what an object is, as the headers of an answer (to GET, HEAD, PUT)
// tell.
type State struct {
	Algorithm   Algorithm
	KMSKeyID    string // as the server names it, mostly by ARN; empty if it does not
	BucketKey   bool   // under an S3 Bucket Key
	CustomerMD5 string // SSE-C: base64 of the key's MD5
}

// Of reads the headers of an answer. No header at all is None; what it does not
// know, or contradicts itself, is Unknown.
func Of(answer map[string]string) State {
	algorithm, customer := answer[algorithmHeader], answer[prefix+customerAlgorithm]
	md5 := answer[prefix+customerMD5]
	s := State{KMSKeyID: answer[keyIDHeader], BucketKey: answer[bucketKeyHeader] == "true", CustomerMD5: md5}
	switch {
	case customer == "" && md5 == "":
		s.Algorithm = managed(algorithm)
	case customer == aes256 && algorithm == "":
		s.Algorithm = SSEC
	default:
		s.Algorithm = Unknown
	}
	return s
}

func managed(algorithm string) Algorithm {
	switch algorithm {
	case "":
		return None
	case aes256:
		return SSES3
	case awsKMS:
		return SSEKMS
	case awsDSSE:
		return DSSEKMS
	}
	return Unknown
}

// String names the algorithm as Algorithm.String does.
func (s State) String() string { return s.Algorithm.String() }

// WeakerThan orders by who must fail before the body can be read: none, then
// sse-s3 (whoever may read the object), then sse-kms and sse-c alike (who also
// has the key, or the right to it), then dsse-kms (two layers). What is Unknown
// is as weak as none.
func (s State) WeakerThan(other State) bool {
	return s.Algorithm.strength() < other.Algorithm.strength()
}

func (a Algorithm) strength() int {
	switch a {
	case SSES3:
		return 1
	case SSEKMS, SSEC:
		return 2
	case DSSEKMS:
		return 3
	}
	return 0
}

// Again gives the mode that a copy must ask for to be what the object is; nil
// for None. The encryption context is not part of it: S3 does not tell it.
// Errors: ErrUnknown for SSE-C, whose key is not told either, and Unknown.
func (s State) Again() (*Mode, error) {
	switch s.Algorithm {
	case None:
		return nil, nil
	case SSES3:
		return S3(), nil
	case SSEKMS:
		return KMS(s.KMSKeyID, nil, &s.BucketKey)
	case DSSEKMS:
		return DSSE(s.KMSKeyID, nil)
	}
	return nil, fmt.Errorf("%s: %w", s, ErrUnknown)
}
