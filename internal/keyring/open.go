package keyring

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Spec names a master key of the configuration. A command line says Source
// alone, a configuration file all of it.
type Spec struct {
	// Source is where the key is; see Open.
	Source string

	// Kind is what must be there: KindAES, KindAge or KindKMS; "": whatever is.
	Kind string

	// Context is the encryption context of a KMS key, and of no other.
	Context map[string]string
}

// Format shows the kind of source alone: a key may stand there by mistake.
func (s Spec) Format(f fmt.State, _ rune) {
	scheme, _, _ := strings.Cut(s.Source, ":")
	if !isScheme(scheme) {
		scheme = "?"
	}
	_, _ = io.WriteString(f, scheme+":…")
}

func isScheme(s string) bool {
	return slices.Contains([]string{"file", "env", "credential", "command", KindAge, KindKMS}, s)
}

// Open reads a master key from the place that spec.Source names:
//
//	file:PATH env:NAME credential:NAME command:COMMAND
//	    an AES-256 key: 32 raw bytes, hex or base64. A file must have mode
//	    0600 or stricter and belong to the caller or root. An age identity
//	    there is recognised and taken as age:.
//	age:RECIPIENT[,RECIPIENT…][,SOURCE]
//	    age recipients to wrap for, and a source (as above; before it stands
//	    identity: or recipients: where that is to be demanded) with age
//	    identities or recipients, one a line. The source goes to the end of
//	    Source, commas too. Without recipients, those of the identities are used.
//	kms:KEY
//	    a symmetric key of AWS KMS by its ARN, its id or an alias. All but the
//	    ARN of a key ask KMS what it is (kms:DescribeKey).
//
// Every error wraps ErrKeySource and is one sentence for the user; a secret
// given in Source itself is refused without being repeated.
func Open(ctx context.Context, spec Spec, via Sources) (Master, error) {
	m, err := open(ctx, spec, via)
	switch {
	case err != nil:
		return nil, err
	case spec.Kind != "" && m.Kind() != spec.Kind:
		return nil, fmt.Errorf("%w: what is at %v is of kind %s, not %s", ErrKeySource, spec, m.Kind(), spec.Kind)
	case len(spec.Context) > 0 && m.Kind() != KindKMS:
		return nil, fmt.Errorf("%w: only a kms: key has an encryption context", ErrKeySource)
	}
	return m, nil
}

func open(ctx context.Context, spec Spec, via Sources) (Master, error) {
	scheme, rest, _ := strings.Cut(spec.Source, ":")
	switch {
	case hasSecret(spec.Source):
		return nil, errSecret()
	case scheme == KindAge:
		return openAge(ctx, rest, via)
	case scheme == KindKMS:
		return openKMS(ctx, rest, spec.Context, via)
	}
	c, err := via.read(ctx, spec.Source)
	if err != nil {
		return nil, err
	}
	defer clear(c.data)
	if looksLikeAge(c.data) {
		return ageFromContent(ctx, c, "", nil, via)
	}
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	defer clear(key[:])
	m := newAES(key)
	m.made = c.written
	return m, nil
}

// hasSecret recognises a key in the place of its source: what age calls a
// secret key or a plugin identity, or an AES key in hex or base64.
func hasSecret(spec string) bool {
	if strings.Contains(strings.ToUpper(spec), "AGE-SECRET-KEY-") || strings.Contains(spec, "AGE-PLUGIN-") {
		return true
	}
	for _, s := range []string{spec, spec[strings.IndexByte(spec, ':')+1:]} {
		if len(s) == KeySize { // a path may have 32 bytes; raw ones are no text
			continue
		}
		if _, err := parseKey([]byte(s)); err == nil {
			return true
		}
	}
	return false
}

// openAge reads what follows "age:".
func openAge(ctx context.Context, list string, via Sources) (Master, error) {
	var recipients []recipient
	for list != "" {
		if isSource(list) {
			want, source := splitWant(list)
			c, err := via.read(ctx, source)
			if err != nil {
				return nil, err
			}
			defer clear(c.data)
			return ageFromContent(ctx, c, want, recipients, via)
		}
		var item string
		item, list, _ = strings.Cut(list, ",")
		r, err := parseRecipient(strings.TrimSpace(item))
		if err != nil {
			return nil, fmt.Errorf("%w: age recipient %d: %w", ErrKeySource, len(recipients)+1, err)
		}
		recipients = append(recipients, r)
	}
	if len(recipients) == 0 {
		return nil, fmt.Errorf("%w: age: needs a recipient (age1…, ssh-…) or the file of an identity (age:file:PATH)", ErrKeySource)
	}
	return newAge(recipients, nil)
}

// What an age source may be asked to hold.
const (
	wantIdentity   = "identity"
	wantRecipients = "recipients"
)

// isSource tells a source in an age: list from a recipient.
func isSource(s string) bool {
	scheme, _, ok := strings.Cut(s, ":")
	switch scheme {
	case "file", "env", "credential", "command", wantIdentity, wantRecipients:
		return ok
	}
	return false
}

func splitWant(s string) (want, source string) {
	scheme, rest, _ := strings.Cut(s, ":")
	if scheme == wantIdentity || scheme == wantRecipients {
		return scheme, rest
	}
	return "", s
}

// ageFromContent makes an age key of a source's identities and recipients, and
// of recipients named before it.
func ageFromContent(ctx context.Context, c content, want string, named []recipient, via Sources) (Master, error) {
	ids, listed, err := parseAgeContent(ctx, c, via)
	switch {
	case len(ids) > 0 && c.loose != nil: // recipients are no secret
		return nil, c.loose
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrKeySource, c.name, err)
	case want == wantIdentity && len(ids) == 0:
		return nil, fmt.Errorf("%w: %s holds no age identity", ErrKeySource, c.name)
	case want == wantRecipients && len(ids) > 0:
		return nil, fmt.Errorf("%w: %s holds an age identity, and recipients were asked for", ErrKeySource, c.name)
	}
	m, err := newAge(append(named, listed...), ids)
	if err != nil {
		return nil, err
	}
	m.made = c.written
	return m, nil
}
