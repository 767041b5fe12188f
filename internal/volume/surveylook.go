package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume/attrindex"
	"github.com/sigilfs/sigilfs/objcrypt"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
	"golang.org/x/sys/unix"
)

// gcm is the algorithm of sigil bodies, and of what S3 says of its own
// (Amazon S3 User Guide, "Protecting data with encryption": 256-bit AES-GCM).
const gcm = "AES-256-GCM"

// look finds out what one object is. r.out has what a listing tells.
func (s *survey) look(ctx context.Context, r *surveyRow) {
	if e, ok := r.dir.entry(ctx, r.info); ok && s.byIndex(ctx, r, e) {
		return
	}
	info, err := s.head(ctx, r)
	switch {
	case err == nil:
		s.describe(ctx, r, info)
	case ctx.Err() != nil:
		r.err = context.Cause(ctx)
	case errors.Is(err, ErrNotExist):
		r.gone = true
	case ends(err):
		r.err = err
	default:
		s.refused(ctx, r, err)
	}
}

// ends tells the errors that are not one object's: every other one would meet
// them too.
func ends(err error) bool {
	for _, e := range []error{ErrBadAuth, ErrThrottled, objstore.ErrBucket, objstore.ErrUnreachable} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// head asks for the metadata, with whatever key that takes.
func (s *survey) head(ctx context.Context, r *surveyRow) (objstore.Info, error) {
	return s.v.headOf(ctx, r.id())
}

// id names the object, or the version, that was listed.
func (r *surveyRow) id() objstore.ID {
	id := objstore.ID{Key: r.info.Key}
	if r.old {
		id.VersionID = r.info.VersionID
	}
	return id
}

// refused tells of what the store did not describe.
func (s *survey) refused(ctx context.Context, r *surveyRow, err error) {
	kind := FlawUnlooked
	switch {
	case errors.Is(err, ErrNoKey), errors.Is(err, ErrWrongKey): // SSE-C
		kind, r.out.Mode, r.out.Algorithm = FlawUnknownKey, sse.SSEC.String(), gcm
		r.out.KeyID = s.taggedKey(ctx, r)
	case errors.Is(err, ErrKeyMissing), errors.Is(err, ErrKeyDisabled):
		kind = FlawUnknownKey
	case errors.Is(err, ErrAccess):
		kind = FlawDenied
	}
	s.flaw(r, kind, err)
}

// taggedKey is the ID that the object's tags give its SSE-C key.
func (s *survey) taggedKey(ctx context.Context, r *surveyRow) string {
	t, ok := s.v.raw.(objstore.Tagger)
	if !ok || r.old {
		return ""
	}
	tags, err := t.Tags(ctx, objstore.ID{Key: r.info.Key})
	if err != nil {
		return ""
	}
	return tags[sse.KeyTag]
}

// flaw notes what is wrong. Without a policy nobody said which keys there are,
// and of old versions it counts only that they are weak.
func (s *survey) flaw(r *surveyRow, kind FlawKind, err error) {
	keys := kind == FlawUnreachable || kind == FlawUnknownKey || kind == FlawRetired
	if keys && (s.opt.Unstated || r.old) {
		return
	}
	text := strings.TrimPrefix(err.Error(), r.info.Key+": ")
	r.out.Flaws = append(r.out.Flaws, Flaw{Kind: kind, Text: text})
}

// about is what describe finds out beside what is told.
type about struct {
	info   objstore.Info
	rule   *Rule
	sealed bool
	env    *s3ec.Envelope // nil: not of the S3 Encryption Client
	state  sse.State
}

// describe tells what an object is by its metadata.
func (s *survey) describe(ctx context.Context, r *surveyRow, info objstore.Info) {
	a := about{info: info, rule: s.v.rule(info.Key), sealed: isSealed(info.Metadata), state: sse.Of(info.Encrypted)}
	r.out.Class, r.out.Stored = cmp.Or(info.StorageClass, r.out.Class), info.Size
	if s.wrappedKey(ctx, r, a) {
		r.out.Mode, r.out.Server = SurveyInternal, a.state.String()
		return
	}
	switch found, err := s.clientEncryption(ctx, &a); {
	case a.sealed:
		s.describeSealed(ctx, r, a)
	case found && r.old && errors.Is(err, errNoInstruction): // it has gone with the current version
		s.asS3EC(r, a)
	case found && err != nil:
		s.asS3EC(r, a)
		s.flaw(r, kindOf(err), err)
	case found:
		s.asS3EC(r, a)
	default:
		s.describePlain(r, a)
	}
	s.judge(ctx, r, a)
}

// wrappedKey tells an instruction file, which holds nothing that needs to be
// encrypted. A name alone makes none: what else lies there is plaintext.
func (s *survey) wrappedKey(ctx context.Context, r *surveyRow, a about) bool {
	_, marked := a.info.Metadata[s3ec.InstructionMark]
	object, named := s3ec.InstructionOf(a.info.Key)
	if !named || !marked && !s.v.instructed(object) || a.sealed || a.info.Size > s3ec.MaxInstruction {
		return false
	}
	file, err := s.small(ctx, r)
	return err == nil && s3ec.IsInstruction(file)
}

// small reads a body that is known to be small.
func (s *survey) small(ctx context.Context, r *surveyRow) (body []byte, err error) {
	id := r.id()
	err = s.v.unlocked(ctx, id.Key, func(enc *objstore.Encryption) error {
		id.Encryption = enc
		_, _, from, err := s.v.opt.Store.Get(ctx, id, objstore.Range{Len: s3ec.MaxInstruction})
		if err != nil {
			return err
		}
		defer from.Close()
		body, err = io.ReadAll(io.LimitReader(from, s3ec.MaxInstruction))
		return err
	})
	return body, err
}

// errNoInstruction: an object whose wrapped key lies in a file that is not there.
var errNoInstruction = fmt.Errorf("its instruction file is missing: %w", ErrCorrupt)

// clientEncryption looks for headers of the S3 Encryption Client, in the
// metadata or an instruction file, and takes them as they are: only who opens
// the body knows better.
func (s *survey) clientEncryption(ctx context.Context, a *about) (found bool, err error) {
	if a.sealed {
		return false, nil
	}
	kind, err := s3ec.Detect(a.info.Metadata)
	if err != nil {
		return true, err
	}
	var file []byte
	if kind == s3ec.KindV3Instruction || kind == s3ec.KindNone && s.v.instructed(a.info.Key) {
		file, err = s.v.instruction(ctx, a.info.Key)
	}
	switch {
	case errors.Is(err, ErrNotExist) && kind == s3ec.KindNone, kind == s3ec.KindNone && err == nil && file == nil:
		return false, nil
	case errors.Is(err, ErrNotExist):
		return true, errNoInstruction
	case err != nil:
		return true, err
	}
	a.env, err = s3ec.Parse(a.info.Metadata, file)
	return true, err
}

// kindOf is the flaw of an object whose metadata do not open.
func kindOf(err error) FlawKind {
	switch {
	case errors.Is(err, objcrypt.ErrMoved):
		return FlawMoved
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrVersion), errors.Is(err, ErrDowngrade):
		return FlawCorrupt
	case errors.Is(err, ErrKeyAccess):
		return FlawUnreachable
	case errors.Is(err, ErrAccess):
		return FlawDenied
	case errors.Is(err, ErrNoKey), errors.Is(err, ErrWrongKey), errors.Is(err, ErrKeyMissing), errors.Is(err, ErrKeyDisabled):
		return FlawUnreachable
	}
	return FlawUnlooked
}

func (s *survey) asS3EC(r *surveyRow, a about) {
	r.out.Mode, r.out.Server = "s3ec", a.state.String()
	if a.env == nil {
		return
	}
	r.out.Algorithm, r.out.Commitment, r.out.KeyID = a.env.Suite().String()+" "+a.env.Wrap().String(), "no", a.env.KeyHint()
	if a.env.Committing() {
		r.out.Commitment = "yes"
	}
	if n, exact, err := a.env.PlainSize(a.info.Size); err == nil && exact {
		r.out.Plain = n
	} else if err != nil {
		s.flaw(r, FlawCorrupt, err)
	}
}

func (s *survey) describePlain(r *surveyRow, a about) {
	r.out.Mode, r.out.KeyID, r.out.Plain = a.state.String(), a.state.KMSKeyID, a.info.Size
	if a.state.Algorithm != sse.None && a.state.Algorithm != sse.Unknown {
		r.out.Algorithm = gcm
	}
	if c := s.v.customerOf(a.info.Encryption); c != nil && a.state.Algorithm == sse.SSEC {
		r.out.KeyID = c.id
	}
}

// describeSealed opens the record, and nothing of the body.
func (s *survey) describeSealed(ctx context.Context, r *surveyRow, a about) {
	o := &r.out
	o.Mode, o.Server = "client", a.state.String()
	h, err := sigil.ParseHeader(a.info.Metadata)
	if err != nil {
		s.flaw(r, FlawCorrupt, err)
		return
	}
	o.Algorithm, o.Commitment, o.Epoch = gcm, "yes", h.Epoch.String()
	rec, err := s.v.unseal(ctx, a.info.Key, h)
	o.KeyID, o.EpochState = strings.Join(s.v.opt.Keys.KeyIDs(h.Epoch), ","), s.epochState(h.Epoch)
	if err == nil {
		o.Plain, err = plainSize(rec, a.info)
	} else if n, sizeErr := sigil.PlainSize(a.info.Size); sizeErr == nil && h.Layout == 0 && !isMarker(a.info.Key) {
		o.Plain = n
	}
	if err != nil {
		s.flaw(r, kindOf(err), err)
		return
	}
	s.judgeEpochs(ctx, r, a.rule, h.Epoch, rec.SealEpoch)
}

// plainSize is that of a sealed object, by the length of its body; -1 where the
// tail alone knows it, which is not read.
func plainSize(rec *sigil.Record, info objstore.Info) (int64, error) {
	dir := rec.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case dir != isMarker(info.Key):
		return -1, fmt.Errorf("type %o does not fit the key: %w", rec.Mode&unix.S_IFMT, ErrCorrupt)
	case dir && info.Size != 0:
		return -1, fmt.Errorf("directory with a body of %d bytes: %w", info.Size, ErrCorrupt)
	case dir:
		return 0, nil
	}
	if rec.Layout != 0 {
		if rec.SizeKnown {
			return rec.Size, nil
		}
		return -1, nil
	}
	n, err := sigil.PlainSize(info.Size)
	if err != nil {
		return -1, err
	}
	return n, nil
}

// byIndex tells what the index knows, of an epoch that has been opened already.
func (s *survey) byIndex(ctx context.Context, r *surveyRow, e attrindex.Entry) bool {
	ids := s.v.opt.Keys.KeyIDs(e.Epoch)
	if len(ids) == 0 || !e.IsDir() && !sigil.MayBe(e.Length, e.Size) || e.IsDir() && e.Size+e.Length != 0 {
		return false
	}
	o := &r.out
	o.Mode, o.Algorithm, o.Commitment, o.Plain = "client", gcm, "yes", e.Length
	o.KeyID, o.Epoch, o.EpochState = strings.Join(ids, ","), sigil.EpochID(e.Epoch).String(), s.epochState(e.Epoch)
	s.judgeEpochs(ctx, r, s.v.rule(r.info.Key), e.Epoch)
	return true
}
