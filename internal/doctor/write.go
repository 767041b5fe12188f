package doctor

import (
	"context"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// reach asks for one listing.
func (e *exam) reach(ctx context.Context) Finding {
	if _, err := objstore.Probe(ctx, e.Store, objstore.ProbeOptions{Dir: e.scratch(), ReadOnly: true}); err != nil {
		return e.failed(err)
	}
	return ok("%s is there and can be listed", e.volume())
}

// write tries what a mount tries before it says "mounted".
func (e *exam) write(ctx context.Context) Finding {
	if e.ReadOnly {
		return skipped("not tried: --read-only")
	}
	caps, err := objstore.Probe(ctx, e.Store, objstore.ProbeOptions{Dir: e.scratch(), Full: true, Encryption: e.Encryption})
	if err != nil {
		return e.failed(err)
	}
	e.caps = caps
	switch {
	case !caps.Read:
		return Finding{Status: Warning, Text: "these credentials may write and not read: nothing in a mount can be looked up or opened", Remedy: "grant s3:GetObject, unless this host is only to write"}
	case !caps.Delete:
		return Finding{
			Status: Warning, Text: "these credentials may not delete: files can be written, not removed or renamed, and what was tried just now stays under " + e.scratch(),
			Remedy: "grant s3:DeleteObject, unless this host is only to add files",
		}
	case caps.Simple:
		return ok("what is written can be read again and deleted; the server does not take the checksums of S3, so bodies are protected by their signature alone")
	}
	return ok("what is written can be read again and deleted")
}

// conditions tells which of them the probe saw honoured.
func (e *exam) conditions(context.Context) Finding {
	switch c := e.caps; {
	case !c.PutConditions || !c.UploadConditions:
		return Finding{
			Status: Warning, Text: "the server does not honour conditional writes: of two hosts that write one file at the same moment one may overwrite the other",
			Remedy: "write from one host at a time, or use a server that knows If-Match and If-None-Match",
		}
	case !c.CopyParts:
		return ok("writes are conditional; the server copies no parts, so a change in a large file sends all of it")
	case !c.CopyConditions || !c.DeleteConditions:
		return ok("writes are conditional; copies and deletions are not on this server, and are looked at before they are made")
	}
	return ok("writes, copies and deletions are conditional")
}
