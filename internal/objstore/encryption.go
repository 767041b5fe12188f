package objstore

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Header is what requests and answers say of the encryption at rest: S3's
// headers by name, in lower case. This package only carries them; what they
// mean is known above. Values may be keys, so a Header prints its names alone.
type Header map[string]string

// Format keeps the values out of every verb.
func (h Header) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "["+strings.Join(slices.Sorted(maps.Keys(h)), " ")+"]")
}

// Encryption is how requests ask a server to encrypt a body at rest, and to
// decrypt it again (AWS S3 User Guide, "Protecting data with server-side
// encryption"). Nil and zero ask for nothing. It is not changed once used.
type Encryption struct {
	Write  Header // goes with Put, Upload, and the destination of Copy
	Read   Header // goes with Get, Head, Part, Complete, and the destination of CopyPart
	Source Header // goes with Copy and CopyPart, for their source
}

// Format names the headers under every verb, as Header does: fmt would print
// what lies behind a pointer without asking it.
func (e *Encryption) Format(f fmt.State, _ rune) {
	if e == nil {
		_, _ = io.WriteString(f, "<nil>")
		return
	}
	_, _ = fmt.Fprintf(f, "{%v %v %v}", e.Write, e.Read, e.Source)
}

// Receipt is what an answer tells of a body that was written.
type Receipt struct {
	ID

	// Answered is as of Info: whatever is made of the key later has no earlier
	// LastModified. The headers of Copy and Complete may come before the body
	// is made (S3 API, "CompleteMultipartUpload").
	Answered time.Time

	// Encrypted is as of Info; servers leave it out of some answers, those of
	// Copy and Complete above all.
	Encrypted Header
}

// Writes are the headers of a request that makes the body.
func (e *Encryption) Writes() Header {
	if e == nil {
		return nil
	}
	return e.Write
}

// Reads are the headers of a request for the body.
func (e *Encryption) Reads() Header {
	if e == nil {
		return nil
	}
	return e.Read
}

// Sources are the headers of a request that copies from the body.
func (e *Encryption) Sources() Header {
	if e == nil {
		return nil
	}
	return e.Source
}

// SystemMetadata names the headers that S3 keeps with an object and that a copy
// which replaces metadata must repeat (AWS S3 User Guide, "Working with object
// metadata").
func SystemMetadata() []string {
	return []string{"content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires", "x-amz-website-redirect-location"}
}
