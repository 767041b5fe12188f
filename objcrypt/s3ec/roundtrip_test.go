package s3ec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
	"pgregory.net/rapid"
)

// checkRange reads one range of a plaintext.
func checkRange(t *rapid.T, r *Reader, plain []byte) {
	off := rapid.IntRange(0, len(plain)+20).Draw(t, "off")
	p := make([]byte, rapid.IntRange(0, len(plain)+20).Draw(t, "len"))
	n, err := r.ReadAt(t.Context(), p, int64(off))
	want := plain[min(off, len(plain)):min(off+len(p), len(plain))]
	if !bytes.Equal(p[:n], want) {
		t.Fatalf("%d bytes at %d are others", len(p), off)
	}
	if (n < len(p)) != errors.Is(err, io.EOF) || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("%d of %d bytes: %v", n, len(p), err)
	}
}

// TestRoundTrip writes what it reads: both formats, both kinds of key, sizes
// around every boundary, sections and ranges anywhere.
func TestRoundTrip(t *testing.T) {
	all := plaintext(3*windowSize + 64)
	keys := []Sealer{kmsKey(t, testARN, map[string]string{"team": "=?UTF-8?q?<&>?=", "": "\"\\"}), aesKey(t, 1)}
	rapid.Check(t, func(t *rapid.T) {
		plain := all[:anySize(t)]
		key := rapid.SampledFrom(keys).Draw(t, "key")
		f := rapid.SampledFrom([]Format{FormatV3, FormatV2}).Draw(t, "format")
		b, err := NewBody(t.Context(), key, f, plain, int64(len(plain)))
		if err != nil {
			t.Fatal(err)
		}
		if b.PlainSize() != int64(len(plain)) || b.Size() != int64(len(plain))+TagSize {
			t.Fatalf("%d, %d", b.PlainSize(), b.Size())
		}
		s := stored{md: b.Metadata(), body: inParts(t, b)}
		if rapid.Bool().Draw(t, "instruction file") {
			s.md, s.file = b.Instruction()
		}
		e, err := Parse(s.md, s.file)
		if err != nil {
			t.Fatal(err)
		}
		if e.Committing() != (f == FormatV3) || e.String() != b.Envelope().String() {
			t.Fatalf("%s, not %s", e, b.Envelope())
		}
		r, err := s.open(t.Context(), Keyring{keys[0], keys[1]}, Policy{RequireCommitment: f == FormatV3})
		if err != nil {
			t.Fatal(err)
		}
		checkRange(t, r, plain)
		got, err := readPlain(t.Context(), r)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
}

// inParts reads a body in sections, each in two ways.
func inParts(t *rapid.T, b *Body) memory {
	whole := make(memory, 0, b.Size())
	for off := int64(0); off < b.Size(); {
		n := min(rapid.Int64Range(1, 2*windowSize).Draw(t, "part"), b.Size()-off)
		s := b.Section(t.Context(), off, n)
		part, err := io.ReadAll(s)
		if err != nil || int64(len(part)) != n || s.Size() != n {
			t.Fatalf("%d of %d bytes, %v", len(part), n, err)
		}
		again := make([]byte, n)
		at := rapid.Int64Range(0, n-1).Draw(t, "again")
		if m, err := s.ReadAt(again[at:], at); int64(m) != n-at || err != nil {
			t.Fatalf("again: %d of %d, %v", m, n-at, err)
		}
		for range 3 {
			at, one := rapid.Int64Range(0, n-1).Draw(t, "byte"), make([]byte, 1)
			if _, err := s.ReadAt(one, at); err != nil || one[0] != part[at] {
				t.Fatalf("byte %d of a section is another: %v", at, err)
			}
		}
		if !bytes.Equal(again[at:], part[at:]) || s.Close() != nil {
			t.Fatal("a section gives other bytes when it is read again")
		}
		whole = append(whole, part...)
		off += n
	}
	return whole
}

// TestFlips changes one byte of anything that is stored: no plaintext comes.
func TestFlips(t *testing.T) {
	plain := plaintext(100)
	for _, f := range []Format{FormatV3, FormatV2} {
		key := kmsKey(t, testARN, map[string]string{"team": "backup"})
		own := aesKey(t, 1)
		for _, k := range []Sealer{key, own} {
			s := write(t, k, f, plain)
			for name, value := range s.md {
				if name == nameLength || name == nameMatdescV3 || f == FormatV2 && k == own && name == nameMatdesc {
					continue // advisory; a description under an own key
				}
				for i := range len(value) {
					changed := stored{md: maps.Clone(s.md), body: s.body}
					b := []byte(value)
					b[i] ^= 1
					changed.md[name] = string(b)
					if got, err := changed.plain(t.Context(), Keyring{key, own}, everything); err == nil {
						t.Errorf("%s: byte %d of %s changed from %q: %d bytes", k, i, name, value[i], len(got))
					}
				}
				changed := stored{md: maps.Clone(s.md), body: s.body}
				delete(changed.md, name)
				if _, err := changed.plain(t.Context(), Keyring{key, own}, everything); err == nil {
					t.Errorf("%s: opens without %s", k, name)
				}
			}
			for i := range s.body {
				changed := stored{md: s.md, body: slices.Clone(s.body)}
				changed.body[i] ^= 0x80
				if _, err := changed.plain(t.Context(), Keyring{key, own}, everything); !errors.Is(err, objcrypt.ErrCorrupt) {
					t.Errorf("byte %d of the body: %v", i, err)
				}
				changed.body = s.body[:i]
				if _, err := changed.plain(t.Context(), Keyring{key, own}, everything); !errors.Is(err, objcrypt.ErrCorrupt) {
					t.Errorf("%d bytes of the body: %v", i, err)
				}
			}
		}
	}
}

// TestChangedAfterOpen changes the stored body under a reader, as a cache that
// fetched a block anew would.
func TestChangedAfterOpen(t *testing.T) {
	key := aesKey(t, 1)
	plain := plaintext(2 * windowSize)
	s := write(t, key, FormatV3, plain)
	r, err := s.open(t.Context(), Keyring{key}, Policy{})
	if err != nil {
		t.Fatal(err)
	}
	s.body[ChunkSize+5] ^= 1
	p := make([]byte, 10)
	if n, err := r.ReadAt(t.Context(), p, 2*ChunkSize-5); n != 0 || !errors.Is(err, objcrypt.ErrCorrupt) || !bytes.Equal(p, make([]byte, 10)) {
		t.Errorf("%d bytes %x, %v", n, p, err)
	}
	s.body[ChunkSize+5] ^= 1
	far := make([]byte, windowSize+2*ChunkSize)
	s.body[windowSize+3*ChunkSize] ^= 1
	if n, err := r.ReadAt(t.Context(), far, 2*ChunkSize); n != 0 || !errors.Is(err, objcrypt.ErrCorrupt) || !bytes.Equal(far, make([]byte, len(far))) {
		t.Errorf("%d bytes beyond a window, %v", n, err)
	}
	if n, err := r.ReadAt(t.Context(), p, 10); n != 10 || err != nil || !bytes.Equal(p, plain[10:20]) {
		t.Errorf("%d bytes %x, %v", n, p, err)
	}
}

// TestSourceChanges gives another plaintext after the body was begun: the key
// and nonce are used, and nothing under them may leave.
func TestSourceChanges(t *testing.T) {
	plain := slices.Clone(plaintext(3 * ChunkSize))
	b, err := NewBody(t.Context(), aesKey(t, 1), FormatV3, plain, int64(len(plain)))
	if err != nil {
		t.Fatal(err)
	}
	before := readAll(t, b.Section(t.Context(), 0, b.Size()))
	plain[2*ChunkSize+1] ^= 1
	s := b.Section(t.Context(), 2*ChunkSize+2, 100)
	got, err := io.ReadAll(s)
	if len(got) != 0 || !errors.Is(err, ErrSource) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	plain[2*ChunkSize+1] ^= 1
	if _, err := s.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if again := readAll(t, s); !bytes.Equal(again, before[2*ChunkSize+2:][:100]) {
		t.Error("the right plaintext is not sealed as before")
	}
	short, err := NewBody(t.Context(), aesKey(t, 1), FormatV3, plain, int64(len(plain))+1)
	if short != nil || !errors.Is(err, ErrSource) {
		t.Errorf("a source that is too short: %v", err)
	}
}

// TestFreshKeys writes one plaintext many times: no data key, message ID or
// nonce comes twice, neither of a body nor of a wrapping.
func TestFreshKeys(t *testing.T) {
	plain := plaintext(64)
	seen := map[string]bool{}
	fresh := func(what string, v []byte) {
		if seen[string(v)] {
			t.Fatalf("%s comes twice", what)
		}
		seen[string(v)] = true
	}
	for _, f := range []Format{FormatV3, FormatV2} {
		for _, k := range []Sealer{kmsKey(t, testARN, nil), aesKey(t, 1)} {
			for range 200 {
				s := write(t, k, f, plain)
				e, err := Parse(s.md, nil)
				if err != nil {
					t.Fatal(err)
				}
				key, err := k.unwrap(t.Context(), e)
				if err != nil {
					t.Fatal(err)
				}
				fresh("data key", key[:])
				fresh("body", s.body)
				fresh("IV or message ID", append(e.iv, e.id[:]...))
				if e.Wrap() == WrapAESGCM {
					fresh("nonce of a wrapping", e.wrapped[:nonceSize])
				}
			}
		}
	}
}

// TestKMSContext looks at what KMS is asked.
func TestKMSContext(t *testing.T) {
	for f, cek := range map[Format]string{FormatV2: "AES/GCM/NoPadding", FormatV3: "115"} {
		kms := new(fakeKMS)
		k, err := NewKMSKey(kms, testARN, map[string]string{"team": "backup"})
		if err != nil {
			t.Fatal(err)
		}
		s := write(t, k, f, nil)
		if len(kms.contexts) != 1 || !maps.Equal(kms.contexts[0], map[string]string{"team": "backup", "aws:x-amz-cek-alg": cek}) {
			t.Errorf("asked for %v", kms.contexts)
		}
		for _, c := range []map[string]string{nil, {"team": "sales"}, {"team": "backup", "more": ""}} {
			if _, err := s.plain(t.Context(), Keyring{kmsKey(t, testARN, c)}, Policy{}); !errors.Is(err, objcrypt.ErrWrongKey) {
				t.Errorf("opens under the context %v: %v", c, err)
			}
		}
	}
}

func TestContextsRefused(t *testing.T) {
	for _, c := range []map[string]string{
		{"aws:x-amz-cek-alg": "115"},
		{"kms_cmk_id": testARN},
		{"ort": "Zürich"},
		{"名前": "x"},
		{"line": "a\nb"},
		{"del": "\x7f"},
	} {
		k, err := NewKMSKey(new(fakeKMS), testARN, c)
		if err == nil {
			_, err = NewBody(t.Context(), k, FormatV3, memory(nil), 0)
		}
		if !errors.Is(err, ErrContext) {
			t.Errorf("%v: %v", c, err)
		}
		if _, err := NewAESKey([32]byte{1}, c); !errors.Is(err, ErrContext) {
			t.Errorf("%v as a description: %v", c, err)
		}
	}
}

func TestTooLarge(t *testing.T) {
	for _, n := range []int64{-1, MaxSize + 1} {
		if _, err := NewBody(t.Context(), aesKey(t, 1), FormatV3, zeros{}, n); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d: %v", n, err)
		}
	}
	if _, err := gcmPlainSize(MaxSize + TagSize + 1); !errors.Is(err, objcrypt.ErrCorrupt) {
		t.Error(err)
	}
}

// zeros is an endless source.
type zeros struct{}

func (zeros) ReadAt(ctx context.Context, p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), ctx.Err()
}

// watched looks at what lives in memory every 32 MiB.
type watched struct {
	ReaderAt
	live, most *uint64
}

func (w watched) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off%(32<<20) == 0 {
		*w.live = max(*w.live, live())
	}
	*w.most = max(*w.most, uint64(len(p)))
	return w.ReaderAt.ReadAt(ctx, p, off)
}

func live() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// sealedZeros is a body in no memory: its sections are made as they are read.
type sealedZeros struct{ *Body }

func (s sealedZeros) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	return s.Section(ctx, off, int64(len(p))).ReadAt(p, 0)
}

// TestBoundedMemory seals and verifies 256 MiB in less than one.
func TestBoundedMemory(t *testing.T) {
	const n = 256 << 20
	key := aesKey(t, 1)
	var high, most uint64
	before := live()
	b, err := NewBody(t.Context(), key, FormatV3, watched{zeros{}, &high, &most}, n)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), b.Envelope(), Keyring{key}, Policy{}, watched{sealedZeros{b}, &high, &most}, b.Size())
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4096)
	if _, err := r.ReadAt(t.Context(), p, n-4096); err != nil || !bytes.Equal(p, make([]byte, 4096)) {
		t.Errorf("%v", err)
	}
	if high > before+1<<20 {
		t.Errorf("%d bytes lived, %d before", high, before)
	}
	if most > windowSize {
		t.Errorf("%d bytes read at once", most)
	}
}

// TestStops gives up with the context, with its error.
func TestStops(t *testing.T) {
	key := aesKey(t, 1)
	s := write(t, key, FormatV3, plaintext(1000))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.plain(ctx, Keyring{key}, Policy{}); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v", err)
	}
	if _, err := NewBody(ctx, key, FormatV3, plaintext(1000), 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("seal: %v", err)
	}
}

// failing is a KMS that is down.
type failing struct{ KMS }

var errDown = errors.New("throttled")

func (failing) Decrypt(context.Context, string, []byte, map[string]string) (k [32]byte, err error) {
	return k, errDown
}

// generating gives the same answer to every GenerateDataKey.
type generating struct {
	KMS
	key  [32]byte
	blob []byte
	err  error
}

func (g generating) GenerateDataKey(context.Context, string, map[string]string) ([32]byte, []byte, error) {
	return g.key, g.blob, g.err
}

// TestNoDataKey: without a key from KMS there is no body.
func TestNoDataKey(t *testing.T) {
	for name, c := range map[string]struct {
		kms  generating
		want error
	}{
		"error":    {generating{err: errDown}, errDown},
		"zeros":    {generating{blob: []byte{1}}, errDataKey},
		"no blob":  {generating{key: [32]byte{1}}, errDataKey},
		"too long": {generating{key: [32]byte{1}, blob: make([]byte, maxKMSBlob+1)}, errDataKey},
	} {
		k, err := NewKMSKey(c.kms, testARN, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := NewBody(t.Context(), k, FormatV3, memory(nil), 0); b != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, not %v", name, err, c.want)
		}
	}
}

// TestSeveralKeys looks at what comes of a ring whose keys fail.
func TestSeveralKeys(t *testing.T) {
	own, other := kmsKey(t, testARN, nil), kmsKey(t, testARN+"2", nil)
	down, err := NewKMSKey(failing{}, "down", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := write(t, own, FormatV3, plaintext(10))
	for i, c := range []struct {
		ring Keyring
		want error
	}{
		{Keyring{other, aesKey(t, 2), own}, nil},
		{Keyring{down, own}, nil},
		{Keyring{down, other}, errDown},
		{Keyring{other, down}, errDown},
		{Keyring{other}, errKMSKey},
		{Keyring{aesKey(t, 2)}, objcrypt.ErrNoKey},
	} {
		if _, err := s.plain(t.Context(), c.ring, Policy{}); !errors.Is(err, c.want) {
			t.Errorf("%d: %v, not %v", i, err, c.want)
		}
	}
}

func TestInstructionKey(t *testing.T) {
	for key, want := range map[string]string{"a/b": "a/b.instruction", ".x": ".x.instruction"} {
		if got := InstructionKey(key); got != want {
			t.Errorf("%s", got)
		}
		if got, ok := InstructionOf(want); got != key || !ok {
			t.Errorf("%s, %v", got, ok)
		}
	}
	for _, key := range []string{".instruction", "a", "a.instruction/b"} {
		if got, ok := InstructionOf(key); ok {
			t.Errorf("%s is that of %s", key, got)
		}
	}
}

// TestStrings: names are for xattrs and logs.
func TestStrings(t *testing.T) {
	s := write(t, kmsKey(t, testARN, nil), FormatV3, nil)
	e, err := Parse(s.md, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(e); got != "V3 ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY kms+context" {
		t.Error(got)
	}
}
