package volume

import (
	"context"
	"slices"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sync/errgroup"
)

// A body that differs from the one it replaces in part is put together inside
// the store: what is the same is copied there, the rest sent.

// piece is one part of such a body.
type piece struct {
	objstore.Range
	copied bool
	from   int64 // where what is copied lies now
}

// inPlace are ranges that lie where they lay.
func inPlace(all []objstore.Range) []sigil.Kept {
	kept := make([]sigil.Kept, len(all))
	for i, r := range all {
		kept[i] = sigil.Kept{Off: r.Off, Len: r.Len, From: r.Off}
	}
	return kept
}

// longCopy is how much one piece copies, in bytes; the last of several takes
// what would be too short for a part.
const longCopy = objstore.MaxPartSize - objstore.MinPartSize

// maxSends bounds the pieces that are sent, so that there is room for copies.
const maxSends = objstore.MaxParts / 2

// pieces cuts a body of size bytes, of which kept (in order, without overlap)
// need not be sent, into parts as S3 takes them (AWS S3 User Guide, "Amazon S3
// multipart upload limits"): all but the last have 5 MiB at least, and there are
// 10,000 at most. Where a gap is smaller it is filled up by what could have been
// copied; a kept range that is too small for a copy is sent.
func pieces(size int64, kept []sigil.Kept) []piece {
	for least := int64(objstore.MinPartSize); ; least *= 2 {
		if cut := split(alternate(size, kept, least)); len(cut) <= objstore.MaxParts {
			return cut
		}
	}
}

// alternate gives the pieces of any length, where nothing under least is copied.
func alternate(size int64, kept []sigil.Kept, least int64) []piece {
	var cut []piece
	at := int64(0)
	for _, k := range kept {
		off, end := k.Off, k.Off+k.Len
		if off > at && off-at < objstore.MinPartSize {
			off = min(end, at+objstore.MinPartSize)
		}
		last := end == size && off > 0 // the last part may be shorter
		if off == end || end-off < least && !last {
			continue // sent with what comes after
		}
		cut = append(send(cut, at, off), piece{objstore.Range{Off: off, Len: end - off}, true, k.From + off - k.Off})
		at = end
	}
	return send(cut, at, size)
}

// send appends what is to be sent from off to end, if there is any.
func send(cut []piece, off, end int64) []piece {
	if off == end {
		return cut
	}
	return append(cut, piece{Range: objstore.Range{Off: off, Len: end - off}})
}

// split cuts what is too long for one part.
func split(cut []piece) []piece {
	total := int64(0)
	for _, p := range cut {
		if !p.copied {
			total += p.Len
		}
	}
	most := max(sealedSegment, (total/maxSends/sealedSegment+1)*sealedSegment)
	var out []piece
	for _, p := range cut {
		limit := most
		if p.copied {
			limit = longCopy
		}
		for p.Len >= limit+objstore.MinPartSize {
			out = append(out, piece{objstore.Range{Off: p.Off, Len: limit}, p.copied, p.from})
			p.Off, p.Len, p.from = p.Off+limit, p.Len-limit, p.from+limit
		}
		out = append(out, p)
	}
	return out
}

// assemble makes b out of what is copied and what is sent.
func assemble(ctx context.Context, up objstore.Uploader, b body) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelParts)
	for i, p := range pieces(b.size, b.kept) {
		g.Go(func() error {
			if p.copied {
				return up.CopyPart(ctx, i+1, b.from, objstore.Range{Off: p.from, Len: p.Len})
			}
			return up.Part(ctx, i+1, b.section(ctx, p.Off, p.Len), p.Len)
		})
	}
	return g.Wait()
}

// patchable tells whether a body of size bytes is better put together out of
// the one that it replaces than sent: a single PUT is the fewest requests, and
// a copy needs 5 MiB.
func (v *Volume) patchable(size int64, kept []sigil.Kept) bool {
	return size > v.onePut && v.opt.Capabilities.CopyParts &&
		slices.ContainsFunc(pieces(size, kept), func(p piece) bool { return p.copied })
}
