package s3ec

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt/section"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a body or a plaintext.
type memory []byte

func (m memory) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if off >= int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(p, m[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// fakeKMS is the one of testdata/README.md: its master keys follow from their
// ARNs.
type fakeKMS struct {
	mu       sync.Mutex // guards contexts
	contexts []map[string]string
}

var (
	errKMSInvalid = errors.New("InvalidCiphertextException")
	errKMSKey     = errors.New("IncorrectKeyException")
)

func kmsAEAD(arn string) cipher.AEAD {
	master := sha256.Sum256([]byte("s3ec-test fake KMS master key v1|" + arn))
	return newGCM(newAES(master[:]))
}

func kmsAAD(c map[string]string) []byte {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(c)) {
		fmt.Fprintf(&b, "%d:%s=%d:%s;", len(k), k, len(c[k]), c[k])
	}
	return []byte(b.String())
}

func (f *fakeKMS) GenerateDataKey(_ context.Context, arn string, c map[string]string) (key [32]byte, blob []byte, err error) {
	f.mu.Lock()
	f.contexts = append(f.contexts, c)
	f.mu.Unlock()
	_, _ = rand.Read(key[:])
	return key, kmsSeal(arn, key[:], c), nil
}

func (f *fakeKMS) Encrypt(_ context.Context, arn string, key *[32]byte, c map[string]string) ([]byte, error) {
	return kmsSeal(arn, key[:], c), nil
}

func kmsSeal(arn string, key []byte, c map[string]string) []byte {
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce)
	blob := binary.BigEndian.AppendUint16([]byte("FK01"), uint16(len(arn)))
	blob = append(append(blob, arn...), nonce...)
	return kmsAEAD(arn).Seal(blob, nonce, key, kmsAAD(c))
}

func (f *fakeKMS) Decrypt(_ context.Context, arn string, blob []byte, c map[string]string) (key [32]byte, err error) {
	rest, ok := bytes.CutPrefix(blob, []byte("FK01"))
	if !ok || len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest))+nonceSize {
		return key, errKMSInvalid
	}
	n := int(binary.BigEndian.Uint16(rest))
	of, rest := string(rest[2:2+n]), rest[2+n:]
	plain, err := kmsAEAD(of).Open(nil, rest[:nonceSize], rest[nonceSize:], kmsAAD(c))
	switch {
	case err != nil || len(plain) != 32:
		return key, errKMSInvalid
	case of != arn:
		return key, errKMSKey
	}
	return [32]byte(plain), nil
}

const testARN = "arn:aws:kms:eu-central-1:111122223333:key/test"

// kmsKey is a key of the fake KMS.
func kmsKey(t testing.TB, arn string, c map[string]string) *KMSKey {
	t.Helper()
	k, err := NewKMSKey(new(fakeKMS), arn, c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func aesKey(t testing.TB, b byte) *AESKey {
	t.Helper()
	k, err := NewAESKey([32]byte{b}, map[string]string{"key-name": "test"})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// random bytes, the same for the same size.
func plaintext(n int) memory {
	b := make([]byte, n)
	iv := make([]byte, blockSize)
	cipher.NewCTR(newAES(make([]byte, keySize)), iv).XORKeyStream(b, b)
	return b
}

func readAll(t testing.TB, s *section.Section) memory {
	t.Helper()
	b, err := io.ReadAll(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stored is an object as it lies in a bucket.
type stored struct {
	md   Metadata
	file []byte
	body memory
}

func write(t testing.TB, key Sealer, f Format, plain memory) stored {
	t.Helper()
	b, err := NewBody(t.Context(), key, f, plain, int64(len(plain)))
	if err != nil {
		t.Fatal(err)
	}
	return stored{md: b.Metadata(), body: readAll(t, b.Section(t.Context(), 0, b.Size()))}
}

func (s stored) open(ctx context.Context, ring Keyring, p Policy) (*Reader, error) {
	e, err := Parse(s.md, s.file)
	if err != nil {
		return nil, err
	}
	return Open(ctx, e, ring, p, s.body, int64(len(s.body)))
}

func (s stored) plain(ctx context.Context, ring Keyring, p Policy) ([]byte, error) {
	r, err := s.open(ctx, ring, p)
	if err != nil {
		return nil, err
	}
	return readPlain(ctx, r)
}

// readPlain reads a whole plaintext, in pieces that fit nothing.
func readPlain(ctx context.Context, r *Reader) ([]byte, error) {
	all := make([]byte, 0, r.Size())
	p := make([]byte, 100_003)
	for {
		n, err := r.ReadAt(ctx, p, int64(len(all)))
		all = append(all, p[:n]...)
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
	}
}
