package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sirupsen/logrus"
)

// nameWatch looks at the volume object again. While it is not what the volume was
// opened as nothing is written: names would be readable where they are to be
// encrypted, or nobody's. What is not committed stays in the spool.
type nameWatch struct {
	store  objstore.Store
	root   string
	ring   *keyring.Ring
	volume *volume.Volume
	was    *keyring.VolumeObject // as it was opened; nil: there was none
	print  string                // "": names are clear
	log    logrus.FieldLogger

	suspended bool
}

var _ checker = (*nameWatch)(nil)

// inUse is all that a mount asks for again.
func (m *mounting) inUse() keysInUse {
	return keysInUse{m.ring, m.volume, &nameWatch{
		store: m.store, root: m.set.volumeRoot, ring: m.ring, volume: m.volume,
		was: m.naming.object, print: m.naming.print, log: m.log,
	}}
}

// Recheck looks once. What cannot be read, or does not open, is an error, and
// changes nothing.
func (w *nameWatch) Recheck(ctx context.Context) error {
	now, _, err := readVolumeOf(ctx, w.store, w.root)
	if err != nil && !errors.Is(err, keyring.ErrCorrupt) && !errors.Is(err, keyring.ErrVersion) {
		return fmt.Errorf("volume object: %w", err)
	}
	why := err
	if why == nil {
		if why, err = w.differs(ctx, now); err != nil {
			return err
		}
	}
	switch {
	case why != nil && !w.suspended:
		w.log.WithError(why).Error("nothing is written any more: the volume is not what was mounted; what is not committed stays in the spool")
		w.volume.Suspend(why)
	case why == nil && w.suspended:
		w.log.Info("the volume is again what was mounted: it is written to")
		w.volume.Suspend(nil)
	}
	w.suspended = why != nil
	return nil
}

// differs says why what is there is not what was opened; nil where it is.
func (w *nameWatch) differs(ctx context.Context, now *keyring.VolumeObject) (why, err error) {
	switch {
	case now == nil && w.print == "":
		return nil, nil // as of a volume that never had one
	case now == nil:
		return fmt.Errorf("%w: %s was removed: put it back", errNames, quoted(volumeKey(w.root))), nil
	case w.was != nil && w.was.ID != now.ID:
		return fmt.Errorf("%w: %s is of volume %s now, and was of %s", errNames, quoted(volumeKey(w.root)), now.ID, w.was.ID), nil
	case now.Encrypted() != (w.print != ""):
		return fmt.Errorf("%w: names were %s when it was mounted, and are to be %s: mount it anew", errNames, clearOr(w.print != ""), clearOr(now.Encrypted())), nil
	case !now.Encrypted() || now.Same(*w.was):
		return nil, nil
	}
	key, err := openNameKey(ctx, w.ring, w.root, *now) // it was sealed anew
	if err != nil {
		return nil, fmt.Errorf("key of names: %w", err)
	}
	defer clear(key[:])
	if mark := fingerprint(key); !sameHex(mark, w.print) {
		return fmt.Errorf("%w: their key has the fingerprint %s now, and had %s", errNames, mark, w.print), nil
	}
	w.was = now
	return nil, nil
}

// clearOr is how names are, in a sentence or a document.
func clearOr(encrypted bool) string {
	if encrypted {
		return namesEncrypted
	}
	return clearWord
}
