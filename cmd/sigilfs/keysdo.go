package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/spf13/cobra"
)

func newKeysAdd() *cobra.Command {
	return keysCommand("add TARGET NAME|SOURCE", "Wrap every epoch for one more key", `add wraps every epoch for a key too: a configured one by its NAME, or any by its
SOURCE, such as age:age1… or kms:ARN. Who has it can then read all that there is.
Nobody loses anything.

Hosts go on sealing under epochs of their own key sets: list the key in their
configuration as well. An epoch whose wraps are no more exactly its host's key
set is left by that host for a new one.`, 1, writes,
		func(ctx context.Context, k *keeping, args []string) error { return k.add(ctx, args[0]) })
}

func (k *keeping) add(ctx context.Context, text string) error {
	m, err := k.master(ctx, text)
	if err != nil {
		return err
	}
	held, err := k.epochs(ctx, k.places.Within)
	if err != nil {
		return err
	}
	c := k.newAlteration("adding a key")
	err = c.applyAll(ctx, c.opened(held, anyEpoch), keyring.Aim{Add: []keyring.Master{m}})
	if ctx.Err() != nil {
		return err
	}
	return c.end(ctx, "those are wrapped for the keys that they were wrapped for")
}

// master is a configured key by its name, or one that a source gives.
func (k *keeping) master(ctx context.Context, text string) (keyring.Master, error) {
	for _, have := range k.opened {
		if have.Name == text && have.master != nil {
			return have.master, nil
		}
	}
	if !strings.Contains(text, ":") {
		return nil, usageError("no key %q is configured that epochs can be wrapped for; name one, or give its source: file:PATH, age:RECIPIENT, kms:ARN", text)
	}
	from, err := config.KeyFlag(config.Place{Name: "SOURCE"}, "SOURCE", text)
	if err != nil {
		return nil, usageError("%w", err)
	}
	made, err := k.openKey(ctx, from)
	if err != nil {
		return nil, keySourceError(from, err)
	}
	if made.master == nil {
		return nil, usageError("epochs are not wrapped for keys of kind %s", from.Kind)
	}
	return made.master, nil
}

func newKeysRemove() *cobra.Command {
	var purge purgeFlags
	cmd := keysCommand("remove TARGET ID|NAME", "Take a key away from every epoch", `remove takes the wraps for a key out of every epoch, and retires those that are
open: hosts make new epochs within their --key-recheck. It is refused, and nothing
changed, while the key is the only way to any of them that is not closed.

It takes from the holder of the key neither what he could read so far nor the
power to forge under the epochs that he knew: sigilfs reencrypt ends that. A
host that has the key in its configuration goes on making epochs for it: take it
out there too. On a bucket that keeps versions the older ones of the epoch
objects still carry the wraps, and remove says which; --purge-versions removes
them, too.`, 1, writes,
		func(ctx context.Context, k *keeping, args []string) error { return k.remove(ctx, args[0], purge) })
	purge.add(cmd)
	return cmd
}

func (k *keeping) remove(ctx context.Context, text string, purge purgeFlags) error {
	held, err := k.epochs(ctx, k.places.Within)
	if err != nil {
		return err
	}
	id, err := k.resolveID(text, held)
	if err != nil {
		return err
	}
	gone := func(key string) bool { return keyring.SameKey(key, id) }
	aim := keyring.Aim{Drop: func(w keyring.Wrap) bool { return gone(w.Key) }}
	c := k.newAlteration("removing a key")
	open := c.opened(held, func(h keyring.Held) bool { return slices.ContainsFunc(h.KeyIDs(), gone) })
	if open, err = c.tryAll(ctx, open, aim); err != nil {
		c.bar.Done()
		return k.explainRefusal(ctx, id, c.errs)
	}
	err = c.applyAll(ctx, open, aim)
	if ctx.Err() != nil {
		return err
	}
	if err := c.oldVersions(ctx, gone, purge); err != nil {
		return errors.Join(c.print(), err) // what was changed is told all the same
	}
	return c.end(ctx, "they are as they were, the others have lost the key; the same command goes on")
}

// explainRefusal is for a removal that was refused before anything was changed:
// errs say why of each epoch that refuses, and one of them stands for all.
func (k *keeping) explainRefusal(ctx context.Context, id string, errs []error) error {
	only := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return !errors.Is(err, keyring.ErrOnlyWay) })
	switch {
	case ctx.Err() != nil:
		return mountError("interrupted, and nothing was changed")
	case len(only) > 0:
		return mountError("%s is the only way known here to %d epochs, and nothing was changed: %w; add another key first (sigilfs keys add, or rewrap)", k.label(id), len(only), only[0])
	}
	return mountError("nothing was changed: %w", errs[0])
}

func newKeysRotate() *cobra.Command {
	var set string
	cmd := keysCommand("rotate TARGET", "Have every host make a new epoch", `rotate retires every open epoch: it is read as before, and no host seals under
it any more. Each host makes a new one when it next looks (--key-recheck). With
--key-set it is the epochs that are wrapped for exactly these keys.`, 0, writes,
		func(ctx context.Context, k *keeping, _ []string) error { return k.rotate(ctx, set) })
	cmd.Flags().StringVar(&set, "key-set", "", "`KEYS` by name or id, with commas between them: only epochs for exactly these")
	return cmd
}

func (k *keeping) rotate(ctx context.Context, set string) error {
	held, err := k.epochs(ctx, k.places.Within)
	if err != nil {
		return err
	}
	if held, err = k.ofSet(held, set); err != nil {
		return err
	}
	c := k.newAlteration("retiring")
	err = c.applyAll(ctx, c.opened(held, func(h keyring.Held) bool { return h.State == keyring.Live }), keyring.Aim{State: keyring.Retired})
	if ctx.Err() != nil {
		return err
	}
	return c.end(ctx, "those are open still")
}

// ofSet chooses the epochs for exactly the keys of a list; all without one.
func (k *keeping) ofSet(held []keyring.Held, list string) ([]keyring.Held, error) {
	if list == "" {
		return held, nil
	}
	var ids []string
	for item := range strings.SplitSeq(list, ",") {
		id, err := k.resolveID(strings.TrimSpace(item), held)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return without(held, func(h keyring.Held) bool { return !sameKeys(h.KeyIDs(), ids) }), nil
}

// sameKeys tells whether two lists are of the same keys.
func sameKeys(a, b []string) bool {
	within := func(a, b []string) bool {
		return !slices.ContainsFunc(a, func(x string) bool {
			return !slices.ContainsFunc(b, func(y string) bool { return keyring.SameKey(x, y) })
		})
	}
	return within(a, b) && within(b, a)
}

func newKeysRewrap() *cobra.Command {
	var from, to string
	var purge purgeFlags
	cmd := keysCommand("rewrap TARGET", "Wrap every epoch for the configured keys instead", `rewrap changes the master keys of every epoch to those that the configuration
writes under: first all are wrapped for the new keys too, and only when all are,
the wraps for others go. So both old and new keys open everything until it is
done, and a run that was interrupted is simply repeated. Epochs that lose a key
are retired.

The keys that the epochs are wrapped for now are listed too, to open them. Where
rules have several key sets, --to says which one and --from which epochs: those
that are wrapped for a key.`, 0, writes,
		func(ctx context.Context, k *keeping, _ []string) error { return k.rewrap(ctx, from, to, purge) })
	cmd.Flags().StringVar(&from, "from", "", "`KEY` by name or id: only epochs that are wrapped for it")
	cmd.Flags().StringVar(&to, "to", "", "`KEYS` by name, with commas between them: the key set of one of the rules")
	purge.add(cmd)
	return cmd
}

func (k *keeping) rewrap(ctx context.Context, from, to string, purge purgeFlags) error {
	set, err := k.chooseSet(to, from)
	if err != nil {
		return err
	}
	held, err := k.epochs(ctx, k.places.Within)
	if err != nil {
		return err
	}
	concerned, err := k.carrying(held, from)
	if err != nil {
		return err
	}
	c := k.newAlteration("rewrapping")
	open := c.opened(without(held, func(h keyring.Held) bool { return !concerned(h) }), anyEpoch)
	stays := func(w keyring.Wrap) bool {
		return slices.ContainsFunc(set, func(m keyring.Master) bool { return keyring.Opens(m, w) })
	}
	if c.doc.DryRun {
		err = c.applyAll(ctx, open, keyring.Aim{Add: set, Drop: func(w keyring.Wrap) bool { return !stays(w) }})
	} else {
		err = c.exchange(ctx, open, set, stays)
	}
	if ctx.Err() != nil {
		return err
	}
	if len(c.doc.Failed) == 0 {
		kept := func(key string) bool {
			return slices.ContainsFunc(set, func(m keyring.Master) bool { return keyring.SameKey(m.ID(), key) })
		}
		if err := c.oldVersions(ctx, func(key string) bool { return !kept(key) }, purge); err != nil {
			return errors.Join(c.print(), err)
		}
	}
	if err := c.end(ctx, c.left); err != nil {
		return err
	}
	return c.newcomers(ctx, concerned, set)
}

// exchange is both halves of a rewrap.
func (c *alteration) exchange(ctx context.Context, open []keyring.Held, set []keyring.Master, stays func(keyring.Wrap) bool) error {
	c.left = "this run took no key away from any epoch, and the same command goes on"
	if err := c.applyAll(ctx, open, keyring.Aim{Add: set}); err != nil {
		return err
	}
	c.doc.Unchanged = 0
	c.left = "those are wrapped for their old keys and for the new ones, and the same command goes on"
	err := c.applyAll(ctx, open, keyring.Aim{Drop: func(w keyring.Wrap) bool { return !stays(w) }})
	if ctx.Err() == nil {
		c.doc.Unchanged = len(open) - len(c.doc.Changed) - len(c.doc.Failed)
	}
	return err
}

// newcomers are epochs that a host made meanwhile, for keys that it still has
// configured.
func (c *alteration) newcomers(ctx context.Context, concerned func(keyring.Held) bool, set []keyring.Master) error {
	held, err := c.epochs(ctx, c.places.Within)
	if err != nil || c.doc.DryRun {
		return err
	}
	hosts := map[string]int{}
	for _, h := range held {
		if h.Err == nil && h.State != keyring.Closed && concerned(h) && !sameKeys(h.KeyIDs(), idsOf(set)) {
			hosts[h.Epoch.Host]++
		}
	}
	if len(hosts) == 0 {
		return nil
	}
	for host, n := range hosts {
		say(c.stderr, fmt.Sprintf("host %q made %d epochs meanwhile for other keys than these: change its configuration, and run this again", host, n))
	}
	return &exitError{exitWarned, fmt.Errorf("%s: hosts are still configured with other keys", c.doc.Target)}
}

// chooseSet is the key set that epochs are rewrapped for.
func (k *keeping) chooseSet(to, from string) ([]keyring.Master, error) {
	sets := k.keySets()
	switch {
	case to == "" && len(sets) == 1:
		return sets[0], nil
	case to == "":
		return nil, usageError("the rules have %d key sets, and which epochs are to go to which nobody can tell: say --from KEY --to KEYS", len(sets))
	case from == "" && len(sets) > 1:
		return nil, usageError("the rules have %d key sets: say with --from which epochs are to go to %s", len(sets), to)
	}
	var ids []string
	for item := range strings.SplitSeq(to, ",") {
		id, err := k.resolveID(strings.TrimSpace(item), nil)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	for _, set := range sets {
		if sameKeys(idsOf(set), ids) {
			return set, nil
		}
	}
	return nil, usageError("--to %s is the key set of no rule: epochs would be for keys that no host writes under", to)
}

// carrying tells of the epochs that are wrapped for a key; all without one.
func (k *keeping) carrying(held []keyring.Held, from string) (func(keyring.Held) bool, error) {
	if from == "" {
		return anyEpoch, nil
	}
	id, err := k.resolveID(from, held)
	if err != nil {
		return nil, err
	}
	return func(h keyring.Held) bool {
		return slices.ContainsFunc(h.KeyIDs(), func(key string) bool { return keyring.SameKey(key, id) })
	}, nil
}
