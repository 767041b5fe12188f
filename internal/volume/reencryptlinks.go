package volume

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// name brings a hard-link name, and the inode that it stands for before it, to
// the rule of the name. A name is sealed anew as it is: under its data key,
// which protects nothing, since its generation is what stands on the roll. So
// nothing is enrolled and nothing counted, and no crash leaves a count too many.
func (r *Reencryption) name(ctx context.Context, name *object) (Reencrypted, error) {
	v := r.v
	rule := v.rule(name.id.Key)
	if rule.Keys == nil {
		return Reencrypted{}, fmt.Errorf("%s: a name of a file with several, and mode %s has none: %w", name.id.Key, rule.Mode, ErrNoLinks)
	}
	in, err := v.inodeBehind(ctx, name)
	if errors.Is(err, ErrNotExist) {
		return Reencrypted{}, r.dangling(ctx, name)
	}
	if err != nil {
		return Reencrypted{}, err
	}
	if in.err == nil && in.attr.FileID != name.attr.FileID {
		return Reencrypted{}, fmt.Errorf("%s: inode %s is of another file: %w", name.id.Key, in.id.Key, ErrCorrupt)
	}
	did, err := r.inode(ctx, in.id.Key, rule)
	if err != nil {
		return Reencrypted{}, err
	}
	again, err := r.rename(ctx, name, rule)
	if !did.Changed() {
		did = again
	}
	return did, err
}

// dangling is the error of a name whose inode is nowhere; ErrChanged where the
// name has gone meanwhile.
func (r *Reencryption) dangling(ctx context.Context, name *object) error {
	now, err := r.v.fetch(ctx, name.id.Key)
	if err != nil {
		return err
	}
	if now.inode() != name.inode() || now.token() != name.token() {
		return fmt.Errorf("%s: %w", name.id.Key, ErrChanged)
	}
	return fmt.Errorf("%s: inode %s is missing: %w", name.id.Key, inodeName(name.inode()), ErrCorrupt)
}

// rename seals the name itself anew.
func (r *Reencryption) rename(ctx context.Context, name *object, rule *Rule) (Reencrypted, error) {
	v, f := r.v, name.form.(*sealedForm)
	did := Reencrypted{Did: Unchanged, Bytes: name.length}
	ok, err := rule.Keys.MayKeep(ctx, name.id.Key, f.header.Epoch)
	if err != nil || ok && r.served(name.state, rule) {
		return did, err
	}
	did.Did = Copied
	if r.opt.Dry {
		return did, nil
	}
	d := v.complete(draft{
		key: name.id.Key, rule: rule, attr: name.attr, xat: name.xat, inode: name.inode(), class: name.class, system: name.system,
		cond: objstore.Condition{IfMatch: name.id.ETag}, above: []*object{name}, self: true,
		older: v.isOlder(name),
		lock:  v.keptLock(name),
	})
	w, err := f.reseal(ctx, v, name, d, rule.Keys)
	if err != nil {
		return did, err
	}
	n, err := v.overlay(ctx, name, d, w)
	if err == nil {
		r.learn(ctx, n, rule)
	}
	return did, err
}

// inode brings the inode at key, whose names are under rule, and its roll to
// that. It is looked at under its hold, so that names that are brought at once
// do not do it twice.
func (r *Reencryption) inode(ctx context.Context, key string, rule *Rule) (Reencrypted, error) {
	v := r.v
	unlock, err := v.names.lock(ctx, one(inodePath(key)))
	if err != nil {
		return Reencrypted{}, err
	}
	defer unlock()
	in, err := v.fetchInode(ctx, key, rule)
	if err == nil {
		err = in.err
	}
	if err != nil {
		return Reencrypted{}, err
	}
	names, rolled, err := r.roll(ctx, in, rule)
	if err != nil {
		return Reencrypted{}, err
	}
	did, err := r.bring(ctx, in, rule)
	switch {
	case err == nil && !did.Changed() && rolled:
		return Reencrypted{Did: Rewritten, Bytes: did.Bytes}, nil
	case err != nil || !did.Changed() || r.opt.Dry:
		return did, err
	}
	return did, r.recount(ctx, key, rule, names)
}

// roll writes the roll of an inode anew where it is not as wanted: by PUT, as
// every change of one, so that hosts that change it see each other. It tells how
// many names are on it.
func (r *Reencryption) roll(ctx context.Context, in *object, rule *Rule) (names int, changed bool, err error) {
	v := r.v
	for range maxRollTries {
		roll, err := v.readRoll(ctx, in)
		if errors.Is(err, ErrNotExist) {
			return 0, false, nil // there is an inode before there is a roll
		}
		if err != nil {
			return 0, false, err
		}
		f := roll.obj.form.(*sealedForm)
		ok, err := f.mayKeep(ctx, rule.Keys, roll.obj)
		if err != nil || ok && r.served(roll.obj.state, rule) && !r.opt.Fresh {
			return len(roll.names), false, err
		}
		if r.opt.Dry {
			return len(roll.names), true, nil
		}
		if err := v.writeRoll(ctx, in, roll, roll.names); !conflict(err) {
			return len(roll.names), err == nil, err
		}
	}
	return 0, false, fmt.Errorf("%s: changed again and again: %w", rollKey(in.id.Key), ErrChanged)
}

// recount writes the count of names into the inode at key, which is held, if the
// roll has changed since there were so many on it: the host that changed it may
// have counted between the look at the inode and its copy.
func (r *Reencryption) recount(ctx context.Context, key string, rule *Rule, names int) error {
	v := r.v
	in, err := v.fetchInode(ctx, key, rule)
	if err == nil {
		err = in.err
	}
	if errors.Is(err, ErrNotExist) {
		return nil // its last name has gone
	}
	if err != nil {
		return err
	}
	roll, err := v.readRoll(ctx, in)
	if errors.Is(err, ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if n := len(roll.names); n > 0 && n != names && uint32(n) != in.attr.Nlink {
		_, err = v.recount(ctx, in, n)
	}
	return err
}

// internal brings what is the volume's own.
func (r *Reencryption) internal(ctx context.Context, key string) (Reencrypted, error) {
	v := r.v
	rest := strings.TrimPrefix(key, v.opt.Root)
	switch {
	case strings.HasPrefix(key, v.indexDir()):
		return r.index(ctx, key)
	case strings.HasPrefix(rest, inodeDir) && !strings.Contains(rest[len(inodeDir):], "/"):
		rule, ok := v.policy.onlySealed()
		if !ok { // which of them its names tell
			return Reencrypted{Did: Unchanged}, nil
		}
		return r.inode(ctx, key, rule)
	}
	return Reencrypted{Did: Left}, nil // what passes, and what is sealed by other means
}

// onlySealed gives the rule of mode client, if there is but one.
func (p policy) onlySealed() (*Rule, bool) {
	var only *Rule
	for _, r := range p.rules {
		if r.Keys == nil {
			continue
		}
		if only != nil {
			return nil, false
		}
		only = r
	}
	return only, only != nil
}

// index removes an attribute index that is not as wanted: whoever lists its
// directory makes it anew.
func (r *Reencryption) index(ctx context.Context, key string) (Reencrypted, error) {
	v := r.v
	o, err := v.fetch(ctx, key)
	if err != nil {
		return Reencrypted{}, err
	}
	did := Reencrypted{Did: Unchanged, Bytes: o.length}
	if o.err == nil {
		ok, err := r.asWanted(ctx, o, v.policy.internal)
		if err != nil || ok {
			return did, err
		}
	}
	did.Did = Removed
	if r.opt.Dry {
		return did, nil
	}
	return did, v.delete(ctx, key, o.id.ETag)
}
