package sigil

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"unicode/utf8"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// MaxXattrs is the most that the extended attributes of a record may take, in
// bytes of CBOR.
const MaxXattrs = 1024

// File types of Attr.Mode (POSIX sys/stat.h; the values are Linux's, and part
// of the format).
const (
	typeMask    = 0o170000
	permMask    = 0o007777
	typeSocket  = 0o140000
	typeSymlink = 0o120000
	typeRegular = 0o100000
	typeBlock   = 0o060000
	typeDir     = 0o040000
	typeChar    = 0o020000
	typeFifo    = 0o010000
)

// Attr is what a late block carries beside the version.
type Attr struct {
	Mode, UID, GID uint32 // Mode with the file type
	Mtime, Ctime   int64  // ns since 1970
}

// Record is what an object's metadata holds, sealed. It prints without its
// content. Copies made by Clone share nothing that is ever changed in place.
type Record struct {
	DEK        Key
	Generation Generation
	Version    uint64 // advances at every seal
	KeyHash    [32]byte
	Attr
	Rdev   uint64
	Xattrs map[string][]byte

	// Late: the attributes and the version in the body's tail stand, not these.
	Late bool

	// Size is of the plaintext in bytes. It is sealed where SizeKnown; else it is
	// what Settle was told.
	Size      int64
	SizeKnown bool

	Nlink     uint64 // 0 and 1 are the same; Open gives at least 1
	FileID    uint64
	Inode     [16]byte // of the inode object that a hard-link name points to; else zero
	SealEpoch EpochID  // under which the DEK was first sealed; Seal fills in a zero one

	// Layout of the body: 0 chunks, 1 compressed frames. It stands in the header,
	// to which the seal is bound.
	Layout byte

	extra map[uint64]any // unknown fields from 64 on, kept as they came
}

// Field numbers of the record.
const (
	fieldDEK        = 1
	fieldGeneration = 2
	fieldVersion    = 3
	fieldKeyHash    = 4
	fieldMode       = 5
	fieldUID        = 6
	fieldGID        = 7
	fieldRdev       = 8
	fieldMtime      = 9
	fieldCtime      = 10
	fieldXattrs     = 11
	fieldLate       = 12
	fieldSize       = 13
	fieldNlink      = 14
	fieldFileID     = 15
	fieldSealEpoch  = 16
	fieldInode      = 17
)

// KeyHash is what binds a record to its object: SHA-256 of the full key as
// stored, without the bucket, so that a replica opens.
func KeyHash(key string) [32]byte { return sha256.Sum256([]byte(key)) }

// Fresh draws a new data key and generation, for an object without a body (a
// directory). NewBody and NewStream do this themselves.
func (r *Record) Fresh() {
	random(r.DEK[:])
	random(r.Generation[:])
	r.SealEpoch = EpochID{}
}

// fresh begins a new body: a new generation, and a data key where there is
// none.
func (r *Record) fresh() {
	if r.DEK.IsZero() {
		r.Fresh()
		return
	}
	random(r.Generation[:])
}

// Clone gives a record that can be changed apart from r.
func (r *Record) Clone() *Record {
	c := *r
	c.Xattrs = maps.Clone(r.Xattrs)
	return &c
}

// Settle takes over what OpenSuffix or a late block says: from now on the
// record's own attributes and version stand. A late block of layout 1 proves the
// size, which its body's length does not tell.
func (r *Record) Settle(l Late, size int64) {
	r.SizeKnown = r.SizeKnown || r.Late && r.Layout == layoutFrames
	r.Attr, r.Version, r.Size, r.Late = l.Attr, l.Version, size, false
}

// Format implements fmt.Formatter, for all verbs.
func (r Record) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "record of generation %x, version %d", r.Generation[:], r.Version)
}

// MarshalText keeps the record's content out of JSON and structured logs.
func (r Record) MarshalText() ([]byte, error) { return fmt.Append(nil, r), nil }

// mayFrame tells whether the body may be of layout 1: that of a regular file.
func (r *Record) mayFrame() bool { return r.Mode&typeMask == typeRegular && !r.isEmptyKind() }

func (r *Record) isDir() bool { return r.Mode&typeMask == typeDir }

// isEmptyKind tells the files whose content is nothing, as their body of 16
// bytes says: fifos, sockets, devices and hard-link names.
func (r *Record) isEmptyKind() bool {
	switch r.Mode & typeMask {
	case typeFifo, typeSocket, typeBlock, typeChar:
		return true
	}
	return r.Inode != [16]byte{}
}

// knownType tells whether mode is one of POSIX: a file type and twelve bits.
func knownType(mode uint32) bool {
	switch mode &^ permMask {
	case typeSocket, typeSymlink, typeRegular, typeBlock, typeDir, typeChar, typeFifo:
		return true
	}
	return false
}

// encode gives the CBOR of the record. The caller clears it.
func (r *Record) encode() ([]byte, error) {
	if !knownType(r.Mode) {
		return nil, fmt.Errorf("mode %o names no file type: %w", r.Mode, ErrRecord)
	}
	m := make(map[uint64]any, 16+len(r.extra))
	maps.Copy(m, r.extra)
	r.required(m)
	if err := r.optional(m); err != nil {
		return nil, err
	}
	return encoding.Marshal(m)
}

func (r *Record) required(m map[uint64]any) {
	m[fieldDEK] = r.DEK[:]
	m[fieldGeneration] = r.Generation[:]
	m[fieldKeyHash] = r.KeyHash[:]
	m[fieldFileID] = r.FileID
	m[fieldSealEpoch] = r.SealEpoch[:]
	Late{Version: r.Version, Attr: r.Attr}.fields(m)
}

// optional adds the fields that are absent where they say nothing.
func (r *Record) optional(m map[uint64]any) error {
	if r.Rdev != 0 {
		m[fieldRdev] = r.Rdev
	}
	if len(r.Xattrs) > 0 {
		if err := checkXattrs(r.Xattrs); err != nil {
			return err
		}
		m[fieldXattrs] = r.Xattrs
	}
	if r.Late {
		m[fieldLate] = true
	}
	if r.SizeKnown {
		if r.Size < 0 || r.Size > MaxSize {
			return fmt.Errorf("size %d: %w", r.Size, ErrRecord)
		}
		m[fieldSize] = uint64(r.Size)
	}
	if r.Nlink > 1 {
		m[fieldNlink] = r.Nlink
	}
	if r.Inode != [16]byte{} {
		m[fieldInode] = r.Inode[:]
	}
	return nil
}

func checkXattrs(x map[string][]byte) error {
	for name := range x {
		if !utf8.ValidString(name) {
			return fmt.Errorf("name of an extended attribute is not UTF-8: %w", ErrRecord)
		}
	}
	b, err := encoding.Marshal(x)
	if err != nil {
		return fmt.Errorf("extended attributes: %w", ErrRecord)
	}
	if len(b) > MaxXattrs {
		return fmt.Errorf("%d bytes, at most %d: %w", len(b), MaxXattrs, ErrXattrTooLarge)
	}
	return nil
}

// decodeRecord reads a record, strictly. Errors: objcrypt.ErrCorrupt, and
// objcrypt.ErrVersion for an unknown field below 64.
func decodeRecord(data []byte) (*Record, error) {
	f, rest, err := decodeFields(data)
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%d bytes after the record: %w", len(rest), objcrypt.ErrCorrupt)
	}
	r := &Record{}
	f.bytes(fieldDEK, r.DEK[:])
	f.bytes(fieldGeneration, r.Generation[:])
	f.bytes(fieldKeyHash, r.KeyHash[:])
	r.FileID = f.uint(fieldFileID, math.MaxUint64)
	f.bytes(fieldSealEpoch, r.SealEpoch[:])
	l := f.late()
	r.Version, r.Attr = l.Version, l.Attr
	r.decodeOptional(f)
	r.extra, err = f.rest()
	if err != nil {
		return nil, err
	}
	return r, nil
}

// decodeOptional reads the fields that may be absent. One that is there and
// says what its absence says is refused: a record has one encoding.
func (r *Record) decodeOptional(f *fields) {
	var ok bool
	if r.Rdev, ok = f.optionalUint(fieldRdev, math.MaxUint64); ok && r.Rdev == 0 {
		f.fail(fieldRdev, "is zero, not absent")
	}
	if v, ok := f.take(fieldXattrs); ok {
		r.Xattrs = f.xattrs(v)
	}
	if v, ok := f.take(fieldLate); ok {
		if r.Late = v == true; !r.Late {
			f.fail(fieldLate, "is not true")
		}
	}
	var size uint64
	size, r.SizeKnown = f.optionalUint(fieldSize, MaxSize)
	r.Size = int64(size)
	if r.Nlink, ok = f.optionalUint(fieldNlink, math.MaxUint64); !ok {
		r.Nlink = 1
	} else if r.Nlink <= 1 {
		f.fail(fieldNlink, "is at most 1, not absent")
	}
	if f.optionalBytes(fieldInode, r.Inode[:]) && r.Inode == [16]byte{} {
		f.fail(fieldInode, "is zero, not absent")
	}
}

// xattrs checks the value of field 11.
func (f *fields) xattrs(v any) map[string][]byte {
	m, ok := v.(map[any]any)
	if !ok || len(m) == 0 {
		f.fail(fieldXattrs, "is not a map with entries")
		return nil
	}
	x := make(map[string][]byte, len(m))
	for k, value := range m {
		name, isText := k.(string)
		data, isBytes := value.([]byte)
		if !isText || !isBytes {
			f.fail(fieldXattrs, "does not map texts to byte strings")
			return nil
		}
		x[name] = data
	}
	if checkXattrs(x) != nil {
		f.fail(fieldXattrs, "is too large")
	}
	return x
}
