package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// Reencryption brings objects, one by one and in place, to what the rules of
// this volume say: from any mode to any, from keys that were retired to those
// of today. Whoever has it done walks a listing and calls Do with each key;
// again until a walk changes nothing, since files move meanwhile.
//
// What can stay as it is stays in the store: the server copies the body over
// itself with other headers, or its record is sealed anew. What cannot is read
// and authenticated here, to its last byte, before the write that replaces it
// is completed. Every write is under the condition that the object is still the
// one that was looked at, so that a writer wins and Do begins anew with what he
// wrote. A write that is cut leaves the old object or the new one; nothing is
// ever kept in between.
//
// It reads any mode, whatever the policy accepts. But what nobody authenticates
// is not made to look authentic unasked: see From. Safe for concurrent use.
type Reencryption struct {
	v       *Volume
	opt     ReencryptOptions
	learned *learned
}

// ReencryptOptions say what is done.
type ReencryptOptions struct {
	// From are the modes, as user.sigil.mode shows them, whose objects are
	// taken; those of others are left. None: all, but of what is not encrypted by
	// the client nothing is brought to where the client encrypts: anybody who can
	// write to the bucket may have planted it. That is ErrUnproven.
	From []string

	// Fresh has objects that this program encrypts written anew, under data keys
	// of their own, which are as the rule says already, or lack its key only.
	Fresh bool

	// Dry only tells what would be done.
	Dry bool
}

// ErrUnproven: an object that nothing authenticates would be sealed, and nobody
// said that it is to be.
var ErrUnproven = errors.New("not authenticated, and may have been planted")

// What became of an object.
const (
	Unchanged = "kept"      // it is as the rule says
	Copied    = "copied"    // inside the store
	Rewrapped = "rewrapped" // its data key is under another one; its content has not left the store
	Rewritten = "rewritten" // through this host
	Removed   = "removed"   // an index that is made anew, a key nobody needs
	Left      = "left"      // it is of none of the modes to take, or of a mount that is under way
	Gone      = "gone"      // since it was listed
)

// Reencrypted is what became of an object.
type Reencrypted struct {
	Did   string
	Bytes int64 // of its body as it was stored
}

// Changed tells whether anything was, or would be, written.
func (r Reencrypted) Changed() bool {
	return r.Did == Copied || r.Did == Rewrapped || r.Did == Rewritten || r.Did == Removed
}

// Reencrypt begins one. The rules of the volume are those of the result; they
// have to let objects of every mode be looked at (Rule.AllowPlaintext).
func (v *Volume) Reencrypt(opt ReencryptOptions) *Reencryption {
	return &Reencryption{v: v, opt: opt, learned: newLearned()}
}

// Again gives one for another walk over the same objects. It knows what r learned
// of the server, and makes nothing anew that was: Fresh is done.
func (r *Reencryption) Again() *Reencryption {
	n := *r
	n.opt.Fresh = false
	return &n
}

// Do brings the object at key to what its rule says. Errors are the object's,
// or those of the store; ErrChanged: it was replaced again and again.
func (r *Reencryption) Do(ctx context.Context, key string) (Reencrypted, error) {
	for range maxRetries {
		did, err := r.once(ctx, key)
		switch {
		case errors.Is(err, ErrNotExist):
			return Reencrypted{Did: Gone}, nil
		case !errors.Is(err, ErrChanged):
			return did, err
		}
	}
	return Reencrypted{}, fmt.Errorf("%s: replaced again and again: %w", key, ErrChanged)
}

func (r *Reencryption) once(ctx context.Context, key string) (Reencrypted, error) {
	v := r.v
	if v.own(key) {
		return r.internal(ctx, key)
	}
	if strings.Contains("/"+key, "/"+hidden+"/") { // of a volume whose root is elsewhere
		return Reencrypted{Did: Left}, nil
	}
	if v.isInstruction(key) {
		return r.instruction(ctx, key)
	}
	o, err := v.fetch(ctx, key)
	if err != nil {
		return Reencrypted{}, err
	}
	if o.err != nil {
		return Reencrypted{}, o.err
	}
	if o.isName() {
		return r.name(ctx, o)
	}
	return r.bring(ctx, o, v.rule(key))
}

// bring has o be what rule says.
func (r *Reencryption) bring(ctx context.Context, o *object, rule *Rule) (Reencrypted, error) {
	did := Reencrypted{Did: Unchanged, Bytes: o.length}
	if !r.takes(o) {
		did.Did = Left
		return did, nil
	}
	if f, ok := o.form.(*s3ecForm); ok && r.rewraps(f, rule) {
		return r.rewrap(ctx, o, f, rule)
	}
	kept, err := r.asWanted(ctx, o, rule)
	if err != nil || kept {
		return did, err
	}
	if err := r.provable(o, rule); err != nil {
		return Reencrypted{}, err
	}
	did.Did, err = r.write(ctx, o, o.form, rule)
	return did, err
}

// takes tells whether o is of the modes to take. What is under SSE-C is of that mode
// too, whatever is in it: so may an object be left that was written over such a one
// (see keyed.go), and it is not done.
func (r *Reencryption) takes(o *object) bool {
	from := r.opt.From
	return len(from) == 0 || slices.Contains(from, o.form.mode(o)) ||
		o.state.Algorithm == sse.SSEC && slices.Contains(from, o.state.String())
}

// provable refuses to have seal what nothing authenticates, unless From names
// it. A directory's marker has nothing but attributes, which the formats of S3
// clients do not authenticate either.
func (r *Reencryption) provable(o *object, rule *Rule) error {
	if rule.Keys == nil && rule.S3EC == nil || o.proven() || isMarker(o.id.Key) || len(r.opt.From) > 0 {
		return nil
	}
	return fmt.Errorf("%s: %s: %w", o.id.Key, o.form.mode(o), ErrUnproven)
}

// proven tells whether the body of o is authenticated.
func (o *object) proven() bool {
	switch f := o.form.(type) {
	case *sealedForm:
		return true
	case *s3ecForm:
		return f.env.Authenticated()
	}
	return false
}

// instruction removes an instruction file whose object needs it no more. Another
// one is encrypted by the server as the rule says; what it holds follows its
// object.
func (r *Reencryption) instruction(ctx context.Context, key string) (Reencrypted, error) {
	v := r.v
	o, err := v.fetch(ctx, keyOfFile(key))
	if errors.Is(err, ErrNotExist) || err == nil && o.err != nil {
		return Reencrypted{Did: Unchanged}, nil //nolint:nilerr // what does not open may need it
	}
	if err != nil {
		return Reencrypted{}, err
	}
	info, file, err := v.instructionFile(ctx, o.id.Key)
	if err != nil {
		return Reencrypted{}, err
	}
	if o.instruction() {
		return r.file(ctx, o, info, file)
	}
	// It only has the name of one, or is of what a client is about to write.
	if !wraps(file) || info.Modified.After(o.seen) {
		return Reencrypted{Did: Left}, nil
	}
	if !r.opt.Dry {
		v.dropFile(ctx, info.ID)
	}
	return Reencrypted{Did: Removed, Bytes: int64(len(file))}, nil
}

// file has the server encrypt the instruction file of o, which is what info says,
// as the rule of o asks.
func (r *Reencryption) file(ctx context.Context, o *object, info objstore.Info, file []byte) (Reencrypted, error) {
	rule := r.v.rule(o.id.Key)
	did := Reencrypted{Did: Unchanged, Bytes: info.Size}
	switch {
	case !r.takes(o):
		did.Did = Left
		return did, nil
	case rule.S3EC == nil || r.served(newObject(info).state, rule):
		return did, nil
	}
	did.Did = Rewritten
	if r.opt.Dry {
		return did, nil
	}
	return did, r.replaceFile(ctx, info, file, rule)
}

// wraps tells whether the content of a file is that of an instruction file, and
// nothing else.
func wraps(file []byte) bool {
	md, err := s3ec.ParseInstruction(file)
	if err != nil || len(md) == 0 {
		return false
	}
	for name := range md {
		if !slices.Contains(s3ec.Names(), name) {
			return false
		}
	}
	return true
}
