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
// one takes it for closed at all of them, by its id and key. So it is closed at
// all of them or at none.

// everywhere gives those of the ready epochs that are ready wherever they are held,
// and that no root above has, below which nobody looks.
func (c *closing) everywhere(ctx context.Context, held, ready []keyring.Held) ([]keyring.Held, error) {
	here, kept := readyEverywhere(held, ready)
	for _, k := range kept {
		c.keep(k.Held, fmt.Sprintf("it lies at %q too, where it may not be closed yet, and what is closed at one place hosts take for closed at all", k.at))
	}
	var alone []keyring.Held
	for _, h := range here {
		at, found, err := liesAt(ctx, c.store, c.places.Above, h.ID)
		if err != nil {
			return nil, err
		}
		if found {
			c.keep(h, fmt.Sprintf("it lies above TARGET too, at %q, where files may need it: close it from there", at))
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

// liesAt looks for an epoch object at places, whatever is in it.
func liesAt(ctx context.Context, store objstore.Store, places []string, id keyring.EpochID) (at string, found bool, err error) {
	for _, at := range places {
		_, err := store.Head(ctx, objstore.ID{Key: at + ".sigil/epochs/" + id.String()})
		switch {
		case errors.Is(err, objstore.ErrNotExist):
		case err != nil:
			return "", false, err
		default:
			return at, true, nil
		}
	}
	return "", false, nil
}

// unlisted tells whether an object is one of the epochs at a place where nobody
// has looked for them.
func (c *closing) unlisted(ver objstore.Version, ids []string) (id string, ok bool) {
	i := strings.LastIndex("/"+ver.Key, "/.sigil/epochs/")
	if i < 0 || ver.Deleted || !ver.Latest {
		return "", false
	}
	at, id := ver.Key[:i], ver.Key[i+len(".sigil/epochs/"):]
	return id, slices.Contains(ids, id) && !slices.Contains(c.places.Within, at)
}
