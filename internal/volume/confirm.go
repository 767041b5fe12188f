package volume

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// asked is the server-side encryption that a write asks for, or takes for
// granted, and that the server has to confirm. Nil is none.
type asked struct {
	mode *sse.Mode
	enc  *objstore.Encryption // nil where it is taken for granted

	managed atomic.Pointer[string] // the key that S3 chose where none is named
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

// covers tells whether an object that is s may become what a asks for: it is of
// the same kind, under a key that a names, or under the one that S3 chooses.
func (a *asked) covers(s sse.State) bool {
	if a == nil {
		return s.Algorithm == sse.None
	}
	if a.mode.Algorithm() != s.Algorithm {
		return false
	}
	key := a.managed.Load()
	return a.mode.KeyID() != "" || s.KMSKeyID == "" || key != nil && *key == s.KMSKeyID
}

// refused tells whether an answer says that something else is done than a asks
// for; one that says nothing does not.
func (a *asked) refused(told objstore.Header) error {
	if a == nil || !a.mode.Told(told) {
		return nil
	}
	return a.mode.Confirm(told)
}

// learn remembers the key that S3 chose.
func (a *asked) learn(s sse.State) {
	if a.mode.KeyID() == "" && s.KMSKeyID != "" {
		a.managed.Store(&s.KMSKeyID)
	}
}

func (a *asked) headers() *objstore.Encryption {
	if a == nil {
		return nil
	}
	return a.enc
}

// askedAgain is what a copy of o asks for: what the rule has; but within a rule
// o keeps what it has where the rule's is of another kind and not stronger, or
// is a key that the rule leaves to S3.
func (v *Volume) askedAgain(o *object, to *Rule) (*asked, error) {
	switch {
	case v.ruleOf(o) != to, to.Server != nil && o.state.WeakerThan(to.state()), to.want.covers(o.state):
		return to.want, nil
	}
	if own := v.customerOf(o.id.Encryption); own != nil {
		return own.want, nil
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
// by HEAD. What is not encrypted as asked is taken back, where that loses
// nothing.
func (v *Volume) confirm(ctx context.Context, d draft, o *object, got objstore.Receipt) error {
	want := d.want
	o.state = sse.Of(got.Encrypted)
	if want == nil {
		return nil
	}
	told := got.Encrypted
	if !want.mode.Told(told) {
		var err error
		if told, err = v.tell(ctx, got.ID); err != nil {
			return fmt.Errorf("%s: encryption is not confirmed: %w", d.key, err)
		}
	}
	o.state = sse.Of(told)
	err := want.mode.Confirm(told)
	if err == nil {
		want.learn(o.state)
		return nil
	}
	lost := &unsettled{error: fmt.Errorf("%s: %w: %w", d.key, ErrNotEncrypted, err), mark: o.mark}
	kept := false
	if lost.left, kept = v.withdraw(ctx, d, got); kept {
		lost.kept = o
	}
	return lost
}

// tell asks by HEAD how the body at is encrypted. An answer in words that it
// does not have the key which was asked for is one too. ErrChanged: it has been
// replaced. ErrUnknown: it may be as asked.
func (v *Volume) tell(ctx context.Context, at objstore.ID) (objstore.Header, error) {
	info, err := v.opt.Store.Head(ctx, at)
	if at.Encryption != nil && errors.Is(err, objstore.ErrKeyUnwanted) {
		at.Encryption = nil
		info, err = v.opt.Store.Head(ctx, at) // is it that body at all
	}
	switch {
	case err == nil:
		return info.Encrypted, nil
	case errors.Is(err, ErrChanged) || errors.Is(err, ErrNotExist):
		return nil, fmt.Errorf("replaced before that: %w", ErrChanged)
	}
	return nil, fmt.Errorf("%w: %w", err, objstore.ErrUnknown)
}

// withdraw removes what the server stored otherwise than it was asked, so that
// it is not taken for protected: the version that was made or, where there are
// none, the object. What is nowhere else now stays: a body that was copied over
// itself, or made in part out of what it replaced. left: nothing may be at the
// key now. kept: what was written is.
func (v *Volume) withdraw(ctx context.Context, d draft, got objstore.Receipt) (left, kept bool) {
	log := v.opt.Log.WithField("key", d.key)
	if (d.self || d.only) && got.VersionID == "" {
		log.Error("the object is not encrypted as it should be: the server ignored what was asked; it stays, as its content is nowhere else")
		return false, true
	}
	work, end := v.work.begin(context.WithoutCancel(ctx))
	defer end()
	err := v.deleteMade(work, got)
	if err != nil {
		log.WithError(err).Error("an object that the server did not encrypt as asked could not be removed")
		return errors.Is(err, objstore.ErrUnknown), false
	}
	log.Error("the server did not encrypt the object as asked; it was removed again")
	return got.VersionID == "", false
}

// deleteMade removes what was written just now, and not what another host has
// written since.
func (v *Volume) deleteMade(ctx context.Context, got objstore.Receipt) error {
	if got.VersionID != "" {
		return v.opt.Store.Delete(ctx, objstore.ID{Key: got.Key, VersionID: got.VersionID}, objstore.Condition{})
	}
	cond := objstore.Condition{IfMatch: got.ETag}
	if err := v.guard(ctx, v.opt.Capabilities.DeleteConditions, got.Key, cond); err != nil {
		return err
	}
	return v.opt.Store.Delete(ctx, objstore.ID{Key: got.Key}, cond)
}
