package keyring

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"strings"
)

// OpenKey reads a 32-byte key that is no master of epochs (SSE-C, the AES
// keyring of S3 clients) from a file:, env:, credential: or command: source, as
// Open reads an AES key. Errors as of Open.
func OpenKey(ctx context.Context, source string, via Sources) ([KeySize]byte, error) {
	if hasSecret(source) {
		return [KeySize]byte{}, errSecret()
	}
	c, err := via.read(ctx, source)
	if err != nil {
		return [KeySize]byte{}, err
	}
	defer clear(c.data)
	return c.key()
}

// AESKey gives the key of a Master of KindAES, for formats that wrap under it
// otherwise than epochs do; not ok of any other. The caller clears it.
func AESKey(m Master) (key [KeySize]byte, ok bool) {
	own, ok := m.(*aesMaster)
	if ok {
		key = *own.key
	}
	return key, ok
}

// OpenPEM reads a private key in PEM (RFC 7468) that no passphrase protects,
// from a source as of OpenKey, and gives the source's bytes. The caller parses
// and clears them. Errors as of Open.
func OpenPEM(ctx context.Context, source string, via Sources) ([]byte, error) {
	if hasSecret(source) {
		return nil, errSecret()
	}
	c, err := via.read(ctx, source)
	if err != nil {
		return nil, err
	}
	data, err := c.secret()
	if err == nil {
		err = c.checkPEM()
	}
	if err != nil {
		clear(c.data)
		return nil, err
	}
	return data, nil
}

// checkPEM looks for exactly one private key, which can be used as it is.
func (c content) checkPEM() error {
	block, rest := pem.Decode(c.data)
	switch {
	case block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return fmt.Errorf("%w: %s holds no private key in PEM", ErrKeySource, c.name)
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return fmt.Errorf("%w: the private key in %s is protected by a passphrase, and there is nobody to ask for it", ErrKeySource, c.name)
	}
	if next, _ := pem.Decode(rest); next != nil {
		return fmt.Errorf("%w: %s holds more than one PEM block", ErrKeySource, c.name)
	}
	return nil
}

// key parses the data as an AES-256 key.
func (c content) key() ([KeySize]byte, error) {
	data, err := c.secret()
	if err != nil {
		return [KeySize]byte{}, err
	}
	key, err := parseKey(data)
	if err != nil {
		return key, fmt.Errorf("%w: %s %w", ErrKeySource, c.name, err)
	}
	return key, nil
}

func errSecret() error {
	return fmt.Errorf("%w: a secret key was given on the command line, where others can read it; put it in a file and write file:PATH", ErrKeySource)
}

// OpenPassphrase reads a passphrase, one line, from a source as of OpenKey. The
// caller clears it. Errors as of Open.
func OpenPassphrase(ctx context.Context, source string, via Sources) ([]byte, error) {
	c, err := via.read(ctx, source)
	if err != nil {
		return nil, err
	}
	data, err := c.secret()
	line := trimLine(data)
	if err == nil && (len(line) == 0 || bytes.ContainsAny(line, "\r\n")) {
		err = fmt.Errorf("%w: %s does not hold one line", ErrKeySource, c.name)
	}
	if err != nil {
		clear(c.data)
		return nil, err
	}
	return line, nil
}
