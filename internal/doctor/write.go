package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// reach asks for one listing.
func (e *exam) reach(ctx context.Context) Finding {
	if e.deaf { // which took its time to find out
		return skipped("not tried: %s is %s", Endpoint, Failure)
	}
	if _, err := objstore.Probe(ctx, e.Store, objstore.ProbeOptions{Dir: e.scratch(), ReadOnly: true}); err != nil {
		e.gone = !errors.Is(err, objstore.ErrAccess)
		return e.failed(err)
	}
	e.reached = true
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
	e.caps, e.wrote = caps, true
	switch {
	case !caps.Read:
		return Finding{Status: Warning, Text: "these credentials may write and not read: nothing in a mount can be looked up or opened", Remedy: "grant s3:GetObject, and s3:GetObjectVersion where the bucket keeps versions, unless this host is only to write"}
	case !caps.Delete:
		return Finding{
			Status: Warning, Text: "these credentials may not delete: files can be written, not removed or renamed, and what was tried just now stays under " + e.scratch(),
			Remedy: "grant s3:DeleteObject, unless this host is only to add files",
		}
	}
	return ok("what is written can be read again, copied and deleted")
}

// conditions tells which of them the probe saw honoured.
func (e *exam) conditions(context.Context) Finding {
	f := ok("writes, copies and deletions are conditional")
	if races := Races(e.caps); races != "" {
		f = Finding{
			Status: Warning, Text: races,
			Remedy: "write below one directory from one host at a time, or use a server that honours If-Match and If-None-Match in all these requests",
		}
	}
	if e.caps.Read && !e.caps.CopyParts {
		f.Text += "; the server copies no parts, so a change in a large file sends all of it"
	}
	return f
}

// Races says what hosts may do to each other on a server that does not honour
// every condition: one sentence, without a full stop; "" is nothing. What
// another host did is looked for before each request, so it takes the same
// moment.
func Races(c objstore.Capabilities) string {
	var of, risks []string
	add := func(requests, risk string) { of, risks = append(of, requests), append(risks, risk) }
	if !c.PutConditions || !c.UploadConditions {
		add("writes", "of two that write one file one may overwrite the other")
	}
	if !c.CopyConditions && c.Read { // a copy reads
		add("copies", "a rename that is to replace nothing, or of a directory, may overwrite what another has closed under the new name")
	}
	if !c.DeleteConditions && c.Read && c.Delete {
		add("deletions", "a rename copies and may then delete what another has closed under the old name meanwhile")
	}
	if len(of) == 0 {
		return ""
	}
	return fmt.Sprintf("the server does not honour conditional %s: where hosts change one name at the same moment, %s", strings.Join(of, " and "), strings.Join(risks, ", and "))
}
