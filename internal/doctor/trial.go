package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// trial is what one check writes to try. All of it is removed again, also where
// the check was interrupted.
type trial struct {
	e       *exam
	name    string
	keys    []string
	uploads []objstore.Uploader
}

func (e *exam) trial() *trial {
	name := make([]byte, 16)
	if _, err := rand.Read(name); err != nil {
		panic(err) // crypto/rand does not fail (Go 1.24)
	}
	return &trial{e: e, name: e.scratch() + hex.EncodeToString(name)}
}

var trialBody = []byte("sigilfs doctor: this object may be deleted\n")

// put writes an object, with tags or nil.
func (t *trial) put(ctx context.Context, tags map[string]string) (objstore.ID, error) {
	t.keys = append(t.keys, t.name)
	got, err := t.e.Store.Put(ctx, t.name, bytes.NewReader(trialBody), int64(len(trialBody)), objstore.PutOptions{Encryption: t.e.Encryption, Tags: tags})
	return got.ID, err
}

// upload begins one and sends its only part.
func (t *trial) upload(ctx context.Context) (objstore.Uploader, error) {
	up, err := t.e.Store.Upload(ctx, t.name, objstore.PutOptions{Encryption: t.e.Encryption})
	if err != nil {
		return nil, err
	}
	t.uploads = append(t.uploads, up)
	return up, up.Part(ctx, 1, bytes.NewReader(trialBody), int64(len(trialBody)))
}

func (t *trial) complete(ctx context.Context, up objstore.Uploader) error {
	t.keys = append(t.keys, t.name)
	_, err := up.Complete(ctx, objstore.Condition{})
	return err
}

// cleanTime bounds the removal of what a trial wrote.
const cleanTime = 10 * time.Second

// clean removes it all. What cannot be removed is told of by the checks of
// writing and of uploads.
func (t *trial) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	for _, up := range t.uploads {
		_ = up.Abort(ctx) // twice is no error
	}
	for _, key := range t.keys {
		_ = t.e.Store.Delete(ctx, objstore.ID{Key: key}, objstore.Condition{})
	}
}

// multipart tries what a large file takes: parts, their end, and giving up.
func (e *exam) multipart(ctx context.Context) Finding {
	t := e.trial()
	defer t.clean(ctx)
	up, err := t.upload(ctx)
	if err != nil {
		return e.failed(err)
	}
	switch err := up.Abort(ctx); {
	case errors.Is(err, objstore.ErrAccess):
		_ = t.complete(ctx, up) // so that clean can take it away
		return Finding{
			Status: Warning, Text: "an upload that fails cannot be given up: its parts stay and are paid for",
			Remedy: "grant s3:AbortMultipartUpload",
		}
	case err != nil:
		return e.failed(err)
	}
	if up, err = t.upload(ctx); err == nil {
		err = t.complete(ctx, up)
	}
	if err != nil {
		return e.failed(err)
	}
	return ok("large files can be written in parts, and given up")
}

// tagging tries the tags of objects. Files have none of sigilfs's own but under
// SSE-C, where they name the key; those of others are kept in copies.
func (e *exam) tagging(ctx context.Context) Finding {
	const lost = "objects that other programs have tagged cannot be renamed or changed with their tags, and those of SSE-C do not name their key"
	tags := map[string]string{"sigilfs": "doctor"}
	t := e.trial()
	defer t.clean(ctx)
	id, err := t.put(ctx, tags)
	switch {
	case errors.Is(err, objstore.ErrAccess) && !errors.Is(err, objstore.ErrKeyAccess):
		return Finding{Status: Warning, Text: "objects cannot be tagged: permission s3:PutObjectTagging is missing; " + lost, Remedy: "grant s3:PutObjectTagging and s3:GetObjectTagging"}
	case errors.Is(err, objstore.ErrUnsupported), errors.Is(err, objstore.ErrInvalid):
		return ok("this server keeps no tags of objects, so there are none to lose")
	case err != nil:
		return e.failed(err)
	}
	tagger, has := e.Store.(objstore.Tagger)
	if !has {
		return ok("objects can be tagged")
	}
	got, err := tagger.Tags(ctx, id)
	switch {
	case errors.Is(err, objstore.ErrAccess):
		return Finding{Status: Warning, Text: "tags of objects cannot be read: permission s3:GetObjectTagging is missing; " + lost, Remedy: "grant s3:GetObjectTagging, and s3:GetObjectVersionTagging where the bucket keeps versions"}
	case errors.Is(err, objstore.ErrUnsupported):
		return ok("this server keeps no tags of objects, so there are none to lose")
	case err != nil:
		return e.failed(fmt.Errorf("tags: %w", err))
	case !maps.Equal(got, tags):
		return Finding{Status: Warning, Text: "the server takes tags of objects and does not give them back; " + lost, Remedy: "keep nothing in tags there"}
	}
	return ok("objects can be tagged, and their tags read")
}

// checksums tells what protects a body on the way.
func (e *exam) checksums(context.Context) Finding {
	simple := e.caps.Simple
	if s, is := e.Store.(objstore.Simplifier); is { // also by its configuration
		simple = s.Simplified()
	}
	if !simple {
		return ok("CRC-64/NVME goes with all that is written, and the server takes it")
	}
	return ok("not all that is written brings a checksum of S3's, since the server does not take it there or the environment says so (AWS_REQUEST_CHECKSUM_CALCULATION): TLS protects it on the way, or over plain HTTP its signature")
}
