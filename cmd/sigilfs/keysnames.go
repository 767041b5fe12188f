package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// volumeJSON is the volume object of the root.
type volumeJSON struct {
	ID          string `json:"id"`
	Names       string `json:"names"`                 // clear or encrypted
	Epoch       string `json:"epoch,omitempty"`       // under which their key is sealed
	Fingerprint string `json:"fingerprint,omitempty"` // of their key, where it opens
	Error       string `json:"error,omitempty"`       // why it does not
}

// volumeObject tells of the volume object; nil: there is none.
func (k *keeping) volumeObject(ctx context.Context) (*volumeJSON, error) {
	object, _, err := k.readVolume(ctx, k.set.volumeRoot)
	switch {
	case errors.Is(err, keyring.ErrCorrupt), errors.Is(err, keyring.ErrVersion):
		return &volumeJSON{Error: oneLine(err)}, nil
	case err != nil:
		return nil, k.unreadVolume(err)
	case object == nil:
		return k.missingVolume()
	}
	j := &volumeJSON{ID: object.ID.String(), Names: clearOr(object.Encrypted())}
	if !object.Encrypted() {
		return j, nil
	}
	j.Epoch = object.Epoch.String()
	key, err := openNameKey(ctx, k.ring, k.set.volumeRoot, *object)
	if err != nil {
		j.Error = oneLine(err)
		return j, nil
	}
	defer clear(key[:])
	j.Fingerprint = fingerprint(key)
	return j, nil
}

// missingVolume tells of a volume object that this host remembers, and needs.
func (k *keeping) missingVolume() (*volumeJSON, error) {
	pin, _, err := k.recallPin()
	if err != nil || pin.Names == "" {
		return nil, err
	}
	return &volumeJSON{ID: pin.ID, Names: namesEncrypted, Error: lostVolume}, nil
}

// lostVolume is said of the volume object.
const lostVolume = "it is missing from the bucket, and this host remembers it"

func (j volumeJSON) line() string {
	text := fmt.Sprintf("volume %s: names are %s", j.ID, j.Names)
	switch {
	case j.ID == "":
		return "the volume object cannot be read: " + j.Error
	case j.Epoch == "" && j.Error != "":
		return fmt.Sprintf("the object of volume %s, with the key of its names: %s", j.ID, j.Error)
	case j.Error != "":
		return text + ", and their key under epoch " + j.Epoch + " does not open here: " + j.Error
	case j.Epoch != "":
		return text + ", their key is under epoch " + j.Epoch + "; fingerprint " + j.Fingerprint
	}
	return text
}

// resealedJSON is what became of the name key, whose epoch was retired.
type resealedJSON struct {
	Volume string `json:"volume"`
	Was    string `json:"was"`             // epoch
	Epoch  string `json:"epoch,omitempty"` // under which it is sealed now; of a dry run none
	Error  string `json:"error,omitempty"` // why it stays where it was
}

func (r resealedJSON) line() string {
	switch {
	case r.Error != "":
		return fmt.Sprintf("the key of names stays under epoch %s: %s", r.Was, r.Error)
	case r.Epoch == "":
		return fmt.Sprintf("the key of names would be sealed anew: it is under epoch %s", r.Was)
	}
	return fmt.Sprintf("the key of names is sealed under epoch %s now, and was under %s", r.Epoch, r.Was)
}

// resealNames seals the name key of the volume anew, where its epoch is open no
// more. It is the same key: names stay as they are. What went wrong stands in the
// document.
func (c *alteration) resealNames(ctx context.Context) error {
	for range maxReseals {
		again, err := c.resealOnce(ctx)
		if err != nil || !again {
			return err
		}
	}
	return mountError("%s: the volume object was changed again and again by others", c.doc.Target)
}

// maxReseals bounds how often another one may be first.
const maxReseals = 5

func (c *alteration) resealOnce(ctx context.Context) (again bool, err error) {
	root := c.set.volumeRoot
	object, etag, err := c.readVolume(ctx, root)
	switch {
	case err != nil:
		return false, c.unreadVolume(err)
	case object == nil || !object.Encrypted():
		return false, nil
	}
	done := resealedJSON{Volume: object.ID.String(), Was: object.Epoch.String()}
	names, err := openNameKey(ctx, c.ring, root, *object)
	if err != nil {
		if slices.ContainsFunc(doesNotOpen(), func(is error) bool { return errors.Is(err, is) }) {
			return false, nil // as keys list and check tell; an epoch that does not open here is not changed here
		}
		return false, explainStore(c.doc.Target, err)
	}
	defer clear(names[:])
	if pin, pinned, err := c.recallPin(); err != nil {
		return false, err
	} else if pinned && pin.Names != "" && !sameHex(pin.Names, fingerprint(names)) {
		return false, c.refuseNames("their key has the fingerprint %s, and this host knows %s: it is not sealed anew", fingerprint(names), pin.Names)
	}
	if c.ring.EpochState(object.Epoch) == keyring.Live.String() && !c.retires(object.Epoch) {
		return false, nil
	}
	if c.doc.Names = &done; c.doc.DryRun {
		return false, nil
	}
	next, err := c.sealNames(ctx, *object, names)
	if err == nil {
		done.Epoch = next.Epoch.String()
		again, err = c.replaceVolume(ctx, next, etag)
	}
	if err != nil {
		done.Epoch, done.Error = "", oneLine(err)
	}
	return again, nil
}

// retires tells whether a dry run would retire the epoch.
func (c *alteration) retires(id keyring.EpochID) bool {
	for _, j := range c.doc.Changed {
		if j.ID == id.String() && j.State != keyring.Live.String() {
			return true
		}
	}
	return false
}

// sealNames seals the name key under the current epoch of the root's keys.
func (c *alteration) sealNames(ctx context.Context, object keyring.VolumeObject, names *[keyring.NameKeySize]byte) (keyring.VolumeObject, error) {
	root := c.root()
	if root.Mode != config.Client {
		return object, fmt.Errorf("%s: the rule without a prefix is of mode %s, and the key is sealed under an epoch of mode client", root.At, root.Mode)
	}
	set, err := c.setOf(root)
	if err != nil {
		return object, err
	}
	id, epoch, err := set.Current(ctx)
	if err != nil {
		return object, err
	}
	defer clear(epoch[:])
	return object.Sealed(id, &epoch, names), nil
}

// replaceVolume puts the object in place of the one with that ETag; again tells that
// somebody else was first.
func (c *alteration) replaceVolume(ctx context.Context, next keyring.VolumeObject, etag string) (again bool, err error) {
	if !c.caps.PutConditions {
		return false, keyring.ErrNoConditions
	}
	beneath, err := c.beneath()
	if err != nil {
		return false, err
	}
	err = bucket{c.store, beneath}.Replace(ctx, volumeKey(c.set.volumeRoot), next.Marshal(), etag)
	if err == nil || !errors.Is(err, keyring.ErrChanged) && !errors.Is(err, objstore.ErrUnknown) {
		return false, err
	}
	now, _, rerr := c.readVolume(ctx, c.set.volumeRoot)
	switch {
	case rerr == nil && now != nil && now.Same(next): // the answer was lost
		return false, nil
	case errors.Is(err, keyring.ErrChanged):
		return true, nil
	}
	return false, err
}

// putBackVolume sees to it that the bucket has the volume object of a recovery
// file. Another seal of the same volume stays; another volume is replaced only if
// replace.
func (k *keeping) putBackVolume(ctx context.Context, stored string, replace bool) (restoredVolumeJSON, error) {
	from, err := keyring.ParseVolumeObject([]byte(stored))
	done := restoredVolumeJSON{ID: from.ID.String(), Done: "unchanged"}
	if err != nil {
		return done, err
	}
	have, etag, err := k.readVolume(ctx, k.set.volumeRoot)
	damaged := errors.Is(err, keyring.ErrCorrupt)
	switch {
	case err != nil && !damaged: // one of a later program, too, which may be all right
		return done, err
	case have != nil && have.Same(from), have != nil && k.sameNames(ctx, *have, from):
		return done, nil
	case have != nil && have.Encrypted() && !from.Encrypted():
		return done, fmt.Errorf("the volume object in the bucket has the key of encrypted names, and the one of the file has none: %w; it is not replaced, since no file would have a name again", keyring.ErrOther)
	case (have != nil || damaged) && !replace:
		return done, fmt.Errorf("the volume object: %w; --replace replaces it", keyring.ErrOther)
	}
	if done.Done = "created"; have != nil || damaged {
		done.Done = "replaced"
	}
	if have != nil {
		done.Was = strings.TrimSpace(string(have.Marshal()))
	}
	if k.set.readOnly {
		return done, nil
	}
	beneath, err := k.beneath()
	if err != nil {
		return done, err
	}
	to, key := bucket{k.store, beneath}, volumeKey(k.set.volumeRoot)
	switch {
	case have == nil && !damaged:
		err = to.Create(ctx, key, from.Marshal())
	case damaged:
		var info objstore.Info
		if info, err = k.store.Head(ctx, objstore.ID{Key: key}); err == nil {
			err = to.Replace(ctx, key, from.Marshal(), info.ETag)
		}
	default:
		err = to.Replace(ctx, key, from.Marshal(), etag)
	}
	if now, _, rerr := k.readVolume(ctx, k.set.volumeRoot); err != nil && rerr == nil && now != nil && bytes.Equal(now.Marshal(), from.Marshal()) {
		err = nil // the answer was lost
	}
	return done, err
}

// sameNames tells whether the object in the bucket is another seal of the same
// volume: it has to open here.
func (k *keeping) sameNames(ctx context.Context, have, from keyring.VolumeObject) bool {
	if have.ID != from.ID || have.Encrypted() != from.Encrypted() {
		return false
	}
	if !have.Encrypted() {
		return true
	}
	names, err := openNameKey(ctx, k.ring, k.set.volumeRoot, have)
	if err == nil {
		clear(names[:])
	}
	return err == nil
}

// restoredVolumeJSON is what became of the volume object of a recovery file.
type restoredVolumeJSON struct {
	ID   string `json:"id"`
	Done string `json:"done"`          // created, replaced, unchanged
	Was  string `json:"was,omitempty"` // what was replaced; it holds no secret
}
