package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
)

// instructed tells whether the object at key may have an instruction file.
func (v *Volume) instructed(key string) bool {
	return !isMarker(key) && !v.own(key) && v.rule(key).Instructions
}

// isInstruction tells the files that are hidden for that.
func (v *Volume) isInstruction(key string) bool {
	_, ok := s3ec.InstructionOf(key)
	return ok && v.instructed(key)
}

// instructions gives the instruction file of the object at key. Errors:
// ErrNotExist, those of the store.
type instructions func(ctx context.Context, key string) ([]byte, error)

// instruction reads the instruction file of the object at key.
func (v *Volume) instruction(ctx context.Context, key string) (file []byte, err error) {
	_, file, err = v.instructionFile(ctx, key)
	return file, err
}

// instructionFile is instruction that tells of what it read, too.
func (v *Volume) instructionFile(ctx context.Context, key string) (info objstore.Info, file []byte, err error) {
	at := s3ec.InstructionKey(key)
	if len(at) > objstore.MaxKeyLen {
		return info, nil, fmt.Errorf("%s: %w", at, ErrNotExist)
	}
	return v.readInstruction(ctx, objstore.ID{Key: at})
}

// readInstruction reads one, or a version of one.
func (v *Volume) readInstruction(ctx context.Context, at objstore.ID) (info objstore.Info, file []byte, err error) {
	err = v.unlocked(ctx, at.Key, func(enc *objstore.Encryption) error {
		at.Encryption = enc
		got, _, body, err := v.opt.Store.Get(ctx, at, objstore.Range{Len: s3ec.MaxInstruction + 1})
		if err != nil {
			return err
		}
		defer body.Close()
		info = got
		file, err = io.ReadAll(io.LimitReader(body, s3ec.MaxInstruction+1))
		return err
	})
	return info, file, err
}

// instruction tells whether o has one.
func (o *object) instruction() bool {
	f, ok := o.form.(*s3ecForm)
	return ok && f.env.InInstructionFile()
}

// carryInstruction copies the instruction file of o to where o is going to be:
// it has to be there before. It gives the ETag of what was copied. ErrChanged:
// another one lies there by now.
func (v *Volume) carryInstruction(ctx context.Context, o *object, dst string) (etag string, err error) {
	info, file, err := v.instructionFile(ctx, o.id.Key)
	if err != nil {
		return "", err
	}
	if !o.openedBy(file) {
		return "", errOtherFile(o)
	}
	return info.ETag, v.copyPlain(ctx, info, s3ec.InstructionKey(dst), objstore.PutOptions{})
}

// integrate is restate of an object that takes what its instruction file says
// into its own metadata.
func (v *Volume) integrate(ctx context.Context, o *object, dst string, cond objstore.Condition, change func(*draft)) (*object, error) {
	file, err := v.instruction(ctx, o.id.Key)
	if err != nil {
		return nil, err
	}
	if !o.openedBy(file) {
		return nil, errOtherFile(o)
	}
	whole, err := integrated(o, file)
	if err != nil {
		return nil, err
	}
	return v.restate(ctx, whole, dst, cond, change)
}

// errOtherFile: what is copied would not open by it.
func errOtherFile(o *object) error {
	return fmt.Errorf("%s: its instruction file was replaced: %w", o.id.Key, ErrChanged)
}

// integrated is o with what its instruction file says in its own metadata.
func integrated(o *object, file []byte) (*object, error) {
	said, err := s3ec.ParseInstruction(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s3ec.InstructionKey(o.id.Key), err)
	}
	f := o.form.(*s3ecForm)
	whole := *o
	metadata := maps.Clone(said)
	maps.Copy(metadata, f.metadata)
	env, err := s3ec.Parse(metadata, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.id.Key, err)
	}
	whole.form = &s3ecForm{metadata: metadata, env: env}
	return &whole, nil
}

// copyPlain copies a body that is not looked into, under the condition and with
// the lock of opt.
func (v *Volume) copyPlain(ctx context.Context, info objstore.Info, dst string, opt objstore.PutOptions) error {
	file := newObject(info)
	want, err := v.askedAgain(file, v.rule(dst))
	if err != nil {
		return err
	}
	opt.Metadata, opt.System, opt.StorageClass, opt.Encryption = info.Metadata, info.System, info.StorageClass, want.headers()
	if !v.opt.Capabilities.CopyConditions {
		opt.Condition = objstore.Condition{}
	}
	got, err := v.opt.Store.Copy(ctx, file.id, dst, opt)
	if err != nil {
		return err
	}
	return v.confirm(ctx, draft{key: dst, want: want}, file, got)
}

// dropInstruction removes the instruction file at key of o, which has gone from
// there, or in whose place is what needs none, but not another one: a client puts
// it there before it writes its object.
func (v *Volume) dropInstruction(ctx context.Context, key string, o *object) {
	info, file, err := v.instructionFile(ctx, key)
	switch {
	case err != nil:
		v.undropped(s3ec.InstructionKey(key), err)
	case o.openedBy(file):
		v.dropFile(ctx, info.ID)
	}
}

// openedBy tells whether an instruction file says what that of o, which has one,
// said when o was looked at.
func (o *object) openedBy(file []byte) bool {
	f := o.form.(*s3ecForm)
	env, err := s3ec.Parse(f.metadata, file)
	return err == nil && env.Same(f.env)
}

// dropFile removes an instruction file, if it has that ETag still. It holds a
// wrapped key and nothing else, so that it stays is no harm.
func (v *Volume) dropFile(ctx context.Context, file objstore.ID) {
	if err := v.deleteInstruction(ctx, file); err != nil {
		v.undropped(file.Key, err)
	}
}

// deleteInstruction is dropFile that tells. ErrChanged: it is another one.
func (v *Volume) deleteInstruction(ctx context.Context, file objstore.ID) error {
	if err := v.guard(ctx, v.opt.Capabilities.DeleteConditions, file.Key, objstore.Condition{IfMatch: file.ETag}); err != nil {
		return err
	}
	return v.delete(ctx, file.Key, file.ETag)
}

func (v *Volume) undropped(key string, err error) {
	if !errors.Is(err, ErrNotExist) && !errors.Is(err, ErrChanged) {
		v.opt.Log.WithField("key", key).WithError(err).Warn("instruction file of an object that has gone could not be removed")
	}
}

func isMarker(key string) bool { return strings.HasSuffix(key, "/") }
