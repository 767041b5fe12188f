package s3_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
)

// anything answers every request of this package well.
func anything(w http.ResponseWriter, r *http.Request) {
	q, copied := r.URL.Query(), r.Header.Get("X-Amz-Copy-Source") != ""
	body := ""
	switch {
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
		return
	case q.Has("list-type"):
		body = `<ListBucketResult/>`
	case q.Has("uploads") && r.Method == http.MethodGet:
		body = `<ListMultipartUploadsResult/>`
	case q.Has("uploads"):
		body = `<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>`
	case q.Has("uploadId") && r.Method == http.MethodPost:
		body = `<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>`
	case q.Has("partNumber") && copied:
		body = `<CopyPartResult><ETag>"e"</ETag></CopyPartResult>`
	case copied:
		body = `<CopyObjectResult><ETag>"e"</ETag></CopyObjectResult>`
	case q.Has("tagging"):
		body = `<Tagging><TagSet/></Tagging>`
	case q.Has("versions"):
		body = `<ListVersionsResult/>`
	case q.Has("retention"), q.Has("legal-hold"):
		body = `<Lock/>`
	case q.Has("policy"):
		body = `{}`
	case q.Has("lifecycle"), q.Has("versioning"), q.Has("publicAccessBlock"), q.Has("object-lock"), q.Has("encryption"):
		body = `<Configuration/>`
	case r.Method == http.MethodGet:
		body = "content"
	}
	w.Header().Set("ETag", `"e"`)
	w.Header().Set("Last-Modified", "Sat, 21 Nov 2026 12:00:00 GMT")
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Length", "7")
	}
	_, _ = io.WriteString(w, body)
}

// allOf calls all that a Store does.
func allOf(ctx context.Context, t *testing.T, s *s3.Store) {
	t.Helper()
	at := objstore.ID{Key: "k", ETag: "e"}
	fine := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	_, err := s.Head(ctx, at)
	fine(err)
	_, _, body, err := s.Get(ctx, at, objstore.Range{})
	fine(err)
	if err == nil {
		_ = body.Close()
	}
	for _, err := range s.List(ctx, objstore.ListOptions{}) {
		fine(err)
	}
	for _, err := range s.Pending(ctx, "") {
		fine(err)
	}
	for _, err := range s.Versions(ctx, objstore.ListOptions{}) {
		fine(err)
	}
	_, err = s.Put(ctx, "k", strings.NewReader("content"), 7, objstore.PutOptions{})
	fine(err)
	_, err = s.Copy(ctx, at, "other", objstore.PutOptions{})
	fine(err)
	fine(s.Delete(ctx, at, objstore.Condition{}))
	up, err := s.Upload(ctx, "k", objstore.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fine(up.Part(ctx, 1, strings.NewReader("content"), 7))
	fine(up.CopyPart(ctx, 2, at, objstore.Range{Off: 0, Len: 5}))
	_, err = up.Complete(ctx, objstore.Condition{})
	fine(err)
	fine(up.Abort(ctx))
	for _, ask := range []func() error{
		func() error { _, err := s.Tags(ctx, at); return err },
		func() error { _, err := s.DefaultEncryption(ctx); return err },
		func() error { _, err := s.Lifecycle(ctx); return err },
		func() error { _, err := s.Versioning(ctx); return err },
		func() error { _, err := s.Policy(ctx); return err },
		func() error { _, err := s.PublicAccess(ctx); return err },
		func() error { _, err := s.ObjectLock(ctx); return err },
		func() error { _, err := s.Greet(ctx); return err },
		func() error { _, err := s.Lock(ctx, at); return err },
		func() error { _, err := s.Checksums(ctx, at); return err },
		func() error { return s.Restore(ctx, at, 1, "Bulk") },
	} {
		fine(ask())
	}
}

// operations are those of S3 that the sources of this package call, each with
// the type of its input in the SDK.
func operations(t *testing.T) map[string]reflect.Type {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]reflect.Type{}
	client := reflect.TypeFor[*awss3.Client]()
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(source, func(n ast.Node) bool {
			called, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			m, ok := client.MethodByName(called.Sel.Name)
			if ok && m.Type.NumIn() == 4 && m.Type.In(2).Kind() == reflect.Pointer && strings.HasSuffix(m.Type.In(2).Elem().Name(), "Input") {
				all[called.Sel.Name] = m.Type.In(2).Elem()
			}
			return true
		})
	}
	return all
}

// Whatever is asked of S3 says who pays, wherever S3 has a field for that, and
// who must own the bucket, of a copy's source too (Amazon S3 User Guide, "Using
// Requester Pays buckets", "Verifying bucket ownership"). An operation that is
// new in the sources has to come by here.
func TestPayerAndOwnerOnEveryRequest(t *testing.T) {
	const owner = "123456789012"
	known := operations(t)
	for _, on := range []bool{true, false} {
		var seen tally
		f := newFake(t, anything)
		s := f.open(t, func(c *s3.Config) {
			c.Observer = &seen
			if on {
				c.RequesterPays, c.ExpectedBucketOwner = true, owner
			}
		})
		allOf(t.Context(), t, s)
		requests := f.requests()
		if len(seen.answered) != len(requests) {
			t.Fatalf("%d requests, %q", len(requests), seen.answered)
		}
		met := map[string]bool{}
		for i, r := range requests {
			operation, _, _ := strings.Cut(seen.answered[i], " ")
			met[operation] = true
			input, ok := known[operation]
			if !ok {
				t.Fatalf("%s is in no source", operation)
			}
			for field, header := range map[string]string{
				"RequestPayer": "X-Amz-Request-Payer", "ExpectedBucketOwner": "X-Amz-Expected-Bucket-Owner",
				"ExpectedSourceBucketOwner": "X-Amz-Source-Expected-Bucket-Owner",
			} {
				want := ""
				if _, has := input.FieldByName(field); has && on {
					want = map[bool]string{true: "requester", false: owner}[field == "RequestPayer"]
				}
				if got := r.Header.Get(header); got != want {
					t.Errorf("%s: %s is %q, want %q", operation, header, got, want)
				}
				if want != "" && !strings.Contains(r.Header.Get("Authorization"), strings.ToLower(header)) {
					t.Errorf("%s: %s is not signed", operation, header)
				}
			}
		}
		for operation := range known {
			if !met[operation] {
				t.Errorf("%s was not tried; tried were %q", operation, slices.Sorted(maps.Keys(met)))
			}
		}
	}
}

// S3 says no more than that access is denied where the owner is another one; who
// named the permission himself knows better.
func TestAnotherOwnerIsNamedAsACause(t *testing.T) {
	const says = "or the bucket is not of account 123456789012 (--expected-bucket-owner)"
	named := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<Error><Code>AccessDenied</Code><Message>User: u is not authorized to perform: s3:GetObject on resource: r</Message></Error>`)
	}
	for _, tt := range []struct {
		owner  string
		answer http.HandlerFunc
		want   bool
	}{
		{"123456789012", fails(http.StatusForbidden, "AccessDenied"), true},
		{"123456789012", named, false},
		{"123456789012", fails(http.StatusForbidden, "InvalidAccessKeyId"), false},
		{"", fails(http.StatusForbidden, "AccessDenied"), false},
	} {
		s := newFake(t, tt.answer).open(t, func(c *s3.Config) { c.ExpectedBucketOwner = tt.owner })
		_, err := s.Head(t.Context(), objstore.ID{Key: "k"})
		if err == nil || strings.Contains(err.Error(), says) != tt.want {
			t.Errorf("%+v: %v", tt.owner, err)
		}
	}
}
