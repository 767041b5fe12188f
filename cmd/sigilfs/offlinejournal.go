package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sigilfs/sigilfs/internal/bulk"
	"github.com/sigilfs/sigilfs/internal/config"
)

// journal is where a long command remembers how far it was, in the state of this
// host; where there is none it goes without.
func (o *offline) journal(id bulk.Identity, restart bool) (*bulk.Journal, error) {
	dir, err := state.Share(o.set.stateDir, o.stateID())
	if err != nil {
		o.log.WithError(err).Warn("this run cannot be gone on with if it is interrupted: no state directory")
		return nil, nil //nolint:nilnil // a nil journal keeps nothing
	}
	j, err := bulk.Open(dir.Journals(), id, restart)
	switch {
	case errors.Is(err, bulk.ErrOther):
		return nil, usageError("%w: finish it with those, or begin anew with --restart", err)
	case errors.Is(err, bulk.ErrBusy):
		return nil, mountError("%w: wait for it", err)
	case errors.Is(err, bulk.ErrCorrupt):
		return nil, systemError("%w: begin anew with --restart", err)
	case err != nil:
		return nil, systemError("%w", err)
	}
	return j, nil
}

// heldAgainst is what decides on what a look at everything finds: the rules, the
// keys, and the time of which the bucket is shown.
func (o *offline) heldAgainst() string {
	var said, ids []string
	for _, r := range o.rules {
		said = append(said, fmt.Sprintf("%s=%s(%s)", r.Prefix, r.Mode, strings.Join(r.makes(), " ")))
	}
	if o.set.unstated {
		said = []string{"no policy"}
	}
	for _, k := range o.opened {
		ids = append(ids, k.identity())
	}
	slices.Sort(ids)
	said = append(said, "keys="+strings.Join(slices.Compact(ids), ","))
	if o.set.at.given() {
		said = append(said, "at="+o.set.at.at.UTC().Format(time.RFC3339Nano)) // 12h ago is another time by now
	}
	return strings.Join(said, " ")
}

// makes is what decides on how objects are encrypted that are written by r, but
// for its mode.
func (r rule) makes() (said []string) {
	if r.Mode == config.S3EC {
		said = append(said, fmt.Sprintf("v%d", r.Version))
	}
	for _, k := range r.keys {
		said = append(said, k.Name, k.identity())
	}
	if r.InstructionFiles {
		said = append(said, "instruction-files")
	}
	said = append(said, serverSays(r.context, r.BucketKey)...)
	if r.sse == nil {
		return said
	}
	said = append(said, "sse="+string(r.sse.Mode))
	if r.sse.key != nil {
		said = append(said, r.sse.key.identity())
	}
	return append(said, serverSays(r.sse.context, r.sse.BucketKey)...)
}

// serverSays is what goes with a key of KMS.
func serverSays(context map[string]string, bucketKey *bool) (said []string) {
	if len(context) > 0 {
		said = append(said, fmt.Sprintf("context=%q", context))
	}
	if bucketKey != nil {
		said = append(said, fmt.Sprintf("bucket-key=%v", *bucketKey))
	}
	return said
}

// identity names k for everybody, as far as that can be told.
func (k *key) identity() string {
	if k.master != nil {
		return k.master.ID()
	}
	return k.ID + k.customer.ID()
}
