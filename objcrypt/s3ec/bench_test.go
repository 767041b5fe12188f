package s3ec

import (
	"io"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt/internal/gcmbench"
)

const benchSize = 64 << 20

// BenchmarkOpen verifies a body, the copies from its source included.
func BenchmarkOpen(b *testing.B) {
	key := aesKey(b, 1)
	s := write(b, key, FormatV3, make(memory, benchSize))
	for b.Loop() {
		if _, err := s.open(b.Context(), Keyring{key}, Policy{}); err != nil {
			b.Fatal(err)
		}
	}
	gcmbench.Report(b, true, benchSize)
}

// BenchmarkReadAt reads a verified body in pieces of 1 MiB, as the kernel does.
func BenchmarkReadAt(b *testing.B) {
	key := aesKey(b, 1)
	r, err := write(b, key, FormatV3, make(memory, benchSize)).open(b.Context(), Keyring{key}, Policy{})
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 1<<20)
	for b.Loop() {
		for off := int64(0); off < benchSize; off += int64(len(p)) {
			if _, err := r.ReadAt(b.Context(), p, off); err != nil {
				b.Fatal(err)
			}
		}
	}
	gcmbench.Report(b, true, benchSize)
}

// BenchmarkReadAt4K reads 4 KiB at a time, all over the body.
func BenchmarkReadAt4K(b *testing.B) {
	key := aesKey(b, 1)
	r, err := write(b, key, FormatV3, make(memory, benchSize)).open(b.Context(), Keyring{key}, Policy{})
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 4096)
	off := int64(0)
	for b.Loop() {
		if _, err := r.ReadAt(b.Context(), p, off); err != nil {
			b.Fatal(err)
		}
		off = (off + 7919*4096) % benchSize
	}
	b.SetBytes(4096)
}

// BenchmarkNewBody is the first pass, for the tag.
func BenchmarkNewBody(b *testing.B) {
	key := aesKey(b, 1)
	for b.Loop() {
		if _, err := NewBody(b.Context(), key, FormatV3, zeros{}, benchSize); err != nil {
			b.Fatal(err)
		}
	}
	gcmbench.Report(b, false, benchSize)
}

// BenchmarkSection is the second, which an upload reads.
func BenchmarkSection(b *testing.B) {
	body, err := NewBody(b.Context(), aesKey(b, 1), FormatV3, make(memory, benchSize), benchSize)
	if err != nil {
		b.Fatal(err)
	}
	sink := make([]byte, 1<<20)
	for b.Loop() {
		s := body.Section(b.Context(), 0, body.Size())
		for err == nil {
			_, err = s.Read(sink)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
		err = nil
	}
	gcmbench.Report(b, false, benchSize)
}
