// Package attrindex is the encoding of attribute indexes: what stat(2) shows of
// the entries of one directory, so that who lists it need not ask for each. It
// is pure: it knows bytes, no store, no key and no file.
//
// An index is, with numbers big-endian:
//
//	magic    8   "sigilix" and the version, 1
//	count    4   of entries
//	entries      in bytewise order of their names, each name once
//
// and nothing behind. An entry is
//
//	name     2 + n   length, then UTF-8: of a file its name, of a directory its name and "/"
//	etag     1 + n   length, then the ETag without its quotes; where that is 32 digits of
//	                 lower-case hex, 0 and the 16 bytes that they stand for
//	size         8   of the object as stored
//	modified     8   its LastModified, in seconds since 1970
//	read         8   when it was known to be as the rest says, by the store's clock, in seconds since 1970
//	mode         4   type and permission bits as in stat(2)
//	uid, gid     4   each
//	mtime, ctime 8   each, in ns since 1970, signed
//	length       8   of the plaintext
//	file id      8   st_ino
//	body        16   the generation: which body it is
//	epoch       16   under which its record is sealed
//	version      8   of the record
//	seal        16   the first bytes of SHA-256 of the metadata sigil-seal
//
// An entry says something only of an object of which a listing gives the ETag,
// size and LastModified: see Entry.Of.
package attrindex

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// MaxSize is the longest index in bytes. With its seal it goes up in one PUT; it
// holds 100,000 names of a dozen letters.
const MaxSize = 16<<20 - 64<<10

// Racy is how much later than LastModified an entry must have been read, in
// seconds: within the resolution of that, a change need not show in it.
const Racy = 2

const (
	magic      = "sigilix\x01"
	headSize   = len(magic) + 4
	fixedSize  = 3*8 + 3*4 + 2*8 + 2*8 + 16 + 16 + 8 + 16
	maxName    = 362 // as NAME_MAX is where names are encrypted, without the slash of a directory
	leastEntry = 2 + 1 + 1 + 1 + fixedSize
)

// Errors of Parse. What gives one is not an index; it is not looked into.
var (
	ErrCorrupt = errors.New("attribute index is damaged")
	ErrVersion = errors.New("attribute index is of another version")
)

// Entry is what is known of one object.
type Entry struct {
	Name string // a directory's ends in "/"

	ETag           string
	Size           int64 // as stored, in bytes
	Modified, Read int64 // s since 1970, by the store's clock

	Mode, UID, GID uint32
	Mtime, Ctime   int64 // ns since 1970
	Length         int64 // of the plaintext, in bytes
	FileID         uint64
	Body, Epoch    [16]byte
	Version        uint64
	Seal           [16]byte
}

// Of tells whether e speaks of the object that a listing shows so, modified in
// seconds since 1970. One read within Racy seconds of its LastModified does of
// none: another write may have come in the same second and left no trace.
func (e *Entry) Of(etag string, size, modified int64) bool {
	return e.Settled() && e.ETag == etag && e.Size == size && e.Modified == modified
}

// Settled tells whether e was read long enough after LastModified to be
// believed.
func (e *Entry) Settled() bool { return e.Modified > 0 && e.Read >= e.Modified+Racy }

// IsDir tells whether e is of a directory.
func (e *Entry) IsDir() bool { return e.Mode&unix.S_IFMT == unix.S_IFDIR }

// Check tells why e cannot be in an index; nil where it can. Its errors are
// ErrCorrupt.
func (e *Entry) Check() error {
	name, slash := strings.CutSuffix(e.Name, "/")
	switch {
	case name == "" || name == "." || name == ".." || len(name) > maxName || strings.ContainsAny(name, "/\x00") || !utf8.ValidString(name):
		return fmt.Errorf("name of %d bytes: %w", len(e.Name), ErrCorrupt)
	case e.ETag == "" || len(e.ETag) > 255:
		return fmt.Errorf("ETag of %d bytes: %w", len(e.ETag), ErrCorrupt)
	case e.Size < 0 || e.Length < 0 || e.Modified < 0 || e.Read < 0:
		return fmt.Errorf("negative number: %w", ErrCorrupt)
	case e.Mode > 0xffff || !typed(e.Mode) || slash != e.IsDir():
		return fmt.Errorf("mode %o: %w", e.Mode, ErrCorrupt)
	}
	return nil
}

// typed tells the modes of what an index is about: all but devices, whose
// number it has no place for.
func typed(mode uint32) bool {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK, unix.S_IFIFO, unix.S_IFSOCK:
		return true
	}
	return false
}

// size of e in an index, in bytes.
func (e *Entry) size() int {
	etag := len(e.ETag)
	if _, short := digest(e.ETag); short {
		etag = md5Size
	}
	return 2 + len(e.Name) + 1 + etag + fixedSize
}

// md5Size is the length of what most ETags are the hex of.
const md5Size = 16

// digest gives the bytes that such an ETag stands for.
func digest(etag string) (sum [md5Size]byte, ok bool) {
	if len(etag) != 2*md5Size || etag != strings.ToLower(etag) {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(etag))
	return sum, err == nil
}

func appendETag(p []byte, etag string) []byte {
	if sum, short := digest(etag); short {
		return append(append(p, 0), sum[:]...)
	}
	return append(append(p, byte(len(etag))), etag...)
}

// cutETag takes an ETag off p. Not ok: p ends before it does, or it is written
// in a way that appendETag does not.
func cutETag(p []byte) (etag string, rest []byte, ok bool) {
	if len(p) > md5Size && p[0] == 0 {
		return hex.EncodeToString(p[1 : 1+md5Size]), p[1+md5Size:], true
	}
	text, rest, ok := cut(p, 1)
	_, long := digest(string(text))
	return string(text), rest, ok && !long
}

func (e *Entry) append(p []byte) []byte {
	be := binary.BigEndian
	p = append(be.AppendUint16(p, uint16(len(e.Name))), e.Name...) //nolint:gosec // Check
	p = appendETag(p, e.ETag)
	for _, n := range []int64{e.Size, e.Modified, e.Read} {
		p = be.AppendUint64(p, uint64(n)) //nolint:gosec // the bits as they are
	}
	for _, n := range []uint32{e.Mode, e.UID, e.GID} {
		p = be.AppendUint32(p, n)
	}
	for _, n := range []int64{e.Mtime, e.Ctime, e.Length} {
		p = be.AppendUint64(p, uint64(n)) //nolint:gosec // the bits as they are
	}
	p = append(append(be.AppendUint64(p, e.FileID), e.Body[:]...), e.Epoch[:]...)
	return append(be.AppendUint64(p, e.Version), e.Seal[:]...)
}

// decode reads the entry that p begins with; n is its length, or 0 where there
// is none.
func decode(p []byte) (e Entry, n int) {
	name, p, ok := cut(p, 2)
	etag, p, ok2 := cutETag(p)
	if !ok || !ok2 || len(p) < fixedSize {
		return Entry{}, 0
	}
	e = Entry{Name: string(name), ETag: etag}
	for _, to := range []*int64{&e.Size, &e.Modified, &e.Read} {
		*to, p = int64(binary.BigEndian.Uint64(p)), p[8:] //nolint:gosec // the bits as they are
	}
	for _, to := range []*uint32{&e.Mode, &e.UID, &e.GID} {
		*to, p = binary.BigEndian.Uint32(p), p[4:]
	}
	for _, to := range []*int64{&e.Mtime, &e.Ctime, &e.Length} {
		*to, p = int64(binary.BigEndian.Uint64(p)), p[8:] //nolint:gosec // the bits as they are
	}
	e.FileID, p = binary.BigEndian.Uint64(p), p[8:]
	p = p[copy(e.Body[:], p):]
	p = p[copy(e.Epoch[:], p):]
	e.Version, p = binary.BigEndian.Uint64(p), p[8:]
	copy(e.Seal[:], p)
	return e, e.size()
}

// cut takes a text off p whose length lies before it, in that many bytes.
func cut(p []byte, size int) (text, rest []byte, ok bool) {
	if len(p) < size {
		return nil, nil, false
	}
	n := int(p[size-1])
	if size == 2 {
		n |= int(p[0]) << 8
	}
	if p = p[size:]; len(p) < n {
		return nil, nil, false
	}
	return p[:n], p[n:], true
}
