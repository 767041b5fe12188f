package volume

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
)

// An object of s3ec whose master key alone is another one keeps its body and its
// data key: that is wrapped anew, where its wrapping lies. In the metadata that is
// a copy over itself inside the store, in an instruction file a write of that file
// alone. Who knew the data key knows it still; Fresh has another one drawn.

// rewraps tells whether the body of f can stay for that: its format is that of
// rule, and the wrapping binds what is said of it. Else it is written anew.
func (r *Reencryption) rewraps(f *s3ecForm, rule *Rule) bool {
	return rule.S3EC != nil && !r.opt.Fresh && f.env.Rewrappable() && sameFormat(f.env, rule)
}

// sameFormat tells whether env is of the format that rule writes.
func sameFormat(env *s3ec.Envelope, rule *Rule) bool {
	return env.Authenticated() && (env.Version() == s3ec.KindV2) == (rule.S3EC.Format == s3ec.FormatV2)
}

// rewrap has the data key of o, which is as f says, be under the key of rule, and
// the body encrypted by the server as rule says.
func (r *Reencryption) rewrap(ctx context.Context, o *object, f *s3ecForm, rule *Rule) (did Reencrypted, err error) {
	did = Reencrypted{Did: Unchanged, Bytes: o.length}
	under, err := r.under(ctx, f.env, rule)
	served := r.served(o.state, rule)
	if err != nil || under && served {
		return did, err
	}
	next := f
	switch {
	case under:
	case r.opt.Dry:
		_, err = s3ec.Unwrap(ctx, f.env, r.v.opt.S3ECKeys, rule.Reading)
	case f.env.InInstructionFile():
		err = r.rewrapFile(ctx, o, f, rule)
	default:
		next, err = r.rewrapped(ctx, f, rule)
	}
	if err != nil {
		return did, fmt.Errorf("%s: %w", o.id.Key, err)
	}
	if served && f.env.InInstructionFile() {
		did.Did = Rewrapped
		return did, nil
	}
	did.Did, err = r.write(ctx, o, next, rule)
	if did.Did == Copied && !under {
		did.Did = Rewrapped
	}
	return did, err
}

// rewrapped is f with its data key under the key of rule.
func (r *Reencryption) rewrapped(ctx context.Context, f *s3ecForm, rule *Rule) (*s3ecForm, error) {
	env, err := s3ec.Rewrap(ctx, f.env, r.v.opt.S3ECKeys, rule.Reading, rule.S3EC.Key)
	if err != nil {
		return nil, err
	}
	return &s3ecForm{metadata: env.Over(f.metadata), env: env}, nil
}

// rewrapFile writes the instruction file of o anew, unless it is replaced
// meanwhile: ErrChanged. The object may be, without harm: what the file held it
// holds, under another key.
func (r *Reencryption) rewrapFile(ctx context.Context, o *object, f *s3ecForm, rule *Rule) error {
	at, old, err := r.v.instructionFile(ctx, o.id.Key)
	if errors.Is(err, ErrNotExist) {
		return fmt.Errorf("its instruction file has gone: %w", ErrChanged)
	}
	if err != nil {
		return err
	}
	env, err := s3ec.Parse(f.metadata, old)
	if err != nil {
		return err
	}
	if !env.Rewrappable() { // another one than was looked at
		return ErrChanged
	}
	env, err = s3ec.Rewrap(ctx, env, r.v.opt.S3ECKeys, rule.Reading, rule.S3EC.Key)
	if errors.Is(err, ErrCorrupt) { // or the file is of another object by now
		return cmp.Or(r.v.untouched(ctx, o), err)
	}
	if err != nil {
		return err
	}
	file, err := env.OverFile(old)
	if err != nil {
		return err
	}
	return r.replaceFile(ctx, at, file, rule)
}

// replaceFile puts file in place of the instruction file at info, encrypted by the
// server as rule says, and with all that is beside.
func (r *Reencryption) replaceFile(ctx context.Context, info objstore.Info, file []byte, rule *Rule) error {
	v, o := r.v, newObject(info)
	tags, err := v.keptTags(ctx, o, true)
	if err != nil {
		return err
	}
	d := draft{
		key: info.Key, want: rule.want, mark: newMark(), only: true, tags: tags, lock: v.keptLock(o),
		cond: objstore.Condition{IfMatch: info.ETag},
	}
	opt := objstore.PutOptions{
		Condition: d.cond, Metadata: info.Metadata, System: info.System, StorageClass: info.StorageClass,
		Encryption: d.want.headers(), Tags: withTags(tags, v.newTags(d.want)), Lock: d.lock,
	}
	got, err := v.taggingOf(d, opt, func(opt objstore.PutOptions) (objstore.Receipt, error) {
		if err := v.guard(ctx, v.opt.Capabilities.PutConditions, d.key, d.cond); err != nil {
			return objstore.Receipt{}, err
		}
		return v.opt.Store.Put(ctx, d.key, bytes.NewReader(file), int64(len(file)), opt)
	})
	if doubtful(err) {
		now, there, rerr := v.instructionFile(ctx, keyOfFile(d.key))
		if rerr != nil || !bytes.Equal(there, file) {
			return err
		}
		got, err = objstore.Receipt{ID: now.ID, Answered: now.Answered, Encrypted: now.Encrypted}, nil
	}
	if errors.Is(err, ErrNotExist) {
		return fmt.Errorf("%s: %w", d.key, ErrChanged)
	}
	if err != nil {
		return err
	}
	o.id = got.ID
	if err := v.confirm(ctx, d, o, got); err != nil {
		return err
	}
	r.learn(ctx, o, rule)
	return nil
}

// keyOfFile is the key of the object that the instruction file at key is of.
func keyOfFile(key string) string {
	of, _ := s3ec.InstructionOf(key)
	return of
}
