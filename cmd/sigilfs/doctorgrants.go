package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/doctor"
	"github.com/sigilfs/sigilfs/internal/keyring"
)

// grantsCheck is of the keys of KMS that this host itself asks for. Those that
// S3 asks for are tried by what is written.
const grantsCheck = "grants"

// tryGrants has each key make a data key, or wrap one, and open it again.
func (e *examination) tryGrants(ctx context.Context) doctor.Finding {
	var good, told []string
	worst := doctor.Finding{}
	for _, k := range e.opened {
		if k.Kind != config.KMS || k.master == nil {
			continue
		}
		f := e.tryGrant(ctx, k)
		if f.Status == doctor.OK {
			good = append(good, f.Text)
			continue
		}
		told = append(told, f.Text)
		worst.Status = worse(worst.Status, f.Status)
		if worst.Remedy == "" {
			worst.Remedy = f.Remedy
		}
	}
	switch {
	case len(told) > 0:
		worst.Text = strings.Join(append(told, good...), "; ")
		return worst
	case len(good) == 0:
		return doctor.Finding{Status: doctor.Skipped, Text: "not tried: this host asks KMS for nothing"}
	}
	return doctor.Finding{Text: strings.Join(good, "; ")}
}

// worse is the one that matters more; what was not tried does not.
func worse(a, b doctor.Status) doctor.Status {
	if a == doctor.OK || b == doctor.Failure {
		return b
	}
	return max(a, b)
}

// tryGrant tries one key. Who may write need not be able to read.
func (e *examination) tryGrant(ctx context.Context, k *key) doctor.Finding {
	id := k.master.ID()
	if e.set.readOnly {
		return doctor.Finding{Status: doctor.Skipped, Text: fmt.Sprintf("%s: not tried: --read-only makes no data key to try with; the check %q opens one of the bucket's", id, epochsCheck)}
	}
	action, blob, err := e.makeDataKey(ctx, k)
	if err != nil {
		f := doctor.Finding{Status: doctor.Failure, Text: oneLine(err), Remedy: "grant kms:" + action + ", and kms:Decrypt to read, on " + id}
		if !e.writes(k) {
			f.Status = doctor.Warning
			f.Remedy += "; it only reads here, for which kms:Decrypt is enough"
		}
		return f
	}
	back, err := e.kms.Decrypt(ctx, id, blob, k.Context)
	clear(back[:])
	if errors.Is(err, keyring.ErrAccess) {
		return doctor.Finding{Status: doctor.Warning, Text: oneLine(err) + ": this host can write under it, and not read", Remedy: "grant kms:Decrypt on " + id + ", unless this host is only to write"}
	}
	if err != nil {
		return failing(err, "see what became of "+id+" in KMS")
	}
	return doctor.Finding{Text: fmt.Sprintf("%s gives kms:%s and kms:Decrypt", id, action)}
}

// makeDataKey makes one as a mount does: the first key of a rule draws it, the
// others of mode client wrap it.
func (e *examination) makeDataKey(ctx context.Context, k *key) (action string, blob []byte, err error) {
	if !e.draws(k) {
		var data [keyring.KeySize]byte // nothing is ever sealed under it
		blob, err = e.kms.Encrypt(ctx, k.master.ID(), &data, k.Context)
		return "Encrypt", blob, err
	}
	plain, blob, err := e.kms.GenerateDataKey(ctx, k.master.ID(), k.Context)
	clear(plain[:])
	return "GenerateDataKey", blob, err
}

// draws tells whether k is the first key of a rule.
func (e *examination) draws(k *key) bool {
	return slices.ContainsFunc(e.rules, func(r rule) bool { return first(r.keys) == k })
}

// writes tells whether what is written is under k too.
func (e *examination) writes(k *key) bool {
	return e.draws(k) || slices.ContainsFunc(e.rules, func(r rule) bool { return r.Mode == config.Client && slices.Contains(r.keys, k) })
}
