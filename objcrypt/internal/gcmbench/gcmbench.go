// Package gcmbench reports the throughput of a format's benchmarks as a share
// of what the processor does with AES-256-GCM alone.
package gcmbench

import (
	"crypto/aes"
	"crypto/cipher"
	"testing"
	"time"
)

// chunk is what both formats seal at a time, in bytes.
const chunk = 64 << 10

// Report sets bytes per iteration, and gives the throughput of b so far as a
// share of raw AES-256-GCM, opening or sealing.
func Report(b *testing.B, open bool, bytes int64) {
	b.Helper()
	rate := float64(bytes) * float64(b.N) / b.Elapsed().Seconds()
	b.StopTimer()
	b.SetBytes(bytes)
	b.ReportMetric(100*rate/raw(b, open), "%of-raw-GCM")
}

// raw is what crypto/cipher does with a chunk in place, in bytes a second.
func raw(b *testing.B, open bool) float64 {
	b.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	nonce := make([]byte, gcm.NonceSize())
	buf := make([]byte, chunk+gcm.Overhead())
	gcm.Seal(buf[:0], nonce, buf[:chunk], nil)
	kept := append([]byte(nil), buf...)
	const rounds = 4000
	start := time.Now()
	for range rounds {
		if !open {
			gcm.Seal(buf[:0], nonce, buf[:chunk], nil)
			continue
		}
		copy(buf, kept)
		if _, err := gcm.Open(buf[:0], nonce, buf, nil); err != nil {
			b.Fatal(err)
		}
	}
	return rounds * chunk / time.Since(start).Seconds()
}
