package keyring

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// OpenSigningKey reads a key that signs epochs from a file:, env:, credential: or
// command: source: its seed of 32 bytes, as Generate writes it, raw, in hex or in
// base64; or a private key in PEM (PKCS #8), as openssl genpkey writes it. Errors
// as of Open.
func OpenSigningKey(ctx context.Context, source string, via Sources) (*SigningKey, error) {
	if hasSecret(source) {
		return nil, errSecret()
	}
	c, err := via.read(ctx, source)
	if err != nil {
		return nil, err
	}
	defer clear(c.data)
	if block, _ := pem.Decode(c.data); block != nil {
		return c.signingPEM()
	}
	seed, err := c.key()
	if err != nil {
		return nil, err
	}
	return &SigningKey{&seed}, nil
}

// signingPEM takes the one private key in PEM, which must be of Ed25519.
func (c content) signingPEM() (*SigningKey, error) {
	data, err := c.secret()
	if err == nil {
		err = c.checkPEM()
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	defer clear(block.Bytes)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%w: the private key in %s is none of Ed25519 in PKCS #8; openssl genpkey -algorithm ed25519 makes one", ErrKeySource, c.name)
	}
	defer clear(key)
	seed := [ed25519.SeedSize]byte(key.Seed())
	return &SigningKey{&seed}, nil
}
