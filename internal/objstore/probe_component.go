package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
)

// FileComponent is the longest component of a key, in bytes, on servers that make
// a file of each object, or a directory (NAME_MAX of Linux).
const FileComponent = 255

// ProbeComponent tells the longest component that the server takes of a key, where
// it does not take one of n bytes; 0 where it does. It asks for an object that is
// not there, below dir, as of ProbeOptions; servers that look into a directory
// for it refuse the name. Unless readOnly it then writes one, since others refuse
// only that, and removes it again. Errors: those of Put but ErrInvalid and
// ErrTooLong.
func ProbeComponent(ctx context.Context, s Store, dir string, n int, enc *Encryption, readOnly bool) (int, error) {
	n = min(n, MaxKeyLen-len(dir))
	if n <= FileComponent {
		return 0, nil
	}
	// Always the same one: where it may not be removed, there is one.
	id := ID{Key: dir + strings.Repeat("n", n), Encryption: enc}
	_, _, body, err := s.Get(ctx, id, Range{Len: 1})
	switch {
	case err == nil:
		return 0, body.Close()
	case errors.Is(err, ErrInvalid), errors.Is(err, ErrTooLong):
		return FileComponent, nil
	case !errors.Is(err, ErrNotExist) && !errors.Is(err, ErrAccess):
		return 0, fmt.Errorf("probe: %w", err)
	case readOnly:
		return 0, nil
	}
	_, err = s.Put(ctx, id.Key, bytes.NewReader(nil), 0, PutOptions{Metadata: probeMetadata, Encryption: enc})
	if errors.Is(err, ErrInvalid) || errors.Is(err, ErrTooLong) {
		return FileComponent, nil
	}
	if err != nil {
		return 0, fmt.Errorf("probe: %w", err)
	}
	if err := s.Delete(ctx, ID{Key: id.Key}, Condition{}); err != nil && !errors.Is(err, ErrAccess) {
		return 0, fmt.Errorf("probe: %w", err)
	}
	return 0, nil
}
