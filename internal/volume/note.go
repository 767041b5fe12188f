package volume

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// note lies, sealed, beside the data of a dirty file in the spool: all that
// whoever comes after the death of this process must know of it. Before a
// change reaches the spool the note says that the file is open; when nobody can
// write any more, that it is closed, before its commit begins; before each
// write to the store, by what that is recognised there; and it is gone when
// the bucket has all. None of these waits for the disk: they are about a
// process that dies. What a commit that failed leaves is synced.
type note struct {
	Path   string            `json:"path"`
	Key    string            `json:"key"`
	Name   string            `json:"name,omitempty"` // of an inode: the key of one of its names
	Mode   string            `json:"mode,omitempty"` // of the rule
	Open   bool              `json:"open,omitempty"` // not closed yet: perhaps half-written
	Gone   bool              `json:"gone,omitempty"` // unlinked: nobody wants it
	Attr   Attr              `json:"attr"`
	Xattrs map[string][]byte `json:"xattrs,omitempty"`
	Excl   bool              `json:"excl,omitempty"`
	Opened int64             `json:"opened,omitempty"` // ns

	ETag       string `json:"etag,omitempty"` // of the base; "" for a new file
	Version    string `json:"version,omitempty"`
	Generation string `json:"generation,omitempty"` // its mark

	Origin *origin `json:"origin,omitempty"` // what lies under the data instead of the base

	Sent   []string `json:"sent,omitempty"`   // marks of bodies of which one may be in the store
	Last   []string `json:"last,omitempty"`   // marks of those that hold all that is here; nil where none does
	Beside string   `json:"beside,omitempty"` // the conflict copy as which the last of them was sent
	Behind bool     `json:"behind,omitempty"` // their attributes may be older than Attr and Xattrs
	Left   bool     `json:"left,omitempty"`   // as in File

	Uploads []uploading `json:"uploads,omitempty"` // to be aborted

	Boot   string `json:"boot,omitempty"`   // of the kernel that has the data, on disk or not
	Synced bool   `json:"synced,omitempty"` // on disk
	At     int64  `json:"at,omitempty"`     // ns
	Cause  string `json:"cause,omitempty"`  // why it is not committed
}

// maxCause bounds what a note tells of an error, in bytes.
const maxCause = 1000

func (n note) encode() []byte {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // plain data
	}
	return b
}

// parseNote reads a note. What names no object, or an upload of none, is
// ErrCorrupt.
func parseNote(b []byte) (n note, err error) {
	bad := func(u uploading) bool { return u.Key == "" || u.Upload == "" }
	if err := json.Unmarshal(b, &n); err != nil || n.Key == "" || slices.ContainsFunc(n.Uploads, bad) {
		return note{}, fmt.Errorf("note of a spool file: %w", ErrCorrupt)
	}
	return n, nil
}

// place gives the path at which the file is shown in a mount of prefix, and that
// by which its File goes. False: it is not below, or has a name that no path can
// express.
func (n note) place(prefix string, check func(path string) error) (shown, path string, ok bool) {
	shown, ok = strings.CutPrefix(n.name(), prefix)
	if !ok || shown == "" || check(shown) != nil {
		return "", "", false
	}
	if n.Name == "" {
		return shown, shown, true
	}
	return shown, inodePath(n.Key), true
}

// ours tells whether o is a body of which the note knows.
func (n note) ours(o *object) bool {
	return o.isOf(n.Sent, n.Attr.FileID) || o.isOf(n.Last, n.Attr.FileID)
}

// bodies are what was sent of a File, whatever became of it, as it was at one
// change.
type bodies struct {
	seq    uint64
	marks  []string
	beside string // as in note
	behind bool
}

// add counts w in, as which s is sent.
func (b *bodies) add(s *snapshot, w *stored) {
	if b.seq != s.seq {
		*b = bodies{seq: s.seq}
	}
	b.marks = append(slices.Clip(b.marks), w.marks()...)
	b.marks = b.marks[max(0, len(b.marks)-maxSent):]
	b.behind = b.behind || w.behind
}

// noted is what a File knows of its note.
type noted struct {
	there bool // there is one
	plain bool // it says no more than that the file is open: changes need no other
}

// compose needs f.mu.
func (f *File) compose() note {
	v, key := f.v, f.v.fileKey(f.path)
	n := note{
		Path: f.shown(), Key: key, Mode: v.rule(v.fileKey(f.shown())).Mode, Open: !f.shut || f.writing > 0, Gone: f.gone,
		Attr: f.attr, Xattrs: f.xat, Excl: f.excl, Opened: f.opened.UnixNano(),
		Sent: append(f.sent[:len(f.sent):len(f.sent)], f.sending...), Left: f.left, Uploads: f.uploads,
		Boot: v.opt.Boot, At: v.opt.Now().UnixNano(),
	}
	if f.base != nil {
		n.ETag, n.Version, n.Generation = f.base.id.ETag, f.base.id.VersionID, f.base.mark
	}
	switch {
	case f.writing > 0:
	case f.base != nil && f.wrote <= f.done:
		n.Last = []string{f.base.mark}
	case f.whole.seq == f.seq && len(f.whole.marks) > 0:
		n.Last, n.Beside, n.Behind = f.whole.marks, f.whole.beside, f.whole.behind
	}
	if isInodePath(f.path) {
		n.Name = v.fileKey(f.via)
	}
	if _, borrowed := f.under(); borrowed {
		n.Origin = f.ref.origin()
	}
	if f.fail != nil {
		n.Cause = f.fail.Error()
		n.Cause = n.Cause[:min(len(n.Cause), maxCause)]
	}
	return n
}

// tell writes the note anew. also, with f.mu held, adds what only its caller
// knows. Until the note is there, every change that begins waits to write one
// of its own.
func (f *File) tell(write func([]byte) error, also func(*note)) error {
	f.telling.Lock()
	defer f.telling.Unlock()
	f.mu.Lock()
	n := f.compose()
	if also != nil {
		also(&n)
	}
	f.noted.plain = false
	f.mu.Unlock()
	if err := write(n.encode()); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noted = noted{there: true, plain: n.Open && n.Last == nil}
	return nil
}

// begin comes before a change of the content, which ends with changed, unless
// begin fails.
func (f *File) begin(data *spool.File) error {
	f.mu.Lock()
	f.writing++
	f.shut = false
	plain := f.noted.plain
	f.mu.Unlock()
	if plain {
		return nil
	}
	err := f.tell(data.NoteMeta, nil)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.writing--
	}
	return err
}

// Flush is Commit when nobody who has f open can write any more, as at the last
// close: should this process die meanwhile, the next mount completes it.
func (f *File) Flush(ctx context.Context) error {
	f.closing()
	return f.Commit(ctx)
}

// closing notes that f is closed as it is now.
func (f *File) closing() {
	f.mu.Lock()
	data, seq := f.data, f.seq
	due := data != nil && !f.shut && !f.gone && seq != f.done && !f.onlyAttrs()
	f.mu.Unlock()
	if !due {
		return
	}
	snap, err := data.Snapshot() // nothing of it is in memory only
	if err == nil {
		defer snap.Release()
		f.mu.Lock()
		f.shut = f.seq == seq && f.writing == 0
		f.mu.Unlock()
		err = f.tell(data.NoteMeta, nil)
	}
	f.untold(err)
}

// announce notes that s is about to be written, as w.
func (f *File) announce(s *snapshot, w *stored) {
	f.mu.Lock()
	f.sending = append(f.sending, w.marks()...)
	f.whole.add(s, w)
	if s.borrowed && f.ref != nil {
		sent := append(slices.Clip(f.ref.sent), w.marks()...)
		f.ref.sent = sent[max(0, len(sent)-maxSent):]
	}
	if s.path != f.path {
		f.whole.beside = s.path
	}
	data := f.data
	f.mu.Unlock()
	if data != nil {
		f.untold(f.tell(data.NoteMeta, nil))
	}
}

// retell notes what has changed beside the content, where there is a note.
func (f *File) retell() {
	f.mu.Lock()
	data, there := f.data, f.noted.there
	f.mu.Unlock()
	if there && data != nil {
		f.untold(f.tell(data.NoteMeta, nil))
	}
}

// leave writes down, durably, what a recovery must know of dirty data, and the
// data too.
func (f *File) leave(data *spool.File) {
	f.mu.Lock()
	seq := f.seq
	f.mu.Unlock()
	err := data.Sync()
	synced := err == nil
	f.untold(errors.Join(err, f.tell(data.SetMeta, func(n *note) {
		n.Synced = synced && f.seq == seq && f.writing == 0
	})))
}

// dropNote removes the note of a file that is clean.
func (f *File) dropNote(data *spool.File) {
	f.telling.Lock()
	defer f.telling.Unlock()
	f.mu.Lock()
	f.noted.plain = false // the base is another one
	clean := f.wrote <= f.done && f.writing == 0
	f.noted.there = f.noted.there && !clean
	f.mu.Unlock()
	if clean {
		f.untold(data.DropMeta())
	}
}

// untold logs that a note could not be written: what it is about is none the
// worse while this process lives.
func (f *File) untold(err error) {
	if err != nil && !errors.Is(err, spool.ErrClosed) { // else Close has seen to it
		f.v.opt.Log.WithField("path", f.Path()).WithError(err).Warn("what is not committed yet is kept, but a recovery may not know all of it")
	}
}

// marks are by what an object is recognised when it lies in the store: its own
// mark and, for hosts that cannot open what they write, one of its seal.
func (w *stored) marks() []string {
	marks := []string{w.obj.mark}
	if m := sealMark(w.metadata); m != "" {
		marks = append(marks, m)
	}
	return marks
}

// sealMark tells one seal from another without opening it; "" where there is
// none.
func sealMark(metadata map[string]string) string {
	seal := metadata[sigil.MetaSeal]
	if seal == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(seal))
	return "seal-" + hex.EncodeToString(sum[:16])
}
