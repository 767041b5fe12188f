package sigil

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// latePlain is the padded plaintext of a late block, in bytes.
const latePlain = lateSize - nonceSize - TagSize

// Late is what stands where a record says late: the attributes and the version
// of the commit that ended an upload, whose metadata was fixed when it began.
type Late struct {
	Attr
	Version uint64
}

// fields adds fields 3, 5-7, 9 and 10 to a map.
func (l Late) fields(m map[uint64]any) {
	m[fieldVersion] = l.Version
	m[fieldMode] = uint64(l.Mode)
	m[fieldUID] = uint64(l.UID)
	m[fieldGID] = uint64(l.GID)
	m[fieldMtime] = l.Mtime
	m[fieldCtime] = l.Ctime
}

// late takes the same fields out of f.
func (f *fields) late() Late {
	l := Late{Version: f.uint(fieldVersion, math.MaxUint64)}
	l.Mode = uint32(f.uint(fieldMode, math.MaxUint32))
	l.UID = uint32(f.uint(fieldUID, math.MaxUint32))
	l.GID = uint32(f.uint(fieldGID, math.MaxUint32))
	l.Mtime = f.int(fieldMtime)
	l.Ctime = f.int(fieldCtime)
	if !knownType(l.Mode) {
		f.fail(fieldMode, "names no file type")
	}
	return l
}

// seal gives the late block of a body of n bytes:
// nonce(12) || AES-256-GCM(late key, the map zero-padded to 228 bytes).
func (l Late) seal(dek Key, g Generation, layout byte, n int64) ([]byte, error) {
	if !knownType(l.Mode) {
		return nil, fmt.Errorf("late attributes: mode %o names no file type: %w", l.Mode, ErrRecord)
	}
	m := map[uint64]any{}
	l.fields(m)
	plain, err := encoding.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("late attributes: %w: %w", err, ErrRecord)
	}
	block := make([]byte, nonceSize, lateSize)
	random(block)
	padded := make([]byte, latePlain)
	copy(padded, plain) // at most 66 bytes
	return lateAEAD(dek, g).Seal(block, block[:nonceSize], padded, lateAAD(layout, n)), nil
}

// openLate opens the late block of a body of n bytes.
func openLate(dek Key, g Generation, layout byte, n int64, block []byte) (Late, error) {
	if len(block) != lateSize {
		return Late{}, fmt.Errorf("late block of %d bytes: %w", len(block), objcrypt.ErrCorrupt)
	}
	plain, err := lateAEAD(dek, g).Open(nil, block[:nonceSize], block[nonceSize:], lateAAD(layout, n))
	if err != nil {
		return Late{}, fmt.Errorf("late block does not authenticate: %w", objcrypt.ErrCorrupt)
	}
	return parseLate(plain)
}

// parseLate reads the plaintext of a late block: one map of exactly its
// fields, then zeros.
func parseLate(plain []byte) (Late, error) {
	f, rest, err := decodeFields(plain)
	if err != nil {
		return Late{}, fmt.Errorf("late block: %w", err)
	}
	l := f.late()
	if f.err == nil && len(f.m) != 0 {
		f.err = fmt.Errorf("fields that do not belong there: %w", objcrypt.ErrCorrupt)
	}
	for _, b := range rest {
		if b != 0 && f.err == nil {
			f.err = fmt.Errorf("padding is not zero: %w", objcrypt.ErrCorrupt)
		}
	}
	if f.err != nil {
		return Late{}, fmt.Errorf("late block: %w", f.err)
	}
	return l, nil
}

func lateAAD(layout byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(labelLate), layout), uint64(n))
}
