package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/doctor"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// A multipart upload shows what it carries only when it has ended. One that was
// begun while hosts sealed under an epoch, and ends during the look at a key that
// this has passed, would not be seen at all: so it is asked for before. One that
// is begun later carries no retired epoch.

// uploads says why nothing may be closed: an upload that may carry what is to be,
// or that nobody can tell whether there is one.
func (c *closing) uploads(ctx context.Context, since time.Time) (refused string, err error) {
	enc, err := c.rootEncryption()
	if err != nil {
		return "", err
	}
	look := uploadLook{store: c.objects, root: c.set.volumeRoot, encryption: enc, untried: c.doc.DryRun, noWriters: c.noWriters}
	if refused, err = look.pending(ctx, since); refused != "" || err != nil {
		return refused, err
	}
	if look.untried && !look.noWriters {
		say(c.stderr, "whether this server tells of all uploads is not tried in a dry run: where it does not, nothing is closed without --no-writers")
	}
	return recordedUpload(ctx, c.objects, c.places.Within)
}

// uploadLook asks the server for uploads that are under way. The records of mounts
// do not answer in its place: an upload has none in its first half minute.
type uploadLook struct {
	store      objstore.Store
	root       string // of the volume
	encryption *objstore.Encryption
	untried    bool // send nothing that writes
	noWriters  bool // somebody answers for what the server does not tell
}

// pending says why nothing may be closed for the sake of uploads that were begun
// before a time.
func (l uploadLook) pending(ctx context.Context, before time.Time) (refused string, err error) {
	const answer = "see to it that nothing writes (unmount every host), and say --no-writers"
	refused, err = l.told(ctx, before)
	if refused == "" && err == nil && !l.untried && !l.noWriters {
		err = l.try(ctx)
	}
	untold := errors.Is(err, objstore.ErrUnsupported) || errors.Is(err, objstore.ErrAccess)
	switch {
	case refused != "" || !untold:
		return refused, err
	case l.noWriters:
		return "", nil
	case errors.Is(err, doctor.ErrUntried): // which is an ErrAccess
		return fmt.Sprintf("multipart uploads that are under way may carry one, and whether this server tells of them cannot be tried: %s; grant s3:PutObject for %q, or %s", oneLine(err), doctor.Scratch(l.root)+"*", answer), nil
	case errors.Is(err, objstore.ErrAccess):
		return fmt.Sprintf("multipart uploads that are under way may carry one, and cannot be asked for: %s; grant s3:ListBucketMultipartUploads, or %s", oneLine(err), answer), nil
	}
	return "this server does not tell which multipart uploads are under way, and one may carry one: " + answer, nil
}

// told looks for one that the server tells of. Those of probes are empty.
func (l uploadLook) told(ctx context.Context, before time.Time) (refused string, err error) {
	b, ok := l.store.(objstore.Bucket)
	if !ok {
		return "", fmt.Errorf("list uploads: %w", objstore.ErrUnsupported)
	}
	for u, err := range b.Pending(ctx, l.root) {
		if err != nil {
			return "", err
		}
		if u.Began.Before(before) && !strings.HasPrefix(u.Key, doctor.Scratch(l.root)) {
			return fmt.Sprintf("a multipart upload of %q has been under way since %s, and may carry one: wait for it, or abort it", u.Key, u.Began.UTC().Format("2006-01-02 15:04Z")), nil
		}
	}
	return "", nil
}

// try is an error where the empty answer says nothing.
func (l uploadLook) try(ctx context.Context) error {
	tells, err := doctor.TellsUploads(ctx, l.store, l.root, l.encryption)
	if err == nil && !tells {
		return fmt.Errorf("list uploads by prefix: %w", objstore.ErrUnsupported)
	}
	return err
}

// recordedUpload looks for one that some mount has recorded at the places.
func recordedUpload(ctx context.Context, store objstore.Store, places []string) (refused string, err error) {
	for _, at := range places {
		for e, err := range store.List(ctx, objstore.ListOptions{Prefix: at + ".sigil/uploads/"}) {
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("an upload that %q records is under way, or was left behind, and may carry one: wait for it; what a crash left, the next mount of its host ends", e.Key), nil
		}
	}
	return "", nil
}
