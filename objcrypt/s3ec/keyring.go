package s3ec

import (
	"context"
	"fmt"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// dataKey is the secret of one object.
type dataKey [keySize]byte

// Key is a master key, under which data keys are unwrapped: *KMSKey, *AESKey or
// *RSAKey.
type Key interface {
	// String names the key for errors and logs. It shows no secret.
	String() string
	// unwraps tells whether the key is of the kind that w needs.
	unwraps(w Wrap) bool
	unwrap(ctx context.Context, e *Envelope) (dataKey, error)
}

// Sealer is a master key under which objects are written too: *KMSKey, *AESKey.
type Sealer interface {
	Key
	// seal draws a data key, and wraps it for the suite of that name.
	seal(ctx context.Context, cek string) (sealed, error)
	// wrap wraps one that there is already.
	wrap(ctx context.Context, key *dataKey, cek string) (sealed, error)
}

// sealed is what an envelope says of a data key.
type sealed struct {
	key     dataKey // where it is fresh
	wrap    Wrap
	wrapped []byte
	context map[string]string
}

// Keyring is the master keys that may open an object, in the order in which
// they are tried.
type Keyring []Key

// unwrap tries every key of the right kind: a wrapped key does not say which
// one it is under.
func (r Keyring) unwrap(ctx context.Context, e *Envelope) (dataKey, error) {
	failed := fmt.Errorf("no key for %s: %w", e.wrap, objcrypt.ErrNoKey)
	tried := false
	for _, k := range r {
		if !k.unwraps(e.wrap) {
			continue
		}
		key, err := k.unwrap(ctx, e)
		if err == nil {
			return key, nil
		}
		err = fmt.Errorf("%s under %s: %w", e.wrap, k, err)
		if tried {
			err = fmt.Errorf("%w; %w", failed, err)
		}
		failed, tried = err, true
		if ctx.Err() != nil {
			break
		}
	}
	return dataKey{}, failed
}

// wrong makes an error of a key that does not open the wrapping.
func wrong(why string) error { return fmt.Errorf("%s: %w", why, objcrypt.ErrWrongKey) }
