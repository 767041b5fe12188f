package config

import (
	"fmt"
	"slices"
)

// Root gives the rule without a prefix, nil where there is none.
func (p *Policy) Root() *Rule {
	i := slices.IndexFunc(p.Rules, func(r Rule) bool { return r.Prefix == "" })
	if i < 0 {
		return nil
	}
	return &p.Rules[i]
}

// Own tells whether this host encrypts, so that a server may do so beneath.
func (m Mode) Own() bool { return m == Client || m == S3EC }

// Ask makes a rule ask the server for mode m: beneath modes of this host, while
// others must be that mode already. key is the name of its key; "" is that of
// the rule, or the server's choice. at is who asks. What the rule says of mode
// or key otherwise is an error that names both places.
func (r *Rule) Ask(at Place, m Mode, key string) error {
	own := r.Mode.Own()
	if own && r.SSE == nil {
		r.SSE = &Beneath{At: at, Mode: m, Key: key}
		return nil
	}
	place, mode, have := r.At, r.Mode, ""
	if own {
		place, mode, have = r.SSE.At, r.SSE.Mode, r.SSE.Key
	} else if len(r.Keys) > 0 {
		have = r.Keys[0]
	}
	switch {
	case mode != m:
		return fmt.Errorf("%s and %s name two different modes, %s and %s", at, place, m, mode)
	case key == "" || key == have:
	case have != "":
		return fmt.Errorf("%s and %s name two different keys for mode %s", at, place, m)
	case own:
		r.SSE.Key = key
	default:
		r.Keys, r.names = []string{key}, []Place{at}
	}
	return nil
}
