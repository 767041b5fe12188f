package volume

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"golang.org/x/sync/errgroup"
)

// undo removes the copies of a rename whose copying failed: the tree is whole
// under its old name then. A copy whose answer was lost counts too, and what
// another host has put there does not. The journal says so first: whoever takes
// it over goes on with that, and removes no source.
func (v *Volume) undo(ctx context.Context, j *journal) error {
	j.Back = true
	if err := v.beat(ctx, j); err != nil {
		return err
	}
	if err := v.beating(ctx, j, v.removeCopies); err != nil {
		return err
	}
	j.undone = true
	return nil
}

// removeCopies takes what is late last, as deleteAll does.
func (v *Volume) removeCopies(ctx context.Context, j *journal) error {
	for _, late := range []bool{false, true} {
		if err := v.pages(ctx, j.From, "", func(page []objstore.Entry) error {
			g, gctx := errgroup.WithContext(ctx)
			g.SetLimit(parallelMoves)
			for _, e := range page {
				if v.late(e.Key) == late {
					g.Go(func() error { return v.undoOne(gctx, j, e.Key) })
				}
			}
			return g.Wait()
		}); err != nil {
			return err
		}
	}
	return nil
}

func (v *Volume) undoOne(ctx context.Context, j *journal, src string) error {
	dst, err := v.rekey(src, j.From, j.To)
	if err != nil {
		return nil //nolint:nilerr // what has no name there was not copied
	}
	if v.isInstruction(src) {
		return v.undoInstruction(ctx, src, dst)
	}
	there, err := v.fetch(ctx, dst)
	if errors.Is(err, ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	o, err := v.fetch(ctx, src)
	if err != nil {
		return err
	}
	ours, current := j.made(o, there)
	if !ours || !current || o.version() != 0 && there.version() != 0 && o.body != there.body && !o.alike(there) { // written to since
		return nil
	}
	if there.isName() {
		return v.deleteName(ctx, there)
	}
	return v.delete(ctx, dst, there.id.ETag)
}

// undoInstruction removes a copied instruction file, unless it is not like its
// source any more.
func (v *Volume) undoInstruction(ctx context.Context, src, dst string) error {
	if v.rule(src) != v.rule(dst) {
		return nil
	}
	at, there, err := v.instructionFile(ctx, strings.TrimSuffix(dst, s3ec.InstructionSuffix))
	if errors.Is(err, ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	file, err := v.instruction(ctx, strings.TrimSuffix(src, s3ec.InstructionSuffix))
	if err != nil || !bytes.Equal(file, there) {
		return err
	}
	return unlessGone(v.deleteInstruction(ctx, at.ID))
}
