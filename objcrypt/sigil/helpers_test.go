package sigil

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt/section"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keystream is endless plaintext that any language can make again:
// AES-256-CTR, key SHA-256(seed), counter from zero. n is where it ends.
type keystream struct {
	seed string
	n    int64
}

func (k keystream) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	if off >= k.n {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), k.n-off)]
	key := sha256.Sum256([]byte(k.seed))
	block, _ := aes.NewCipher(key[:])
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[8:], uint64(off/aes.BlockSize))
	stream := cipher.NewCTR(block, iv[:])
	var skip [aes.BlockSize]byte
	stream.XORKeyStream(skip[:off%aes.BlockSize], skip[:off%aes.BlockSize])
	clear(want)
	stream.XORKeyStream(want, want)
	if len(want) < len(p) {
		return len(want), io.EOF
	}
	return len(want), nil
}

func (k keystream) bytes(t testing.TB) []byte {
	t.Helper()
	p := make([]byte, k.n)
	if n, err := k.ReadAt(t.Context(), p, 0); int64(n) != k.n && err != nil {
		t.Fatal(err)
	}
	return p
}

// thin is a keystream of which some frames compress to about a half, and none of
// the others does.
type thin struct{ keystream }

func (s thin) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := s.keystream.ReadAt(ctx, p, off)
	for i := range p[:n] {
		if at := off + int64(i); at/FrameSize%5 != 3 && at%64 >= 32 {
			p[i] = ' '
		}
	}
	return n, err
}

func (s thin) bytes(t testing.TB) []byte {
	t.Helper()
	p := make([]byte, s.n)
	if n, err := s.ReadAt(t.Context(), p, 0); int64(n) != s.n && err != nil {
		t.Fatal(err)
	}
	return p
}

func testCompressor(t tb) *Compressor {
	t.Helper()
	c, err := NewCompressor(MinLevel)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sourceFunc is a source made of a function.
type sourceFunc func(ctx context.Context, p []byte, off int64) (int, error)

func (f sourceFunc) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	return f(ctx, p, off)
}

func testEpoch(name string) Epoch {
	id, key := sha256.Sum256([]byte(name+" id")), sha256.Sum256([]byte(name+" key"))
	return Epoch{ID: EpochID(id[:16]), Key: key}
}

const testKey = "home/user/report.txt"

// file is the record of a regular file.
func file() *Record {
	return &Record{
		Attr:    Attr{Mode: 0o100640, UID: 1000, GID: 100, Mtime: 1_700_000_000_123_456_789, Ctime: 1_700_000_001_000_000_000},
		Version: 1_700_000_002_000_000_000, Nlink: 1, FileID: 0x1234_5678_9abc_def0,
	}
}

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

var (
	_ tb = (*testing.T)(nil)
	_ tb = (*rapid.T)(nil)
	_ tb = (*testing.F)(nil)
)

// object is a sealed one in memory.
type object struct {
	key    string
	header Header
	body   []byte
}

// sealed makes an object of src under the epoch "test", in layout 0.
func sealed(t tb, rec *Record, src ReaderAt, n int64) object {
	t.Helper()
	return sealedBy(t, nil, rec, src, n)
}

func sealedBy(t tb, c *Compressor, rec *Record, src ReaderAt, n int64) object {
	t.Helper()
	b, err := NewBody(context.Background(), rec, c, src, n)
	if err != nil {
		t.Fatal(err)
	}
	return finish(t, rec, readAll(t, b.Section(context.Background(), 0, b.Size())))
}

func finish(t tb, rec *Record, body []byte) object {
	t.Helper()
	h, err := rec.Seal(testEpoch("test"), testKey)
	if err != nil {
		t.Fatal(err)
	}
	return object{key: testKey, header: h, body: body}
}

func readAll(t tb, s *section.Section) []byte {
	t.Helper()
	p := make([]byte, s.Size())
	if _, err := io.ReadFull(s, p); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("read after the end: %d, %v", n, err)
	}
	return p
}

// reader opens the object as a stranger does: from metadata and body alone.
func (o object) reader(t tb) (*Record, *Reader) {
	t.Helper()
	h, err := ParseHeader(o.header.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	rec, err := h.Open(testEpoch("test"), o.key)
	if err != nil {
		t.Fatal(err)
	}
	if h.Layout == layoutFrames {
		late, size, err := OpenSuffix(rec, h, o.body[max(0, len(o.body)-TailReadSize):], int64(len(o.body)))
		if err != nil {
			t.Fatal(err)
		}
		rec.Settle(late, size)
	}
	r, err := NewReader(rec, h, Bytes(o.body), int64(len(o.body)), NewFrames())
	if err != nil {
		t.Fatal(err)
	}
	return rec, r
}

// content reads everything.
func content(ctx context.Context, r *Reader) ([]byte, error) {
	p := make([]byte, r.Size()+1)
	n, err := r.ReadAt(ctx, p, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return p[:n], err
}
