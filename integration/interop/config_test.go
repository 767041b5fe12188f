package interop

import (
	"context"
	"errors"
	"fmt"
)

// A party writes and reads encrypted objects of the bucket. Errors of read are
// errRefused or errUnknown, by the names that the party's own errors have;
// every other proves nothing about it.
type party interface {
	write(ctx context.Context, key string, plaintext []byte, c config) error
	read(ctx context.Context, key string, c config) ([]byte, error)
}

var (
	errRefused = errors.New("refused") // for what is in the object, or for want of its key
	errUnknown = errors.New("unknown") // for a format or algorithm that the reader says it does not know
)

// named gives an error the class that errors like it have, if any.
func named(err error, classes map[error]error) error {
	for like, class := range classes {
		if errors.Is(err, like) {
			return fmt.Errorf("%w: %w", class, err)
		}
	}
	return err
}

// A config is how an object is written, or what its reader knows.
type config struct {
	Keyring     string            `json:"keyring"`     // kms, aes, rsa
	Secret      string            `json:"secret"`      // KMS key id; base64 of an AES-256 key, or of an RSA key in PKCS #8
	Context     map[string]string `json:"context"`     // KMS's encryption context; with aes and rsa the material description
	Commit      bool              `json:"commit"`      // suite 115, which commits to the key, rather than 114
	Policy      string            `json:"policy"`      // reading: allow or require commitment
	Instruction bool              `json:"instruction"` // the envelope goes into, or may be in, an instruction file
	Part        int               `json:"part"`        // size of multipart's parts; 0 is one PUT
}

func (c config) String() string {
	if c.Part > 0 {
		return c.form() + "/multipart"
	}
	return c.form() + "/put"
}

// form is the part that shows in the object.
func (c config) form() string {
	suite, place := "114", "metadata"
	if c.Commit {
		suite = "115"
	}
	if c.Instruction {
		place = "instruction"
	}
	return fmt.Sprintf("%s/%s/%s", c.Keyring, suite, place)
}

// configs are all ways of writing an object in one PUT, as world's keys allow.
func configs() []config {
	var all []config
	for _, keyring := range []string{"kms", "aes", "rsa"} {
		for _, commit := range []bool{false, true} {
			for _, instruction := range []bool{false, true} {
				all = append(all, config{
					Keyring: keyring, Secret: world.secrets[keyring][0], Context: context1, Commit: commit,
					Policy: "allow", Instruction: instruction,
				})
			}
		}
	}
	return all
}

// context1 has what writers of JSON escape, or not.
var context1 = map[string]string{"tenant": `a<b>&"c"\d/e`, "path": "x y"}
