package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/sigilfs/sigilfs/internal/config"
)

// policyFlags are the flags that make rules and keys.
type policyFlags struct {
	encryption     []string // rules
	keys, alsoKeys []string // sources, the first perhaps with names

	sse, sseKeyID, sseKeySource string // what is asked of the server
}

// settlePolicy puts the flags' rules and keys above those of the file.
func (s *settings) settlePolicy() error {
	s.flags.encryption = slices.DeleteFunc(s.flags.encryption, func(text string) bool { return strings.Trim(text, ",") == "" })
	if len(s.policy.Rules) == 0 && len(s.flags.encryption) == 0 && !s.flags.asksServer() {
		if !s.unstatedAllowed {
			return s.noEncryption()
		}
		s.unstated, s.flags.encryption = true, []string{string(config.None)}
	}
	keys, rules, err := s.flags.parse(s.policy.Root() == nil)
	if err != nil {
		return s.explainPolicy(err)
	}
	s.policy.Put(keys, rules)
	if err := s.flags.askServer(&s.policy, keys); err != nil {
		return s.explainPolicy(err)
	}
	if err := s.policy.Settle(); err != nil {
		return s.explainPolicy(err)
	}
	if s.compress != 0 && !slices.ContainsFunc(s.policy.Rules, func(r config.Rule) bool { return r.Mode == config.Client }) {
		return s.wrong("compress", "is for what this host encrypts in the sigil format, and no rule is of mode client")
	}
	if s.allowPlaintext && s.requireEncryption && s.allowGiven == s.requireGiven {
		return s.wrong("require-encryption", "and allow-plaintext contradict each other")
	}
	return s.checkWriters()
}

// checkWriters finds rules by which nothing can be written, where something is
// to be: their only key reads, or S3 would not give their encryption context
// back as it was.
func (s *settings) checkWriters() error {
	for _, r := range s.policy.Rules {
		if len(r.Keys) == 0 || s.readOnly {
			continue
		}
		if k, _ := s.policy.Key(r.Keys[0]); k.Kind == config.RSA {
			return usageError("%s: an rsa key only reads: give mode s3ec a kms or aes key to write with and list this one under keys, or mount --read-only", r.At)
		} else if r.Mode == config.S3EC && !asciiContext(contextOf(r.Context, []*key{{Key: *k}})) {
			return usageError("%s: the encryption context has more than printable ASCII, which S3 does not give back as it was in the metadata of mode s3ec; change it, or mount --read-only", r.At)
		}
	}
	return nil
}

func asciiContext(context map[string]string) bool {
	odd := func(c rune) bool { return c < ' ' || c > '~' }
	for name, value := range context {
		if strings.ContainsFunc(name+value, odd) {
			return false
		}
	}
	return true
}

// noEncryption is the message to who did not say a mode.
func (s *settings) noEncryption() error {
	if s.source != s.target.Spec {
		return usageError("%s: encryption is missing, and nothing is mounted without saying how it is encrypted; write\n    encryption:\n      - {mode: client, key: NAME}", s.source)
	}
	return usageError(`--encryption is missing, and nothing is mounted without saying how it is encrypted; the two shortest ways on:
    sigilfs keygen -o main.key
    sigilfs mount --encryption client --key file:main.key %[1]s %[2]s -f
or, on a host that may write but not read, with the recipient of somebody's age key:
    sigilfs mount --encryption client --key age:RECIPIENT %[1]s %[2]s -f`, s.source, s.dir)
}

// explainPolicy is an error of the configuration in one sentence, with what
// was perhaps meant.
func (s *settings) explainPolicy(err error) error {
	var unknownName *config.UnknownError
	if errors.As(err, &unknownName) && unknownName.Name != "" {
		return usageError("%s: %s", unknownName.At, unknown("field", unknownName.Name, unknownName.Known, laterFlags()))
	}
	return usageError("%w", err)
}

// rulePart is a rule of --encryption that is not made yet.
type rulePart struct {
	prefix, mode string
	options      []config.Option
}

func (r *rulePart) add(name, value string) {
	r.options = append(r.options, config.Option{Name: name, Value: value, HasValue: true})
}

func (r *rulePart) has(name string) bool {
	return slices.ContainsFunc(r.options, func(o config.Option) bool { return o.Name == name })
}

// parseRule takes [PREFIX/=]MODE[,NAME[=VALUE]…] apart.
func parseRule(text string) (rulePart, error) {
	items, err := option.Items(text)
	if err != nil || len(items) == 0 {
		return rulePart{}, errors.Join(errors.New("[PREFIX/=]MODE[,NAME=VALUE…] is expected"), err)
	}
	head := items[0].Name
	if items[0].HasValue {
		head += "=" + items[0].Value
	}
	var r rulePart
	if i := strings.LastIndexByte(head, '='); i >= 0 {
		r.prefix, head = head[:i], head[i+1:]
	}
	r.mode = head
	for _, item := range items[1:] {
		item.Name = option.Canonical(item.Name)
		r.options = append(r.options, config.Option(item))
	}
	return r, nil
}

// parse makes keys and rules of the flags. Keys without a name belong to the
// rule without a prefix; alone: no file gives that one.
func (p policyFlags) parse(alone bool) ([]config.Key, []config.Rule, error) {
	at := config.Place{Name: "--encryption"}
	var parts []*rulePart
	var root *rulePart
	for _, text := range p.encryption {
		r, err := parseRule(text)
		if err != nil {
			return nil, nil, fmt.Errorf("--encryption: %w", err)
		}
		parts = append(parts, &r)
		if r.prefix == "" {
			root = &r
		}
	}
	server, err := p.serverKey()
	if err != nil {
		return nil, nil, err
	}
	if mode := sseMode(p.sse); root == nil && alone && mode != "" {
		root = &rulePart{mode: string(mode)}
		parts = append(parts, root)
	}
	if root != nil && root.mode == string(sseMode(p.sse)) && len(server) > 0 && !root.has("key") {
		root.add("key", server[0].Name)
	}
	keys, err := p.parseKeys(root)
	if err != nil {
		return nil, nil, err
	}
	var rules []config.Rule
	for _, part := range parts {
		r, err := config.RuleFlag(at, part.prefix, part.mode, part.options)
		if err != nil {
			return nil, nil, err
		}
		rules = append(rules, r)
	}
	return append(keys, server...), rules, nil
}

// parseKeys reads --key and --also-key, and gives root, which may be nil, those
// without a name.
func (p policyFlags) parseKeys(root *rulePart) ([]config.Key, error) {
	var named, plain, also []config.Key
	for _, text := range p.keys {
		name, source := config.SplitKey(text)
		at, list := config.Place{Name: "--key"}, &named
		if name == "" {
			list = &plain
			name = fmt.Sprintf("--key %d", len(plain)+1)
		} else if err := config.CheckName(at, name); err != nil {
			return nil, err
		}
		k, err := config.KeyFlag(at, name, source)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(*list, func(have config.Key) bool { return have.Name == name }) {
			return nil, errors.New("--key: two keys have one name")
		}
		*list = append(*list, k)
	}
	for i, source := range p.alsoKeys {
		k, err := config.KeyFlag(config.Place{Name: "--also-key"}, fmt.Sprintf("--also-key %d", i+1), source)
		if err != nil {
			return nil, err
		}
		also = append(also, k)
	}
	if root == nil && sseMode(p.sse) == config.SSEC && !slices.ContainsFunc(plain, notCustomer) {
		return slices.Concat(named, plain, also), giveKeys(nil, nil, also) // load_sse_c: they read
	}
	return slices.Concat(named, plain, also), giveKeys(root, plain, also)
}

func notCustomer(k config.Key) bool { return k.Kind != config.SSE }

// giveKeys names keys that have no name in the rule they belong to.
func giveKeys(root *rulePart, plain, also []config.Key) error {
	switch {
	case root == nil && len(plain) > 0:
		return errors.New("--key without a name goes with --encryption MODE; write --key NAME=SOURCE to add the key NAME, or to replace it")
	case len(also) > 0 && (root == nil || root.mode != string(config.Client)):
		return errors.New("--also-key goes with --encryption client")
	case root == nil:
		return nil
	}
	mode := config.Mode(root.mode)
	if i := writer(mode, plain); i >= 0 && !root.has("key") {
		root.add("key", plain[i].Name)
	}
	if needs := mode == config.Client || mode == config.S3EC || mode == config.SSEC; needs && !root.has("key") {
		return needsKey(mode)
	}
	for _, k := range also {
		root.add("key", k.Name)
	}
	return nil
}

// writer chooses the key that mode writes with: the first that it takes, else
// the first that could be meant for it, to be refused. Keys of SSE-C and RSA
// beside another mode are for reading; a mode without keys has none to choose.
func writer(mode config.Mode, keys []config.Key) int {
	if i := slices.IndexFunc(keys, func(k config.Key) bool { return mode.Takes(k.Kind) }); i >= 0 || !mode.HasKeys() {
		return i
	}
	return slices.IndexFunc(keys, func(k config.Key) bool { return k.Kind != config.SSE && k.Kind != config.RSA })
}

func needsKey(mode config.Mode) error {
	how := "such as --key file:main.key; sigilfs keygen -o main.key makes one"
	if mode == config.SSEC {
		how = "such as --key file:cust.key; sigilfs keygen --kind ssec -o cust.key makes one"
	}
	return fmt.Errorf("--encryption %s needs --key, %s", mode, how)
}
