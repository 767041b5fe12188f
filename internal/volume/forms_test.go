package volume

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// setup is a policy, and a bucket that it is for.
type setup struct {
	name   string
	bucket func() *mem.Store
	rules  []Rule
	tweak  tweak
	tick   func() // between the turns of two hosts; nil is nothing
}

// on mounts that policy; nil is the fixture's own, mode client.
func (s *setup) on(o *Options) {
	if s == nil {
		return
	}
	if s.rules != nil {
		o.Rules = s.rules
	}
	if s.tweak != nil {
		s.tweak(o)
	}
}

func (s *setup) store() *mem.Store {
	if s == nil || s.bucket == nil {
		return bucket()
	}
	return s.bucket()
}

// with gives a copy of a setup with a rule changed.
func (s setup) with(change func(*Rule)) *setup {
	rules := append([]Rule(nil), s.rules...)
	change(&rules[0])
	s.rules = rules
	return &s
}

const kmsKey, kmsOther = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"

// minioBucket says nothing of encryption in the answers to Copy and Complete.
func minioBucket() *mem.Store { return kmsBucket(mem.Options{SilentCopies: true}) }

func awsBucket() *mem.Store { return kmsBucket(mem.Options{}) }

func kmsBucket(o mem.Options) *mem.Store {
	m := mem.New(o)
	m.SetKey(kmsKey, mem.KeyEnabled)
	m.SetKey(kmsOther, mem.KeyEnabled)
	m.SetAlias("alias/backup", kmsKey)
	return m
}

// ssecMode is that of a key of one letter.
func ssecMode(letter byte) *sse.Mode {
	key, err := sse.NewCustomerKey(bytes.Repeat([]byte{letter}, sse.KeyLen))
	if err != nil {
		panic(err)
	}
	return need(sse.Customer(key))
}

func need[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}

func aesKey(n byte) *s3ec.AESKey { return need(s3ec.NewAESKey([32]byte{n, 1, 2}, nil)) }

// fakeKMS wraps data keys by writing the key's name and the context before them.
type fakeKMS struct {
	calls int
	fail  error // of Decrypt
}

func kmsBlob(keyID string, context map[string]string) string {
	return keyID + "|" + context["aws:x-amz-cek-alg"] + "|" + context["team"] + "|"
}

func (k *fakeKMS) GenerateDataKey(_ context.Context, keyID string, c map[string]string) (plain [32]byte, blob []byte, err error) {
	k.calls++
	_, _ = rand.Read(plain[:])
	return plain, append([]byte(kmsBlob(keyID, c)), plain[:]...), nil
}

func (k *fakeKMS) Encrypt(_ context.Context, keyID string, plain *[32]byte, c map[string]string) ([]byte, error) {
	k.calls++
	return append([]byte(kmsBlob(keyID, c)), plain[:]...), nil
}

func (k *fakeKMS) Decrypt(_ context.Context, keyID string, blob []byte, c map[string]string) (plain [32]byte, err error) {
	k.calls++
	if k.fail != nil {
		return plain, k.fail
	}
	head := kmsBlob(keyID, c)
	if !bytes.HasPrefix(blob, []byte(head)) || len(blob) != len(head)+32 {
		return plain, errors.New("InvalidCiphertextException")
	}
	copy(plain[:], blob[len(head):])
	return plain, nil
}

func fakeKMSKey() *s3ec.KMSKey {
	return need(s3ec.NewKMSKey(&fakeKMS{}, "alias/main", map[string]string{"team": "backup"}))
}

func s3ecSetup(name string, key s3ec.Sealer, format s3ec.Format) setup {
	return setup{
		name: name, bucket: awsBucket,
		rules: []Rule{{Mode: "s3ec", S3EC: &S3EC{Key: key, Format: format}}},
		tweak: func(o *Options) { o.S3ECKeys = s3ec.Keyring{key} },
	}
}

func serverSetup(name string, mode *sse.Mode, assumed bool) setup {
	return setup{name: name, bucket: awsBucket, rules: []Rule{{Mode: name, Server: mode, Assumed: assumed}}}
}

// setups are one of each mode.
func setups() []setup {
	context := map[string]string{"team": "backup"}
	yes := true
	k := &fakeKeys{}
	k.epochs = append(k.epochs, epoch(1))
	return []setup{
		{name: "none", rules: []Rule{{Mode: "none"}}},
		{name: "bucket-default", bucket: func() *mem.Store {
			return kmsBucket(mem.Options{DefaultEncryption: objstore.Header(sse.S3().Write())})
		}, rules: []Rule{{Mode: "bucket-default", Server: sse.S3(), Assumed: true}}},
		serverSetup("sse-s3", sse.S3(), false),
		serverSetup("sse-kms", need(sse.KMS("", nil, nil)), false),
		serverSetup("sse-kms-customer", need(sse.KMS("alias/backup", context, &yes)), false),
		serverSetup("dsse-kms", need(sse.DSSE(kmsKey, context)), false),
		serverSetup("sse-c", ssecMode('a'), false),
		s3ecSetup("s3ec", aesKey(1), s3ec.FormatV3),
		s3ecSetup("s3ec-v2", aesKey(1), s3ec.FormatV2),
		s3ecSetup("s3ec-kms", fakeKMSKey(), s3ec.FormatV3),
		{name: "client", rules: []Rule{{Mode: "client", Keys: k}}, tweak: func(o *Options) { o.Keys = k }},
		{name: "client-zstd", rules: []Rule{{Mode: "client", Keys: k, Compress: need(sigil.NewCompressor(sigil.MinLevel))}}, tweak: func(o *Options) { o.Keys = k }},
		{name: "client-sse", bucket: awsBucket, rules: []Rule{{Mode: "client", Keys: k, Server: sse.S3()}}, tweak: func(o *Options) { o.Keys = k }},
	}
}

// setupOf finds one by name; its bucket is silent about copies where silent is
// said.
func setupOf(name string) setup {
	name, silent := strings.CutSuffix(name, " silent")
	for _, s := range setups() {
		if s.name == name {
			if silent {
				s.bucket = minioBucket
				s.name += "-silent"
			}
			return s
		}
	}
	panic(name)
}

// inSetups runs a test under each of the setups that differ most.
func inSetups(t *testing.T, test func(*testing.T, *setup)) {
	t.Helper()
	for _, name := range []string{"client", "none", "sse-kms silent", "sse-c", "s3ec"} {
		s := setupOf(name)
		t.Run(s.name, func(t *testing.T) { test(t, &s) })
	}
}

// TestRoundTrip: every mode keeps content and attributes, and the object is what
// the mode says by the server's own word.
func TestRoundTrip(t *testing.T) {
	for _, s := range setups() {
		t.Run(s.name, func(t *testing.T) {
			f := mount(t, s.store(), s.on, inParts)
			f.mkdir("d")
			texts := map[string]string{"d/empty": "", "d/small": "small text", "d/big": noise(sigil.SegmentSize+1000, 1)}
			for p, text := range texts {
				f.put(p, text)
			}
			f.must(errOf(f.Symlink(f.ctx, "d/link", "small", Attr{})))
			for _, p := range []string{"d/small", "d"} {
				f.must(errOf(f.SetAttr(f.ctx, p, Change{Mode: ptr[uint32](0o711), Mtime: ptr[int64](1e18 + 7), Xattrs: map[string][]byte{"user.x": {0, 255}}})))
			}
			again := mount(t, f.mem, s.on, host("there"))
			for p, text := range texts {
				again.has(p, text)
				if got := again.stat(p); got.Size != int64(len(text)) || got.Err != nil {
					t.Errorf("%s: %+v", p, got)
				}
			}
			for _, p := range []string{"d/small", "d"} {
				if got := again.stat(p); got.Mode&0o7777 != 0o711 || got.Mtime != 1e18+7 || string(got.Xattrs["user.x"]) != "\x00\xff" {
					t.Errorf("%s: %+v", p, got)
				}
			}
			target, err := again.Readlink(f.ctx, "d/link")
			f.must(err)
			if target != "small" {
				t.Errorf("link to %q", target)
			}
			again.lists("d", "big", "empty", "link", "small")
			if s.rules[0].Keys != nil || s.rules[0].S3EC != nil {
				f.sealed("small text")
			}
			for key, o := range f.mem.Snapshot() {
				if mode := s.rules[0].Server; mode.Confirm(o.Info.Encrypted) != nil {
					t.Errorf("%s: %v", key, o.Info.Encrypted)
				}
			}
			f.noLeftovers()
		})
	}
}
