package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// manyUploads is how many are looked at.
const manyUploads = 10_000

// foreignAge is after how long an upload that no record names is thought to
// have been left behind: a mount records its own within two hours, and other
// tools seldom take a day.
const foreignAge = 24 * time.Hour

// pendings are the uploads to keys of the volume that have not ended.
type pendings struct {
	noted   []objstore.Pending // by a mount
	foreign []objstore.Pending
	unread  int  // records that the keys at hand do not open
	unsure  bool // there may be records for the foreign ones
	blind   bool // the server tells of no uploads but by their whole key
	untried bool // or it is not known whether it does
	more    bool // than were looked at
}

// uploads counts multipart uploads that nobody ended: no listing shows them,
// and their parts are paid for.
func (e *exam) uploads(ctx context.Context) Finding {
	const what, action = "uploads that have not ended", "s3:ListBucketMultipartUploads"
	b, err := e.bucket()
	if err != nil {
		return e.unanswered(what, action, err)
	}
	records, err := e.records(ctx)
	if err != nil && !errors.Is(err, ErrNoKeys) {
		return e.failed(fmt.Errorf("records of uploads: %w", err))
	}
	found, pendingErr := e.pending(ctx, b, records)
	if pendingErr != nil {
		return e.unanswered(what, action, pendingErr)
	}
	found.unsure = err != nil || found.unread > 0
	return e.judge(found)
}

func (e *exam) records(ctx context.Context) ([]Record, error) {
	if e.Records == nil {
		return nil, ErrNoKeys
	}
	return e.Records(ctx)
}

// pending finds them, and tells those that a record names from the others.
func (e *exam) pending(ctx context.Context, b objstore.Bucket, records []Record) (found pendings, err error) {
	noted := map[string]bool{}
	for _, r := range records {
		if r.UploadID == "" {
			found.unread++
		}
		noted[r.UploadID] = true
	}
	n := 0
	for p, err := range b.Pending(ctx, e.Root) {
		if err != nil {
			return found, err
		}
		if n++; n > manyUploads {
			found.more = true
			break
		}
		if !strings.HasPrefix(p.Key, e.scratch()) { // of somebody's probe, and empty
			found.add(p, noted[p.UploadID])
		}
	}
	if n > 0 {
		return found, nil
	}
	if err := e.look(ctx, &found); err != nil || !found.blind && !found.untried {
		return found, err
	}
	return found, e.byKey(ctx, b, records, &found)
}

func (f *pendings) add(p objstore.Pending, noted bool) {
	if noted {
		f.noted = append(f.noted, p)
		return
	}
	f.foreign = append(f.foreign, p)
}

// look sees whether the server tells of uploads by a prefix: what is not told of is
// not proof that there is nothing.
func (e *exam) look(ctx context.Context, found *pendings) error {
	if found.untried = e.ReadOnly; found.untried {
		return nil
	}
	tells, err := TellsUploads(ctx, e.Store, e.Root, e.Encryption)
	if found.untried = errors.Is(err, ErrUntried); found.untried {
		return nil // the check of writing says so
	}
	found.blind = err == nil && !tells
	return err
}

// byKey asks for those that records name, which is all that can be asked for.
func (e *exam) byKey(ctx context.Context, b objstore.Bucket, records []Record, found *pendings) error {
	for _, r := range records {
		if r.Key == "" {
			continue
		}
		for p, err := range b.Pending(ctx, r.Key) {
			if err != nil {
				return err
			}
			if p.UploadID == r.UploadID {
				found.add(p, true)
			}
		}
	}
	return nil
}

// judge makes one sentence of it. What a mount has noted is under way, or is
// ended by its host's next mount, or by any after seven days.
func (e *exam) judge(found pendings) Finding {
	var parts []string
	if n := len(found.noted); n > 0 {
		parts = append(parts, fmt.Sprintf("%s of sigilfs, the oldest of %s: under way, or ended by the next mount of their host", count(n), day(oldest(found.noted))))
	}
	if n := len(found.foreign); n > 0 {
		whose := "that no record of sigilfs names"
		if found.unsure {
			whose = "of sigilfs or others, which cannot be told without all keys"
		}
		parts = append(parts, fmt.Sprintf("%s %s, the oldest of %s", count(n), whose, day(oldest(found.foreign))))
	}
	if found.more {
		parts = append(parts, "and there are more")
	}
	switch {
	case len(parts) > 0:
	case found.untried:
		parts = append(parts, "none is told of")
	default:
		parts = append(parts, "none is open")
	}
	if found.unread > 0 {
		parts = append(parts, fmt.Sprintf("%d records of sigilfs's uploads cannot be read with these keys", found.unread))
	}
	if found.untried {
		parts = append(parts, "whether this server tells of all of them could not be tried")
	}
	if found.blind {
		parts = append(parts, "this server tells of no upload but by its key, so those of other programs are not seen")
	}
	f := ok("%s", strings.Join(parts, "; "))
	if len(found.foreign) > 0 && e.Now().Sub(oldest(found.foreign)) > foreignAge {
		f.Status = Warning
		f.Remedy = "their parts are paid for and no listing shows them: a host that has not mounted since it crashed may have begun them, or another program; abort them, or leave it to a lifecycle rule"
		f.Commands = []string{e.command("list-multipart-uploads", "--prefix", e.Root), e.command("abort-multipart-upload") + " --key KEY --upload-id ID"}
	}
	return f
}

func count(n int) string {
	if n == 1 {
		return "1 upload"
	}
	return fmt.Sprintf("%d uploads", n)
}

func oldest(all []objstore.Pending) time.Time {
	at := all[0].Began
	for _, p := range all[1:] {
		if p.Began.Before(at) {
			at = p.Began
		}
	}
	return at
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
