package s3ec

import (
	"context"
	"crypto/cipher"
	"crypto/subtle"
)

// cbcBody is a body under AES-256-CBC with the padding of PKCS #7. Nothing
// authenticates it.
type cbcBody struct {
	block  cipher.Block
	iv     []byte
	src    ReaderAt
	length int64
}

var _ content = (*cbcBody)(nil)

// plainSize reads the padding.
func (c *cbcBody) plainSize(ctx context.Context) (int64, error) {
	if _, err := cbcMaxPlainSize(c.length); err != nil {
		return 0, err
	}
	var last [blockSize]byte
	if err := c.decrypt(ctx, last[:], c.length/blockSize-1); err != nil {
		return 0, err
	}
	defer clear(last[:])
	pad := int(last[blockSize-1])
	good := subtle.ConstantTimeLessOrEq(1, pad) & subtle.ConstantTimeLessOrEq(pad, blockSize)
	for i, b := range last {
		inside := subtle.ConstantTimeLessOrEq(blockSize-i, pad)
		good &= inside ^ 1 | subtle.ConstantTimeByteEq(b, byte(pad))
	}
	if good != 1 {
		return 0, corrupt("padding of the last block is broken")
	}
	return c.length - int64(pad), nil
}

// readAt decrypts a window at most.
func (c *cbcBody) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	first := off / blockSize
	skip := off % blockSize
	size := min((skip+int64(len(p))+blockSize-1)/blockSize*blockSize, windowSize)
	buf := make([]byte, size)
	defer clear(buf)
	if err := c.decrypt(ctx, buf, first); err != nil {
		return 0, err
	}
	return copy(p, buf[skip:]), nil
}

// decrypt fills p with whole blocks from number first on: each needs the
// ciphertext of the one before.
func (c *cbcBody) decrypt(ctx context.Context, p []byte, first int64) error {
	buf := make([]byte, blockSize+len(p))
	from := (first - 1) * blockSize
	if first == 0 {
		copy(buf, c.iv)
		if err := readFull(ctx, c.src, buf[blockSize:], 0); err != nil {
			return err
		}
	} else if err := readFull(ctx, c.src, buf, from); err != nil {
		return err
	}
	cipher.NewCBCDecrypter(c.block, buf[:blockSize]).CryptBlocks(p, buf[blockSize:])
	return nil
}
