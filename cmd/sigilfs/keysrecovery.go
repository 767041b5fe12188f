package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/progress"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/spf13/cobra"
)

func newKeysExport() *cobra.Command {
	var recipients []string
	var passphrase string
	cmd := keysCommand("export TARGET FILE", "Write the epoch keys to a recovery file", `export writes the keys of all epochs that open here to the new FILE, for the safe:
text that can be printed, encrypted by age to a passphrase, which is asked for on
the terminal or comes from --passphrase SOURCE, or to each --recipient.

Who opens it can read everything that is in the bucket so far. With it and a copy
of the bucket no other key is needed, and no sigilfs: FILE says how stock age
opens it. Epochs that are made later are not in it: repeat it every month, and
after every change of keys. Nothing in the bucket is changed.`, 1, reads,
		func(ctx context.Context, k *keeping, args []string) error {
			return k.export(ctx, args[0], recipients, passphrase)
		})
	cmd.Flags().StringArrayVar(&recipients, "recipient", nil, "encrypt to this age `RECIPIENT`; repeatable")
	cmd.Flags().StringVar(&passphrase, "passphrase", "", "`SOURCE` of the passphrase: file:PATH, env:NAME, credential:NAME or command:COMMAND")
	cmd.Flags().Bool("dry-run", false, "say what would be written, and write nothing")
	return cmd
}

func (k *keeping) export(ctx context.Context, path string, recipients []string, passphrase string) error {
	dry := k.c.Flags().Lookup("dry-run").Value.String() == "true"
	if _, err := os.Lstat(path); err == nil {
		return systemError("%s exists already and is left as it is; choose another name", path)
	}
	lock, err := k.recoveryLock(ctx, recipients, passphrase, dry)
	if err != nil {
		return err
	}
	held, err := k.epochs(ctx, slices.Concat(k.places.Within, k.places.Above))
	if err != nil {
		return err
	}
	var open []keyring.Held
	doc := exportDocument{Target: k.set.target.Spec, File: path, DryRun: dry, Missing: []failureJSON{}}
	for _, h := range held {
		if h.Err != nil {
			doc.Missing = append(doc.Missing, failureJSON{h.ID.String(), h.At, oneLine(h.Err)})
			continue
		}
		open = append(open, h)
	}
	gone, err := k.missing(held)
	if err != nil {
		return err
	}
	for _, id := range gone {
		doc.Missing = append(doc.Missing, failureJSON{id, k.set.volumeRoot, "it is missing from the bucket, and this host remembers it: a mount that meets it puts it back"})
	}
	doc.Epochs = len(open)
	object, _, err := k.readVolume(ctx, k.set.volumeRoot)
	if err != nil {
		return k.unreadVolume(err)
	}
	volume := ""
	if object == nil {
		lost, err := k.missingVolume()
		if err != nil {
			return err
		}
		if lost != nil {
			doc.Missing = append(doc.Missing, failureJSON{lost.ID, k.set.volumeRoot, "the volume object, with the key of names: " + lostVolume})
		}
	} else {
		volume, doc.Volume, doc.Names = string(object.Marshal()), object.ID.String(), clearOr(object.Encrypted())
	}
	if dry {
		return doc.end(k)
	}
	if err := k.writeRecovery(path, volume, open, lock); errors.Is(err, errUnsynced) {
		return errors.Join(systemError("%w", err), doc.end(k)) // which tells what is in it
	} else if err != nil {
		return systemError("%w", err)
	}
	return doc.end(k)
}

// exportDocument is what keys export says.
type exportDocument struct {
	Target  string        `json:"target"`
	File    string        `json:"file"`
	DryRun  bool          `json:"dry_run"`
	Epochs  int           `json:"epochs"`
	Volume  string        `json:"volume,omitempty"` // id of the volume object, which is in it too
	Names   string        `json:"names,omitempty"`  // of that volume: clear or encrypted
	Missing []failureJSON `json:"missing"`          // that are not in it: they do not open here, or are missing from the bucket
}

func (d exportDocument) end(k *keeping) error {
	if k.asJSON {
		if err := printJSON(k.c.OutOrStdout(), d); err != nil {
			return err
		}
	} else {
		has := "has"
		if d.DryRun {
			has = "would have"
		}
		text := fmt.Sprintf("%s %s the keys of %d epochs", d.File, has, d.Epochs)
		if d.Names == namesEncrypted {
			text += ", and with them that of names"
		}
		for _, f := range d.Missing {
			text += fmt.Sprintf("\n%s is not among them: %s", f.ID, f.Error)
		}
		say(k.c.OutOrStdout(), text)
	}
	if len(d.Missing) > 0 {
		return &exitError{exitWarned, fmt.Errorf("%s: %d epochs are not in %s; each is listed with its reason", d.Target, len(d.Missing), d.File)}
	}
	return nil
}

// recoveryLock is of recipients or a passphrase, which is asked for twice.
func (k *keeping) recoveryLock(ctx context.Context, recipients []string, source string, dry bool) (keyring.RecoveryLock, error) {
	switch {
	case len(recipients) > 0 && source != "":
		return keyring.RecoveryLock{}, usageError("age encrypts to a passphrase or to recipients, not to both: give --recipient or --passphrase")
	case len(recipients) > 0:
		lock, err := keyring.RecipientLock(recipients)
		if err != nil {
			return lock, usageError("%w", err)
		}
		return lock, nil
	case dry && source == "":
		return keyring.RecoveryLock{}, nil
	}
	pass, err := k.passphrase(ctx, source, "the recovery file")
	if err != nil {
		return keyring.RecoveryLock{}, err
	}
	defer clear(pass)
	if source == "" {
		again, err := askPassphrase(ctx, "the recovery file, again")
		if err != nil {
			return keyring.RecoveryLock{}, systemError("%w", err)
		}
		defer clear(again)
		if !bytes.Equal(pass, again) {
			return keyring.RecoveryLock{}, usageError("the passphrases differ; nothing was written")
		}
	}
	lock, err := keyring.PassphraseLock(pass)
	if err != nil {
		return lock, usageError("%w", err)
	}
	return lock, nil
}

// passphrase is that of a source, or is asked for.
func (m *mounting) passphrase(ctx context.Context, source, what string) ([]byte, error) {
	if source == "" {
		pass, err := askPassphrase(ctx, what)
		if err != nil {
			return nil, systemError("the passphrase of %s: %w; give --passphrase SOURCE", what, err)
		}
		return pass, nil
	}
	pass, err := keyring.OpenPassphrase(ctx, source, m.sources())
	if err != nil {
		return nil, usageError("--passphrase: %w", err)
	}
	return pass, nil
}

// writeRecovery leaves a whole file, or none.
func (k *keeping) writeRecovery(path, volume string, held []keyring.Held, lock keyring.RecoveryLock) error {
	host, _ := os.Hostname()
	info := keyring.RecoveryInfo{Bucket: k.set.target.Bucket, Endpoint: k.store.Endpoint(), VolumeRoot: k.set.volumeRoot, Made: time.Now().UTC().Truncate(time.Second), Host: host, Volume: volume}
	return newFile(path, func(w io.Writer) error { return k.admin.WriteRecovery(w, info, held, lock) })
}

func newKeysImport() *cobra.Command {
	var opening recoveryFlags
	var rewrap, replace bool
	cmd := keysCommand("import TARGET FILE", "Put epochs of a recovery file back", `import sees to it that the bucket has every epoch of a recovery file: what is
missing is put back as it was, and where an older revision lies the newest one
takes its place. It goes back from no state. What is not this epoch at all is left,
unless --replace.

With --rewrap each is wrapped for the configured keys besides: for when those it
was wrapped for are lost. The wraps for these stay; keys rewrap takes them away.

A file with a passphrase asks for it on the terminal, or takes --passphrase
SOURCE; another one opens with --identity SOURCE, or an age key that is
configured.`, 1, writes,
		func(ctx context.Context, k *keeping, args []string) error {
			via, err := k.recoveryWays(ctx, opening)
			if err != nil {
				return err
			}
			return k.restore(ctx, args[0], via, rewrap, replace)
		})
	opening.add(cmd)
	cmd.Flags().BoolVar(&rewrap, "rewrap", false, "wrap the epochs for the configured keys, too")
	cmd.Flags().BoolVar(&replace, "replace", false, "put them also where something lies that is not the same epoch")
	return cmd
}

// recoveryFlags say what opens a recovery file.
type recoveryFlags struct{ passphrase, identity string }

func (r *recoveryFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.passphrase, "passphrase", "", "`SOURCE` of the recovery file's passphrase: file:PATH, env:NAME, credential:NAME or command:COMMAND")
	cmd.Flags().StringVar(&r.identity, "identity", "", "`SOURCE` of an age identity that opens the recovery file: file:PATH, env:NAME, credential:NAME or command:COMMAND")
}

func (m *mounting) recoveryWays(ctx context.Context, from recoveryFlags) (keyring.RecoveryWays, error) {
	via := keyring.RecoveryWays{
		Masters: m.masters(),
		Passphrase: func(ctx context.Context) ([]byte, error) {
			return m.passphrase(ctx, from.passphrase, "the recovery file")
		},
	}
	if from.identity != "" {
		id, err := keyring.Open(ctx, keyring.Spec{Source: "age:identity:" + from.identity}, m.sources())
		if err != nil {
			return via, usageError("--identity: %w", err)
		}
		via.Masters = append(via.Masters, id)
	}
	return via, nil
}

// readRecovery opens a recovery file.
func readRecovery(ctx context.Context, path string, via keyring.RecoveryWays) (keyring.RecoveryInfo, []keyring.Recovered, error) {
	f, err := os.Open(path)
	if err != nil {
		return keyring.RecoveryInfo{}, nil, systemError("%w", err)
	}
	defer f.Close()
	info, all, err := keyring.ReadRecovery(ctx, f, via)
	if err != nil {
		return info, nil, mountError("%s: %w", path, err)
	}
	return info, all, nil
}

// importDocument is what keys import says.
type importDocument struct {
	Target   string         `json:"target"`
	DryRun   bool           `json:"dry_run"`
	Bucket   string         `json:"of_bucket"` // of which the file is
	Root     string         `json:"of_volume_root"`
	Made     time.Time      `json:"made"`
	Restored []restoredJSON `json:"epochs"`
	Failed   []failureJSON  `json:"failed"`

	Volume *restoredVolumeJSON `json:"volume,omitempty"` // of a file that has its object
}

type restoredJSON struct {
	ID       string   `json:"id"`
	At       string   `json:"at"`
	Done     string   `json:"done"` // created, replaced, wrapped, unchanged
	Revision uint64   `json:"revision"`
	Before   uint64   `json:"revision_before,omitempty"`
	State    string   `json:"state"`
	Added    []string `json:"added"`
}

func (k *keeping) restore(ctx context.Context, path string, via keyring.RecoveryWays, rewrap, replace bool) error {
	info, all, err := readRecovery(ctx, path, via)
	if err != nil {
		return err
	}
	var add []keyring.Master
	if rewrap {
		if add, err = k.chooseSet("", ""); err != nil {
			return err
		}
	}
	doc := importDocument{
		Target: k.set.target.Spec, DryRun: k.set.readOnly, Bucket: info.Bucket, Root: info.VolumeRoot, Made: info.Made,
		Restored: []restoredJSON{}, Failed: []failureJSON{},
	}
	if info.Bucket != k.set.target.Bucket || info.VolumeRoot != k.set.volumeRoot {
		say(k.stderr, fmt.Sprintf("%s is of bucket %q, volume root %q: its epochs go to volume root %q of this one", path, info.Bucket, info.VolumeRoot, k.set.volumeRoot))
	}
	bar := progress.New(k.stderr, progress.Options{What: "importing"})
	bar.Total(int64(len(all)), 0)
	for _, one := range all {
		at := movedTo(one.At, info.VolumeRoot, k.set.volumeRoot)
		done, err := k.admin.Restore(ctx, at, one, add, replace)
		bar.Add(1, 0)
		if ctx.Err() != nil {
			bar.Done()
			return mountError("interrupted: what was put back stays, and the same command goes on with the rest")
		}
		if err != nil {
			doc.Failed = append(doc.Failed, failureJSON{one.ID.String(), at, oneLine(err)})
			continue
		}
		doc.Restored = append(doc.Restored, describeRestored(done))
	}
	bar.Done()
	if info.Volume != "" {
		done, err := k.putBackVolume(ctx, info.Volume, replace)
		if err != nil {
			doc.Failed = append(doc.Failed, failureJSON{done.ID, k.set.volumeRoot, oneLine(err)})
		} else {
			doc.Volume = &done
		}
	}
	return doc.end(k)
}

// movedTo is where an epoch belongs in a volume whose root may be another than the
// file's. One from above that goes to the root.
func movedTo(at, from, to string) string {
	if rest, ok := strings.CutPrefix(at, from); ok {
		return to + rest
	}
	if from == to {
		return at
	}
	return to
}

func describeRestored(r keyring.Restored) restoredJSON {
	j := restoredJSON{ID: r.ID.String(), At: r.At, Done: "unchanged", Revision: max(r.Shown, r.Epoch.Revision), State: r.State.String(), Added: append([]string{}, r.Added...)}
	switch {
	case r.Created:
		j.Done = "created"
	case r.Over:
		j.Done = "replaced"
	case len(r.Added) > 0:
		j.Done, j.Before = "wrapped", r.Replaced
	case r.Replaced > 0:
		j.Done, j.Before = "replaced", r.Replaced
	}
	return j
}

func (d importDocument) end(k *keeping) error {
	if k.asJSON {
		if err := printJSON(k.c.OutOrStdout(), d); err != nil {
			return err
		}
	} else {
		say(k.c.OutOrStdout(), d.text(k))
	}
	if len(d.Failed) > 0 {
		return mountError("%s: %d of what is in the file were not put back; the others are there", d.Target, len(d.Failed))
	}
	return nil
}

func (d importDocument) text(k *keeping) string {
	var lines []string
	count := map[string]int{}
	for _, j := range d.Restored {
		count[j.Done]++
		text := fmt.Sprintf("epoch %s: %s, revision %d, %s", j.ID, j.Done, j.Revision, j.State)
		if j.Before > 0 {
			text += fmt.Sprintf("; revision %d lay there", j.Before)
		}
		if len(j.Added) > 0 {
			text += "; wrapped for " + k.labels(j.Added)
		}
		lines = append(lines, text)
	}
	for _, f := range d.Failed {
		lines = append(lines, fmt.Sprintf("%s failed: %s", f.ID, f.Error))
	}
	if d.Volume != nil {
		lines = append(lines, fmt.Sprintf("volume object of %s: %s", d.Volume.ID, d.Volume.Done))
	}
	dry := ""
	if d.DryRun {
		dry = "a dry run, nothing was written: "
	}
	return strings.Join(append(lines, fmt.Sprintf("%s%d put back, %d replaced, %d wrapped, %d as they were", dry, count["created"], count["replaced"], count["wrapped"], count["unchanged"])), "\n")
}
