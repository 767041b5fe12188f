package s3

import (
	"io"
	"net/http"
)

// maxAnswer bounds the answers that are documents, in bytes: the SDK parses
// them whole. A page of 1,000 keys of 1,024 bytes, each escaped, has about 4 MiB.
const maxAnswer = 16 << 20

// bounded cuts longer documents off, so that they make no sense. Only the body
// of an object, which is read in pieces, may be of any length.
type bounded struct{ *http.Transport }

var _ http.RoundTripper = bounded{}

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	document := q.Has("list-type") || q.Has("tagging") || q.Has("encryption")
	if r.Method != http.MethodGet || document || answer.StatusCode >= http.StatusMultipleChoices {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	}
	return answer, nil
}
