package volume

import (
	"context"
)

func (x *Verifier) repair(ctx context.Context, s *suspicion) error { return nil }

func (x *Verifier) mendDangling(ctx context.Context, s sight) (string, error) { return "", nil }
