package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/spf13/cobra"
)

// purgeFlags say what becomes of older versions of epoch objects.
type purgeFlags struct{ purge, yes bool }

func (p *purgeFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&p.purge, "purge-versions", false, "remove the old versions of epoch objects that still carry what was taken away, for good")
	cmd.Flags().BoolVar(&p.yes, "yes", false, "do not ask before that")
}

// oldDocument is the old versions of epoch objects that carry wraps for keys that
// were taken away.
type oldDocument struct {
	Versions []oldJSON     `json:"versions"`
	Failed   []failureJSON `json:"failed"`
	Purged   bool          `json:"purged"`  // they were to be removed; else they are there
	Removed  int           `json:"removed"` // so many were
	DryRun   bool          `json:"dry_run"`
	ToCome   int           `json:"to_come"` // of a dry run: present objects that would become such versions
}

type oldJSON struct {
	Key      string    `json:"key"`
	Version  string    `json:"version"`
	Revision uint64    `json:"revision"`
	Written  time.Time `json:"written"`
	Keys     []string  `json:"keys"`
	Locked   string    `json:"locked,omitempty"` // Object Lock keeps it
}

// oldVersions looks for them, and removes them where that was asked for.
func (c *alteration) oldVersions(ctx context.Context, gone func(key string) bool, purge purgeFlags) error {
	doc, err := c.findOld(ctx, gone)
	if doc == nil || err != nil {
		return err
	}
	c.doc.Old = doc
	switch {
	case !purge.purge || doc.DryRun || len(doc.Versions) == 0 || len(c.doc.Failed) > 0:
		return nil
	case !purge.yes:
		c.bar.Clear()
		ok, err := confirm(ctx, fmt.Sprintf("Remove %d old versions of epoch objects for good? Who restores the bucket from them cannot go back behind this change. [y/N] ", len(doc.Versions)))
		if err != nil {
			return usageError("--purge-versions asks before it removes anything, and cannot: %w; the keys were changed, say --yes for the rest", err)
		}
		if !ok {
			return nil
		}
	}
	doc.Purged = true
	for _, v := range doc.Versions {
		if v.Locked != "" {
			doc.fail(v, errors.New("it is locked "+v.Locked+" (Object Lock)"))
			continue
		}
		if err := c.store.Delete(ctx, objstore.ID{Key: v.Key, VersionID: v.Version}, objstore.Condition{}); err != nil {
			doc.fail(v, err)
			continue
		}
		doc.Removed++
	}
	return nil
}

func (d *oldDocument) fail(v oldJSON, err error) {
	d.Failed = append(d.Failed, failureJSON{v.Key, v.Version, oneLine(err)})
}

// findOld lists the older versions of the epochs that are as they are to be. Of
// one that does not open here, or is not there any more, every version is left:
// it may be the way back. Nil: the bucket keeps none.
func (c *alteration) findOld(ctx context.Context, gone func(key string) bool) (*oldDocument, error) {
	var store objstore.Store = c.store
	versions, ok := store.(objstore.Versioner)
	if !ok {
		return nil, nil
	}
	doc := &oldDocument{Versions: []oldJSON{}, Failed: []failureJSON{}, DryRun: c.doc.DryRun}
	held, err := c.epochs(ctx, c.places.Within)
	if err != nil {
		return nil, err
	}
	now := map[string]keyring.Held{}
	for _, h := range held {
		carries := slices.ContainsFunc(h.KeyIDs(), gone)
		if carries && c.doc.DryRun && h.Err == nil {
			doc.ToCome++
		}
		if h.Err == nil && (!carries || c.doc.DryRun) {
			now[h.Path()] = h
		}
	}
	for _, at := range c.places.Within {
		for v, err := range versions.Versions(ctx, objstore.ListOptions{Prefix: at + ".sigil/epochs/"}) {
			if errors.Is(err, objstore.ErrUnsupported) {
				return nil, nil
			}
			if err != nil {
				return nil, explainStore(c.set.target.Spec, err)
			}
			if h, ok := now[v.Key]; ok && !v.Latest && !v.Deleted {
				c.weighOld(ctx, doc, h, v.Info, gone)
			}
		}
	}
	return doc, nil
}

// weighOld notes a version that carries what is gone. One of another epoch key is
// no version of this epoch, and left.
func (c *alteration) weighOld(ctx context.Context, doc *oldDocument, h keyring.Held, v objstore.Info, gone func(string) bool) {
	old := oldJSON{Key: v.Key, Version: v.VersionID, Written: v.Modified}
	stored, err := c.readVersion(ctx, v.ID)
	if err != nil {
		doc.fail(old, err)
		return
	}
	e, err := c.admin.SameEpoch(h, stored)
	if err != nil {
		return
	}
	for _, w := range e.Wraps {
		if gone(w.Key) {
			old.Keys = append(old.Keys, w.Key)
		}
	}
	if old.Keys == nil {
		return
	}
	old.Revision = e.Revision
	var store objstore.Store = c.store
	if locker, ok := store.(objstore.Locker); ok {
		if lock, err := locker.Lock(ctx, v.ID); err == nil && lock.Holds(time.Now()) {
			old.Locked = "until " + lock.Until.UTC().Format(time.RFC3339)
			if lock.LegalHold {
				old.Locked = "by a legal hold"
			}
		}
	}
	doc.Versions = append(doc.Versions, old)
}

func (c *alteration) readVersion(ctx context.Context, id objstore.ID) ([]byte, error) {
	_, _, body, err := c.store.Get(ctx, id, objstore.Range{Len: keyring.MaxEpochSize + 1})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, keyring.MaxEpochSize+1))
}

// lines are for people.
func (d *oldDocument) lines() []string {
	var lines []string
	for _, v := range d.Versions {
		text := fmt.Sprintf("old version %s of %q, revision %d, written %s, carries %s", v.Version, v.Key, v.Revision, v.Written.UTC().Format("2006-01-02 15:04Z"), strings.Join(v.Keys, ", "))
		if v.Locked != "" {
			text += ", and is locked " + v.Locked
		}
		lines = append(lines, text)
	}
	for _, f := range d.Failed {
		lines = append(lines, fmt.Sprintf("old version %s of %q: %s", f.At, f.ID, f.Error))
	}
	n := len(d.Versions)
	switch {
	case d.DryRun && n+d.ToCome > 0:
		lines = append(lines, fmt.Sprintf("--purge-versions would remove %d old versions, and %d that are now the present ones and would be replaced, where the bucket keeps versions", n, d.ToCome))
	case n > 0 && d.Purged:
		lines = append(lines, fmt.Sprintf("%d of %d old versions were removed", d.Removed, n))
	case n > 0:
		lines = append(lines, fmt.Sprintf("%d old versions still carry what was taken away; --purge-versions removes them for good", n))
	}
	return lines
}
