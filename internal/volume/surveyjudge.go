package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// judge holds what an object is against the rule of its key.
func (s *survey) judge(_ context.Context, r *surveyRow, a about) {
	kind, text := s.weakness(r, a)
	if kind != "" && r.old {
		kind = FlawOldVersion
	}
	if kind != "" {
		r.out.Flaws = append(r.out.Flaws, Flaw{Kind: kind, Text: text})
		return
	}
	if text := s.otherKey(a); text != "" {
		s.flaw(r, FlawRetired, errors.New(text))
	}
}

// weakness tells whether an object is plaintext, or weaker than its rule asks.
// AllowPlaintext lets it be read, and makes it no better.
func (s *survey) weakness(r *surveyRow, a about) (FlawKind, string) {
	mode, rule := r.out.Mode, a.rule
	kind := FlawWeaker
	if mode == sse.None.String() {
		kind = FlawPlaintext
	}
	plain := !a.sealed && mode != "s3ec"
	own := s.v.own(r.info.Key)
	switch {
	case s.opt.Unstated && kind == FlawPlaintext:
		return kind, "nobody encrypts it"
	case s.opt.Unstated, strings.Contains(r.info.Key, inodeDir+"open/"): // under the rule of a name that is gone
		return "", ""
	case own && foreignOwn(r.info.Key) != "": // which is said already
		return "", ""
	case own && rule.Keys != nil && !a.sealed:
		return FlawForeign, mode + " where the volume's own objects are sealed"
	case rule.Keys != nil && !a.sealed, rule.S3EC != nil && plain && !isMarker(r.info.Key):
		return kind, mode + " where the policy has " + rule.Mode
	case rule.Server != nil && a.state.WeakerThan(rule.state()) && plain:
		return kind, mode + " where the policy has " + rule.Mode
	case rule.Server != nil && a.state.WeakerThan(rule.state()):
		return FlawWeaker, fmt.Sprintf("beneath %s it is %s where the policy asks for %s", mode, a.state, rule.Server.Algorithm())
	case a.env != nil:
		if err := rule.Reading.Check(a.env); err != nil {
			return FlawWeaker, err.Error()
		}
	}
	return "", ""
}

// otherKey tells a key of the server's that is not the one the rule writes with.
func (s *survey) otherKey(a about) string {
	want := a.rule.Server
	if s.opt.Unstated || want == nil || want.Algorithm() != a.state.Algorithm {
		return ""
	}
	if want.Algorithm() == sse.SSEC {
		if c := s.v.customerOf(a.info.Encryption); c != nil && c.id != want.KeyID() {
			return "SSE-C key " + c.id + " where the rule writes with " + want.KeyID()
		}
		return ""
	}
	if !want.SameKey(a.state) {
		return "KMS key " + a.state.KMSKeyID + " where the rule writes with " + want.KeyID()
	}
	return ""
}

// judgeEpochs tells whether the epochs of a sealed object are such as its rule
// writes under now: open, and wrapped for exactly its keys. The first is that of
// its header, another that under which its data key was first sealed.
func (s *survey) judgeEpochs(ctx context.Context, r *surveyRow, rule *Rule, ids ...sigil.EpochID) {
	if s.opt.Unstated || r.old {
		return
	}
	for _, id := range slices.Compact(ids) {
		text := "epoch " + id.String() + " is retired"
		if s.epochState(id) != "retired" {
			if rule.Keys == nil {
				continue
			}
			if ok, err := rule.Keys.MayKeep(ctx, r.info.Key, id); ok || err != nil {
				continue
			}
			if s.epochState(id) != "retired" {
				text = "epoch " + id.String() + " is not wrapped for exactly the keys of the rule"
			}
		}
		if id != ids[0] {
			text = "its data key is from before: " + text
		}
		s.flaw(r, FlawRetired, errors.New(text))
		return
	}
}

// phases is what Keys also is that can tell the state of an epoch it has opened,
// as the format names it; "" is not known.
type phases interface {
	EpochState(id sigil.EpochID) string
}

func (s *survey) epochState(id sigil.EpochID) string { return s.v.epochState(id) }

func (v *Volume) epochState(id sigil.EpochID) string {
	if p, ok := v.opt.Keys.(phases); ok {
		return p.EpochState(id)
	}
	return ""
}
