package volume

import (
	"bytes"
	"context"
	"errors"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
)

// In a directory that is renamed an instruction file goes with its object: it is
// copied before that, and removed after it, if it is then the one that was copied.
// A client may put that of a newer object in its place at any time.

// fileOf copies the instruction file of o to where o is going to be, unless o is
// written anew there, and gives its ETag; "" is none, or none of o's. ErrChanged:
// it was replaced, or has gone.
func (v *Volume) fileOf(ctx context.Context, o *object, dst string) (etag string, err error) {
	switch {
	case !o.instruction():
		return "", nil
	case v.rule(o.id.Key) == v.rule(dst):
		etag, err = v.carryInstruction(ctx, o, dst)
		if errors.Is(err, ErrNotExist) {
			err = errOtherFile(o)
		}
		return etag, err
	}
	info, file, err := v.instructionFile(ctx, o.id.Key)
	switch {
	case errors.Is(err, ErrNotExist), err == nil && !o.openedBy(file):
		return "", nil
	case err != nil:
		return "", err
	}
	return info.ETag, nil
}

// copyInstruction is copyOne of an instruction file. One that an object has comes
// with that. One whose object has gone since it was copied goes too; what another
// rule has at dst, and what another object is to have that is to come in place of
// the one at src, stays; all else is copied as it is.
func (v *Volume) copyInstruction(ctx context.Context, j *journal, src, dst string) (moved, error) {
	o, err := v.fetch(ctx, keyOfFile(src))
	absent := errors.Is(err, ErrNotExist)
	if err != nil && !absent || !absent && o.instruction() {
		return moved{}, orNothing(err)
	}
	info, file, err := v.instructionFile(ctx, keyOfFile(src))
	if err != nil {
		return moved{}, orNothing(err)
	}
	m := moved{src: src, etag: info.ETag, key: dst}
	switch {
	case absent:
		copied, goes, err := v.orphan(ctx, j, info, file, dst)
		if err != nil || !goes {
			return moved{}, err
		}
		if copied {
			return m, nil
		}
	case v.rule(src) != v.rule(dst), o.err == nil && wraps(file):
		return moved{}, nil
	}
	return v.copyBeside(ctx, m, info, file)
}

// orphan tells whether the object that an instruction file was of was copied to
// its new name before it went, and whether the file may go too.
func (v *Volume) orphan(ctx context.Context, j *journal, info objstore.Info, file []byte, dst string) (copied, goes bool, err error) {
	same := v.rule(info.Key) == v.rule(dst)
	there, err := v.fetch(ctx, keyOfFile(dst))
	switch {
	case errors.Is(err, ErrNotExist):
		return false, same, nil
	case err != nil:
		return false, false, err
	case same:
		return true, there.instruction() && there.openedBy(file), nil
	case !j.resumed:
		return false, false, nil
	}
	// Nothing at dst tells which file it was written from: one that came later was not it.
	now, err := v.head(ctx, keyOfFile(dst))
	return true, err == nil && !info.Modified.After(now.Modified), orNothing(err)
}

// copyBeside copies what is at m.src as it is, but not over anything
// else, which leaves it where it is.
func (v *Volume) copyBeside(ctx context.Context, m moved, info objstore.Info, file []byte) (moved, error) {
	_, there, err := v.instructionFile(ctx, keyOfFile(m.key))
	switch {
	case errors.Is(err, ErrNotExist):
		return m, v.copyPlain(ctx, info, m.key, objstore.PutOptions{Condition: objstore.Condition{IfNone: true}})
	case err != nil:
		return moved{}, err
	case !bytes.Equal(file, there):
		return moved{}, nil
	}
	return m, nil
}

// orNothing is err, unless it says that nothing is there.
func orNothing(err error) error {
	if errors.Is(err, ErrNotExist) {
		return nil
	}
	return err
}

// needed tells whether what lies at the name of the object that the instruction
// file at key was of may need one: it was not copied, or came since.
func (v *Volume) needed(ctx context.Context, key string) (bool, error) {
	o, err := v.fetch(ctx, keyOfFile(key))
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	return err == nil && (o.instruction() || o.err != nil), err
}

// refiled tells whether now is o as it was, but for its instruction file: that of
// what is to come in its place lies there, by which it does not open.
func (o *object) refiled(now *object) bool {
	if o == nil || !o.instruction() || o.id.ETag != now.id.ETag || o.length != now.length {
		return false
	}
	return !now.instruction() || !o.form.(*s3ecForm).env.Same(now.form.(*s3ecForm).env)
}

// files gives what was copied of a page up to the key last, with the instruction
// files of these objects and of earlier ones that come there. Those that come later
// are kept: of objects each of whose keys begins with the one before, so few.
func (t *tally) files(last string, copied []moved) []moved {
	for _, m := range copied {
		if m.file != "" {
			t.later = append(t.later, moved{src: s3ec.InstructionKey(m.src), etag: m.file, key: s3ec.InstructionKey(m.key)})
		}
	}
	var later []moved
	for _, m := range t.later {
		if m.src <= last {
			copied = append(copied, m)
			continue
		}
		later = append(later, m)
	}
	t.later = later
	return copied
}
