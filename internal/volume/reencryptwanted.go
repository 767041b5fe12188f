package volume

import (
	"context"
	"errors"
	"strings"

	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// asWanted tells whether nothing is left to do to o.
func (r *Reencryption) asWanted(ctx context.Context, o *object, rule *Rule) (bool, error) {
	if !r.served(o.state, rule) {
		return false, nil
	}
	switch f := o.form.(type) {
	case *sealedForm:
		if rule.Keys == nil || r.opt.Fresh {
			return false, nil
		}
		return f.mayKeep(ctx, rule.Keys, o)
	case *s3ecForm:
		if rule.S3EC == nil {
			return false, nil
		}
		return r.under(ctx, f.env, rule)
	}
	return rule.Keys == nil && (rule.S3EC == nil || isMarker(o.id.Key)), nil
}

// under tells whether env is of the format of rule, and wrapped under its key.
// With a key of KMS that takes a request to it.
func (r *Reencryption) under(ctx context.Context, env *s3ec.Envelope, rule *Rule) (bool, error) {
	if !env.Authenticated() || (env.Version() == s3ec.KindV2) != (rule.S3EC.Format == s3ec.FormatV2) {
		return false, nil
	}
	_, err := s3ec.Unwrap(ctx, env, s3ec.Keyring{rule.S3EC.Key}, rule.Reading)
	if errors.Is(err, ErrNoKey) || errors.Is(err, ErrWrongKey) || errors.Is(err, ErrDowngrade) {
		return false, nil
	}
	return err == nil, err
}

// served tells whether the server encrypts an object as the rule asks it. Of a
// key that the rule does not name, or only by an alias, it is told when
// something was written.
func (r *Reencryption) served(s sse.State, rule *Rule) bool {
	learned, known := r.known(rule)
	switch {
	case rule.Server == nil:
		return s.Algorithm == sse.None || known && s == learned
	case rule.Server.Fits(s) != nil:
		return false
	case s.KMSKeyID == "" || namesKey(rule.Server.KeyID()):
		return true
	}
	return known && s.KMSKeyID == learned.KMSKeyID
}

// namesKey tells whether an id of a KMS key can only be of one.
func namesKey(id string) bool {
	return id != "" && !strings.HasPrefix(id, "alias/") && !strings.Contains(id, ":alias/")
}

func (r *Reencryption) known(rule *Rule) (s sse.State, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok = r.learned[rule]
	return s, ok
}

// learn remembers how the server encrypts what is written by rule, of which o
// is an example.
func (r *Reencryption) learn(ctx context.Context, o *object, rule *Rule) {
	if _, ok := r.known(rule); ok {
		return
	}
	s := o.state
	if rule.Server == nil {
		told, err := r.v.tell(ctx, o.id)
		if err != nil {
			return // the next one will tell
		}
		s = sse.Of(told)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.learned[rule] = s
}
