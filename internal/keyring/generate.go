package keyring

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"filippo.io/age"
)

// Kinds of keys that Generate makes, beside KindAES and KindAge.
const (
	KindSSEC = "ssec" // 32 bytes that S3 is sent with each request
	KindSign = "sign" // an Ed25519 key that signs epochs
)

// Public is what may be shown of a new key.
type Public struct {
	Kind string
	ID   string // the global key id; of KindSign, its Signer

	// Recipient is the age recipient, for KindAge: whoever has it writes, and
	// cannot read.
	Recipient string
}

// Generate makes a key of a kind and writes it to the new file path, mode
// 0600, durably: one line of base64 (KindSign: of the 32-byte seed, RFC 8032),
// or an age identity file as age-keygen writes it. A file that exists is not
// touched: the error wraps fs.ErrExist.
func Generate(kind, path string, now time.Time) (Public, error) {
	text, public, err := newKey(kind, now)
	if err != nil {
		return Public{}, fmt.Errorf("make key: %w", err)
	}
	defer clear(text)
	if err := writeNew(path, text); err != nil {
		return Public{}, fmt.Errorf("make key: %w", err)
	}
	return public, nil
}

func newKey(kind string, now time.Time) ([]byte, Public, error) {
	if kind == KindAge {
		return newAgeIdentity(now)
	}
	var key [KeySize]byte
	_, _ = rand.Read(key[:])
	defer clear(key[:])
	public := Public{Kind: kind}
	switch kind {
	case KindAES:
		public.ID = newAES(key).ID()
	case KindSSEC:
		public.ID = customerID(key)
	case KindSign:
		pub, _ := ed25519.NewKeyFromSeed(key[:]).Public().(ed25519.PublicKey)
		public.ID = Signer(pub).String()
	default:
		return nil, Public{}, fmt.Errorf("%w: there is no kind %q", ErrKeySource, kind)
	}
	return append(base64.StdEncoding.AppendEncode(nil, key[:]), '\n'), public, nil
}

// customerID is what an SSE-C key goes by in tags and messages.
func customerID(key [KeySize]byte) string {
	sum := sha256.Sum256(append([]byte("sigil/ssec-id"), key[:]...))
	return hex.EncodeToString(sum[:8])
}

func newAgeIdentity(now time.Time) ([]byte, Public, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, Public{}, err
	}
	r := id.Recipient().String()
	text := fmt.Appendf(nil, "# created: %s\n# public key: %s\n%s\n", now.Format(time.RFC3339), r, id)
	return text, Public{Kind: KindAge, ID: ageKeyID([]recipient{{id.Recipient(), r}}), Recipient: r}, nil
}

// writeNew leaves nothing behind when it fails.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already and is left as it is: %w", path, fs.ErrExist)
	}
	if err != nil {
		return err
	}
	err = writeSync(f, data)
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}
