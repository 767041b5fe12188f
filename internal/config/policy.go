package config

import (
	"cmp"
	"slices"
)

// Policy is the keys and the rules.
type Policy struct {
	Keys  []Key  // those that no rule names only read
	Rules []Rule // after Settle the longest prefix first, "" last
}

// Key gives the key of that name.
func (p *Policy) Key(name string) (*Key, bool) {
	i := slices.IndexFunc(p.Keys, func(k Key) bool { return k.Name == name })
	if i < 0 {
		return nil, false
	}
	return &p.Keys[i], true
}

// Put adds keys and rules; they take the places of those of the same name or
// prefix.
func (p *Policy) Put(keys []Key, rules []Rule) {
	for _, k := range keys {
		if have, ok := p.Key(k.Name); ok {
			*have = k
		} else {
			p.Keys = append(p.Keys, k)
		}
	}
	p.Rules = slices.Clone(p.Rules)
	for _, r := range rules {
		p.Rules = slices.DeleteFunc(p.Rules, func(have Rule) bool { return have.Prefix == r.Prefix })
	}
	p.Rules = append(p.Rules, rules...)
}

// Settle checks what depends on all: that no prefix has two rules and every
// path has one, that the keys which rules name are there and of a kind that
// the mode takes. It says what bare keys are and sorts the rules. Errors are
// *Error; a policy without any rule is none.
func (p *Policy) Settle() error {
	if err := p.unique(); err != nil {
		return err
	}
	slices.SortStableFunc(p.Rules, func(a, b Rule) int { return cmp.Compare(len(b.Prefix), len(a.Prefix)) })
	if n := len(p.Rules); n > 0 && p.Rules[n-1].Prefix != "" {
		return p.Rules[0].At.errorf("no rule is about the rest of the mount: add one without a prefix")
	}
	// Twice: a bare key that two rules use must be of the kind that both take,
	// whichever settled it.
	for i := range 2 * len(p.Rules) {
		if err := p.settle(&p.Rules[i%len(p.Rules)]); err != nil {
			return err
		}
	}
	p.settleUnused()
	return nil
}

// unique refuses two rules for one prefix.
func (p *Policy) unique() error {
	seen := map[string]Place{}
	for _, r := range p.Rules {
		at := r.At
		if place, ok := r.places["prefix"]; ok {
			at = place
		}
		if first, again := seen[r.Prefix]; again {
			if first.Line > 0 {
				return at.errorf("a rule for this prefix was given already, in line %d", first.Line)
			}
			return at.errorf("two rules are given for one prefix")
		}
		seen[r.Prefix] = at
	}
	return nil
}

// settle checks the keys of a rule.
func (p *Policy) settle(r *Rule) error {
	u, _ := r.Mode.use()
	if len(r.Keys) < u.least {
		return r.At.errorf("mode %s needs a key, one of: %s", r.Mode, join(u.kinds))
	}
	for i, name := range r.Keys {
		if err := p.take(r.names[i], r.Mode, name); err != nil {
			return err
		}
	}
	if err := p.checkContext(r); err != nil {
		return err
	}
	if r.SSE == nil {
		return nil
	}
	if r.SSE.Key == "" && r.SSE.Mode == SSEC {
		return r.SSE.At.errorf("mode sse-c needs a key, one of: ssec")
	}
	if r.SSE.Key == "" {
		return nil
	}
	return p.take(r.SSE.At, r.SSE.Mode, r.SSE.Key)
}

// take checks that the key is there and of a kind that the mode takes, and
// settles a bare one.
func (p *Policy) take(at Place, m Mode, name string) error {
	k, ok := p.Key(name)
	if !ok {
		return at.errorf("there is no key of this name under keys")
	}
	if !m.Takes(k.Kind) {
		u, _ := m.use()
		if k.Kind == Bare {
			return at.errorf("mode %s takes no key from such a place, but one of: %s", m, join(u.kinds))
		}
		return at.errorf("mode %s takes no key of kind %s, but one of: %s", m, k.Kind, join(u.kinds))
	}
	if k.Kind == Bare {
		switch m {
		case SSEC:
			k.Kind = SSE
		case S3EC:
			k.Kind = AES
		}
	}
	return nil
}

// checkContext refuses a context for a key that has none.
func (p *Policy) checkContext(r *Rule) error {
	if r.Context == nil || len(r.Keys) == 0 {
		return nil
	}
	if k, _ := p.Key(r.Keys[0]); k.Kind != KMS {
		return r.places["context"].errorf("context goes with kms keys only")
	}
	return nil
}

// settleUnused takes bare keys that only read for older ones of the same kind
// as the root's, where that is sse-c.
func (p *Policy) settleUnused() {
	if n := len(p.Rules); n == 0 || p.Rules[n-1].Mode != SSEC {
		return
	}
	used := map[string]bool{}
	for _, r := range p.Rules {
		for _, name := range r.Keys {
			used[name] = true
		}
	}
	for i := range p.Keys {
		if k := &p.Keys[i]; k.Kind == Bare && !used[k.Name] {
			k.Kind = SSE
		}
	}
}
