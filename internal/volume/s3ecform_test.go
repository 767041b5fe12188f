package volume

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// plantV1 puts an object there as the first version of AWS's client wrote it.
func plantV1(m *mem.Store, key, text string) {
	ecb := func(b cipher.Block, p []byte) []byte {
		p = pad(p)
		out := make([]byte, len(p))
		for i := 0; i < len(p); i += aes.BlockSize {
			b.Encrypt(out[i:], p[i:])
		}
		return out
	}
	data, iv := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{9}, aes.BlockSize)
	master := [32]byte{1, 1, 2}
	body := pad([]byte(text))
	cipher.NewCBCEncrypter(need(aes.NewCipher(data)), iv).CryptBlocks(body, body)
	b64 := base64.StdEncoding.EncodeToString
	m.Plant(key, mem.Object{Body: body, Info: objstore.Info{Metadata: map[string]string{
		"x-amz-key": b64(ecb(need(aes.NewCipher(master[:])), data)), "x-amz-iv": b64(iv), "x-amz-matdesc": "{}",
	}}})
}

func pad(p []byte) []byte {
	n := aes.BlockSize - len(p)%aes.BlockSize
	return append(bytes.Clone(p), bytes.Repeat([]byte{byte(n)}, n)...)
}

// TestLegacySwitches: the old formats read where they are switched on, with
// their size by the padding, and are ErrDowngrade where not.
func TestLegacySwitches(t *testing.T) {
	for _, tc := range []struct {
		name   string
		policy s3ec.Policy
		want   error
	}{
		{"Off", s3ec.Policy{}, ErrDowngrade},
		{"WrappingOnly", s3ec.Policy{LegacyWrapping: true}, ErrDowngrade},
		{"CBCOnly", s3ec.Policy{LegacyCBC: true}, ErrDowngrade},
		{"Both", s3ec.Policy{LegacyWrapping: true, LegacyCBC: true}, nil},
		{"Committing", s3ec.Policy{LegacyWrapping: true, LegacyCBC: true, RequireCommitment: true}, ErrDowngrade},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := awsBucket()
			texts := map[string]string{}
			for _, n := range []int{0, 1, 15, 16, 17, 100 << 10} {
				p := fmt.Sprint("f", n)
				texts[p] = noise(n, byte(n))
				plantV1(m, p, texts[p])
			}
			f := mount(t, m, setupOf("s3ec").with(func(r *Rule) { r.Reading = tc.policy }).on)
			for p, text := range texts {
				info := f.stat(p)
				wants(t, info.Err, tc.want)
				_, err := f.get(p)
				wants(t, err, tc.want)
				if tc.want != nil {
					continue
				}
				f.has(p, text)
				if info.Size != int64(len(text)) {
					t.Errorf("%s: size %d", p, info.Size)
				}
				file := f.open(p)
				f.must(errOf(file.Append(f.ctx, []byte("more"))))
				f.must(file.Commit(f.ctx))
				file.Release()
				f.has(p, text+"more")
				if o, _ := m.Object(p); o.Info.Metadata["x-amz-c"] != "115" || o.Info.Metadata["x-amz-key"] != "" {
					t.Errorf("%s is now %v", p, o.Info.Metadata)
				}
			}
		})
	}
}

// TestWrongMasterKey: another key is told from none, and from damage.
func TestWrongMasterKey(t *testing.T) {
	s := setupOf("s3ec")
	m := s.store()
	f := mount(t, m, s.on)
	f.put("a", "text")
	for want, ring := range map[error]s3ec.Keyring{ErrWrongKey: {aesKey(2)}, ErrNoKey: nil} {
		other := mount(t, m, s.on, func(o *Options) { o.S3ECKeys = ring })
		if info := other.stat("a"); info.Size != 4 { // which the metadata show
			t.Errorf("%+v", info)
		}
		wants(t, errOf(other.get("a")), want)
		other.must(errOf(other.SetAttr(other.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
		other.rename("a", "b")
		f.has("b", "text")
		f.rename("b", "a")
	}
}

// TestLimits: no file grows beyond what its format holds, and the error comes
// before anything is lost.
func TestLimits(t *testing.T) {
	for name, limit := range map[string]int64{"s3ec": 1<<36 - 33, "none": 5 << 40, "client": sigil.MaxSize} {
		t.Run(name, func(t *testing.T) {
			s := setupOf(name)
			f := mount(t, s.store(), s.on)
			f.put("a", "text")
			file := f.open("a")
			for _, err := range []error{
				file.Truncate(f.ctx, limit+1),
				errOf(file.WriteAt(f.ctx, []byte("xx"), limit-1)),
				file.Allocate(f.ctx, limit, 1, AllocOptions{}),
			} {
				wants(t, err, ErrTooLarge)
			}
			f.reads(file, "text")
			f.must(file.Truncate(f.ctx, limit))
			wants(t, errOf(file.Append(f.ctx, []byte("x"))), ErrTooLarge)
			f.must(file.Truncate(f.ctx, 2))
			f.must(file.Commit(f.ctx))
			file.Release()
			f.has("a", "te")
		})
	}
}

// TestS3ECOverServerSide: the server is asked too.
func TestS3ECOverServerSide(t *testing.T) {
	s := setupOf("s3ec").with(func(r *Rule) { r.Server = sse.S3() })
	f := mount(t, s.store(), s.on)
	f.put("a", "text")
	f.rename("a", "b")
	f.has("b", "text")
	if o, _ := f.mem.Object("b"); sse.S3().Confirm(o.Info.Encrypted) != nil {
		t.Errorf("%v", o.Info.Encrypted)
	}
	f.sealed("text")
}
