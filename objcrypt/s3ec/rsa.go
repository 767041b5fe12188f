package s3ec

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// RSAKey is a private key of at least 2,048 bits. It only reads.
type RSAKey struct{ private *rsa.PrivateKey }

var _ Key = (*RSAKey)(nil)

// errRSA is a key file that does not do.
var errRSA = errors.New("not one unencrypted RSA private key in PEM (PKCS #1 or PKCS #8)")

// ParseRSAKey reads a private key in PEM: PKCS #1 ("RSA PRIVATE KEY") or
// PKCS #8 ("PRIVATE KEY"), not encrypted.
func ParseRSAKey(data []byte) (*RSAKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errRSA
	}
	private, err := parseRSA(block)
	if err != nil {
		return nil, err
	}
	if bits := private.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return nil, fmt.Errorf("RSA key of %d bits, not %d to %d", bits, minRSABits, maxRSABits)
	}
	return &RSAKey{private: private}, nil
}

// parseRSA drops the parsers' errors: they may quote the key.
func parseRSA(block *pem.Block) (*rsa.PrivateKey, error) {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, errRSA
	}
	private, ok := key.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, errRSA
	}
	return private, nil
}

// String is "RSA key of 2048 bits", with its length.
func (k *RSAKey) String() string { return fmt.Sprintf("RSA key of %d bits", k.private.N.BitLen()) }

func (k *RSAKey) unwraps(w Wrap) bool {
	return w == WrapRSAOAEP || w == WrapRSAOAEP256 || w == WrapRSAPKCS1
}

func (k *RSAKey) unwrap(_ context.Context, e *Envelope) (dataKey, error) {
	var opts crypto.DecrypterOpts
	switch e.wrap {
	case WrapRSAOAEP:
		opts = &rsa.OAEPOptions{Hash: crypto.SHA1}
	case WrapRSAOAEP256:
		opts = &rsa.OAEPOptions{Hash: crypto.SHA256, MGFHash: crypto.SHA1}
	default:
		// V1 leaves no choice. Opener.refused keeps what fails here from whoever
		// could learn from it.
		opts = &rsa.PKCS1v15DecryptOptions{} //nolint:staticcheck // deprecated, since it needs such care
	}
	plain, err := k.private.Decrypt(nil, e.wrapped, opts)
	if err != nil {
		return dataKey{}, wrong("wrapped key does not open")
	}
	defer clear(plain)
	if e.wrap == WrapRSAOAEP {
		return openNamed(plain, e.suite.cek())
	}
	if len(plain) != keySize {
		return dataKey{}, corrupt("data key of %d bytes", len(plain))
	}
	return dataKey(plain), nil
}

// openNamed takes len(1) || key || name of the suite apart.
func openNamed(plain []byte, cek string) (dataKey, error) {
	if len(plain) != 1+keySize+len(cek) || plain[0] != keySize || string(plain[1+keySize:]) != cek {
		return dataKey{}, corrupt("wrapped key is not of a data key for %s", cek)
	}
	return dataKey(plain[1 : 1+keySize]), nil
}
