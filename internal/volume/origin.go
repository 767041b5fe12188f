package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// origin is what a note knows of a loan.
type origin struct {
	Key     string `json:"key"`
	Rule    string `json:"rule,omitempty"` // a key that is under the body's
	ETag    string `json:"etag"`
	Version string `json:"version,omitempty"`
	Body    string `json:"body"`

	// Sent are marks of bodies that were made over it: they hold what it holds.
	Sent []string `json:"sent,omitempty"`
}

// origin needs the borrower's mu.
func (l *loan) origin() *origin {
	id := l.id.Load()
	return &origin{Key: id.Key, Rule: l.obj.rule.Prefix, ETag: id.ETag, Version: id.VersionID, Body: l.obj.body, Sent: l.sent}
}

// fetchOrigin is the body that o tells of, wherever that is still known to be.
func (v *Volume) fetchOrigin(ctx context.Context, o *origin) (*object, error) {
	now, err := v.lookAtOrigin(ctx, o)
	if err != nil {
		return nil, err
	}
	if now != nil && (now.body == o.Body || now.id.ETag == o.ETag) {
		return now, nil
	}
	return v.fetchVersion(ctx, note{Key: o.Key, ETag: o.ETag, Version: o.Version})
}

// lookAtOrigin is what lies there now; nil for nothing.
func (v *Volume) lookAtOrigin(ctx context.Context, o *origin) (*object, error) {
	var now *object
	var err error
	if isInodeKey(o.Key) && !strings.HasPrefix(o.Key, v.parked()) {
		now, err = v.fetchInode(ctx, o.Key, v.rule(o.Rule))
	} else {
		now, err = v.fetch(ctx, o.Key)
	}
	if err == nil && now.isName() { // it was linked since
		now, err = v.inodeBehind(ctx, now)
	}
	if errors.Is(err, ErrNotExist) {
		return nil, nil
	}
	return now, err
}

// borrowed gives the body that lies under what was left of a file, where that
// is not the file's own; nil where it is.
func (r *Recovery) borrowed(ctx context.Context, l *leftover, where located) (*content, error) {
	from := l.note.Origin
	if from == nil || where.base != nil && slices.Contains(from.Sent, where.base.mark) {
		return nil, nil
	}
	o, err := r.v.fetchOrigin(ctx, from)
	if errors.Is(err, ErrPartial) {
		return nil, fmt.Errorf("%w: what it was copied from, %s, is not in the bucket any more", ErrPartial, from.Key)
	}
	if err != nil {
		return nil, err
	}
	o.rule = r.v.rule(from.Rule) // where it lies does not tell
	return r.contentOf(ctx, o)
}
