package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// The same epoch may lie at several roots, and a host that has seen it closed at
// one takes it for closed at all of them, by its id and key. So it is closed only
// where it may be closed at all of them. They are changed one by one: where one
// fails, the others are closed all the same.

// everywhere gives those of the ready epochs that are ready wherever they are held,
// and that no root above has, below which nobody looks.
func (c *closing) everywhere(ctx context.Context, held, ready []keyring.Held) ([]keyring.Held, error) {
	var alone []keyring.Held
	here, kept := readyEverywhere(held, ready)
	for _, k := range kept {
		c.keep(k.Held, fmt.Sprintf("it lies at %q too, where it may not be closed yet, and what is closed at one place hosts take for closed at all", k.at))
	}
	for _, h := range here {
		why, err := liesAbove(ctx, c.objects, c.set.volumeRoot, h.ID)
		if err != nil {
			return nil, err
		}
		if why != "" {
			c.keep(h, why)
			continue
		}
		alone = append(alone, h)
	}
	return alone, nil
}

// keptFor is an epoch that stays for what lies at another place.
type keptFor struct {
	keyring.Held
	at string
}

// readyEverywhere parts the ready epochs by whether all that are held of the same
// id are ready too, or closed already.
func readyEverywhere(held, ready []keyring.Held) (here []keyring.Held, kept []keptFor) {
	paths := map[string]bool{}
	for _, h := range ready {
		paths[h.Path()] = true
	}
	unready := map[keyring.EpochID]string{}
	for _, h := range held {
		if !paths[h.Path()] && (h.Err != nil || h.State != keyring.Closed) {
			unready[h.ID] = h.At
		}
	}
	for _, h := range ready {
		if at, ok := unready[h.ID]; ok {
			kept = append(kept, keptFor{h, at})
			continue
		}
		here = append(here, h)
	}
	return here, kept
}

// liesAbove looks for an epoch object above a volume root, whatever is in it, and
// says why the epoch stays. That a place may not be listed says nothing of it.
func liesAbove(ctx context.Context, store objstore.Store, root string, id keyring.EpochID) (why string, err error) {
	for _, at := range keyring.Above(root) {
		path := keyring.Held{At: at, ID: id}.Path()
		_, err := store.Head(ctx, objstore.ID{Key: path})
		switch {
		case errors.Is(err, objstore.ErrNotExist):
		case errors.Is(err, objstore.ErrAccess):
			why = fmt.Sprintf("whether it lies above TARGET too, as %q, may not be asked: %s; grant s3:GetObject and s3:ListBucket there, or close it from there", path, oneLine(err))
		case err != nil:
			return "", err
		default:
			return fmt.Sprintf("it lies above TARGET too, at %q, where files may need it: close it from there", at), nil
		}
	}
	return why, nil
}

// openElsewhere says why an epoch is not closed even by force: at some place, within
// or above, it is open by what lies there, and hosts seal under it. The others
// would read none of that.
func (c *closing) openElsewhere(ctx context.Context, held []keyring.Held, h keyring.Held) (why string, err error) {
	const text = "it is open at %q, where hosts seal under it, and what is closed at one place hosts take for closed at all: sigilfs keys rotate there retires it"
	for _, other := range held {
		if other.ID == h.ID && other.At != h.At && other.State == keyring.Live {
			return fmt.Sprintf(text, other.At), nil
		}
	}
	for _, at := range keyring.Above(c.set.volumeRoot) {
		// Past what this host remembers, which may be of the one within.
		data, _, err := bucket{store: c.objects}.Get(ctx, keyring.Held{At: at, ID: h.ID}.Path())
		if errors.Is(err, keyring.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if e, err := keyring.ParseEpoch(h.ID, data); err == nil && e.State == keyring.Live {
			return fmt.Sprintf(text, at), nil
		}
	}
	return "", nil
}

// unlisted tells whether an object is one of the epochs at a place where nobody
// has looked for them, and as what that counts.
func (c *closing) unlisted(ver objstore.Version, ids []string) (kind string, ok bool) {
	i := strings.LastIndex("/"+ver.Key, "/.sigil/epochs/")
	if i < 0 || ver.Deleted || !ver.Latest {
		return "", false
	}
	at, id := ver.Key[:i], ver.Key[i+len(".sigil/epochs/"):]
	return alsoAt + id, slices.Contains(ids, id) && !slices.Contains(c.places.Within, at)
}
