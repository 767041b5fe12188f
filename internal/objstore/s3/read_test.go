package s3_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
	"golang.org/x/sync/errgroup"
)

const tag = "0123456789abcdef0123456789abcdef"

func get(ctx context.Context, s *s3.Store, id objstore.ID, r objstore.Range) (objstore.Info, string, error) {
	info, _, body, err := s.Get(ctx, id, r)
	if err != nil {
		return info, "", err
	}
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(body)
	return info, string(data), err
}

func TestGetResumesABrokenBody(t *testing.T) {
	f := newFake(t,
		cutAfter(206, "0123456789", 4, "Content-Range", "bytes 5-14/20", "ETag", `"`+tag+`"`),
		fails(503, "SlowDown"),
		cutAfter(206, "456789", 1, "Content-Range", "bytes 9-14/20", "ETag", `"`+tag+`"`),
		saysAs(206, "56789", "Content-Range", "bytes 10-14/20", "ETag", `"`+tag+`"`),
	)
	info, data, err := get(t.Context(), f.open(t), objstore.ID{Key: "k"}, objstore.Range{Off: 5, Len: 10})
	if err != nil || data != "0123456789" || info.Size != 20 || info.ETag != tag {
		t.Fatalf("%q, %+v, %v", data, info, err)
	}
	last := f.requests()[3]
	if last.Header.Get("Range") != "bytes=10-14" || last.Header.Get("If-Match") != `"`+tag+`"` {
		t.Errorf("resumed with %q, If-Match %q", last.Header.Get("Range"), last.Header.Get("If-Match"))
	}
}

func TestGetOfABodyThatChangesUnderway(t *testing.T) {
	for name, then := range map[string]http.HandlerFunc{
		"412": fails(412, "PreconditionFailed"), "404": fails(404, "NoSuchKey"),
		"ignored": saysAs(206, "456789", "Content-Range", "bytes 4-9/10", "ETag", `"other"`),
	} {
		f := newFake(t, cutAfter(200, "0123456789", 4, "ETag", `"`+tag+`"`), then)
		_, data, err := get(t.Context(), f.open(t), objstore.ID{Key: "k"}, objstore.Range{})
		if data != "0123" || !errors.Is(err, objstore.ErrChanged) || errors.Is(err, objstore.ErrNotExist) {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

func TestGetThatNeverEndsWell(t *testing.T) {
	f := newFake(t, cutAfter(200, "0123456789", 4, "ETag", `"`+tag+`"`), hangsUp)
	_, data, err := get(t.Context(), f.open(t), objstore.ID{Key: "k"}, objstore.Range{})
	if data != "0123" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", data, err)
	}
}

func TestGetRefusesWhatWasNotAsked(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"other offset":  saysAs(206, "0123", "Content-Range", "bytes 0-3/100", "ETag", `"x"`),
		"shorter":       saysAs(206, "012", "Content-Range", "bytes 10-12/100", "ETag", `"x"`),
		"longer":        saysAs(206, "01234", "Content-Range", "bytes 10-14/100", "ETag", `"x"`),
		"length":        saysAs(206, "01234", "Content-Range", "bytes 10-13/100", "ETag", `"x"`),
		"garbage":       saysAs(206, "0123", "Content-Range", "bytes x-y/z", "ETag", `"x"`),
		"beyond":        saysAs(206, "0123", "Content-Range", "bytes 10-13/12", "ETag", `"x"`),
		"whole instead": says(strings.Repeat("x", 100), "ETag", `"x"`),
	} {
		f := newFake(t, answer)
		_, data, err := get(t.Context(), f.open(t), objstore.ID{Key: "k"}, objstore.Range{Off: 10, Len: 4})
		if err == nil || data != "" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

func TestGetRetriesAWrongRange(t *testing.T) {
	f := newFake(t,
		saysAs(206, "0123", "Content-Range", "bytes 0-3/100", "ETag", `"x"`),
		saysAs(206, "0123", "Content-Range", "bytes 10-13/100", "ETag", `"x"`),
	)
	if _, data, err := get(t.Context(), f.open(t), objstore.ID{Key: "k"}, objstore.Range{Off: 10, Len: 4}); err != nil || data != "0123" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestGetOfMoreThanPromised(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", "bytes 0-3/100")
		w.Header().Set("ETag", `"x"`)
		w.WriteHeader(206) // chunked: no Content-Length to hold it
		for range 3 {
			_, _ = io.WriteString(w, "0123")
			_ = http.NewResponseController(w).Flush()
		}
	})
	_, data, err := get(t.Context(), f.open(t), objstore.ID{Key: "k"}, objstore.Range{Len: 4})
	if data != "0123" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", data, err)
	}
}

func TestGetWhoseConditionWasIgnored(t *testing.T) {
	f := newFake(t, says("body", "ETag", `"other"`))
	if _, _, err := get(t.Context(), f.open(t), objstore.ID{Key: "k", ETag: tag}, objstore.Range{}); !errors.Is(err, objstore.ErrChanged) {
		t.Error(err)
	}
}

func TestRangesAtTheEnd(t *testing.T) {
	// Servers answer the suffix of an empty body in three ways.
	for name, answers := range map[string][]http.HandlerFunc{
		"416": {fails(416, "InvalidRange"), says("", "ETag", `"x"`, "X-Amz-Meta-Sigil", "1")},
		"200": {says("", "ETag", `"x"`, "X-Amz-Meta-Sigil", "1")},
		"206": {saysAs(206, "", "Content-Range", "bytes 0--1/0", "ETag", `"x"`, "X-Amz-Meta-Sigil", "1")},
	} {
		info, data, err := get(t.Context(), newFake(t, answers...).open(t), objstore.ID{Key: "k"}, objstore.Range{Suffix: 4096})
		if err != nil || data != "" || info.Size != 0 || info.Metadata["sigil"] != "1" {
			t.Errorf("%s: %q, %+v, %v", name, data, info, err)
		}
	}
}

func TestMetadataSentTwiceIsJoined(t *testing.T) {
	answer := says("", "ETag", `"x"`, "X-Amz-Meta-Sigil", "1 0 a", "X-Amz-Meta-Sigil", "1 0 b", "X-Amz-Meta-Other", "c")
	s := newFake(t, answer).open(t)
	info, err := s.Head(t.Context(), objstore.ID{Key: "k"})
	if err != nil || info.Metadata["sigil"] != "1 0 a, 1 0 b" || info.Metadata["other"] != "c" {
		t.Errorf("%v, %v", info.Metadata, err)
	}
}

func TestGzipIsNotUndone(t *testing.T) {
	f := newFake(t, says("not really gzip", "ETag", `"x"`, "Content-Encoding", "gzip"))
	if _, data, err := get(t.Context(), f.open(t), objstore.ID{Key: "k"}, objstore.Range{}); err != nil || data != "not really gzip" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestStallIsCutAndRetried(t *testing.T) {
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	silent := func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-held:
		case <-r.Context().Done():
		}
	}
	f := newFake(t, silent, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"`+tag+`"`)
		w.Header().Set("Content-Length", "8")
		_, _ = io.WriteString(w, "0123")
		_ = http.NewResponseController(w).Flush()
		silent(w, r)
	}, saysAs(206, "4567", "Content-Range", "bytes 4-7/8", "ETag", `"`+tag+`"`))
	if _, data, err := get(t.Context(), f.open(t, func(c *s3.Config) { c.StallTimeout = 300 * time.Millisecond }), objstore.ID{Key: "k"}, objstore.Range{}); err != nil || data != "01234567" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestCancelledWhileWaiting(t *testing.T) {
	f := newFake(t, fails(503, "SlowDown", "Retry-After", "30"))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := f.open(t, func(c *s3.Config) { c.RetryTimeout = time.Hour }).Head(ctx, objstore.ID{Key: "k"})
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, objstore.ErrThrottled) {
		t.Error(err)
	}
}

func TestListing(t *testing.T) {
	const page = `<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>%s</IsTruncated>` +
		`<NextContinuationToken>t</NextContinuationToken>` +
		`<Contents><Key>a%%2Fb+c%%0A</Key><Size>3</Size><ETag>"x"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>` +
		`<CommonPrefixes><Prefix>a%%2B/</Prefix></CommonPrefixes></ListBucketResult>`
	for _, tc := range []struct {
		name   string
		page   string
		want   string
		failed bool
	}{
		{"decoded and merged", strings.NewReplacer("%%", "%", "%s", "false").Replace(page), "a+/|a/b c\n", false},
		{"token that leads nowhere", strings.NewReplacer("%%", "%", "%s", "true").Replace(page), "a+/|a/b c\n", true},
		{"no token", "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "", true},
		{"no key", "<ListBucketResult><Contents><Size>3</Size></Contents></ListBucketResult>", "", true},
		{"negative size", "<ListBucketResult><Contents><Key>a</Key><Size>-3</Size></Contents></ListBucketResult>", "", true},
		{"key outside the prefix", "<ListBucketResult><Contents><Key>b</Key><Size>3</Size></Contents></ListBucketResult>", "", true},
		{"prefix outside the prefix", "<ListBucketResult><CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes></ListBucketResult>", "", true},
		{"prefix without the delimiter", "<ListBucketResult><CommonPrefixes><Prefix>ab</Prefix></CommonPrefixes></ListBucketResult>", "", true},
		{"garbage", "<ListBucketResult><Contents>", "", true},
	} {
		s := newFake(t, says(tc.page)).open(t)
		var names []string
		failed := false
		for e, err := range s.List(t.Context(), objstore.ListOptions{Prefix: "a", Delimiter: "/"}) {
			if failed = err != nil; !failed {
				names = append(names, e.Key+e.Prefix)
			}
		}
		if got := strings.Join(names, "|"); got != tc.want || failed != tc.failed {
			t.Errorf("%s: %q, failed %v", tc.name, got, failed)
		}
	}
}

// Connections that were busy at once are all used again.
func TestConnectionsAreKept(t *testing.T) {
	const many = 100
	var arrived atomic.Int64
	wave := make(chan struct{}, many)
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if arrived.Add(1)%many == 0 {
			for range many {
				wave <- struct{}{}
			}
		}
		<-wave
		says("", "ETag", `"x"`)(w, r)
	})
	s := f.open(t, func(c *s3.Config) { c.StallTimeout = time.Minute })
	for range 3 {
		var g errgroup.Group
		for range many {
			g.Go(func() error { _, err := s.Head(t.Context(), objstore.ID{Key: "k"}); return err })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	peers := map[string]bool{}
	for _, r := range f.requests() {
		peers[r.RemoteAddr] = true
	}
	if len(peers) > many+many/4 {
		t.Errorf("%d connections for %d requests at once", len(peers), many)
	}
}
