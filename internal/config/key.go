package config

import (
	"regexp"
	"slices"
	"strings"
)

// Key is a named key: where it is, never itself.
type Key struct {
	Name string
	At   Place
	Kind Kind

	ID      string            // kms: key ID, ARN or alias
	Context map[string]string // kms: encryption context

	// Source is where the secret is: file:PATH, env:NAME, credential:NAME or
	// command:COMMAND. Of age keys it is that of identities, and begins with
	// identity: where it must hold some; "" where only recipients are known.
	Source     string
	Recipients []string // age
}

// maxKMSID is the longest KeyId (AWS KMS API Reference, Decrypt), in bytes.
const maxKMSID = 2048

var (
	keyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

	// kmsID is wider than AWS's rules: MinIO has names, and ARNs made of them.
	kmsID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:/_.-]*$`)

	// literal is a key of 32 bytes, in hex or base64, or age's own.
	literal = regexp.MustCompile(`(?i)AGE-SECRET-KEY-|AGE-PLUGIN-|^[0-9a-f]{64}$|^[A-Za-z0-9+/_-]{43}=$|-----BEGIN `)
)

// Secret tells what looks like a secret key where its place should be named.
func Secret(s string) bool {
	return literal.MatchString(s) || literal.MatchString(s[strings.IndexByte(s, ':')+1:])
}

func sources() []string { return names(Sources()) }

// checkSource looks at the scheme, and for a key in the place of its source.
func checkSource(at Place, s string) error {
	scheme, rest, _ := strings.Cut(s, ":")
	switch {
	case Secret(s):
		return at.errorf("a key stands here, and others may read it; put it in a file and write file:PATH")
	case rest != "" && slices.Contains(sources(), scheme):
		return nil
	}
	return at.errorf("the place of a key is needed: file:PATH, env:NAME, credential:NAME or command:COMMAND")
}

// parseKeys reads the mapping of names to keys.
func parseKeys(e entry) ([]Key, error) {
	if e.value.kind != isMapping {
		return nil, e.value.at.errorf("keys takes named keys: {NAME: {aes: file:PATH}}")
	}
	if err := e.value.unique("name"); err != nil {
		return nil, err
	}
	var keys []Key
	for _, named := range e.value.entries {
		k := Key{Name: named.name, At: named.at}
		if err := CheckName(named.at, k.Name); err != nil {
			return nil, err
		}
		if err := named.value.each(names(KeyFields()), k.set); err != nil {
			return nil, err
		}
		if err := k.check(); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// CheckName refuses what is not the name of a key. A key itself is not.
func CheckName(at Place, name string) error {
	if !keyName.MatchString(name) || Secret(name) {
		return at.errorf("not the name of a key: write up to 64 letters, digits, dots, dashes and underscores")
	}
	return nil
}

// set takes a field of a key.
func (k *Key) set(e entry) (err error) {
	if e.name == "context" {
		k.Context, err = e.pairs()
		return err
	}
	if k.Kind != Bare {
		return e.at.errorf("a key is one of kms, age, aes, ssec and rsa; this one is %s already", k.Kind)
	}
	k.Kind = Kind(e.name)
	switch k.Kind {
	case KMS:
		return k.setID(e)
	case Age:
		return k.setAge(e)
	}
	k.Source, err = e.word()
	if err == nil {
		err = checkSource(e.value.at, k.Source)
	}
	return err
}

func (k *Key) setID(e entry) (err error) {
	if k.ID, err = e.word(); err == nil && (len(k.ID) > maxKMSID || !kmsID.MatchString(k.ID) || Secret(k.ID)) {
		err = e.value.at.errorf("kms takes the ID, ARN or alias of a key")
	}
	return err
}

func (k *Key) setAge(e entry) error {
	return e.value.each(names(AgeFields()), func(part entry) (err error) {
		if part.name == "recipients" {
			return k.setRecipients(part)
		}
		source, err := part.word()
		if err == nil {
			err = checkSource(part.value.at, source)
		}
		k.Source = "identity:" + source
		return err
	})
}

func (k *Key) setRecipients(e entry) error {
	list, err := e.words()
	for _, n := range list {
		if err := checkRecipient(n.at, n.text); err != nil {
			return err
		}
		k.Recipients = append(k.Recipients, n.text)
	}
	return err
}

// checkRecipient tells a recipient from a secret; whether it is one is age's to
// say.
func checkRecipient(at Place, s string) error {
	switch {
	case Secret(s):
		return at.errorf("an age identity stands here, and others may read it; put it in a file and write file:PATH as identities")
	case !strings.HasPrefix(s, "age1") && !strings.HasPrefix(s, "ssh-"), strings.Contains(s, ","):
		return at.errorf("an age recipient is needed: age1… or ssh-…")
	}
	return nil
}

// check looks at a key as a whole.
func (k *Key) check() error {
	switch {
	case k.Kind == Bare:
		return k.At.errorf("this key is none of kms, age, aes, ssec and rsa")
	case k.Kind != KMS && k.Context != nil:
		return k.At.errorf("context goes with kms keys only")
	case k.Kind == Age && k.Source == "" && len(k.Recipients) == 0:
		return k.At.errorf("an age key needs recipients or identities")
	}
	return nil
}
