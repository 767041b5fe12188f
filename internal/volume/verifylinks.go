package volume

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// noteLink notes what the object s says of hard links.
func (x *Verifier) noteLink(ctx context.Context, s sight, part string) error {
	f, sealed := s.form.(*sealedForm)
	if x.links == nil || !sealed {
		return nil
	}
	l := linkLine{file: s.attr.FileID, key: s.id.Key, etag: s.id.ETag, time: s.info.Modified.Unix()}
	switch part {
	case partFile:
		if s.isName() {
			l.inode, l.kind, l.token, l.etag, l.time = s.inode(), lineName, s.token(), "", 0
			x.links.add(l)
		}
	case partInode:
		id, ok := inodeID(s.id.Key)
		if ok {
			l.inode, l.kind, l.nlink = id, lineInode, max(1, s.attr.Nlink)
			x.links.add(l)
		}
	case partRoll:
		id, ok := inodeID(s.id.Key)
		if !ok {
			return nil
		}
		names, err := x.rollNames(ctx, s, f)
		if err != nil {
			return err
		}
		l.inode, l.kind = id, lineRoll
		lines := []linkLine{l}
		for _, t := range names {
			lines = append(lines, linkLine{inode: id, kind: lineToken, token: t})
		}
		x.links.add(lines...)
	}
	return nil
}

// rollDamaged stands for the link count of a roll that does not open.
const rollDamaged = 1

// noteDamaged notes a roll that is there and does not open, and of which inode
// something is wrong.
func (x *Verifier) noteDamaged(s *suspicion, modified time.Time) {
	part := ownPart(s.Key)
	id, ok := inodeID(s.Key)
	if !ok || x.links == nil || part != partRoll && part != partInode {
		return
	}
	if part == partRoll && s.Fault != Unseen && s.Fault != FaultRollback {
		x.links.add(linkLine{inode: id, kind: lineRoll, nlink: rollDamaged, time: modified.Unix(), etag: s.id.ETag, key: s.Key})
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.hurt) < maxHurt {
		x.hurt[id] = s.Key
	}
}

// call notes how an inode is called of which something is wrong.
func (x *Verifier) call(id sigil.Generation, names []linkLine) {
	x.mu.Lock()
	defer x.mu.Unlock()
	key, hurt := x.hurt[id]
	if !hurt || len(names) == 0 {
		return
	}
	if x.files == nil {
		x.files = map[string][]string{}
	}
	for _, l := range names {
		x.files[key] = append(x.files[key], cmp.Or(x.path(l.key), l.key))
	}
}

// inodeID is that of an inode's key, or its roll's.
func inodeID(key string) (sigil.Generation, bool) {
	id, err := sigil.ParseEpochID(key[strings.LastIndexByte(key, '/')+1:])
	return sigil.Generation(id), err == nil
}

// rollNames reads a roll.
func (x *Verifier) rollNames(ctx context.Context, s sight, f *sealedForm) ([]token, error) {
	body := s.suffix
	if int64(len(body)) < s.length {
		if s.attr.Size > maxLinks*int64(len(token{})) {
			return nil, fmt.Errorf("%s: roll of %d bytes: %w", s.id.Key, s.attr.Size, ErrCorrupt)
		}
		body = make([]byte, s.length)
		if err := x.v.readExactly(ctx, s.id, body, 0); err != nil {
			return nil, err
		}
	}
	b, err := f.whole(ctx, x.v, s.object, body)
	if err != nil {
		return nil, err
	}
	names, err := parseRoll(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.id.Key, err)
	}
	return names, nil
}

// checkName looks for the inode of a name, where not all inodes are looked at.
func (x *Verifier) checkName(ctx context.Context, s sight, e objstore.Entry) (*suspicion, error) {
	err := x.v.leads(ctx, s.object)
	if err == nil || !errors.Is(err, errDangling) {
		return nil, err
	}
	return x.suspect(s, e, FaultDangling, err), nil
}

// errDangling: a name does not lead to its file.
var errDangling = errors.New("hard link whose inode is missing")

// leads looks whether a name leads to its inode. What is wrong with that itself
// is no fault of the name.
func (v *Volume) leads(ctx context.Context, name *object) error {
	in, err := v.inodeBehind(ctx, name)
	switch {
	case errors.Is(err, ErrNotExist):
		return fmt.Errorf("%s: inode %s: %w", name.id.Key, inodeName(name.inode()), errDangling)
	case err != nil:
		return err
	case in.err == nil && in.attr.FileID != name.attr.FileID:
		return fmt.Errorf("%s: inode %s is of another file: %w", name.id.Key, in.id.Key, errDangling)
	}
	return nil
}

// kinship is what the ledger has of one inode.
type kinship struct {
	inode, roll *linkLine
	enrolled    []token // ascending
	names       int     // tokens that names have
	first       []linkLine
	loose       []linkLine // names that are not on the roll; some
	unlisted    int        // how many these are
	strangers   []linkLine // names of another file id
	met         []token    // of names, ascending: what the roll should be
}

// someNames is how many names of an inode are told.
const someNames = 8

// Finish looks at what objects say of each other, once all were checked, and
// tells found each Finding. It ends the Verifier.
func (x *Verifier) Finish(ctx context.Context, found func(*Finding)) (Verified, error) {
	defer x.Close()
	names, inodes, unsettled := int64(0), int64(0), int64(0)
	if x.links != nil {
		k, id := &kinship{}, sigil.Generation{}
		flush := func() error {
			names += int64(k.names)
			x.call(id, k.first)
			if k.inode != nil {
				inodes++
			}
			settled, err := x.judge(ctx, k, found)
			if !settled {
				unsettled++
			}
			return err
		}
		err := x.links.each(ctx, func(l linkLine) error {
			if l.inode != id {
				if err := flush(); err != nil {
					return err
				}
				id, k = l.inode, &kinship{}
			}
			k.take(l)
			return nil
		})
		if err == nil {
			err = flush()
		}
		if err != nil {
			return x.Counted(), err
		}
	}
	sum := x.Counted()
	sum.Names, sum.Inodes, sum.Unsettled = names, inodes, unsettled
	switch {
	case x.links == nil:
		sum.LinksUncounted = "only a part of the volume was looked at"
	case x.unread.Load() > 0:
		sum.LinksUncounted = fmt.Sprintf("%d objects that do not open may be names: no count of links was judged", x.unread.Load())
	}
	return sum, nil
}

// take adds a line; they come in order.
func (k *kinship) take(l linkLine) {
	switch l.kind {
	case lineInode:
		k.inode = &l
	case lineRoll:
		k.roll = &l
	case lineToken:
		k.enrolled = append(k.enrolled, l.token)
	case lineName:
		k.names++
		k.first = append(k.first, l)
		slices.SortFunc(k.first, func(a, b linkLine) int { return strings.Compare(a.key, b.key) })
		k.first = k.first[:min(len(k.first), someNames)]
		if k.inode != nil && l.file != k.inode.file && len(k.strangers) < someNames {
			k.strangers = append(k.strangers, l)
			return
		}
		if len(k.met) > maxLinks {
			return
		}
		k.met = append(k.met, l.token)
		if _, on := slices.BinarySearchFunc(k.enrolled, l.token, compareTokens); !on {
			k.unlisted++
			if len(k.loose) < someNames {
				k.loose = append(k.loose, l)
			}
		}
	}
}

// judge tells what is wrong with an inode and its names. Not settled: they were
// changed too lately.
func (x *Verifier) judge(ctx context.Context, k *kinship, found func(*Finding)) (settled bool, err error) {
	switch {
	case k.inode == nil && k.names > 0:
		return true, x.judgeDangling(ctx, k.first, k, found)
	case k.inode == nil && k.roll != nil:
		return x.judgeRoll(ctx, k.roll, found)
	case k.inode == nil:
		return true, nil
	}
	if err := x.judgeDangling(ctx, k.strangers, k, found); err != nil {
		return true, err
	}
	changed := k.inode.time
	if k.roll != nil {
		changed = k.roll.time
	}
	age := x.clock().Sub(time.Unix(changed, 0))
	fault, why := k.fault()
	switch {
	case fault == "":
		return true, nil
	case k.roll != nil && k.roll.nlink == rollDamaged: // nobody can link or unlink
	case age < x.opt.Settled, fault == FaultOrphan && (age < abandonment || x.clock().Sub(time.Unix(k.inode.time, 0)) < abandonment):
		return false, nil
	case x.unread.Load() > 0 && (fault != FaultRoll || x.opt.Repair):
		return true, nil // what is missing may be there
	}
	same, err := x.asBefore(ctx, k)
	if err != nil || !same {
		return false, err
	}
	f := &Finding{Fault: fault, Key: k.inode.key, Path: x.pathOf(k), Err: why}
	if x.opt.Repair {
		f.Mended, f.Unmended = x.mendLinks(ctx, k, fault)
		if ctx.Err() != nil {
			return true, ctx.Err()
		}
	}
	found(f)
	return true, nil
}

// judgeRoll looks at a roll of an inode that is not there: a crash left it.
func (x *Verifier) judgeRoll(ctx context.Context, l *linkLine, found func(*Finding)) (settled bool, err error) {
	if x.clock().Sub(time.Unix(l.time, 0)) < abandonment {
		return false, nil
	}
	if x.unread.Load() > 0 {
		return true, nil
	}
	switch _, err := x.v.head(ctx, strings.Replace(l.key, inodeDir+rollDir, inodeDir, 1)); {
	case err == nil || unopenable(err):
		return true, nil // it is there, and was looked at or does not open
	case !errors.Is(err, ErrNotExist):
		return true, err
	}
	f := &Finding{Fault: FaultOrphan, Key: l.key, Err: errors.New("a list of names without the inode that had them")}
	if x.opt.Repair {
		f.Mended, f.Unmended = x.drop(ctx, l.key, l.etag, "removed")
	}
	found(f)
	return true, nil
}

// fault is what does not fit.
func (k *kinship) fault() (Fault, error) {
	switch {
	case k.names == 0:
		return FaultOrphan, fmt.Errorf("inode without a name")
	case k.names > maxLinks:
		return FaultNlink, fmt.Errorf("%d names: %w", k.names, ErrManyLinks)
	case k.roll == nil:
		return FaultRoll, fmt.Errorf("%d names, and no roll of them", k.names)
	case k.roll.nlink == rollDamaged:
		return FaultRoll, fmt.Errorf("%d names, and a roll that does not open", k.names)
	case k.unlisted > 0:
		return FaultRoll, fmt.Errorf("%d names, of which %d are not on the roll, %q among them: the body would go before its last name", k.names, k.unlisted, k.loose[0].key)
	case len(k.enrolled) != len(k.met):
		return FaultNlink, fmt.Errorf("%d names, %d on the roll", len(k.met), len(k.enrolled))
	case int(k.inode.nlink) != len(k.met):
		return FaultNlink, fmt.Errorf("%d names, link count %d", len(k.met), k.inode.nlink)
	}
	return "", nil
}

// pathOf is where one of the names is.
func (x *Verifier) pathOf(k *kinship) string {
	if len(k.first) == 0 {
		return ""
	}
	return x.path(k.first[0].key)
}

// judgeDangling looks at names again that seem to lead nowhere: they may have
// gone, and so may what they led to.
func (x *Verifier) judgeDangling(ctx context.Context, some []linkLine, k *kinship, found func(*Finding)) error {
	for i, l := range some {
		s, err := x.v.lookAt(ctx, objstore.ID{Key: l.key})
		if errors.Is(err, ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if s.err != nil || s.inode() != l.inode || s.token() != l.token {
			continue
		}
		if err = x.v.leads(ctx, s.object); err == nil {
			continue
		}
		if !errors.Is(err, errDangling) {
			return err
		}
		if i == len(some)-1 && k.inode == nil && k.names > len(some) {
			err = fmt.Errorf("%w (and %d other names of it)", err, k.names-len(some))
		}
		f := &Finding{Fault: FaultDangling, Key: l.key, Path: x.path(l.key), Err: err}
		if x.opt.Repair && k.inode == nil {
			f.Mended, f.Unmended = x.mendDangling(ctx, s, k.met)
		} else if x.opt.Repair {
			f.Unmended = errNotOurs
		}
		found(f)
	}
	return nil
}

// asBefore tells whether inode and roll are still those of the ledger: nobody
// has linked or unlinked since they were read.
func (x *Verifier) asBefore(ctx context.Context, k *kinship) (bool, error) {
	info, err := x.v.head(ctx, k.inode.key)
	if errors.Is(err, ErrNotExist) || err == nil && info.ETag != k.inode.etag {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	info, err = x.v.head(ctx, rollKey(k.inode.key))
	switch {
	case errors.Is(err, ErrNotExist):
		return k.roll == nil, nil
	case err != nil:
		return false, err
	}
	return k.roll != nil && info.ETag == k.roll.etag, nil
}

// ruleOf gives the rule of an inode's names.
func (x *Verifier) ruleOf(k *kinship) *Rule {
	if len(k.first) == 0 {
		return nil
	}
	return x.v.rule(k.first[0].key)
}

// mendLinks makes roll and link count what the names are, or removes an inode
// that has none. Whoever links or unlinks meanwhile wins.
func (x *Verifier) mendLinks(ctx context.Context, k *kinship, fault Fault) (string, error) {
	switch {
	case len(k.strangers) > 0 || k.names != len(k.met):
		return "", fmt.Errorf("its names do not fit it: %w", ErrCorrupt)
	case fault == FaultOrphan:
		return x.dropOrphan(ctx, k)
	}
	said := fmt.Sprintf("%d names are counted", len(k.met))
	if x.opt.Dry {
		return said, nil
	}
	in, err := x.v.fetchInode(ctx, k.inode.key, x.ruleOf(k))
	if err == nil {
		err = in.err
	}
	if err != nil {
		return "", err
	}
	unlock, err := x.v.names.lock(ctx, one(inodePath(in.id.Key)))
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := x.mendRoll(ctx, in, k); err != nil {
		return "", err
	}
	if int(in.attr.Nlink) != len(k.met) {
		if _, err = x.v.recount(ctx, in, len(k.met)); err != nil {
			return "", err
		}
	}
	return said, nil
}

// mendRoll writes the roll of in as its names are, over that of the ledger.
func (x *Verifier) mendRoll(ctx context.Context, in *object, k *kinship) error {
	if k.roll == nil {
		return x.v.writeRoll(ctx, in, nil, k.met)
	}
	if k.roll.nlink == rollDamaged {
		return x.v.writeRoll(ctx, in, &roll{obj: &object{id: objstore.ID{Key: rollKey(in.id.Key), ETag: k.roll.etag}}}, k.met)
	}
	r, err := x.v.readRoll(ctx, in)
	if err != nil {
		return err
	}
	if r.obj.id.ETag != k.roll.etag {
		return fmt.Errorf("%s: %w", r.obj.id.Key, ErrChanged)
	}
	if slices.EqualFunc(r.names, k.met, func(a, b token) bool { return bytes.Equal(a[:], b[:]) }) {
		return nil
	}
	return x.v.writeRoll(ctx, in, r, k.met)
}

// dropOrphan removes an inode of which all objects of the volume have shown that
// it has no name, and nobody has touched it for long. The roll is emptied first:
// nobody adds to an empty one.
func (x *Verifier) dropOrphan(ctx context.Context, k *kinship) (string, error) {
	said := "removed"
	if x.opt.Dry {
		return said, nil
	}
	in, err := x.v.fetchInode(ctx, k.inode.key, nil)
	if err == nil {
		err = in.err
	}
	if err == nil && in.id.ETag != k.inode.etag {
		err = fmt.Errorf("%s: %w", k.inode.key, ErrChanged)
	}
	if err != nil {
		return "", err
	}
	if k.roll != nil {
		r, err := x.v.readRoll(ctx, in)
		if err == nil && r.obj.id.ETag != k.roll.etag {
			err = fmt.Errorf("%s: %w", r.obj.id.Key, ErrChanged)
		}
		if err == nil && len(r.names) > 0 {
			err = x.v.writeRoll(ctx, in, r, nil)
		}
		if err != nil {
			return "", err
		}
	}
	cond := objstore.Condition{IfMatch: in.id.ETag}
	if err := x.v.guard(ctx, x.v.opt.Capabilities.DeleteConditions, in.id.Key, cond); err != nil {
		return "", err
	}
	if err := x.v.delete(ctx, in.id.Key, in.id.ETag); err != nil {
		return "", err
	}
	x.v.rememberRoll(in, nil)
	if k.roll != nil {
		return said, x.v.delete(ctx, rollKey(in.id.Key), "")
	}
	return said, nil
}
