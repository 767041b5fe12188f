package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// An epoch that nothing in the bucket needs may be closed. Whether that is so
// every object says by itself, and a listing nothing: each is asked for its
// metadata, and what was there before it where the bucket keeps that. What cannot
// be asked, or does not open, may need any epoch.

// ErrUploading: what the upload carries nobody can tell before it has ended.
var ErrUploading = errors.New("an upload is under way, or was left behind")

// Stored lists all that lies below the volume root, with the versions that are
// kept of it, in the order of keys: from behind a key on.
func (v *Volume) Stored(ctx context.Context, after string) iter.Seq2[objstore.Version, error] {
	opt := objstore.ListOptions{Prefix: v.opt.Root, After: after}
	return func(yield func(objstore.Version, error) bool) {
		if past, ok := v.raw.(objstore.Versioner); ok {
			some := false
			for ver, err := range past.Versions(ctx, opt) {
				if err != nil && !some && errors.Is(err, ErrUnsupported) {
					break
				}
				if some = true; !yield(ver, err) || err != nil {
					return
				}
			}
			if some {
				return
			}
		}
		for e, err := range v.raw.List(ctx, opt) {
			if !yield(objstore.Version{Info: e.Info, Latest: true}, err) || err != nil {
				return
			}
		}
	}
}

// EpochsOf gives the epochs that a version needs: that of its header, by which it
// opens, and that under which its data key was first sealed, unless that protects
// nothing. One that has gone needs none, and neither does an epoch. Of one whose
// epoch is closed it gives that alone: nothing opens it any more. Errors:
// ErrUploading, the store's, and those of what does not open.
func (v *Volume) EpochsOf(ctx context.Context, ver objstore.Version) ([]sigil.EpochID, error) {
	part := ownPart(ver.Key)
	passing := part == partIndex || part == partJournal || part == partUpload
	switch {
	case ver.Deleted, part == partEpoch, passing && !ver.Latest: // nobody goes back to the last
		return nil, nil
	case part == partUpload:
		return nil, fmt.Errorf("%s: %w", ver.Key, ErrUploading)
	case part == "" && strings.HasSuffix("/"+ver.Key, "/"+hidden+"/volume"):
		return v.epochOfNames(ctx, ver)
	case part == "":
		return nil, nil
	}
	info, err := v.headVersion(ctx, ver)
	if errors.Is(err, ErrNotExist) || errors.Is(err, ErrChanged) {
		return nil, nil
	}
	if err != nil || !isSealed(info.Metadata) {
		return nil, err
	}
	h, err := sigil.ParseHeader(info.Metadata)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ver.Key, err)
	}
	rec, err := v.unseal(ctx, ver.Key, h)
	switch {
	case err != nil && v.epochState(h.Epoch) == "closed":
		return []sigil.EpochID{h.Epoch}, nil
	case err != nil:
		return nil, err
	case rec.SealEpoch == h.Epoch, rec.Inode != sigil.Generation{}:
		return []sigil.EpochID{h.Epoch}, nil
	}
	return []sigil.EpochID{h.Epoch, rec.SealEpoch}, nil
}

// Replaces tells whether a run would leave nothing of what is at key now.
func (r *Reencryption) Replaces(ctx context.Context, key string) (bool, error) {
	dry := r.v.Reencrypt(ReencryptOptions{From: r.opt.From, Fresh: r.opt.Fresh, Dry: true})
	if at := strings.LastIndex(key, inodeDir+rollDir); at >= 0 { // a roll goes with its inode
		key = key[:at] + inodeDir + key[at+len(inodeDir+rollDir):]
	}
	did, err := dry.Do(ctx, key)
	return did.Changed(), err
}

// headVersion asks for a version as it is. For the current one without an ID it
// asks as for any object, which takes no right of its own; where somebody has
// replaced that meanwhile and the bucket has begun to keep versions, it is an
// older one by now.
func (v *Volume) headVersion(ctx context.Context, ver objstore.Version) (objstore.Info, error) {
	unnamed := ver.Latest && (ver.VersionID == "" || ver.VersionID == objstore.NullVersion)
	id := objstore.ID{Key: ver.Key, VersionID: ver.VersionID}
	if unnamed {
		id.VersionID = ""
	}
	info, err := v.headOf(ctx, id)
	if unnamed && err == nil && info.VersionID != "" && info.VersionID != objstore.NullVersion {
		id.VersionID = objstore.NullVersion
		return v.headOf(ctx, id)
	}
	return info, err
}

func (v *Volume) headOf(ctx context.Context, id objstore.ID) (info objstore.Info, err error) {
	err = v.unlocked(ctx, id.Key, func(enc *objstore.Encryption) (err error) {
		id.Encryption = enc
		info, err = v.opt.Store.Head(ctx, id)
		return err
	})
	return info, err
}

// maxVolumeObject bounds the bytes of a volume object that are read.
const maxVolumeObject = 64 << 10

// epochOfNames gives the epoch that a volume object needs: the one that its name
// key is sealed under.
func (v *Volume) epochOfNames(ctx context.Context, ver objstore.Version) ([]sigil.EpochID, error) {
	id := objstore.ID{Key: ver.Key, VersionID: ver.VersionID}
	var b []byte
	err := v.unlocked(ctx, id.Key, func(enc *objstore.Encryption) error {
		id.Encryption = enc
		_, _, body, err := v.opt.Store.Get(ctx, id, objstore.Range{Len: maxVolumeObject + 1})
		if err != nil {
			return err
		}
		defer body.Close()
		b, err = io.ReadAll(io.LimitReader(body, maxVolumeObject+1))
		return err
	})
	if errors.Is(err, ErrNotExist) || errors.Is(err, ErrChanged) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ids, err := parseEpochOfNames(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ver.Key, err)
	}
	return ids, nil
}

func parseEpochOfNames(b []byte) ([]sigil.EpochID, error) {
	var names struct {
		Version int     `json:"version"`
		Epoch   *string `json:"epoch"`
	}
	switch err := json.Unmarshal(b, &names); {
	case err != nil || len(b) > maxVolumeObject:
		return nil, fmt.Errorf("no volume object: %w", ErrCorrupt)
	case names.Version != 1:
		return nil, fmt.Errorf("volume object of version %d: %w", names.Version, ErrVersion)
	case names.Epoch == nil:
		return nil, nil
	}
	id, err := sigil.ParseEpochID(*names.Epoch)
	if err != nil {
		return nil, fmt.Errorf("the epoch of a volume object: %w", ErrCorrupt)
	}
	return []sigil.EpochID{id}, nil
}
