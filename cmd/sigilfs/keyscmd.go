package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/spf13/cobra"
)

func newKeys() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys list|check|add|remove|rotate|rewrap|close|export|import TARGET",
		Short: "Look at, change and save the keys of a volume",
		Long: `keys is for the keys of mode client: master keys, which are configured, and the
epochs in the bucket that are wrapped for them. Whatever is changed, no object of
yours is touched: it takes seconds.

    sigilfs keys list   s3://bucket/prefix --encryption client --key file:main.key
    sigilfs keys check  s3://bucket/prefix …          can this host open every epoch?
    sigilfs keys add    s3://bucket/prefix … age:age1…
    sigilfs keys remove s3://bucket/prefix … aes:0123… [--purge-versions]
    sigilfs keys rotate s3://bucket/prefix …
    sigilfs keys rewrap CONFIG.yaml
    sigilfs keys close  CONFIG.yaml                   retired epochs that nothing needs
    sigilfs keys export CONFIG.yaml volume.recovery   for the safe
    sigilfs keys import CONFIG.yaml volume.recovery

TARGET and the flags are those of the mount. All of it may run beside mounts, on
any host, and again after it was interrupted. With --dry-run it says what it
would do.`,
		Args: func(*cobra.Command, []string) error {
			return usageError("say list, check, add, remove, rotate, rewrap, close, export or import: sigilfs keys list s3://bucket/prefix --encryption client --key file:main.key")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newKeysList(), newKeysCheck(), newKeysAdd(), newKeysRemove(), newKeysRotate(), newKeysRewrap(), newKeysClose(), newKeysExport(), newKeysImport())
	return cmd
}

// keeping is the keys of a volume: what an offline volume has of them, and the
// administration of its epochs. There is no volume.Volume.
type keeping struct {
	*offline
	c      *cobra.Command
	asJSON bool
	admin  *keyring.Admin
	places keyring.Places
}

// anyNumber is of arguments.
const anyNumber = -1

// keysCommand is one of keys': TARGET, and more arguments as use says.
func keysCommand(use, short, long string, args int, how access, run func(ctx context.Context, k *keeping, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: func(_ *cobra.Command, have []string) error {
			if len(have) == 0 || args != anyNumber && len(have) != 1+args {
				return usageError("sigilfs keys %s", use)
			}
			return nil
		},
	}
	s := defaultSettings()
	var asJSON bool
	cmd.RunE = func(c *cobra.Command, have []string) error {
		return withTarget(c, s, have[0], "", how, func(ctx context.Context, o *offline) error {
			k := &keeping{offline: o, c: c, asJSON: asJSON}
			if err := k.open(ctx, how); err != nil {
				return err
			}
			return run(ctx, k, have[1:])
		})
	}
	s.addFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	if how == writes {
		cmd.Flags().Bool("dry-run", false, "say what would be done, and do nothing")
	}
	return cmd
}

// open is an offline volume's, less what seals and reads objects: no epoch is
// made to look at those that there are.
func (k *keeping) open(ctx context.Context, how access) error {
	steps := []func(context.Context) error{k.openKeys, k.openStore, func(ctx context.Context) error { return k.findRoot(ctx, how) }}
	if k.set.readOnly {
		steps = append(steps, k.recallState)
	} else {
		steps = append(steps, k.shareMemory, k.probe)
	}
	for _, step := range append(steps, k.newRing, k.sealing, k.openAdmin) {
		if err := step(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return mountError("interrupted")
		}
	}
	return nil
}

// shareMemory has what is remembered of epochs, as mounts of this host have it.
func (k *keeping) shareMemory(context.Context) error {
	dir, err := state.Share(k.set.stateDir, k.stateID())
	if err != nil {
		return explainState(err)
	}
	k.state = dir
	return nil
}

// placeRequests and placeTime bound the search for volumes within a volume.
const (
	placeRequests = 2000
	placeTime     = 15 * time.Second
)

// sealing refuses a policy under which nothing has an epoch.
func (k *keeping) sealing(context.Context) error {
	if !slices.ContainsFunc(k.rules, func(r rule) bool { return r.Mode == config.Client }) {
		return usageError("%s: no rule is of mode client, and only that has epochs; give --encryption client and its keys", k.set.target.Spec)
	}
	return nil
}

func (k *keeping) openAdmin(ctx context.Context) error {
	var err error
	k.admin, err = k.ring.Admin(keyring.AdminOptions{Conditional: k.caps.PutConditions, Dry: k.set.readOnly})
	if err != nil {
		return mountError("%w", err)
	}
	if k.places, err = k.admin.Places(ctx, placeRequests, placeTime); err != nil {
		return explainStore(k.set.target.Spec, err)
	}
	if !k.places.Whole {
		say(k.stderr, "not every directory was looked into for volumes of its own: epochs that lie deeper are not part of this; name their volumes as TARGET")
	}
	return nil
}

// epochs gives those at places, in order.
func (k *keeping) epochs(ctx context.Context, places []string) ([]keyring.Held, error) {
	var all []keyring.Held
	err := k.admin.Each(ctx, places, func(h keyring.Held) error {
		all = append(all, h)
		return nil
	})
	if err != nil {
		return nil, explainStore(k.set.target.Spec, err)
	}
	slices.SortFunc(all, func(a, b keyring.Held) int {
		return cmp.Or(cmp.Compare(a.At, b.At), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return all, nil
}

// named gives the configured keys that a key id is of.
func (k *keeping) named(id string) []*key {
	var all []*key
	for _, have := range k.opened {
		if have.master != nil && keyring.SameKey(have.master.ID(), id) {
			all = append(all, have)
		}
	}
	return all
}

// label is a key id with its name here, if it has one.
func (k *keeping) label(id string) string {
	for _, have := range k.named(id) {
		return id + " (" + have.Name + ")"
	}
	return id
}

func (k *keeping) labels(ids []string) string {
	var all []string
	for _, id := range ids {
		all = append(all, k.label(id))
	}
	return strings.Join(all, ", ")
}

// keySets are those of the rules of mode client, each once, the root's last.
func (k *keeping) keySets() [][]keyring.Master {
	var all [][]keyring.Master
	for _, r := range k.rules {
		if r.Mode != config.Client {
			continue
		}
		var set []keyring.Master
		for _, key := range r.keys {
			set = append(set, key.master)
		}
		if !slices.ContainsFunc(all, func(have []keyring.Master) bool { return slices.Equal(idsOf(have), idsOf(set)) }) {
			all = append(all, set)
		}
	}
	return all
}

// idsOf gives the sorted ids of keys, each once.
func idsOf(masters []keyring.Master) []string {
	var ids []string
	for _, m := range masters {
		ids = append(ids, m.ID())
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// wholeID is an id that stands for itself, whether or not an epoch is wrapped for
// it any more.
var wholeID = regexp.MustCompile(`^((aes|age):[0-9a-f]{32}|arn:[!-~]+)$`)

// resolveID finds the key that somebody means: by its name here, its id, or the
// beginning of the id of one that an epoch is wrapped for.
func (k *keeping) resolveID(text string, held []keyring.Held) (string, error) {
	for _, have := range k.opened {
		if have.Name == text && have.master != nil {
			return have.master.ID(), nil
		}
	}
	if wholeID.MatchString(text) {
		return text, nil
	}
	var found []string
	for _, h := range held {
		for _, id := range h.KeyIDs() {
			if strings.HasPrefix(id, text) && len(text) >= len("aes:1234") && !slices.Contains(found, id) {
				found = append(found, id)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", usageError("%q is neither the name of a configured key nor the id of one that an epoch is wrapped for: sigilfs keys list shows them", text)
	}
	return "", usageError("%q is the beginning of several ids: give more of it", text)
}

func printJSON(out io.Writer, doc any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}
