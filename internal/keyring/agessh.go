package keyring

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"
)

// sshHeader begins an OpenSSH private key.
const sshHeader = "-----BEGIN OPENSSH PRIVATE KEY-----"

// sshRecipient reads an SSH public key; its text is without the comment.
func sshRecipient(s string) (recipient, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s))
	if err != nil {
		return recipient{}, errors.New("is malformed")
	}
	text := sshText(key)
	r, err := agessh.ParseRecipient(text)
	if err != nil {
		return recipient{}, errors.New("is an SSH key of a kind that age does not take (ssh-ed25519, and ssh-rsa from 2048 bits)")
	}
	return recipient{r, text}, nil
}

// sshText is the one text of an SSH public key: type and base64.
func sshText(key ssh.PublicKey) string {
	return string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(key)))
}

// sshIdentity reads an SSH private key. A protected one is opened at once: a
// daemon has nobody to ask later.
func sshIdentity(ctx context.Context, name string, pem []byte, via Sources) (identity, error) {
	key, err := ssh.ParseRawPrivateKey(pem)
	if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
		if via.Passphrase == nil {
			return identity{}, errors.New("it is protected by a passphrase, and there is nobody to ask for it")
		}
		pass, askErr := via.Passphrase(ctx, name)
		if askErr != nil {
			return identity{}, fmt.Errorf("ask for its passphrase: %w", askErr)
		}
		defer clear(pass)
		if key, err = ssh.ParseRawPrivateKeyWithPassphrase(pem, pass); err != nil {
			return identity{}, errors.New("the passphrase is wrong")
		}
	}
	if err != nil {
		return identity{}, errors.New("it is a malformed SSH key")
	}
	return sshKey(key)
}

func sshKey(key any) (identity, error) {
	var id age.Identity
	var err error
	switch k := key.(type) {
	case *ed25519.PrivateKey:
		id, err = agessh.NewEd25519Identity(*k)
	case *rsa.PrivateKey:
		id, err = agessh.NewRSAIdentity(k)
	default:
		err = errors.ErrUnsupported
	}
	if err != nil {
		return identity{}, errors.New("it is an SSH key of a kind that age does not take (ssh-ed25519, ssh-rsa)")
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return identity{}, errors.New("it is a malformed SSH key")
	}
	r, err := sshRecipient(sshText(signer.PublicKey()))
	return identity{id, &r}, err
}
