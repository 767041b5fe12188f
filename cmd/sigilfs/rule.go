package main

import (
	"strings"

	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// key is a configured key, opened. What it is of no use for stays nil.
type key struct {
	config.Key
	master   keyring.Master  // of mode client: kms, age, aes
	customer sse.CustomerKey // ssec
	s3ec     s3ec.Key        // kms, aes, rsa
}

// rule is a rule of the configuration with what it stands for.
type rule struct {
	config.Rule
	keys    []*key            // as Keys; of mode client the first draws epoch keys
	context map[string]string // of the KMS key: the rule's own, else the key's
	sse     *serverRule       // nil: nothing beneath is asked for
	packed  config.Compression

	allowPlaintext, requireEncryption bool
}

// serverRule is what S3 is asked to do beneath a rule.
type serverRule struct {
	config.Beneath
	key     *key // nil: the account's default
	context map[string]string
}

// resolve points the rules at their keys, which are all there once the policy
// is settled, and fills in what the whole mount says.
func resolve(s *settings, opened map[string]*key) []rule {
	var rules []rule
	for _, from := range s.policy.Rules {
		r := rule{Rule: from}
		r.allowPlaintext, r.requireEncryption = s.reading(from)
		for _, name := range from.Keys {
			r.keys = append(r.keys, opened[name])
		}
		r.context = contextOf(from.Context, r.keys)
		if r.packed = s.compress; from.Compress != nil {
			r.packed = *from.Compress
		}
		if from.SSE != nil {
			r.sse = &serverRule{Beneath: *from.SSE, key: opened[from.SSE.Key]}
			r.sse.context = contextOf(from.SSE.Context, []*key{r.sse.key})
		}
		rules = append(rules, r)
	}
	return rules
}

// reading tells what may be read under a rule: what it says itself, else what
// the whole mount says. A flag stands above the file's rules, as above all of it.
func (s *settings) reading(r config.Rule) (allow, require bool) {
	allow, require = r.Mode.Own() && s.allowPlaintext, r.Mode != config.None && s.requireEncryption
	if allow && require {
		allow, require = s.allowGiven, s.requireGiven // one of them is the file's
	}
	allows, requires := r.AllowPlaintext, r.RequireEncryption
	if r.At.Line > 0 { // of the file
		if s.allowGiven || s.requireGiven && require {
			allows = nil
		}
		if s.requireGiven || s.allowGiven && allow {
			requires = nil
		}
	}
	if allows != nil {
		allow = *allows
		require = require && !allow
	}
	if requires != nil {
		require = *requires
		allow = allow && !require
	}
	return allow, require
}

func contextOf(own map[string]string, keys []*key) map[string]string {
	if own == nil && len(keys) > 0 && keys[0] != nil {
		return keys[0].Context
	}
	return own
}

// serverOnly tells whether a key is named by rules, and only by those under
// which S3 uses it: then this host has no business with its KMS.
func serverOnly(p config.Policy, name string) bool {
	used := false
	for _, r := range p.Rules {
		for _, k := range r.Keys {
			if k == name && r.Mode.Own() {
				return false
			}
			used = used || k == name
		}
		used = used || r.SSE != nil && r.SSE.Key == name
	}
	return used
}

// hasMode tells whether a rule has the mode, or asks for it beneath.
func hasMode(p config.Policy, m config.Mode) bool {
	for _, r := range p.Rules {
		if r.Mode == m || r.SSE != nil && r.SSE.Mode == m {
			return true
		}
	}
	return false
}

// checkTransport keeps customer keys off a line that others can read: they go
// with each request (AWS S3 User Guide, "Using server-side encryption with
// customer-provided keys": S3 refuses them over HTTP).
func checkTransport(endpoint string, p config.Policy, insecure bool) error {
	plain := strings.HasPrefix(strings.ToLower(endpoint), "http:")
	switch exposed := s3.Exposed(endpoint); {
	case !plain || !hasCustomerKeys(p) || insecure && !exposed:
		return nil
	case exposed:
		return usageError("%s is plain http, and keys of sse-c go with every request: use https", endpoint)
	}
	return usageError("%s is plain http, and keys of sse-c go with every request: use https, or --insecure-endpoint, as it is on this host", endpoint)
}

// onTheWay says what a plain line shows of content.
func onTheWay(p config.Policy) string {
	for _, r := range p.Rules {
		if !r.Mode.Own() {
			return "and content read under every mode but client and s3ec"
		}
	}
	return "content is encrypted"
}

func hasCustomerKeys(p config.Policy) bool {
	for _, k := range p.Keys {
		if k.Kind == config.SSE {
			return true
		}
	}
	return hasMode(p, config.SSEC)
}
