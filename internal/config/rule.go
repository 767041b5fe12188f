package config

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Rule is how one prefix is encrypted.
type Rule struct {
	At     Place
	Prefix string // relative to the mount's: "" or ending in "/"
	Mode   Mode

	// Keys are names. The key set of mode client, of which each opens what is
	// written; else at most one.
	Keys []string

	Context   map[string]string // sse-kms, dsse-kms, s3ec: in place of the key's own; nil: the key's
	BucketKey *bool             // sse-kms; nil: as the bucket is configured
	SSE       *Beneath          // client, s3ec; nil: the server is asked for nothing

	StorageClass string       // of new files; "": as the whole mount has it
	Compress     *Compression // client; nil: as the whole mount has it

	// What may be read. nil: as the whole mount has it.
	AllowPlaintext    *bool // client, s3ec: objects that are not encrypted on the client too
	RequireEncryption *bool // all but none: no object that is weaker than Mode

	// s3ec
	Version           int  // of what is written: 2 or 3
	LegacyWrapping    bool // reads the old algorithms of wrapping
	LegacyCBC         bool // reads bodies under AES-CBC
	RequireCommitment bool // reads no body without key commitment
	InstructionFiles  bool // instruction files are in use

	places map[string]Place // of the fields that were given
	names  []Place          // of Keys
}

// Beneath is what the server is asked to do with what this host encrypted.
type Beneath struct {
	At        Place
	Mode      Mode // sse-s3, sse-kms, dsse-kms, sse-c
	Key       string
	Context   map[string]string // nil: the key's
	BucketKey *bool
}

// parseRules reads the list of rules.
func parseRules(e entry) ([]Rule, error) {
	if e.value.kind != isList {
		return nil, e.value.at.errorf("encryption takes a list of rules: - {prefix: PREFIX/, mode: MODE}")
	}
	var rules []Rule
	for _, n := range e.value.items {
		r, err := parseRule(n)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// parseRule reads a rule, and checks it by itself.
func parseRule(n node) (Rule, error) {
	r := Rule{At: n.at, places: map[string]Place{}}
	err := n.each(names(RuleFields()), r.set)
	if err == nil {
		err = r.check()
	}
	return r, err
}

func (r *Rule) set(e entry) (err error) {
	r.places[e.name] = e.at
	on := &r.InstructionFiles
	switch e.name {
	case "prefix":
		return r.setPrefix(e)
	case "mode":
		r.Mode, err = parseMode(e, Modes())
		return err
	case "key":
		return r.setKeys(e)
	case "context":
		r.Context, err = e.pairs()
		return err
	case "sse":
		return r.setSSE(e)
	case "storage-class":
		return r.setClass(e)
	case "compress":
		return r.setCompress(e)
	case "s3ec-version":
		return r.setVersion(e)
	case "bucket-key":
		r.BucketKey, err = e.choice()
		return err
	case "allow-plaintext":
		r.AllowPlaintext, err = e.choice()
		return err
	case "require-encryption":
		r.RequireEncryption, err = e.choice()
		return err
	case "s3ec-legacy-wrapping":
		on = &r.LegacyWrapping
	case "s3ec-legacy-cbc":
		on = &r.LegacyCBC
	case "s3ec-require-commitment":
		on = &r.RequireCommitment
	}
	*on, err = e.flag()
	return err
}

// choice reads a flag of which it counts whether it was given.
func (e entry) choice() (*bool, error) {
	on, err := e.flag()
	return &on, err
}

func (r *Rule) setKeys(e entry) error {
	list, err := e.words()
	for _, n := range list {
		r.Keys, r.names = append(r.Keys, n.text), append(r.names, n.at)
	}
	return err
}

func (r *Rule) setVersion(e entry) error {
	switch e.value.text {
	case "2":
		r.Version = 2
	case "3":
		r.Version = 3
	default:
		return e.value.at.errorf("s3ec-version is 2 or 3")
	}
	return nil
}

// className is how S3 writes storage classes.
var className = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)

func (r *Rule) setClass(e entry) error {
	name, err := e.word()
	if err != nil {
		return err
	}
	r.StorageClass = strings.ToUpper(name)
	if !className.MatchString(r.StorageClass) {
		return e.value.at.errorf("not a storage class; write one as S3 does, such as STANDARD_IA or DEEP_ARCHIVE")
	}
	return nil
}

// maxPrefix leaves room for a name in the 1,024 bytes of a key.
const maxPrefix = 1024 - 1

func (r *Rule) setPrefix(e entry) error {
	at := e.value.at
	switch e.value.kind {
	case isEmpty:
		return at.errorf("prefix has no value; leave it out for all that no other rule is about")
	case isText, isNumber, isWord:
	default:
		return at.errorf("prefix takes one value")
	}
	r.Prefix = e.value.text
	switch {
	case r.Prefix == "":
		return nil
	case !strings.HasSuffix(r.Prefix, "/"):
		return at.errorf("a prefix ends in a slash")
	case len(r.Prefix) > maxPrefix:
		return at.errorf("the prefix is longer than %d bytes", maxPrefix)
	case !utf8.ValidString(r.Prefix):
		return at.errorf("the prefix is not UTF-8")
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(r.Prefix, "/"), "/") {
		switch {
		case name == "":
			return at.errorf("the prefix begins with a slash or has two in a row; it is relative to the mount")
		case name == "." || name == ".." || name == ".sigil":
			return at.errorf("the prefix has the reserved component %s", name)
		case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return at.errorf("the prefix has a control character")
		}
	}
	return nil
}

// beneath are the modes that a server does by itself.
func beneath() []Mode { return []Mode{SSES3, SSEKMS, DSSEKMS, SSEC} }

// setSSE reads a mode, or one with its fields.
func (r *Rule) setSSE(e entry) error {
	r.SSE = &Beneath{At: e.value.at}
	if e.value.kind != isMapping {
		mode, err := parseMode(e, beneath())
		r.SSE.Mode = mode
		return err
	}
	places := map[string]Place{}
	err := e.value.each(names(BeneathFields()), func(part entry) (err error) {
		places[part.name] = part.at
		switch part.name {
		case "mode":
			r.SSE.Mode, err = parseMode(part, beneath())
		case "key":
			r.SSE.Key, err = part.word()
		case "context":
			r.SSE.Context, err = part.pairs()
		case "bucket-key":
			r.SSE.BucketKey, err = part.choice()
		}
		return err
	})
	if err == nil && r.SSE.Mode == "" {
		err = e.value.at.errorf("sse has no mode; write one of %s", join(beneath()))
	}
	if err == nil {
		err = fits(r.SSE.Mode, places)
	}
	return err
}

// fits refuses fields that a mode has no use for.
func fits(m Mode, places map[string]Place) error {
	known := append([]string{"prefix", "mode", "storage-class"}, m.Fields()...)
	for _, name := range names(RuleFields()) {
		if at, given := places[name]; given && !slices.Contains(known, name) {
			return at.errorf("%s does not go with mode %s", name, m)
		}
	}
	return nil
}

// check looks at a rule as a whole.
func (r *Rule) check() error {
	if r.Mode == "" {
		return r.At.errorf("the rule has no mode; write one of %s", join(Modes()))
	}
	if err := fits(r.Mode, r.places); err != nil {
		return err
	}
	u, _ := r.Mode.use()
	switch {
	case r.Prefix == "" && (r.StorageClass == "GLACIER" || r.StorageClass == "DEEP_ARCHIVE"):
		return r.places["storage-class"].errorf("objects of class %s cannot be read back without a restore, so a filesystem cannot live there; give it to a rule with a prefix", r.StorageClass)
	case len(r.Keys) > u.most:
		if u.most == 1 {
			return r.places["key"].errorf("mode %s takes one key; keys that only read are listed under keys and nowhere else", r.Mode)
		}
		return r.places["key"].errorf("more than %d keys", u.most)
	case r.AllowPlaintext != nil && r.RequireEncryption != nil && *r.AllowPlaintext && *r.RequireEncryption:
		return r.places["require-encryption"].errorf("allow-plaintext and require-encryption contradict each other")
	case r.RequireCommitment && r.Version == 2:
		return r.places["s3ec-version"].errorf("objects of version 2 have no commitment, and with s3ec-require-commitment could not be read again")
	}
	if r.Mode == S3EC && r.Version == 0 {
		r.Version = 3
	}
	return nil
}
