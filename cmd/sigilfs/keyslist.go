package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/spf13/cobra"
)

// keysDocument is what keys list says.
type keysDocument struct {
	Target     string      `json:"target"`
	VolumeRoot string      `json:"volume_root"`
	Keys       []keyJSON   `json:"keys"`
	Epochs     []epochJSON `json:"epochs"`
	Nested     []string    `json:"nested_roots"`    // volume roots within, which are part of it
	Above      []string    `json:"above"`           // places of epochs above, which are not
	Whole      bool        `json:"all_looked_into"` // for nested ones
	Missing    []string    `json:"missing"`         // epochs that this host remembers
	Volume     *volumeJSON `json:"volume,omitempty"`
}

// keyJSON is a master key, as configured here and as epochs are wrapped for it.
type keyJSON struct {
	ID         string       `json:"id"`
	Names      []string     `json:"names"` // none: it is not configured here
	Kind       string       `json:"kind"`
	Configured bool         `json:"configured"`
	Reads      bool         `json:"reads"`  // its secret half is here
	Writes     bool         `json:"writes"` // new epochs of this host are wrapped for it
	Epochs     epochsJSON   `json:"epochs"`
	LastUse    *lastUseJSON `json:"last_use,omitempty"`
}

// epochsJSON counts the epochs that are wrapped for a key. Those that do not open
// here are counted apart: nobody here can tell that what they say is true.
type epochsJSON struct {
	Open     int `json:"open"`
	Retired  int `json:"retired"`
	Closed   int `json:"closed"`
	Unopened int `json:"unopened"`
}

// lastUseJSON is the newest epoch of a key.
type lastUseJSON struct {
	Epoch   string    `json:"epoch"`
	Created time.Time `json:"created"`
	Host    string    `json:"host"`
}

// epochJSON is one epoch object.
type epochJSON struct {
	ID         string     `json:"id"`
	At         string     `json:"at"`
	State      string     `json:"state,omitempty"`
	Revision   uint64     `json:"revision,omitempty"`            // in the bucket
	Remembered uint64     `json:"remembered_revision,omitempty"` // a higher one that this host has seen
	Created    *time.Time `json:"created,omitempty"`
	Host       string     `json:"host,omitempty"`
	Own        bool       `json:"own,omitempty"` // made by this host
	Keys       []string   `json:"keys,omitempty"`
	Signed     bool       `json:"signed"`
	SignedBy   string     `json:"signed_by,omitempty"` // if it is one of those whom this host knows
	Opens      bool       `json:"opens"`
	Error      string     `json:"error,omitempty"`
}

func newKeysList() *cobra.Command {
	var epochs bool
	cmd := keysCommand("list TARGET", "List the keys of a volume", `list shows each master key: its id, its name and kind, how many epochs are
wrapped for it by their state, and its last use: when its newest epoch was made,
and by which host. Keys that are not configured here are among them. With
--epochs it lists the epochs too. Nothing is written.

What an epoch says that does not open here is not proven, and counted apart.`, 0, reads,
		func(ctx context.Context, k *keeping, _ []string) error {
			doc, err := k.document(ctx)
			if err != nil {
				return err
			}
			if k.asJSON {
				return printJSON(k.c.OutOrStdout(), doc)
			}
			return doc.print(k.c.OutOrStdout(), epochs)
		})
	cmd.Flags().BoolVar(&epochs, "epochs", false, "list the epochs too")
	return cmd
}

func (k *keeping) document(ctx context.Context) (keysDocument, error) {
	doc := keysDocument{
		Target: k.set.target.Spec, VolumeRoot: k.set.volumeRoot, Keys: []keyJSON{}, Epochs: []epochJSON{},
		Nested: append([]string{}, k.nested()...), Above: append([]string{}, k.places.Above...), Whole: k.places.Whole, Missing: []string{},
	}
	held, err := k.epochs(ctx, slices.Concat(k.places.Within, k.places.Above))
	if err != nil {
		return doc, err
	}
	keys := map[string]*keyJSON{}
	for _, have := range k.opened {
		if have.master != nil {
			k.keyOf(keys, have.master.ID(), have.master.Kind())
		}
	}
	for _, h := range held {
		doc.Epochs = append(doc.Epochs, k.describeEpoch(h))
		if h.Epoch == nil {
			continue
		}
		for _, w := range h.Epoch.Wraps {
			k.keyOf(keys, w.Key, w.Type).count(h)
		}
	}
	for _, j := range keys {
		doc.Keys = append(doc.Keys, *j)
	}
	slices.SortFunc(doc.Keys, func(a, b keyJSON) int { return cmp.Compare(a.ID, b.ID) })
	if doc.Missing, err = k.missing(held); err != nil {
		return doc, err
	}
	doc.Volume, err = k.volumeObject(ctx)
	return doc, err
}

// nested are the volume roots within this one.
func (k *keeping) nested() []string {
	return slices.DeleteFunc(slices.Clone(k.places.Within), func(at string) bool { return at == k.set.volumeRoot })
}

// missing are the epochs that this host remembers and the bucket does not have.
func (k *keeping) missing(held []keyring.Held) ([]string, error) {
	known, err := k.admin.Remembered()
	if err != nil {
		return nil, systemError("%w", err)
	}
	there := map[keyring.EpochID]bool{}
	for _, h := range held {
		there[h.ID] = true
	}
	gone := []string{}
	for _, id := range known {
		if !there[id] {
			gone = append(gone, id.String())
		}
	}
	return gone, nil
}

func (k *keeping) keyOf(keys map[string]*keyJSON, id, kind string) *keyJSON {
	if j := keys[id]; j != nil {
		return j
	}
	j := &keyJSON{ID: id, Kind: kind, Names: []string{}}
	for _, have := range k.named(id) {
		j.Names = append(j.Names, have.Name)
		j.Configured = true
		j.Reads = j.Reads || have.master.CanUnwrap()
	}
	for _, set := range k.keySets() {
		j.Writes = j.Writes || slices.Contains(idsOf(set), id)
	}
	keys[id] = j
	return j
}

func (j *keyJSON) count(h keyring.Held) {
	switch {
	case h.Err != nil:
		j.Epochs.Unopened++
		return
	case h.State == keyring.Closed:
		j.Epochs.Closed++
	case h.State == keyring.Retired:
		j.Epochs.Retired++
	default:
		j.Epochs.Open++
	}
	if e := h.Epoch; j.LastUse == nil || e.Created.After(j.LastUse.Created) {
		j.LastUse = &lastUseJSON{h.ID.String(), e.Created, e.Host}
	}
}

func (k *keeping) describeEpoch(h keyring.Held) epochJSON {
	j := epochJSON{ID: h.ID.String(), At: h.At, Revision: h.Shown, Own: h.Own, Opens: h.Err == nil}
	if h.Err != nil {
		j.Error = oneLine(h.Err)
	}
	if e := h.Epoch; e != nil {
		j.State, j.Created, j.Host, j.Keys = h.State.String(), &e.Created, e.Host, h.KeyIDs()
		j.Signed = e.Signature != nil
		if signer, ok := k.ring.SignerOf(e); ok {
			j.SignedBy = signer.String()
		}
		if e.Revision > h.Shown {
			j.Remembered = e.Revision
		}
	}
	return j
}

// print is for people. Hosts are quoted, since anybody may have named one.
func (d keysDocument) print(out io.Writer, epochs bool) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KEY\tNAME\tKIND\tOPEN\tRETIRED\tCLOSED\tLAST USE\tHOST") //nolint:errcheck // Flush tells
	for _, k := range d.Keys {
		name, last, host := "(not configured)", "never", ""
		if k.Configured {
			name = fmt.Sprint(k.Names[0])
			if !k.Reads {
				name += " (public half)"
			}
		}
		if use := k.LastUse; use != nil {
			last, host = use.Created.UTC().Format("2006-01-02 15:04Z"), fmt.Sprintf("%q", use.Host)
		}
		if n := k.Epochs.Unopened; n > 0 {
			host += fmt.Sprintf("  and %d that do not open here", n)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", k.ID, name, k.Kind, k.Epochs.Open, k.Epochs.Retired, k.Epochs.Closed, last, host) //nolint:errcheck // Flush tells
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if d.Volume != nil {
		if _, err := fmt.Fprintln(out, d.Volume.line()); err != nil {
			return err
		}
	}
	for _, e := range d.Epochs {
		if !epochs && e.Opens && e.Remembered == 0 {
			continue
		}
		if _, err := fmt.Fprintln(out, e.line()); err != nil {
			return err
		}
	}
	for _, id := range d.Missing {
		if _, err := fmt.Fprintf(out, "epoch %s is missing from the bucket, and this host remembers it: a mount that meets it puts it back\n", id); err != nil {
			return err
		}
	}
	return nil
}

func (e epochJSON) line() string {
	text := fmt.Sprintf("epoch %s at %q: ", e.ID, e.At+".sigil/epochs/")
	if !e.Opens {
		return text + "does not open: " + e.Error
	}
	text += fmt.Sprintf("%s, revision %d, made %s by %q, for %d keys", e.State, e.Revision, e.Created.UTC().Format("2006-01-02 15:04Z"), e.Host, len(e.Keys))
	switch {
	case e.SignedBy != "":
		text += "; signed by " + e.SignedBy
	case e.Signed:
		text += "; signed by nobody whom this host knows (--signers)"
	}
	if e.Remembered > 0 {
		text += fmt.Sprintf("; ROLLED BACK: this host has seen revision %d, which is used; the next change puts it back", e.Remembered)
	}
	return text
}
