package volume

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// A survey tells of every object below a prefix how it is encrypted, and what is
// wrong with it, in the order of their keys. A listing says what is there, the
// attribute index what is sealed and has not changed since; every other object
// is asked for its metadata, several at a time. No body is read: whether it
// authenticates is a question for who verifies. What is held in memory does not
// grow with the number of objects.

// SurveyOptions say what is looked at.
type SurveyOptions struct {
	Prefix string // of keys; without a slash at its end the object of that key is one of them
	After  string // only keys greater than this, bytewise

	// Shadows knows what came before After, so that a file is found that is
	// shadowed by what comes behind. It is kept as it is after the row that was
	// told last. Nil: nothing came before.
	Shadows *Shadows

	// Versions looks at those too that are no longer current, where the store
	// tells of them (objstore.Versioner).
	Versions bool
	Untold   func(error) // called where it does not: the current objects are looked at alone

	// Index believes what the attribute index says of an object that a listing
	// shows as it was: then its epoch is told as the index has it, the epoch
	// that first sealed its data key and how the server encrypts are not.
	Index bool

	// Unstated: the rules are nobody's policy. Nothing is held against them, and
	// only that a body is plaintext is a flaw.
	Unstated bool

	Workers int // requests at a time; 0 is 32
}

// Surveyed is what one object, or a version of it, is.
type Surveyed struct {
	Key, Version string // Version is empty where none are kept
	Old          bool   // it is not the current one
	Last         bool   // nothing more is told of this key, or of one before it

	Mode       string // as the configuration names it, or SurveyInternal or SurveyUnknown
	Algorithm  string
	KeyID      string // as user.sigil.key-id shows it; of s3ec what its headers tell of the key
	Epoch      string
	EpochState string
	Commitment string // "yes", "no" or ""
	Server     string // how the server encrypts beneath; "" is not known

	Class    string
	Stored   int64 // bytes as stored
	Plain    int64 // of plaintext; -1 is not known
	Modified time.Time

	Flaws []Flaw
}

// Modes of what has none of the configuration's.
const (
	SurveyInternal = "internal" // epochs, instruction files: what they hold is wrapped
	SurveyUnknown  = "unknown"
)

// FlawKind tells flaws apart.
type FlawKind string

// The flaws.
const (
	FlawPlaintext   FlawKind = "plaintext"         // nobody encrypts it
	FlawWeaker      FlawKind = "weaker"            // than the rule asks
	FlawOldVersion  FlawKind = "old-version"       // one that is not current is either
	FlawMoved       FlawKind = "moved"             // sealed for another key
	FlawCorrupt     FlawKind = "corrupt"           // what should authenticate does not
	FlawUnreachable FlawKind = "unreachable-epoch" // no key here opens its epoch
	FlawUnknownKey  FlawKind = "unknown-key"       // the store's encryption wants a key that is not here, or gone
	FlawDenied      FlawKind = "denied"            // these credentials may not look
	FlawUnlooked    FlawKind = "not-looked-at"     // something else failed
	FlawRetired     FlawKind = "retired-key"       // under what the rule no longer writes with
	FlawForeign     FlawKind = "foreign-sigil"     // below .sigil/, and of no volume
	FlawName        FlawKind = "name"              // that no path expresses
	FlawShadowed    FlawKind = "shadowed"          // a file where a directory is
)

// Flaw is something wrong. Key is empty, or that of another object than the one
// it is told with: one that came before.
type Flaw struct {
	Kind FlawKind
	Key  string
	Text string // a clause
}

// defaultSurveyors is how many requests there are at a time.
const defaultSurveyors = 32

// survey is one.
type survey struct {
	v       *Volume
	opt     SurveyOptions
	places  chan struct{} // of requests
	indexes surveyIndexes
}

// surveyRow is an object that was listed, and what came of it.
type surveyRow struct {
	info   objstore.Info
	old    bool
	broken bool          // none: the listing ended with err
	dir    *surveyDir    // whose index may know it; nil: none
	done   chan struct{} // closed when what follows is settled
	out    Surveyed
	gone   bool // nothing is there any more
	err    error
}

// Survey tells of each object. An error ends it: what was told before stands,
// and SurveyOptions.After goes on behind the key of the last row that is the
// Last of its key.
func (v *Volume) Survey(ctx context.Context, opt SurveyOptions) iter.Seq2[Surveyed, error] {
	return func(yield func(Surveyed, error) bool) {
		if opt.Workers <= 0 {
			opt.Workers = defaultSurveyors
		}
		if opt.Shadows == nil {
			opt.Shadows = &Shadows{}
		}
		s := &survey{v: v, opt: opt, places: make(chan struct{}, opt.Workers), indexes: surveyIndexes{v: v, on: opt.Index}}
		ctx, cancel := context.WithCancel(ctx)
		rows := make(chan *surveyRow, 4*opt.Workers)
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		all.Go(func() {
			defer close(rows)
			s.list(ctx, rows, &all)
		})
		if s.tell(ctx, rows, yield) && ctx.Err() != nil {
			yield(Surveyed{}, context.Cause(ctx))
		}
	}
}

// tell gives the rows to the caller, each when the next one is known: whether it
// is the last of its key. false: he wants no more, or an error was told.
func (s *survey) tell(ctx context.Context, rows <-chan *surveyRow, yield func(Surveyed, error) bool) bool {
	var held *surveyRow
	for r := range rows {
		if held != nil && !s.row(held, !r.broken && r.info.Key != held.info.Key, yield) {
			return false
		}
		held = r
	}
	return held == nil || s.row(held, ctx.Err() == nil, yield)
}

// row gives one to the caller.
func (s *survey) row(r *surveyRow, last bool, yield func(Surveyed, error) bool) bool {
	<-r.done
	switch {
	case r.err != nil:
		yield(Surveyed{}, r.err)
		return false
	case r.gone:
		return true
	case !r.old:
		r.out.Flaws = append(s.opt.Shadows.flaws(r.info.Key), r.out.Flaws...)
	}
	r.out.Last = last
	return yield(r.out, nil)
}

// SurveySize tells how many rows a survey will have, by listing them.
func (v *Volume) SurveySize(ctx context.Context, opt SurveyOptions) (n int64, err error) {
	opt.Untold = nil
	s := &survey{v: v, opt: opt}
	for r, err := range s.listed(ctx) {
		if err != nil {
			return n, err
		}
		if Within(r.info.Key, opt.Prefix) {
			n++
		}
	}
	return n, ctx.Err()
}

// list sends a row for each object that is listed, in their order, and has it
// looked at.
func (s *survey) list(ctx context.Context, rows chan<- *surveyRow, all *sync.WaitGroup) {
	send := func(r *surveyRow) bool {
		select {
		case rows <- r:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for r, err := range s.listed(ctx) {
		if err != nil {
			failed := &surveyRow{err: err, broken: true, done: make(chan struct{})}
			close(failed.done)
			send(failed)
			return
		}
		if !Within(r.info.Key, s.opt.Prefix) {
			continue
		}
		r.done = make(chan struct{})
		r.out = sketch(r)
		if !r.old {
			r.out.Flaws = append(r.out.Flaws, s.v.keyFlaws(r.info.Key)...)
			r.dir = s.indexes.dir(r.info.Key)
		}
		if !send(r) {
			return
		}
		if InternalKey(r.info.Key) {
			close(r.done)
			continue
		}
		select {
		case s.places <- struct{}{}:
		case <-ctx.Done():
			r.err = context.Cause(ctx)
			close(r.done)
			return
		}
		all.Go(func() {
			defer func() {
				r.dir.release()
				<-s.places
				close(r.done)
			}()
			s.look(ctx, r)
		})
	}
}

// Within tells whether key is at prefix or below it: "a" has "a" and "a/b", not
// "ab".
func Within(key, prefix string) bool {
	if !strings.HasPrefix(key, prefix) {
		return false
	}
	return prefix == "" || strings.HasSuffix(prefix, "/") || len(key) == len(prefix) || key[len(prefix)] == '/'
}

// listed gives what is there, by listing.
func (s *survey) listed(ctx context.Context) iter.Seq2[*surveyRow, error] {
	if past, ok := s.v.raw.(objstore.Versioner); ok && s.opt.Versions {
		return s.versions(ctx, past)
	}
	return s.current(ctx)
}

func (s *survey) current(ctx context.Context) iter.Seq2[*surveyRow, error] {
	return func(yield func(*surveyRow, error) bool) {
		for e, err := range s.v.raw.List(ctx, objstore.ListOptions{Prefix: s.opt.Prefix, After: s.opt.After}) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(&surveyRow{info: e.Info}, nil) {
				return
			}
		}
	}
}

// versions gives the current objects and those that were before them. Where the
// store does not tell, the current ones alone.
func (s *survey) versions(ctx context.Context, past objstore.Versioner) iter.Seq2[*surveyRow, error] {
	return func(yield func(*surveyRow, error) bool) {
		some := false
		for e, err := range past.Versions(ctx, objstore.ListOptions{Prefix: s.opt.Prefix, After: s.opt.After}) {
			switch {
			case err != nil && !some && untold(err):
				if s.opt.Untold != nil {
					s.opt.Untold(err)
				}
				s.current(ctx)(yield)
				return
			case err != nil:
				yield(nil, err)
				return
			}
			some = true
			if !e.Deleted && !yield(&surveyRow{info: e.Info, old: !e.Latest}, nil) {
				return
			}
		}
	}
}

// untold tells the errors of who may not ask for versions, or cannot.
func untold(err error) bool {
	return errors.Is(err, ErrAccess) || errors.Is(err, ErrUnsupported) || errors.Is(err, objstore.ErrInvalid)
}

// sketch is what a listing tells.
func sketch(r *surveyRow) Surveyed {
	i := r.info
	out := Surveyed{
		Key: i.Key, Version: i.VersionID, Old: r.old, Mode: SurveyUnknown,
		Class: i.StorageClass, Stored: i.Size, Plain: -1, Modified: i.Modified,
	}
	if i.VersionID == objstore.NullVersion && !r.old {
		out.Version = ""
	}
	if InternalKey(i.Key) {
		out.Mode = SurveyInternal
	}
	return out
}
