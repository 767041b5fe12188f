package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/doctor"
	"github.com/spf13/cobra"
)

func newDoctor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor TARGET",
		Short: "Look whether all is well with a bucket",
		Long: `doctor tries what a mount tries, and asks what nobody asks until it is missing:
who the credentials are of, each permission and each grant of KMS, what the
bucket's policy denies, default encryption, public access, object lock,
abandoned uploads and the lifecycle rule that ends them, rules that would
remove what the volume needs, this host's clock and its FUSE.

    sigilfs doctor s3://bucket/prefix --encryption client --key file:main.key

TARGET and the flags are those of the mount. What it writes to try lies under
.sigil/doctor/ and is removed again; with --read-only it writes nothing. It
may run beside mounts.

Exit codes: 0 all is well, 64 there are warnings, 32 a mount would fail or data
is in danger, 1 usage, 2 system.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError("sigilfs doctor s3://bucket/prefix --encryption client --key file:main.key")
			}
			return nil
		},
	}
	onTarget(cmd, func(ctx context.Context, c *cobra.Command, m *mounting, _ []string) error {
		out := newExamOutput(c.OutOrStdout(), m.set.target.Spec, asJSON)
		m.dry = true
		e := &examination{mounting: m}
		results := doctor.Examine(ctx, e.checks(ctx), doctor.Options{Tell: out.tell})
		if err := out.end(results); err != nil {
			return systemError("%w", err)
		}
		return verdictOf(m.set.target.Spec, results)
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

// Names of the checks that are made here.
const (
	keysCheck       = "keys"
	connectionCheck = "connection"
	epochsCheck     = "epochs" // are made and opened with the keys
	namesCheck      = "names"
	encryptionCheck = "encryption"
)

// examination is a mounting that is only looked at.
type examination struct {
	*mounting
	asked     bool // for the policy
	policyErr error
}

// checks opens what needs no bucket, and gives all checks.
func (e *examination) checks(ctx context.Context) []doctor.Check {
	keys, connection := e.openKeys(ctx), e.openStore(ctx)
	all := []doctor.Check{
		doctor.Settled(keysCheck, finding(keys, "all keys are there", keysRemedy)),
		doctor.Settled(connectionCheck, finding(connection, "the configuration of the connection makes sense", "check --endpoint-url, --region, --profile and --ca-bundle, and the files that they name")),
	}
	t := doctor.Target{
		Store: e.store, Settings: e.store, Connection: e.store, Bucket: e.set.target.Bucket, Root: e.set.volumeRoot, ReadOnly: e.set.readOnly,
		Explain: func(err error) string {
			return cmp.Or(storeRemedy(err), "see the server's own log, or take another server")
		}, AWS: e.awsArguments(),
	}
	if keys == nil && connection == nil {
		t.Records = e.uploadRecords
		var err error
		if t.Encryption, err = e.rootEncryption(); err == nil {
			t.Writes, err = e.written()
		}
		if err != nil {
			all[0] = doctor.Settled(keysCheck, failing(err, keysRemedy))
		}
	}
	all = append(all, doctor.Bucket(t, []string{connectionCheck}, []string{keysCheck})...)
	all = append(all,
		doctor.Check{Name: grantsCheck, Needs: []string{keysCheck}, Ask: e.tryGrants},
		doctor.Check{Name: epochsCheck, Needs: []string{keysCheck, doctor.Reach}, Ask: e.tryKeys},
		doctor.Check{Name: namesCheck, Needs: []string{epochsCheck}, Ask: e.tryNames},
		doctor.Check{Name: encryptionCheck, Needs: []string{doctor.Writing}, Ask: e.tryEncryption},
		doctor.Check{Name: fuseCheck, Ask: e.tryFUSE},
		doctor.Check{Name: othersCheck, Needs: []string{fuseCheck}, Ask: e.tryOthers},
		doctor.Check{Name: stateCheck, Ask: e.tryState})
	if e.set.cacheDir != "" && e.set.cacheSize != 0 {
		all = append(all, doctor.Check{Name: cacheCheck, Ask: e.tryCache})
	}
	return all
}

// written is what the rules ask of S3.
func (e *examination) written() ([]doctor.Write, error) {
	var all []doctor.Write
	for _, r := range e.rules {
		mode, err := r.asked()
		if err != nil {
			return nil, mountError("%s: %w", r.At, err)
		}
		all = append(all, doctor.Write{
			Prefix: e.set.target.Prefix + r.Prefix, Mode: string(r.Mode),
			Encryption: encryption(mode).Writes(), Unasked: r.Mode == config.BucketDefault,
		})
	}
	return all, nil
}

// keysRemedy is for what is wrong with keys themselves.
const keysRemedy = "see to it that each place which --key, --also-key or the configuration file names has a key, for this user alone"

// finding is the text, or the error and its remedy.
func finding(err error, text, remedy string) doctor.Finding {
	if err != nil {
		return failing(err, remedy)
	}
	return doctor.Finding{Text: text}
}

// failing is the finding of an error. What is known of the store's and of keys
// stands above remedy.
func failing(err error, remedy string) doctor.Finding {
	return doctor.Finding{Status: doctor.Failure, Text: oneLine(err), Remedy: cmp.Or(storeRemedy(err), remedy)}
}

func oneLine(err error) string { return visible(strings.Join(strings.Fields(err.Error()), " ")) }

// awsArguments are those by which aws(1) reaches what we reach.
func (e *examination) awsArguments() (args []string) {
	add := func(flag, value string) {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	if e.store != nil {
		add("--endpoint-url", e.store.Endpoint())
	}
	add("--profile", e.set.profile)
	add("--region", e.set.region)
	add("--ca-bundle", e.set.caBundle)
	return args
}

// openRules opens the policy, which may ask the bucket how it encrypts by default.
func (e *examination) openRules(ctx context.Context) error {
	if !e.asked {
		e.asked = true
		if e.policyErr = e.newRing(ctx); e.policyErr == nil {
			e.policyErr = e.openPolicy(ctx)
		}
	}
	return e.policyErr
}

// uploadRecords reads them as the volume's own objects: with its keys. A policy
// that cannot be opened is told of by another check.
func (e *examination) uploadRecords(ctx context.Context) ([]doctor.Record, error) {
	if err := e.openRules(ctx); err != nil {
		return nil, doctor.ErrNoKeys
	}
	if err := e.newVolume(); err != nil {
		return nil, err
	}
	found, err := e.volume.RecordedUploads(ctx)
	var records []doctor.Record
	for _, r := range found {
		if r.Err != nil {
			e.log.WithField("host", r.Host).WithError(r.Err).Debug("record of an upload")
		}
		records = append(records, doctor.Record{Host: r.Host, Key: r.Key, UploadID: r.UploadID})
	}
	return records, err
}

// tryKeys has the keys of mode client wrap a new epoch, which is not written,
// and open one of those in the bucket, as a mount does.
func (e *examination) tryKeys(ctx context.Context) doctor.Finding {
	if err := e.openRules(ctx); e.ring == nil {
		return failing(err, keysRemedy)
	}
	masters := e.masters()
	if len(masters) == 0 {
		return doctor.Finding{Status: doctor.Skipped, Text: "not tried: no key is of mode client"}
	}
	err := e.openSets(ctx)
	if err == nil {
		err = checkKeys(ctx, e.store, e.ring, masters, e.set.volumeRoot)
	}
	f := finding(err, "the keys wrap, and open what mode client has sealed, as far as there is any", keysRemedy)
	switch {
	case errors.Is(err, errWrongKeys):
		f.Status, f.Remedy = doctor.Warning, "give the key under which it was written with --key, once more for each key that only reads"
	case err == nil && e.set.readOnly:
		f.Text = "the keys open what mode client has sealed, as far as there is any"
	}
	return f
}

// tryNames reads the volume object, and opens the key of names, as a mount does.
func (e *examination) tryNames(ctx context.Context) doctor.Finding {
	const remedy = "what a mount says of this docs/OPERATIONS.md explains, \"Hidden names\""
	if e.ring == nil {
		return failing(e.openRules(ctx), keysRemedy)
	}
	err := e.lookVolume(ctx)
	if err == nil {
		err = e.openNames(ctx)
	}
	n := &e.naming
	switch {
	case err != nil:
		return failing(err, remedy)
	case n.object == nil:
		return doctor.Finding{Text: "names are not encrypted; there is no volume object"}
	case n.print == "":
		return doctor.Finding{Text: fmt.Sprintf("names are not encrypted in volume %s", n.object.ID)}
	}
	return doctor.Finding{Text: fmt.Sprintf("names are encrypted in volume %s, and their key opens: its fingerprint is %s", n.object.ID, n.print)}
}

// tryEncryption is what a mount finds out of the modes of its rules.
func (e *examination) tryEncryption(ctx context.Context) doctor.Finding {
	if err := e.openRules(ctx); err != nil {
		return failing(err, keysRemedy)
	}
	if err := e.probeEncryption(ctx); err != nil {
		return failing(err, "choose mode client, which asks nothing of the server, or another server")
	}
	if len(distinct(e.policy)) == 0 {
		return doctor.Finding{Text: "no rule asks S3 to encrypt: " + modes(e.rules)}
	}
	return doctor.Finding{Text: "S3 encrypts as the rules ask and says so: " + modes(e.rules)}
}

// modes names those of the rules.
func modes(rules []rule) string {
	text := ""
	for _, r := range rules {
		if text != "" {
			text += ", "
		}
		text += string(r.Mode)
		if r.Prefix != "" {
			text += " under " + r.Prefix
		}
		if r.sse != nil {
			text += fmt.Sprintf(" with %s beneath", r.sse.Mode)
		}
	}
	return text
}

var errWarned = errors.New("there are warnings")

// verdictOf gives the exit code.
func verdictOf(spec string, results []doctor.Result) error {
	switch doctor.Worst(results) {
	case doctor.Failure:
		return mountError("%s: not all is well", spec)
	case doctor.Warning:
		return &exitError{exitWarned, fmt.Errorf("%s: %w", spec, errWarned)}
	}
	return nil
}
