package volume

import (
	"context"
	"fmt"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sys/unix"
)

// A body in an archive (S3 Glacier, or what S3 Intelligent-Tiering has put away)
// can be neither read nor copied before it is restored. Its metadata can: so it
// is listed and shown as it is, and whatever needs the body is ErrArchived. A
// change of attributes, a rename and a link are copies of the body, and need it.

// frozen tells whether the body of o, which may be nil, lies in an archive,
// restored for a while or not.
func (o *object) frozen() bool { return o != nil && o.stored().Frozen() }

// archived tells whether the body of o, which may be nil, has to be restored
// before anything can be done with it.
func (o *object) archived() bool { return o != nil && o.stored().Archived() }

// stored is what the store told of the archive.
func (o *object) stored() objstore.Info {
	return objstore.Info{StorageClass: o.class, ArchiveStatus: o.cold, Restoring: o.thaw}
}

// restoration is what user.sigil.restore tells of a frozen body.
func (o *object) restoration() string {
	switch {
	case o.thaw == nil:
		return "archived"
	case o.thaw.Ongoing:
		return "ongoing"
	case o.thaw.Until.IsZero():
		return "restored"
	}
	return "until " + o.thaw.Until.UTC().Format(time.RFC3339)
}

// chilled is a sealed object whose body is archived: its record is in the
// metadata, and gives all but what only the body tells. Of a file that went up
// while it was being written these are the attributes with which it began, and
// its version is not known.
func (v *Volume) chilled(ctx context.Context, info objstore.Info, cause error, known before) (*object, error) {
	o := newObject(info)
	late, err := v.openChilled(ctx, o, info)
	if err == nil && !late {
		err = v.judge(o, known)
	}
	switch {
	case err != nil && unopenable(err):
		return v.unopened(info, err), nil
	case err != nil:
		return nil, err
	case o.verdict.Bad() && v.opt.Rollback == RollbackDeny:
		return v.denied(o, info), nil
	}
	o.err = cause
	return o, nil
}

func (v *Volume) openChilled(ctx context.Context, o *object, info objstore.Info) (late bool, err error) {
	h, err := sigil.ParseHeader(info.Metadata)
	if err != nil {
		return false, fmt.Errorf("%s: %w", info.Key, err)
	}
	rec, err := v.unseal(ctx, info.Key, h)
	if err != nil {
		return false, err
	}
	size, err := plainSize(rec, info)
	if err == nil && size < 0 { // its tail knows, and is in the archive
		err = fmt.Errorf("how long it is cannot be told: %w", ErrArchived)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", info.Key, err)
	}
	f := &sealedForm{header: h, rec: rec}
	f.settle(o, size)
	o.trace = info.Metadata[metaMove]
	return rec.Late, o.checkType()
}

// newClass is the storage class of what is made at key. What a listing or a
// lookup has to read is never archived: symbolic links, names, nodes.
func (v *Volume) newClass(key string, mode uint32) string {
	if mode&unix.S_IFMT != unix.S_IFREG {
		return v.livingClass(key)
	}
	if class := v.rule(key).StorageClass; class != "" {
		return class
	}
	return v.opt.StorageClass
}

// livingClass is newClass of what is no regular file.
func (v *Volume) livingClass(key string) string {
	if class := v.newClass(key, unix.S_IFREG); !objstore.Archives(class) {
		return class
	}
	return ""
}

// movedClass is the storage class of the copy d of o: its own, but under another
// rule that names one a file is new.
func (v *Volume) movedClass(o *object, d draft) string {
	switch named := d.rule.StorageClass; {
	case named == "" || d.rule == v.ruleOf(o) || v.own(d.key) || v.own(o.id.Key):
		return o.class
	case d.attr.Mode&unix.S_IFMT == unix.S_IFREG && d.inode == sigil.Generation{}:
		return named
	}
	return o.class
}
