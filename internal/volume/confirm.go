package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// asked is the server-side encryption that a write asks for, or takes for
// granted, and that the server has to confirm. Nil is none.
type asked struct {
	mode *sse.Mode
	enc  *objstore.Encryption // nil where it is taken for granted
}

func newAsked(m *sse.Mode, assumed bool) *asked {
	switch {
	case m == nil:
		return nil
	case assumed:
		return &asked{mode: m}
	}
	return &asked{mode: m, enc: &objstore.Encryption{Write: m.Write(), Read: m.Read(), Source: m.Source()}}
}

func (a *asked) headers() *objstore.Encryption {
	if a == nil {
		return nil
	}
	return a.enc
}

// askedAgain is what a copy of o asks for: what the rule has; but within a rule
// nothing weaker than what o has already.
func (v *Volume) askedAgain(o *object, to *Rule) (*asked, error) {
	if v.ruleOf(o) != to || to.Server != nil && !to.state().WeakerThan(o.state) {
		return to.want, nil
	}
	if c := v.customerOf(o.id.Encryption); c != nil {
		return c.want, nil
	}
	mode, err := o.state.Again()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", o.id.Key, err, ErrUnsupported)
	}
	return newAsked(mode, false), nil
}

// state is that of what the rule writes.
func (r *Rule) state() sse.State {
	if r.Server == nil {
		return sse.State{}
	}
	return sse.State{Algorithm: r.Server.Algorithm()}
}

// confirm holds what the server said of a write of o against what was asked.
// Where it said nothing, as most say nothing of copies and uploads, it is asked
// by HEAD. What is not encrypted as asked is taken back.
func (v *Volume) confirm(ctx context.Context, d draft, o *object, want *asked, got objstore.Receipt) error {
	o.state = sse.Of(got.Encrypted)
	if want == nil {
		return nil
	}
	told := got.Encrypted
	if !want.mode.Told(told) {
		info, err := v.opt.Store.Head(ctx, got.ID)
		if errors.Is(err, ErrChanged) || errors.Is(err, ErrNotExist) {
			return fmt.Errorf("%s: replaced before its encryption was confirmed: %w", d.key, ErrChanged)
		}
		foreign := errors.Is(err, objstore.ErrKeyUnwanted) || errors.Is(err, objstore.ErrKeyNeeded)
		if err != nil && !foreign { // it may be as asked, and a later try finds it
			return fmt.Errorf("%s: encryption is not confirmed: %w: %w", d.key, err, objstore.ErrUnknown)
		}
		told = info.Encrypted
	}
	o.state = sse.Of(told)
	err := want.mode.Confirm(told)
	if err == nil {
		return nil
	}
	left := v.withdraw(ctx, d, got)
	return &unsettled{fmt.Errorf("%s: %w: %w", d.key, ErrNotEncrypted, err), o.mark, left}
}

// withdraw removes what the server stored otherwise than it was asked, so that
// it is not taken for protected: the version that was made or, where there are
// none, the object; its content is still here. What was copied over itself is
// nowhere else, and stays. It tells whether nothing may be at the key now.
func (v *Volume) withdraw(ctx context.Context, d draft, got objstore.Receipt) (left bool) {
	log := v.opt.Log.WithField("key", d.key)
	if d.self && got.VersionID == "" {
		log.Error("the object is no longer encrypted as it should be: the server ignored what a copy over itself asked for")
		return false
	}
	work, end := v.work.begin(context.WithoutCancel(ctx))
	defer end()
	err := v.opt.Store.Delete(work, objstore.ID{Key: d.key, VersionID: got.VersionID}, objstore.Condition{IfMatch: v.deletable(got)})
	if err != nil {
		log.WithError(err).Error("an object that the server did not encrypt as asked could not be removed")
		return errors.Is(err, objstore.ErrUnknown)
	}
	log.Error("the server did not encrypt the object as asked; it was removed again")
	return true
}

// deletable is the condition of a removal that must take what was written only.
func (v *Volume) deletable(got objstore.Receipt) string {
	if got.VersionID != "" || !v.opt.Capabilities.DeleteConditions {
		return ""
	}
	return got.ETag
}
