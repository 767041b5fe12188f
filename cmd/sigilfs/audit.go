package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/progress"
	"github.com/sigilfs/sigilfs/internal/audit"
	"github.com/sigilfs/sigilfs/internal/bulk"
	"github.com/sigilfs/sigilfs/internal/doctor"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
)

// auditing is one run of the command.
type auditing struct {
	asJSON     bool
	csv, html  string // files; "" is none, "-" stdout
	inventory  string
	after      string
	current    bool // no old versions
	thorough   bool // no index
	parallel   int
	cmd        *cobra.Command
	out        *auditOutput
	tally      *audit.Tally
	notes      []string
	bucket     []audit.BucketFinding
	progress   *progress.Progress
	head       audit.Head
	unfinished error
	ended      bool // the report is written

	journal   *bulk.Journal // nil: it cannot be gone on with
	restart   bool
	state     auditState // that an interrupted run has left
	resumedAt string     // the key behind which this one began
	shadows   volume.Shadows
	told      int64 // objects
	last      audit.Object
}

func newAudit() *cobra.Command {
	a := &auditing{}
	s := defaultSettings()
	s.unstatedAllowed = true
	cmd := &cobra.Command{
		Use:   "audit TARGET [PATH]",
		Short: "Tell how every object of a bucket is encrypted",
		Long: `audit lists all objects and tells of each how it is encrypted: mode, algorithm,
key, epoch, key commitment, storage class, size and age; and what is wrong:
plaintext, weaker than the policy, under keys that are retired or not there,
moved or planted by others, old versions that can be read still, names that no
mount shows; and of the bucket what doctor would. It writes nothing.

    sigilfs audit s3://bucket
    sigilfs audit s3://bucket/prefix --encryption client --key file:main.key
    sigilfs audit /etc/sigilfs/backups.yaml --html report.html
    sigilfs audit s3://bucket --inventory DIR --csv objects.csv

Without --encryption nothing is held against a policy: that something is
plaintext is a finding all the same. Objects are asked for their metadata, not
for their content (verify reads that). The same command goes on with an audit that
was interrupted, unless rows went to stdout: then it says after which key
--after goes on. Progress is told on stderr.

Exit codes: 0 nothing was found, 64 there are findings, 32 the audit could not
be done or not to its end, 1 usage, 2 system.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 1 && !(len(args) == 2 && isFile(args[0])) {
				return usageError("sigilfs audit s3://bucket/prefix --encryption client --key file:main.key")
			}
			return nil
		},
	}
	cmd.RunE = func(c *cobra.Command, args []string) error {
		a.cmd = c
		if err := a.check(); err != nil {
			return err
		}
		path := ""
		if len(args) > 1 {
			path = args[1]
		}
		if a.inventory != "" {
			return a.fromInventory(c.Context(), s, args[0], path)
		}
		return withVolume(c, s, args[0], path, reads|aFile, a.fromBucket)
	}
	s.addFlags(cmd.Flags())
	f := cmd.Flags()
	f.BoolVar(&a.asJSON, "json", false, "print one JSON document with every object, in place of the table")
	f.StringVar(&a.csv, "csv", "", "write a row for every object to `FILE`; - is stdout, in place of the table")
	f.StringVar(&a.html, "html", "", "write a page with charts to `FILE`; - is stdout, in place of the table")
	f.StringVar(&a.inventory, "inventory", "", "take the objects from the manifest.json of an S3 Inventory, or the directory `DIR` that has it, and ask the bucket for nothing")
	f.StringVar(&a.after, "after", "", "only objects whose `KEY` in the bucket comes after this: where an interrupted audit goes on")
	f.BoolVar(&a.current, "current", false, "look at no old versions")
	f.BoolVar(&a.thorough, "thorough", false, "ask for every object, also where the attribute index knows it")
	f.BoolVar(&a.restart, "restart", false, "begin anew where an earlier run was interrupted")
	f.BoolVar(&s.readInstructions, "instruction-files", false, "objects of s3ec may have instruction files: look for them")
	f.IntVar(&a.parallel, "parallel", 32, "how many `OBJECTS` are asked for at a time")
	return cmd
}

func (a *auditing) check() error {
	stdout := 0
	for _, wants := range []bool{a.asJSON, a.csv == "-", a.html == "-"} {
		if wants {
			stdout++
		}
	}
	switch {
	case stdout > 1:
		return usageError("only one of --json, --csv - and --html - can have stdout: give the others files")
	case a.inventory != "" && a.after != "":
		return usageError("--after goes by the order of keys, which an inventory has not")
	case a.parallel < 1 || a.parallel > 1000:
		return usageError("--parallel is from 1 to 1000")
	case a.csv != "" && a.csv == a.html && a.csv != "-":
		return usageError("--csv and --html name one file")
	}
	return nil
}

// begin opens the outputs. below is the prefix of all keys.
func (a *auditing) begin(head audit.Head, below string) error {
	err := a.newTally(head, below)
	if err != nil {
		return err
	}
	a.head = head
	if a.out, err = newAuditOutput(a.cmd.OutOrStdout(), a, head); err != nil {
		return systemError("%w", err)
	}
	a.progress = progress.New(a.cmd.ErrOrStderr(), progress.Options{What: "auditing"})
	a.progress.Resume(a.told, 0)
	return nil
}

// say tells the user something on the side.
func (a *auditing) say(text string) { say(a.cmd.ErrOrStderr(), text) }

// add takes one object.
func (a *auditing) add(o audit.Object) error {
	a.tally.Add(o)
	a.told, a.last = a.told+1, o
	a.progress.Add(1, 0) // of no body is a byte read
	if err := a.out.object(o); err != nil {
		return systemError("%w", err)
	}
	return nil
}

// end writes what is known, whole or not, and gives the verdict.
func (a *auditing) end(spec string) error {
	a.progress.Done()
	if a.unfinished != nil && a.last.Key != "" && !a.last.More {
		if err := a.keep(a.last.Key); err != nil {
			return systemError("%w", err)
		}
	}
	if a.resumedAt != "" {
		a.notes = append(a.notes, a.goneOn())
	}
	r := a.tally.End(time.Now(), a.unfinished == nil, a.bucket, a.notes...)
	r.GoesOn = !r.Complete && a.journal != nil && a.resumed()
	if err := a.out.close(r); err != nil {
		return systemError("%w", err)
	}
	a.ended = true
	switch {
	case r.GoesOn:
		return mountError("%w; the same command goes on where this one ended", a.unfinished)
	case a.unfinished != nil:
		return a.unfinished
	case !r.Clean():
		return &exitError{exitWarned, fmt.Errorf("%s: %d findings in objects, %d about the bucket", spec, r.Findings, r.BucketBad)}
	}
	return nil
}

// fromBucket looks at the bucket and at its objects.
func (a *auditing) fromBucket(ctx context.Context, o *offline) error {
	set := o.set
	stored, err := o.stored(o.path)
	if err != nil {
		return err
	}
	prefix := o.storedPrefix() + stored
	head := audit.Head{Target: set.source, Source: audit.FromBucket, After: a.after, Began: time.Now()}
	if !set.unstated {
		for _, r := range o.policy { // as they are in the bucket, like the keys
			head.Policy = append(head.Policy, audit.Rule{Prefix: r.Prefix, Mode: r.Mode})
		}
	}
	if err := a.openJournal(o); err != nil {
		return err
	}
	err = a.look(ctx, o, head, prefix)
	if left := a.leave(); left != nil && err == nil {
		err = systemError("%w", left)
	}
	return err
}

// look goes over the objects, and tells what it found.
func (a *auditing) look(ctx context.Context, o *offline, head audit.Head, prefix string) error {
	a.resumedAt = a.journal.Cursor()
	if err := a.begin(head, directoryOf(prefix)); err != nil {
		return err
	}
	defer a.out.abandon()
	defer a.progress.Done()
	if at := o.set.at; at.given() {
		a.note("of the objects as they were at " + at.at.Format(time.RFC3339))
	}
	a.askBucket(ctx, o)
	if err := a.survey(ctx, o, prefix); err != nil {
		return err
	}
	return a.end(o.set.source)
}

func (a *auditing) survey(ctx context.Context, o *offline, prefix string) error {
	opt := volume.SurveyOptions{
		Prefix: prefix, After: a.after, Versions: !a.current, Unstated: o.set.unstated,
		Index:   !a.thorough && a.mayUseIndex(ctx, o),
		Workers: a.parallel,
		Untold:  func(err error) { a.note("old versions were not looked at: " + oneLine(err)) },
		Shadows: &a.shadows,
	}
	stop := counting(ctx, a.progress, func(ctx context.Context) (objects, bytes int64, err error) {
		objects, err = o.volume.SurveySize(ctx, opt)
		return objects, 0, err
	})
	defer stop()
	if a.resumedAt != "" {
		opt.After = a.resumedAt
	}
	for got, err := range o.volume.Survey(ctx, opt) {
		switch {
		case ctx.Err() != nil:
			a.unfinished = mountError("%s: interrupted", o.set.source)
			return nil
		case err != nil:
			a.unfinished = explainStore(o.set.source, err)
			return nil
		}
		row := surveyed(got)
		row.Path, _ = o.pathOf(got.Key)
		if err := a.add(row); err != nil {
			return err
		}
		if got.Last && a.journal.Due() {
			if err := a.keep(got.Key); err != nil {
				return systemError("%w", err)
			}
		}
	}
	return nil
}

// note says something of the whole report, once.
func (a *auditing) note(text string) {
	if !slices.Contains(a.notes, text) {
		a.notes = append(a.notes, text)
	}
}

// surveyed gives what the volume found the names of a report.
func surveyed(s volume.Surveyed) audit.Object {
	o := audit.Object{
		Key: s.Key, Version: s.Version, Old: s.Old, More: !s.Last, Mode: s.Mode, Algorithm: s.Algorithm, KeyID: s.KeyID, Epoch: s.Epoch, EpochState: s.EpochState,
		Commitment: s.Commitment, Server: s.Server, Class: s.Class, Stored: s.Stored, Plain: s.Plain, Modified: s.Modified,
	}
	for _, f := range s.Flaws {
		o.Findings = append(o.Findings, audit.Finding{Kind: audit.Kind(f.Kind), Key: f.Key, Text: f.Text})
	}
	return o
}

// askBucket has doctor's checks asked that are about how the bucket guards what
// is in it. None writes. Without a policy nothing is known of what is written.
func (a *auditing) askBucket(ctx context.Context, o *offline) {
	e := &examination{mounting: o.mounting}
	t := doctor.Target{
		Store: o.store, Settings: o.store, Connection: o.store, Bucket: o.set.target.Bucket, Root: o.set.volumeRoot, ReadOnly: true,
		Explain: storeRemedy, AWS: e.awsArguments(),
	}
	if !o.set.unstated {
		t.Writes, _ = e.written() // it was opened: there is no error
	}
	for _, r := range doctor.Examine(ctx, doctor.Only(doctor.Bucket(t, nil, nil), auditChecks()...), doctor.Options{}) {
		a.bucket = append(a.bucket, audit.BucketFinding{Check: r.Check, Status: r.Status.String(), Text: r.Text, Remedy: r.Remedy, Commands: r.Commands})
	}
}

// auditChecks are those about protection, not about cost or what a mount needs.
func auditChecks() []string {
	return []string{
		doctor.Endpoint, doctor.Reach, doctor.Expiry, doctor.Versions, doctor.Lock, doctor.Public, doctor.Policy, doctor.ByDefault, doctor.CustomerKeys,
	}
}

// directoryOf is the prefix of keys below, or beside, what prefix names.
func directoryOf(prefix string) string {
	for i := len(prefix); i > 0; i-- {
		if prefix[i-1] == '/' {
			return prefix[:i]
		}
	}
	return ""
}

// interruptible gives a context that SIGINT and SIGTERM end.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}
