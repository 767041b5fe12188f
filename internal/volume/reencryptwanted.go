package volume

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/sigilfs/sigilfs/internal/objstore"
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
		if rule.S3EC == nil || r.opt.Fresh {
			return false, nil
		}
		return r.under(ctx, f.env, rule)
	}
	return rule.Keys == nil && (rule.S3EC == nil || isMarker(o.id.Key)), nil
}

// under tells whether env is of the format of rule, and wrapped under its key.
// With a key of KMS that takes a request to it.
func (r *Reencryption) under(ctx context.Context, env *s3ec.Envelope, rule *Rule) (bool, error) {
	if !sameFormat(env, rule) {
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

// learned is how the server encrypts what is written by a rule that does not name
// a key, or nothing at all. Safe for concurrent use.
type learned struct {
	mu        sync.Mutex // guards what follows
	of        map[*Rule]sse.State
	byDefault sse.State // what the bucket says of who asks for nothing
}

func newLearned() *learned { return &learned{of: map[*Rule]sse.State{}} }

func (r *Reencryption) known(rule *Rule) (s sse.State, ok bool) {
	l := r.learned
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok = l.of[rule]; !ok && rule.Server == nil && l.byDefault.Algorithm != sse.None {
		return l.byDefault, true
	}
	return s, ok
}

// Ask asks the bucket how it encrypts what is written by who asks for nothing, so
// that this need not be learned by a write. Only S3's own keys are believed: a key
// of KMS may be named otherwise than objects name it.
func (r *Reencryption) Ask(ctx context.Context) {
	bucket, ok := r.v.raw.(objstore.Defaulter)
	if !ok {
		return
	}
	told, err := bucket.DefaultEncryption(ctx)
	if err != nil {
		return // a write will tell
	}
	if s := sse.Of(told.Encrypted); s.Algorithm == sse.SSES3 {
		r.learned.mu.Lock()
		defer r.learned.mu.Unlock()
		r.learned.byDefault = s
	}
}

// learn remembers how the server encrypts what is written by rule, of which o
// is an example.
func (r *Reencryption) learn(ctx context.Context, o *object, rule *Rule) {
	l := r.learned
	l.mu.Lock()
	_, told := l.of[rule]
	l.mu.Unlock()
	if told {
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
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of[rule] = s
}
