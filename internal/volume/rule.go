package volume

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// KeySet seals under the epochs of one set of master keys. Its errors are those
// of Keys. Safe for concurrent use.
type KeySet interface {
	// Current is the epoch under which this host seals now.
	Current(ctx context.Context) (sigil.Epoch, error)

	// MayKeep tells whether changed content, or content that comes from
	// another rule, may stay under a data key that was sealed under the epoch
	// id, which the object at key names: the epoch is not retired, and wrapped
	// for exactly this set.
	MayKeep(ctx context.Context, key string, id sigil.EpochID) (bool, error)
}

// Rule is the policy of a key prefix: how what is written there is encrypted,
// and what is acceptable to read. Reading itself goes by what an object is.
type Rule struct {
	Prefix string // of full keys: "" or ending in "/"; the longest that fits counts
	Clear  string // what Prefix was before names were encrypted, of a volume where some are not yet; "" is none
	Mode   string // as the configuration names it, for messages and xattrs

	// Keys seals in the sigil format (mode client), S3EC in that of the Amazon
	// S3 Encryption Client; at most one is set. With neither the bodies are
	// the plaintext as it is.
	Keys KeySet
	S3EC *S3EC

	// Compress compresses files before Keys seal them; nil: they are sealed as
	// they are. What is there stays as it was written, parts of it too.
	Compress *sigil.Compressor

	// Server is what S3 is asked for at every write, and must confirm; nil is
	// nothing. Assumed: it is not asked for, since the bucket does it by
	// default, but must be confirmed all the same.
	Server  *sse.Mode
	Assumed bool

	// AllowPlaintext accepts objects below a rule with Keys or S3EC that are
	// not encrypted by the client (or, with Keys, by another one).
	AllowPlaintext bool

	// RequireEncryption refuses to read what is encrypted more weakly than
	// Server.
	RequireEncryption bool

	Reading s3ec.Policy // of S3EC objects

	// StorageClass of files that are new under the rule, moved there from another
	// one too; "" is Options.StorageClass for what is made, and for what is moved
	// the class it has. What is no file never lies in an archive.
	StorageClass string

	// Instructions: objects may have instruction files, which are looked for,
	// hidden, and follow their object.
	Instructions bool

	scheme scheme
	want   *asked // Server
}

// policy is all rules, the longest prefix first.
type policy struct {
	rules    []*Rule
	internal *Rule // of what lies in .sigil/
}

func (v *Volume) newPolicy(rules []Rule) policy {
	p := policy{}
	for _, r := range rules {
		r.scheme, r.want = schemeOf(&r), v.asked(r.Server, r.Assumed)
		p.rules = append(p.rules, &r)
	}
	slices.SortStableFunc(p.rules, func(a, b *Rule) int { return cmp.Compare(len(b.Prefix), len(a.Prefix)) })
	p.internal = p.ownRule(v.opt.Root)
	return p
}

// ownRule chooses the rule of a volume's own objects: that of its root; but
// where that does not seal and another one does, the shortest of those, since
// what is planted in them would make this host move files between rules.
func (p policy) ownRule(root string) *Rule {
	own := p.of(root)
	if own.Keys != nil {
		return own
	}
	for _, r := range slices.Backward(p.rules) {
		if r.Keys != nil {
			return r
		}
	}
	return own
}

// of gives the rule of a key that is not the volume's own. There always is one:
// whoever makes the options sees to it.
func (p policy) of(key string) *Rule {
	for _, r := range p.rules {
		if strings.HasPrefix(key, r.Prefix) || r.Clear != "" && strings.HasPrefix(key, r.Clear) {
			return r
		}
	}
	return p.rules[len(p.rules)-1]
}

// rule gives the rule of a key.
func (v *Volume) rule(key string) *Rule {
	if v.own(key) {
		return v.policy.internal
	}
	return v.policy.of(key)
}

// own tells the keys of the volume's own objects.
func (v *Volume) own(key string) bool {
	return strings.HasPrefix(key, v.opt.Root+hidden+"/")
}

// spans tells whether rules begin below a key prefix, so that what lies there
// is not all under one.
func (p policy) spans(prefix string) bool {
	return slices.ContainsFunc(p.rules, func(r *Rule) bool {
		return len(r.Prefix) > len(prefix) && strings.HasPrefix(r.Prefix, prefix)
	})
}

// accept refuses what the policy does not let this host read: lest somebody
// who can write to the bucket put a plaintext, or a weaker ciphertext, in the
// place of what is encrypted.
func (r *Rule) accept(o *object, own bool) error {
	_, plain := o.form.(*plainForm)
	_, sealed := o.form.(*sealedForm)
	switch allowed := r.AllowPlaintext && !own; {
	case r.Keys != nil && !sealed && !allowed:
		return fmt.Errorf("%s: object is %s where the policy has %s: %w", o.id.Key, o.form.mode(o), r.Mode, ErrDowngrade)
	case r.S3EC != nil && plain && !isMarker(o.id.Key) && !allowed: // those formats have no directories
		return fmt.Errorf("%s: object is %s where the policy has %s: %w", o.id.Key, o.form.mode(o), r.Mode, ErrDowngrade)
	case r.RequireEncryption && plain && r.Server != nil && o.state.WeakerThan(r.state()):
		return fmt.Errorf("%s: object is %s where the policy requires %s: %w", o.id.Key, o.state, r.Mode, ErrDowngrade)
	}
	return nil
}
