package s3_test

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
)

// A document without end is not read to the end of memory, whatever was asked.
func TestAnswersAreBounded(t *testing.T) {
	const piece = 1 << 20
	var sent atomic.Int64
	endless := func(w http.ResponseWriter, _ *http.Request) {
		_, err := io.WriteString(w, `<?xml version="1.0"?><a>`)
		for p := make([]byte, piece); err == nil && sent.Load() < 1<<30; sent.Add(piece) {
			for i := range p {
				p[i] = ' '
			}
			_, err = w.Write(p)
		}
	}
	for name, ask := range map[string]func(context.Context, *s3.Store) error{
		"list": func(ctx context.Context, s *s3.Store) error {
			for _, err := range s.List(ctx, objstore.ListOptions{}) {
				return err
			}
			return nil
		},
		"uploads": func(ctx context.Context, s *s3.Store) error {
			for _, err := range s.Pending(ctx, "") {
				return err
			}
			return nil
		},
		"lifecycle":  func(ctx context.Context, s *s3.Store) error { _, err := s.Lifecycle(ctx); return err },
		"versioning": func(ctx context.Context, s *s3.Store) error { _, err := s.Versioning(ctx); return err },
		"tags":       func(ctx context.Context, s *s3.Store) error { _, err := s.Tags(ctx, objstore.ID{Key: "k"}); return err },
		"encryption": func(ctx context.Context, s *s3.Store) error { _, err := s.DefaultEncryption(ctx); return err },
	} {
		t.Run(name, func(t *testing.T) {
			sent.Store(0)
			s := newFake(t, endless).open(t, func(c *s3.Config) { c.MaxAttempts = 1 })
			if err := ask(t.Context(), s); err == nil || sent.Load() > 24*piece {
				t.Errorf("%d MiB were read, %v", sent.Load()/piece, err)
			}
		})
	}
}
