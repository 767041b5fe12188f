package main

import (
	"context"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/spf13/cobra"
)

// reencrypting is what a reencrypt is asked for.
type reencrypting struct {
	to            string
	from          []string
	all           bool
	dry           bool
	purge, yes    bool
	restart, json bool
	parallel      int
	closing       bool // of epochs
	close         closeFlags
}

// toPolicy is the --to of who has the modes in a file.
const toPolicy = "policy"

func newReencrypt() *cobra.Command {
	var r reencrypting
	cmd := &cobra.Command{
		Use:   "reencrypt TARGET --to MODE",
		Short: "Bring objects in place to another mode, or under other keys",
		Long: `reencrypt takes every object below TARGET that is not as it should be to what it
should be, in place: from any mode to any other, to another key of the server's or
of yours, and, in mode client, from keys that were retired to fresh ones. Objects of
s3ec that need no more than another master key keep their data keys, and their
content stays in the store; --all draws fresh ones.

    sigilfs reencrypt s3://bucket/prefix --to client --key kms:alias/main --also-key age:age1… --from none,sse-s3
    sigilfs reencrypt s3://bucket/prefix --to sse-kms --sse-kms-key-id arn:aws:kms:…
    sigilfs reencrypt CONFIG.yaml [PATH]

MODE is what --encryption takes, options with it, and its keys are those of a mount.
With a configuration file the file says what should be where, and --to is not given.
Keys that only open what is there are given too (--key NAME=SOURCE).

What can stay is copied inside the store; only what must be encrypted or decrypted
here comes through this host, and is authenticated to its last byte before it is
replaced. Attributes, tags, storage class, content type and locks stay. Nothing is
less protected on the way: an object is the old one or the new one. Writers and
mounts may go on: who writes meanwhile wins, and what he wrote is taken after it.
It goes over the objects again until nothing is left to do.

Objects that nobody authenticates, plaintext or encrypted by the server, anybody
may have planted who can write to the bucket. They are brought to client or s3ec
only where --from names their mode; else they are failures, and stay.

On a bucket that keeps versions it says how many old ones are weaker than what is
there now, or under old keys; --purge-versions removes them for good: none that
is locked, none of an object that was deleted, and none of one whose current
version is not as it should be and whole to its last byte, for which it is read.

With --close-epochs, and the root of a volume as TARGET, it closes at its end those
retired epochs that nothing needs any more, as sigilfs keys close does, and says
which ones something needs yet. Where the server does not tell of uploads, such as
MinIO, that takes --no-writers.

A journal in the state directory has an interrupted run go on where it was, given
the same command. Names of hidden attribute indexes, inodes and rolls of hard links
are taken along; what other commands and mounts have under way is left to them.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 2 || len(args) == 2 && !isFile(args[0]) {
				return usageError("sigilfs reencrypt s3://bucket/prefix --to client --key file:main.key, or sigilfs reencrypt CONFIG.yaml [PATH]")
			}
			return nil
		},
	}
	s := defaultSettings()
	cmd.RunE = func(c *cobra.Command, args []string) error {
		if err := r.check(s, args[0]); err != nil {
			return err
		}
		in := strings.Join(args[1:], "")
		return withVolume(c, s, args[0], in, writes, func(ctx context.Context, o *offline) error { return r.run(ctx, c, o) })
	}
	s.addFlags(cmd.Flags())
	r.addFlags(cmd, s)
	return cmd
}

// check settles the mode before the target is opened.
func (r *reencrypting) check(s *settings, target string) error {
	file := isFile(target)
	switch {
	case file && r.to != "" && r.to != toPolicy:
		return usageError("--to %s: %s says which modes there are; write --to %s, or give s3://bucket/prefix", r.to, target, toPolicy)
	case !file && (r.to == "" || r.to == toPolicy):
		return usageError("--to is missing: say what objects are brought to, such as --to client --key file:main.key")
	case !file && slices.ContainsFunc(s.flags.encryption, func(rule string) bool { return !strings.Contains(strings.Split(rule, ",")[0], "=") }):
		return usageError("--encryption is given beside --to: write the mode there")
	case r.parallel < 1 || r.parallel > 256:
		return usageError("--parallel is not from 1 to 256")
	}
	for _, mode := range r.from {
		if !slices.Contains(config.Modes(), config.Mode(mode)) || mode == string(config.BucketDefault) {
			return usageError("--from %s: %s", mode, unknown("mode", mode, modesOf(config.Modes()), nil))
		}
	}
	if !file {
		s.flags.encryption = append(s.flags.encryption, r.to)
	}
	s.anyMode = true
	return nil
}

// modesOf are the names that an object's mode may have.
func modesOf(modes []config.Mode) (names []string) {
	for _, m := range modes {
		if m != config.BucketDefault {
			names = append(names, string(m))
		}
	}
	return names
}

func (r *reencrypting) addFlags(cmd *cobra.Command, s *settings) {
	f := cmd.Flags()
	f.StringVar(&r.to, "to", "", "`MODE` that objects are brought to, as --encryption takes it; with a configuration file: "+toPolicy)
	f.StringSliceVar(&r.from, "from", nil, "`MODE[,MODE…]` of the objects to take; others are left (default: all, less what nobody authenticates)")
	f.BoolVar(&r.all, "all", false, "take also what is as it should be, in modes client and s3ec, and give all there fresh data keys")
	f.BoolVar(&r.dry, "dry-run", false, "only tell what would be done")
	f.BoolVar(&r.purge, "purge-versions", false, "remove old versions that are weaker or under old keys, for good, once nothing has failed")
	f.BoolVar(&r.yes, "yes", false, "do not ask before that")
	f.BoolVar(&r.closing, "close-epochs", false, "once nothing has failed, close for good the retired epochs that nothing needs any more, old versions included")
	r.close.add(cmd)
	f.BoolVar(&r.restart, "restart", false, "begin anew where an interrupted run would be gone on with")
	f.IntVar(&r.parallel, "parallel", 8, "`NUMBER` of objects at a time")
	f.BoolVar(&s.readInstructions, "instruction-files", false, "objects of s3ec may have instruction files: look for them")
	f.BoolVar(&s.readOldWraps, "s3ec-legacy-wrapping", false, "read objects of s3ec whose data key is wrapped as old clients did")
	f.BoolVar(&s.readCBC, "s3ec-legacy-cbc", false, "read objects of s3ec under AES-CBC, which nothing authenticates")
	f.BoolVar(&r.json, "json", false, "tell how far it is, and what came of it, as JSON on stdout, an object a line")
}
