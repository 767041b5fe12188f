package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/audit"
	"github.com/sigilfs/sigilfs/internal/audit/inventory"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// fromInventory audits what an S3 Inventory lists. Nothing is asked of anybody:
// no key, no bucket. path is below what a configuration file says.
func (a *auditing) fromInventory(ctx context.Context, s *settings, target, path string) error {
	if err := s.open(target, a.cmd.Flags()); err != nil {
		return err
	}
	s.readOnly = true
	if err := s.check(); err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	list, err := inventory.Open(a.inventory)
	if err != nil {
		return systemError("--inventory: %w", err)
	}
	if list.Bucket != s.target.Bucket {
		return usageError("--inventory: it is of the bucket %q, not of %q", list.Bucket, s.target.Bucket)
	}
	head := audit.Head{Target: s.source, Source: audit.FromInventory, Began: time.Now(), Policy: statedRules(s)}
	prefix := s.target.Prefix + strings.Trim(path, "/")
	if err := a.begin(head, directoryOf(prefix)); err != nil {
		return err
	}
	defer a.out.abandon()
	defer a.progress.Done()
	if !list.Created.IsZero() {
		a.notes = append(a.notes, "the inventory was begun "+list.Created.Format(time.RFC3339))
	}
	a.progress.Total(0, list.Size())
	list.Read = func(n int64) { a.progress.Add(0, n) }
	for r, err := range list.Records() {
		switch {
		case ctx.Err() != nil:
			a.unfinished = mountError("%s: interrupted", s.source)
		case err != nil:
			a.unfinished = mountError("--inventory: %w", err)
		case r.Deleted || a.current && r.Old || !volume.Within(r.Key, prefix):
			continue
		}
		if a.unfinished != nil {
			break
		}
		if err := a.add(listedObject(head.Policy, r, hiddenRoot(s))); err != nil {
			return err
		}
	}
	return a.end(s.source)
}

// statedRules are the rules of the policy by full prefix, the longest first; nil
// where none was stated.
func statedRules(s *settings) []audit.Rule {
	if s.unstated {
		return nil
	}
	var all []audit.Rule
	for _, r := range s.policy.Rules {
		all = append(all, audit.Rule{Prefix: s.target.Prefix + r.Prefix, Mode: string(r.Mode)})
	}
	return audit.Sorted(all)
}

// hiddenRoot is the root of a volume whose names are said to be encrypted (--names);
// no root where they are not. No key is here to open them.
func hiddenRoot(s *settings) *string {
	if encrypted, _ := s.wish(); encrypted {
		return &s.volumeRoot
	}
	return nil
}

// listedFlaws are what a key alone shows. Below hidden a name that does not look
// encrypted is one of them, and a long one that does is none.
func listedFlaws(key string, hidden *string) []volume.Flaw {
	flaws := volume.KeyFlaws(key, "", nil)
	if hidden == nil || !strings.HasPrefix(key, *hidden) {
		return flaws
	}
	flaws = slices.DeleteFunc(flaws, func(f volume.Flaw) bool { return f.Kind == volume.FlawName })
	for name := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSuffix(key[len(*hidden):], "/"), s3ec.InstructionSuffix), "/") {
		if name == ".sigil" || key == *hidden {
			break
		}
		if !encodedName.MatchString(name) {
			return append(flaws, volume.Flaw{Kind: volume.FlawName, Text: "a name that is not encrypted"})
		}
	}
	return flaws
}

// encodedName is how a component looks whose name is encrypted.
var encodedName = regexp.MustCompile(fmt.Sprintf(`^[A-Za-z0-9_-]{%d,%d}$`, sigil.EncodedLen(1), sigil.EncodedLen(sigil.MaxName)))

// listedObject is an object as an inventory tells of it.
func listedObject(policy []audit.Rule, r inventory.Record, hidden *string) audit.Object {
	state, mode := statusOf(r.Encryption)
	o := audit.Object{
		Key: r.Key, Version: r.VersionID, Old: r.Old, Mode: mode, Class: r.Class, Stored: r.Size, Plain: -1, Modified: r.Modified,
	}
	if volume.InternalKey(r.Key) {
		o.Mode = audit.Internal
		return o
	}
	for _, f := range listedFlaws(r.Key, hidden) {
		o.Findings = append(o.Findings, audit.Finding{Kind: audit.Kind(f.Kind), Text: f.Text})
	}
	if mode == audit.Unknown {
		o.Findings = append(o.Findings, audit.Finding{Kind: audit.Unlooked, Text: "the inventory does not say how it is encrypted"})
	}
	if kind, text := listedWeakness(audit.RuleOf(policy, r.Key), state, mode); kind != "" {
		if r.Old {
			kind = audit.OldVersion
		}
		o.Findings = append(o.Findings, audit.Finding{Kind: kind, Text: text})
	}
	return o
}

// listedWeakness holds what S3 does against the rule. Whether a client has
// encrypted as well no inventory tells, so rules of the client's modes ask
// nothing here.
func listedWeakness(rule *audit.Rule, state sse.State, mode string) (audit.Kind, string) {
	if mode == audit.Unknown {
		return "", ""
	}
	kind := audit.Weaker
	if state.Algorithm == sse.None {
		kind = audit.Plaintext
	}
	if rule == nil {
		if kind == audit.Plaintext {
			return kind, "S3 does not encrypt it; whether a client has is not told"
		}
		return "", ""
	}
	if want, ok := serverState(config.Mode(rule.Mode)); ok && state.WeakerThan(want) {
		return kind, fmt.Sprintf("%s where the policy has %s", mode, rule.Mode)
	}
	return "", ""
}

// serverState is what a mode asks of S3; not ok: nothing, or nobody knows.
func serverState(mode config.Mode) (sse.State, bool) {
	algorithm, ok := map[config.Mode]sse.Algorithm{
		config.SSES3: sse.SSES3, config.SSEKMS: sse.SSEKMS, config.DSSEKMS: sse.DSSEKMS, config.SSEC: sse.SSEC, config.BucketDefault: sse.SSES3,
	}[mode]
	return sse.State{Algorithm: algorithm}, ok
}

// statusOf reads EncryptionStatus (Amazon S3 User Guide, "Amazon S3 Inventory list").
func statusOf(text string) (sse.State, string) {
	algorithm, ok := map[string]sse.Algorithm{
		"NOT-SSE": sse.None, "SSE-S3": sse.SSES3, "SSE-KMS": sse.SSEKMS, "DSSE-KMS": sse.DSSEKMS, "SSE-C": sse.SSEC,
	}[text]
	if !ok {
		return sse.State{Algorithm: sse.Unknown}, audit.Unknown
	}
	return sse.State{Algorithm: algorithm}, algorithm.String()
}
