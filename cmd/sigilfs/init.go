package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/spf13/cobra"
)

func newInit() *cobra.Command {
	var encrypt, dry, asJSON bool
	cmd := &cobra.Command{
		Use:   "init TARGET",
		Short: "Make the volume object of a new volume, and have its names encrypted",
		Long: `init makes .sigil/volume, which says what the volume is called. No volume needs
it, unless names are to be encrypted: then it holds the key of that, sealed under
an epoch of this host.

    sigilfs init s3://bucket/prefix --encrypt-names --encryption client --key file:main.key

With --encrypt-names the bucket shows no name of a file or directory from the first
one on; how many there are, their sizes and how deep they lie it shows still. Every
host that mounts the volume follows the object, and remembers it. The line that is
printed, put into a host's configuration, keeps it from another volume before its
first mount, too:

    names: encrypted:FINGERPRINT

Without the object nobody can tell a name again: keys export writes it to the
recovery file.

TARGET and the flags are those of the mount.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError("sigilfs init s3://bucket/prefix [--encrypt-names] --encryption client --key file:main.key")
			}
			return nil
		},
	}
	onTarget(cmd, func(ctx context.Context, c *cobra.Command, m *mounting, _ []string) error {
		if m.set.readOnly {
			return m.set.wrong("read-only", "is given, and init writes; --dry-run says what it would do")
		}
		m.set.readOnly = dry
		made, err := (&initiation{mounting: m, encrypt: encrypt}).run(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(c.OutOrStdout(), made)
		}
		say(c.OutOrStdout(), made.text())
		return nil
	})
	cmd.Flags().BoolVar(&encrypt, "encrypt-names", false, "have the names of files and directories encrypted")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would be made, and make nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

// initDocument is what init says.
type initDocument struct {
	Target      string `json:"target"`
	VolumeRoot  string `json:"volume_root"`
	DryRun      bool   `json:"dry_run"`
	ID          string `json:"id,omitempty"` // of a dry run: none
	Names       string `json:"names"`        // clear or encrypted
	Epoch       string `json:"epoch,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
}

func (d initDocument) text() string {
	if d.DryRun {
		return fmt.Sprintf("%s: a dry run, nothing was written: the volume would get an id, and its names are to be %s", d.Target, d.Names)
	}
	lines := []string{fmt.Sprintf("%s: volume %s was made; its names are %s", d.Target, d.ID, d.Names)}
	if d.Fingerprint != "" {
		lines = append(lines,
			"the fingerprint of their key is "+d.Fingerprint,
			"for the configuration of each host:",
			"names: "+namesEncrypted+":"+d.Fingerprint)
	}
	return strings.Join(lines, "\n")
}

// initiation is the making of a volume object.
type initiation struct {
	*mounting
	encrypt bool
}

func (i *initiation) run(ctx context.Context) (initDocument, error) {
	doc := initDocument{Target: i.set.target.Spec, VolumeRoot: i.set.volumeRoot, DryRun: i.set.readOnly, Names: clearOr(i.encrypt)}
	for _, step := range []func(context.Context) error{
		i.openKeys, i.fits, i.openStore, i.shareOwn, i.probe, i.isNew, i.newRing, i.openSets,
	} {
		if err := step(ctx); err != nil {
			return doc, err
		}
		if ctx.Err() != nil {
			return doc, mountError("interrupted")
		}
	}
	if i.set.readOnly {
		return doc, nil
	}
	object, err := i.make(ctx)
	if err != nil {
		return doc, err
	}
	doc.ID, doc.Fingerprint = object.ID.String(), i.naming.print
	if object.Encrypted() {
		doc.Epoch = object.Epoch.String()
	}
	i.naming.object = object
	if err := i.state.Repin(i.naming.seen()); err != nil {
		return doc, systemError("%w", err)
	}
	return doc, nil
}

// clearWord is of names that are not encrypted, in documents.
const clearWord = "clear"

// fits refuses what the configuration contradicts.
func (i *initiation) fits(context.Context) error {
	demanded, mark := i.set.wish()
	switch root := i.root(); {
	case mark != "":
		return i.set.wrong("names", "says which key encrypts names, and init draws one: leave the fingerprint out until it is printed")
	case demanded && !i.encrypt:
		return i.set.wrong("names", "says that names are encrypted: give --encrypt-names")
	case i.encrypt && root.Mode != config.Client:
		return usageError("%s: names are encrypted under an epoch of mode client, and the rule without a prefix is of mode %s", root.At, root.Mode)
	}
	return nil
}

// shareOwn has the volume's state, as commands have it that run beside mounts.
func (i *initiation) shareOwn(context.Context) error {
	if i.set.readOnly {
		return nil
	}
	dir, err := state.Share(i.set.stateDir, i.stateID())
	if err != nil {
		return explainState(err)
	}
	i.state = dir
	return nil
}

// isNew refuses a volume that is there, or was, and names that are readable already.
func (i *initiation) isNew(ctx context.Context) error {
	object, _, err := i.readVolume(ctx, i.set.volumeRoot)
	if err != nil {
		return i.unreadVolume(err)
	}
	where := quoted("s3://" + i.set.target.Bucket + "/" + volumeKey(i.set.volumeRoot))
	if object != nil {
		names := clearWord
		if object.Encrypted() {
			names = fmt.Sprintf("encrypted, with their key under epoch %s", object.Epoch)
		}
		return mountError("%s is there already, and left as it is: volume %s, names are %s", where, object.ID, names)
	}
	pin, pinned, err := i.recallPin()
	switch {
	case err != nil:
		return err
	case pinned && (pin.ID != "" || pin.Names != "") && !i.set.acceptVolume:
		return i.refuseNames("%s is missing, and this host remembers it: put it back with sigilfs keys import of a recovery file, or as its last version where the bucket keeps versions; --accept-volume has a new one made", where)
	}
	if err := i.lookAbove(ctx); err != nil || !i.encrypt {
		return err
	}
	return i.isEmpty(ctx)
}

// isEmpty refuses a volume root below which there is more than what is the
// volume's own. The root's own marker holds no name.
func (i *initiation) isEmpty(ctx context.Context) error {
	root := i.set.volumeRoot
	for e, err := range i.store.List(ctx, objstore.ListOptions{Prefix: root, Delimiter: "/"}) {
		switch {
		case err != nil:
			return explainStore(i.set.target.Spec, err)
		case e.Prefix == root+".sigil/", e.Key == root && root != "":
		default:
			return mountError("%s: there is something already, as %s, and names would stay readable: init --encrypt-names is for a new volume; sigilfs encrypt-names encrypts those of one that is in use", i.set.target.Spec, quoted(e.Prefix+e.Key))
		}
	}
	return nil
}

// make draws id and name key, and puts the object. Where the answer is lost, what
// is there tells.
func (i *initiation) make(ctx context.Context) (*keyring.VolumeObject, error) {
	object := keyring.NewVolumeObject()
	if i.encrypt {
		if err := i.seal(ctx, &object); err != nil {
			return nil, err
		}
	}
	beneath, err := i.beneath()
	if err != nil {
		return nil, err
	}
	key := volumeKey(i.set.volumeRoot)
	err = bucket{i.store, beneath}.Create(ctx, key, object.Marshal())
	if err != nil && !errors.Is(err, keyring.ErrExist) && !errors.Is(err, objstore.ErrUnknown) {
		return nil, explainStore(i.set.target.Spec, err)
	}
	have, _, rerr := i.readVolume(ctx, i.set.volumeRoot)
	switch {
	case rerr == nil && have != nil && bytes.Equal(have.Marshal(), object.Marshal()):
		return have, nil
	case rerr == nil && have != nil:
		return nil, mountError("%s: somebody else has made volume %s there at this moment; it is left as it is", i.set.target.Spec, have.ID)
	case err == nil && rerr != nil:
		return nil, i.unreadVolume(rerr)
	}
	return nil, explainStore(i.set.target.Spec, errors.Join(err, rerr))
}

// seal draws the name key and seals it under the current epoch of the root's keys.
func (i *initiation) seal(ctx context.Context, object *keyring.VolumeObject) error {
	set, err := i.setOf(i.root())
	if err != nil {
		return mountError("%s: %w", i.root().At, err)
	}
	id, epoch, err := set.Current(ctx)
	if err != nil {
		return explainStore(i.set.target.Spec, err)
	}
	defer clear(epoch[:])
	key := [keyring.NameKeySize]byte(sigil.NewNameKey())
	defer clear(key[:])
	i.naming.print = fingerprint(&key)
	*object = object.Sealed(id, &epoch, &key)
	return nil
}
