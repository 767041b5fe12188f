package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/sigilfs/sigilfs/internal/bulk"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
)

// adoptFlags are adopt's own.
type adoptFlags struct {
	from           string
	yes, dry, json bool
	parallel       int
}

func newAdopt() *cobra.Command {
	var f adoptFlags
	cmd := &cobra.Command{
		Use:   "adopt [flags] TARGET [PATH]",
		Short: "Seal objects anew that another tool has moved",
		Long: `An object is sealed for its key: what another tool has moved or copied is refused
when it is read, since an attacker who exchanges two files does just that. adopt
seals what lies below TARGET for where it lies now, and leaves the rest alone. No
content goes through this host.

    aws s3 mv --recursive s3://bucket/vol/old s3://bucket/vol/new
    sigilfs adopt s3://bucket/vol/new --from s3://bucket/vol/old --encryption client --key file:main.key

--from says where it was. Then each object must have been sealed for the key that
has the same place there, so that nobody can have exchanged two. Without --from
nobody can tell that: of where an object was its seal has only a hash. What lies
there is taken as it lies, which takes --yes; look at --dry-run before.

What was copied, and is still where it was, becomes another file. A command that
was interrupted is begun again. The exit code is 0 if all is where it was sealed
for, 64 if something was left as it is, and 32 if something could not be looked at.`,
		Args: targetAndPath("sigilfs adopt s3://bucket/new --from s3://bucket/old --encryption client --key file:main.key"),
	}
	flags := cmd.Flags()
	s := defaultSettings()
	cmd.RunE = func(c *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		target, path, err := splitTarget(args)
		if err != nil {
			return err
		}
		return withVolume(c, s, target, path, writes|aFile, func(ctx context.Context, o *offline) error {
			return f.run(ctx, c, o, target)
		})
	}
	flags.StringVar(&f.from, "from", "", "`WHERE` it was: s3://bucket/prefix, or with a configuration file a path in the volume")
	flags.BoolVar(&f.yes, "yes", false, "without --from: take what lies there as it lies")
	flags.BoolVar(&f.dry, "dry-run", false, "say what would be adopted, and write nothing")
	flags.IntVar(&f.parallel, "parallel", 8, "how many `OBJECTS` are adopted at a time")
	flags.BoolVar(&f.json, "json", false, "print events as JSON, one a line, and a summary as the last")
	s.addFlags(flags)
	return cmd
}

func (f *adoptFlags) check() error {
	switch {
	case f.from == "" && !f.yes && !f.dry:
		return usageError("say with --from where it was, so that nobody can have exchanged two objects; or --dry-run, and then --yes, to take it as it lies")
	case f.from != "" && f.yes:
		return usageError("--from needs no --yes: what was not there is not adopted")
	case f.parallel < 1 || f.parallel > 1000:
		return usageError("--parallel is from 1 to 1000")
	}
	return nil
}

// former is the key that the target had, without a slash at its end.
func (f *adoptFlags) former(o *offline) (string, error) {
	if !strings.HasPrefix(f.from, "s3://") {
		if !o.set.ofFile {
			return "", usageError("--from %s: write s3://bucket/prefix", f.from)
		}
		p, err := o.stored(strings.Trim(f.from, "/"))
		return o.storedPrefix() + p, err
	}
	_, path, err := option.ParsePath(option.HostForm(f.from)) // another bucket: keys are what seals are of
	if err != nil {
		return "", usageError("--from: %w", err)
	}
	return o.formerKey(strings.Trim(path, "/"))
}

// formerKey is the key of what was at path, in this volume or another. Where names
// are encrypted they are so for their place below the root, so that only what lay
// in the same place of another root can be read here.
func (o *offline) formerKey(path string) (string, error) {
	if o.names == nil {
		return path, nil
	}
	here := strings.TrimPrefix(o.set.target.Prefix, o.set.volumeRoot) + o.path // below the root
	root, ok := strings.CutSuffix("/"+path, strings.TrimSuffix("/"+here, "/"))
	if !ok {
		return "", usageError("--from: names are encrypted for the directory in which they are, and what was moved below another one by another tool is nobody's name there: move it back, and then by a mount; a whole volume, or a part of one to the same place of another, can be adopted")
	}
	p, err := o.stored(o.path)
	p = strings.TrimSuffix(o.names.Base()+p, "/")
	if root = strings.Trim(root, "/"); root != "" && p != "" {
		root += "/"
	}
	return root + p, err
}

// adopting counts what comes of objects.
type adopting struct {
	*printer
	dry                         bool
	adopted, fine, left, unseen atomic.Int64
}

func (f *adoptFlags) run(ctx context.Context, c *cobra.Command, o *offline, target string) error {
	stored, err := o.stored(o.path)
	if err != nil {
		return err
	}
	opt := volume.AdoptOptions{Path: stored, Mapped: f.from != "", Dry: f.dry}
	if opt.Mapped {
		if opt.From, err = f.former(o); err != nil {
			return err
		}
	}
	a, err := o.volume.NewAdopter(opt)
	if err != nil {
		return explainStore(target, err)
	}
	p := &adopting{printer: newPrinter(c.OutOrStdout(), c.ErrOrStderr(), "adopting", f.json), dry: f.dry}
	p.of = o.mounting
	defer p.bar.Done()
	for _, list := range a.Lists() {
		_, err := bulk.Run(ctx, bulk.Walk[objstore.Entry]{
			List: list, Key: func(e objstore.Entry) string { return e.Key },
			Do: func(ctx context.Context, e objstore.Entry) (bulk.Outcome, error) {
				done, err := a.Adopt(ctx, e)
				p.bar.Add(1, 0)
				return bulk.Outcome{Kind: "adopted"}, p.told(done, err)
			},
			Fatal: hopeless, Parallel: f.parallel,
		})
		if err != nil {
			return explainStore(target, err)
		}
	}
	p.bar.Done()
	return p.end()
}

// told prints what came of an object, and gives back what may be hopeless.
func (p *adopting) told(done volume.Adoption, err error) error {
	switch {
	case errors.Is(err, objstore.ErrNotExist) && !errors.Is(err, volume.ErrNotAdopted), err == nil && !done.Moved: // gone, or in its place
		p.fine.Add(1)
	case err == nil:
		p.adopted.Add(1)
		what := "adopted"
		if p.dry {
			what = "would adopt"
		}
		p.line(fmt.Sprintf("%s %s (was %s)", what, p.named(done.Key), shownName(done.From)), p.keyed(event{"event": "adopted", "key": done.Key, "from": done.From, "dry-run": p.dry}))
	case errors.Is(err, volume.ErrNotAdopted), done.Moved && errors.Is(err, volume.ErrCorrupt):
		p.left.Add(1)
		p.line(inOneLine(fmt.Sprintf("left %s: %v", p.named(done.Key), err)), p.keyed(event{"event": "left", "key": done.Key, "from": done.From, "reason": err.Error()}))
	case errors.Is(err, context.Canceled):
	default:
		p.unseen.Add(1)
		p.failed(done.Key, err)
	}
	return err
}

func (p *adopting) end() error {
	adopted, left, unseen := p.adopted.Load(), p.left.Load(), p.unseen.Load()
	p.line(fmt.Sprintf("%d objects adopted, %d are where they were sealed for, %d left as they are, %d could not be looked at", adopted, p.fine.Load(), left, unseen),
		event{"event": "done-adopting", "adopted": adopted, "fine": p.fine.Load(), "left": left, "unseen": unseen, "dry-run": p.dry})
	switch {
	case p.bad != nil:
		return systemError("%w", p.bad)
	case left > 0:
		return &exitError{exitWarned, fmt.Errorf("%d objects were left as they are", left)}
	case unseen > 0:
		return mountError("%d objects could not be looked at", unseen)
	}
	return nil
}
