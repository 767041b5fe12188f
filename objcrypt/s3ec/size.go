package s3ec

// Sizes in bytes.
const (
	// MaxSize is the longest plaintext under GCM: AWS's clients take less than
	// 2^36-32 bytes, and the 32-bit block counter does not wrap below that.
	MaxSize = 1<<36 - 32 - 1

	// TagSize is what a body under GCM is longer than its plaintext.
	TagSize = 16

	// MaxInstruction is the longest instruction file that is looked at.
	MaxInstruction = 64 << 10

	keySize    = 32
	blockSize  = 16
	nonceSize  = 12
	commitSize = 28
	idSize     = 28

	// ChunkSize is what reads of a body are held against at a time, and with
	// it the least that is read from a source.
	ChunkSize    = 64 << 10
	windowSize   = 4 * ChunkSize
	minRSABits   = 2048
	maxRSABits   = 16384
	maxKMSBlob   = 6144 // what kms:Decrypt takes
	wrappedGCM   = nonceSize + keySize + TagSize
	wrappedKW    = 8 + keySize
	wrappedECB   = keySize + blockSize
	firstCounter = 2 // of the plaintext; 1 masks the tag
)

// gcmPlainSize gives the plaintext length of a body under GCM.
func gcmPlainSize(length int64) (int64, error) {
	switch n := length - TagSize; {
	case n < 0:
		return 0, corrupt("body of %d bytes is shorter than a tag", length)
	case n > MaxSize:
		return 0, corrupt("body of %d bytes is longer than AES-GCM can be", length)
	default:
		return n, nil
	}
}

// cbcMaxPlainSize holds the length of a body under CBC against the format, and
// gives the most that the plaintext can have.
func cbcMaxPlainSize(length int64) (int64, error) {
	if length < blockSize || length%blockSize != 0 {
		return 0, corrupt("body of %d bytes is not whole AES-CBC blocks", length)
	}
	return length - 1, nil
}

// chunks counts the chunks of n bytes.
func chunks(n int64) int64 { return (n + ChunkSize - 1) / ChunkSize }

// chunkLen is the length of chunk c of n bytes.
func chunkLen(n, c int64) int64 { return min(ChunkSize, n-c*ChunkSize) }
