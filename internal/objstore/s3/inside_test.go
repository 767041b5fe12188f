package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-99/1000", "bytes 0--1/0", "bytes 5-4/10", "bytes 0-9/*", "bytes -1-2/3", "bytes 0-9223372036854775807/9223372036854775807", "items 0-1/2", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, size, ok := contentRange(s)
		if !ok || s == "bytes 0--1/0" {
			return
		}
		if first < 0 || last < first || size <= last {
			t.Fatalf("%q: %d-%d/%d", s, first, last, size)
		}
		if a, b, c, ok := contentRange(fmt.Sprintf("bytes %d-%d/%d", first, last, size)); !ok || a != first || b != last || c != size {
			t.Fatalf("%q does not come back", s)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "5", "99999999999999999999", "-3", "Sat, 21 Nov 2026 12:00:10 GMT", "soon"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if d := retryAfter(s, now); d < 0 || d > 30*time.Second {
			t.Fatalf("%q: %v", s, d)
		}
	})
}

// Whatever a server says of keys: one line without what it must not hold, and
// never that an object or an upload is not there.
func FuzzAnswersOfKeys(f *testing.F) {
	f.Add("KMS.NotFoundException", "Key 'arn:aws:kms:eu-central-1:111122223333:key/k' does not exist", 404, true)
	f.Add("AccessDenied", "not authorized to perform: kms:Decrypt on resource: arn:aws:kms:eu-central-1:111122223333:key/k", 403, false)
	f.Add("InvalidRequest", "The object was stored using a form of Server Side Encryption.", 400, false)
	f.Add("kms:", "\x00\n", 500, true)
	f.Fuzz(func(t *testing.T, code, message string, status int, brings bool) {
		c := call{action: "s3:GetObject", carries: carried{body: brings, made: !brings}}
		a := &failure{code: code, status: status}
		if a.is = a.keys(c, message); a.is == nil {
			return
		}
		if errors.Is(a.is, objstore.ErrNotExist) || errors.Is(a.is, objstore.ErrNoUpload) {
			t.Fatalf("%q %q: %v", code, message, a.is)
		}
		if text := a.words(c, message, "", ""); strings.ContainsAny(text, "\n\r\x00") {
			t.Fatalf("%q is no line", text)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"5": 5 * time.Second, now.Add(10 * time.Second).Format(http.TimeFormat): 10 * time.Second, now.Add(-time.Hour).Format(http.TimeFormat): 0, "86400": 30 * time.Second, "x": 0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	for n := range 100 {
		for _, f := range []*failure{{}, {slowDown: true}, {after: 7 * time.Second}} {
			if d := backoff(n+1, f); d < f.after || d > f.after+16*time.Second {
				t.Errorf("attempt %d: %v", n+1, d)
			}
		}
	}
	if backoff(3, &failure{now: true}) != 0 {
		t.Error("a redirect does not wait")
	}
}

func TestRangeHeader(t *testing.T) {
	for want, r := range map[string]objstore.Range{
		"": {}, "bytes=-5": {Suffix: 5}, "bytes=3-": {Off: 3}, "bytes=0-9": {Len: 10}, "bytes=3-3": {Off: 3, Len: 1}, "bytes=9223372036854775807-": {Off: 1<<63 - 1, Len: 9},
	} {
		if got := rangeHeader(r); got != want {
			t.Errorf("%+v: %q, not %q", r, got, want)
		}
	}
}

func TestGateBoundsAndShrinks(t *testing.T) {
	g := newGate(8)
	var mu sync.Mutex
	active, most := 0, 0
	round := func() {
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				if err := g.enter(t.Context()); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				active++
				most = max(most, active)
				mu.Unlock()
				mu.Lock()
				active--
				mu.Unlock()
				g.leave(true, false)
			})
		}
		wg.Wait()
	}
	round()
	if most > 8 || g.active != 0 {
		t.Errorf("%d at once, %d left", most, g.active)
	}
	for range 10 {
		_ = g.enter(t.Context())
		g.leave(false, true)
	}
	if g.bound != 2 {
		t.Errorf("bound %v after a storm", g.bound)
	}
	most = 0
	_ = g.enter(t.Context())
	_ = g.enter(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- g.enter(ctx) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	g.leave(true, false)
	g.leave(true, false)
	for range 64 {
		round()
	}
	if g.bound != 8 || g.active != 0 || len(g.waiting) != 0 {
		t.Errorf("bound %v, active %d, waiting %d", g.bound, g.active, len(g.waiting))
	}
}

func TestSourceIsEscapedWhole(t *testing.T) {
	s := &Store{cfg: Config{Bucket: "b"}}
	got := *s.source(objstore.ID{Key: "a b/c+d%ü?#", VersionID: "v1"})
	if got != "b/a%20b/c%2Bd%25%C3%BC%3F%23?versionId=v1" {
		t.Error(got)
	}
}

// Whatever a server sends, a list of versions is one of keys under the prefix, or
// an error.
func FuzzVersions(f *testing.F) {
	for _, s := range []string{
		`<ListVersionsResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextKeyMarker>p%2Fa</NextKeyMarker><NextVersionIdMarker>1</NextVersionIdMarker>` +
			`<Version><Key>p%2Fa</Key><VersionId>1</VersionId><IsLatest>true</IsLatest><LastModified>2026-11-01T10:00:00Z</LastModified><ETag>"e"</ETag><Size>3</Size></Version>` +
			`<DeleteMarker><Key>p%2Fa</Key><VersionId>0</VersionId><LastModified>2026-11-01T10:00:00Z</LastModified></DeleteMarker><CommonPrefixes><Prefix>p%2Fb%2F</Prefix></CommonPrefixes></ListVersionsResult>`,
		`<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>`, `<Error/>`, `<ListVersionsResult><Version/>`, "",
	} {
		f.Add([]byte(s))
	}
	opt := objstore.ListOptions{Prefix: "p/", Delimiter: "/"}
	f.Fuzz(func(t *testing.T, document []byte) {
		page, next, err := readVersions(document, opt, versionPage{})
		if err != nil {
			return
		}
		for _, v := range page {
			if !strings.HasPrefix(v.Key+v.Prefix, "p/") || v.Size < 0 || v.Prefix == "" && v.VersionID == "" || v.Deleted && v.ETag != "" {
				t.Fatalf("%+v", v)
			}
		}
		if next.version != "" && next.key == "" {
			t.Fatalf("next is %+v", next)
		}
	})
}
