package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/keymemory"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// openPolicy makes of each rule what the volume writes by.
func (m *mounting) openPolicy(ctx context.Context) error {
	for _, r := range m.rules {
		v, err := m.volumeRule(ctx, r)
		if err != nil {
			return err
		}
		m.policy = append(m.policy, v)
	}
	if m.state != nil && hasCustomerKeys(m.set.policy) {
		m.openMemory(m.state.CustomerKeys())
	}
	return nil
}

// openMemory opens what is remembered of SSE-C keys. Where that cannot be kept
// they are asked for again at the next mount, which costs requests only.
func (m *mounting) openMemory(path string) {
	var err error
	if m.memory, err = keymemory.Open(path); err != nil {
		m.log.WithError(err).Warn("which object has which sse-c key is not remembered between mounts")
	}
}

func (m *mounting) volumeRule(ctx context.Context, r rule) (volume.Rule, error) {
	prefix, err := m.storedRule(r)
	if err != nil {
		return volume.Rule{}, mountError("%s: %w", r.At, err)
	}
	v := volume.Rule{
		Prefix: prefix, Mode: string(r.Mode),
		AllowPlaintext: r.allowPlaintext, RequireEncryption: r.requireEncryption,
		Reading:      s3ec.Policy{RequireCommitment: r.RequireCommitment, LegacyWrapping: r.LegacyWrapping, LegacyCBC: r.LegacyCBC},
		Instructions: r.InstructionFiles, StorageClass: r.StorageClass,
	}
	if m.hides {
		v.Clear = m.set.target.Prefix + r.Prefix
	}
	if s := m.set; s.anyMode {
		v.AllowPlaintext, v.RequireEncryption, v.Reading.RequireCommitment = true, false, false
		v.Reading.LegacyWrapping = v.Reading.LegacyWrapping || s.readOldWraps
		v.Reading.LegacyCBC = v.Reading.LegacyCBC || s.readCBC
	}
	v.Instructions = v.Instructions || m.set.readInstructions
	switch r.Mode {
	case config.Client:
		v.Keys, err = m.clientKeys(r)
		if err == nil {
			v.Compress, err = m.packer(r.packed)
		}
	case config.S3EC:
		v.S3EC, err = m.s3ecWriter(r)
	case config.BucketDefault:
		v.Server, err = m.bucketDefault(ctx)
		v.Assumed = true
	}
	if err == nil && r.Mode != config.BucketDefault {
		v.Server, err = r.asked()
	}
	if err != nil {
		return v, mountError("%s: %w", r.At, err)
	}
	return v, nil
}

// packer compresses at a level: one for all rules that have it, whose memory is
// bounded together; nil for none.
func (m *mounting) packer(level config.Compression) (*sigil.Compressor, error) {
	if level == 0 || m.packers[level] != nil {
		return m.packers[level], nil
	}
	c, err := sigil.NewCompressor(int(level))
	if err != nil {
		return nil, err
	}
	if m.packers == nil {
		m.packers = map[config.Compression]*sigil.Compressor{}
	}
	m.packers[level] = c
	return c, nil
}

func first(keys []*key) *key {
	if len(keys) == 0 {
		return nil
	}
	return keys[0]
}

// clientKeys is the key set of a rule.
func (m *mounting) clientKeys(r rule) (volume.KeySet, error) {
	set, err := m.setOf(r)
	if err != nil {
		return nil, err
	}
	return keySet{set}, nil
}

// s3ecWriter is the key of a rule that writes; a key that only reads gives
// none, and then nothing is written. Under an encryption context of the rule's
// own it is a key by itself, which reads too.
func (m *mounting) s3ecWriter(r rule) (*volume.S3EC, error) {
	k := first(r.keys)
	if k == nil {
		return nil, errors.New("mode s3ec needs a key")
	}
	w := &volume.S3EC{Format: s3ec.FormatV3}
	if r.Version == 2 {
		w.Format = s3ec.FormatV2
	}
	if r.Context == nil {
		w.Key, _ = k.s3ec.(s3ec.Sealer)
		return w, nil
	}
	made, err := m.s3ecKMS(k, r.Context)
	if err != nil {
		return nil, err
	}
	m.contexts = append(m.contexts, made)
	w.Key = made
	return w, nil
}

// serverMode is what S3 is asked for; nil where it is asked for nothing.
func serverMode(mode config.Mode, k *key, context map[string]string, bucketKey *bool) (*sse.Mode, error) {
	id := ""
	if k != nil {
		id = k.ID
	}
	switch mode {
	case config.SSES3:
		return sse.S3(), nil
	case config.SSEKMS:
		return sse.KMS(id, context, bucketKey)
	case config.DSSEKMS:
		return sse.DSSE(id, context)
	case config.SSEC:
		if k == nil {
			return nil, errors.New("mode sse-c needs a key")
		}
		return sse.Customer(k.customer)
	}
	return nil, nil
}

// bucketDefault asks what the bucket does by itself. One that encrypts nothing
// by default is refused: that is mode none.
func (m *mounting) bucketDefault(ctx context.Context) (*sse.Mode, error) {
	got, err := m.store.DefaultEncryption(ctx)
	switch {
	case errors.Is(err, objstore.ErrAccess) || errors.Is(err, objstore.ErrUnsupported):
		return nil, fmt.Errorf("what the bucket encrypts by default is not known, so nothing could be held against it: %w (grant s3:GetEncryptionConfiguration, or name a mode)", err)
	case err != nil:
		return nil, explainStore(m.set.target.Spec, err)
	}
	mode, err := sse.Of(got.Encrypted).Again()
	if err != nil {
		return nil, err
	}
	if mode == nil {
		return nil, errors.New("the bucket has no default encryption; name a mode, such as sse-s3")
	}
	return mode, nil
}

// asked is what the rule asks of S3, nil for nothing.
func (r rule) asked() (*sse.Mode, error) {
	if r.sse != nil {
		return serverMode(r.sse.Mode, r.sse.key, r.sse.context, r.sse.BucketKey)
	}
	return serverMode(r.Mode, first(r.keys), r.context, r.BucketKey)
}

// root is the rule without a prefix.
func (m *mounting) root() rule { return m.rules[len(m.rules)-1] }

// rootEncryption is what S3 is asked to do with objects of the root: a bucket
// may take nothing without. Nil is nothing.
func (m *mounting) rootEncryption() (*objstore.Encryption, error) {
	mode, err := m.root().asked()
	if err != nil {
		return nil, mountError("%s: %w", m.root().At, err)
	}
	return encryption(mode), nil
}

func encryption(mode *sse.Mode) *objstore.Encryption {
	if mode == nil {
		return nil
	}
	return &objstore.Encryption{Write: mode.Write(), Read: mode.Read(), Source: mode.Source()}
}

// beneath is what S3 is asked to do with epochs: as with other objects of the
// root, but not SSE-C. They are wrapped and authenticated as they are, and must
// be read where those keys are gone.
func (m *mounting) beneath() (*objstore.Encryption, error) {
	if r := m.root(); r.Mode == config.SSEC || r.sse != nil && r.sse.Mode == config.SSEC {
		return nil, nil
	}
	return m.rootEncryption()
}

// customers are all keys of SSE-C, to read with.
func (m *mounting) customers() ([]*sse.Mode, error) {
	var all []*sse.Mode
	for _, k := range m.opened {
		if k.customer.IsZero() {
			continue
		}
		mode, err := sse.Customer(k.customer)
		if err != nil {
			return nil, err
		}
		all = append(all, mode)
	}
	return all, nil
}

// s3ecKeys are all keys that open objects of the S3 Encryption Client.
func (m *mounting) s3ecKeys() s3ec.Keyring {
	all := slices.Clone(m.contexts)
	for _, k := range m.opened {
		if k.s3ec != nil {
			all = append(all, k.s3ec)
		}
	}
	return all
}

// probeEncryption sees before the mount whether the server does what each rule
// asks of it: one that ignores the request would store everything in the clear.
func (m *mounting) probeEncryption(ctx context.Context) error {
	if m.set.readOnly {
		return nil
	}
	for _, i := range distinct(m.policy) {
		if err := m.probeMode(ctx, m.policy[i]); err != nil {
			return explainMode(m.rules[i], err)
		}
	}
	return nil
}

// ofMode tells the errors of a probe that are about the encryption asked for.
func ofMode(err error) bool {
	return slices.ContainsFunc([]error{
		objstore.ErrKeyAccess, objstore.ErrKeyMissing, objstore.ErrKeyDisabled, objstore.ErrKeyBlocked, objstore.ErrUnsupported, objstore.ErrInvalid,
	}, func(is error) bool { return errors.Is(err, is) })
}

// distinct gives the places of the rules that ask the server for something, one
// of all that send the same.
func distinct(rules []volume.Rule) []int {
	var places []int
	for i, r := range rules {
		same := func(at int) bool {
			return rules[at].Assumed == r.Assumed && maps.Equal(rules[at].Server.Write(), r.Server.Write())
		}
		if r.Server != nil && !slices.ContainsFunc(places, same) {
			places = append(places, i)
		}
	}
	return places
}

func (m *mounting) probeMode(ctx context.Context, r volume.Rule) error {
	var enc *objstore.Encryption
	if !r.Assumed {
		enc = encryption(r.Server)
	}
	confirm := func(h objstore.Header) error { return r.Server.Confirm(h) }
	got, err := objstore.ProbeEncryption(ctx, m.store, m.set.volumeRoot+".sigil/doctor/", enc, confirm)
	switch {
	case err != nil:
		return err
	case got.Copy == objstore.Unconfirmed:
		return errors.New("the server takes the encryption away when an object is copied onto itself, so every chmod and rename would; nothing is mounted")
	case got.Upload == objstore.Unconfirmed:
		return errors.New("the server does not encrypt what is uploaded in parts, so every large file would lie there in the clear; nothing is mounted")
	}
	return nil
}
