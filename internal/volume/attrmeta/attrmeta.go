// Package attrmeta is POSIX attributes in the user metadata of plaintext
// objects, written as s3fs writes them and read as s3fs and rclone write them:
// the same bucket works under those tools. It is pure: it knows strings and
// numbers, no store and no file.
//
// The names, without the x-amz-meta- that S3 puts before them:
//
//	mode   type and permission bits as in stat(2), octal ("0100644")
//	uid    decimal
//	gid    decimal
//	mtime  seconds since 1970 and nine digits ("1700000000.000000001")
//	ctime  as mtime
//	rdev   hexadecimal, of devices alone
//	xattr  percent-encoded JSON object of names and base64 values
//
// s3fs writes mode in decimal, no fraction of zero and no rdev. rclone --metadata
// has no zero before mode and no ctime, trims the zeros at the end of mtime,
// and writes other times by RFC 3339; of the above it reads all but xattr.
// Metadata is not authenticated and anybody's: what makes no sense counts as
// absent.
//
// Two things are not metadata. A directory is a key that ends in "/", of
// DirectoryType. A symbolic link is a mode and, as its content, the target.
package attrmeta

import (
	"maps"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// DirectoryType is the Content-Type of a directory's object.
const DirectoryType = "application/x-directory"

const (
	modeName  = "mode"
	uidName   = "uid"
	gidName   = "gid"
	mtimeName = "mtime"
	ctimeName = "ctime"
	rdevName  = "rdev"
	xattrName = "xattr"
)

// Attr is what an object's metadata says of the file. A nil field is absent.
type Attr struct {
	// Mode is type and permission bits as in stat(2); 0 where none are stored.
	// The type is 0 where only permissions are known. The bits for setuid and
	// setgid are kept as anybody wrote them: mounts are nosuid.
	Mode uint32

	UID, GID *uint32 // never 2^32-1, which chown(2) reads as "leave it"

	// Rdev is the device number as in stat(2), of a device; else 0.
	Rdev uint64

	Mtime, Ctime *int64 // ns since 1970

	// Xattrs are extended attributes by their whole names, user.* alone.
	Xattrs map[string][]byte
}

// Names gives the names of metadata that Encode may write, sorted. All others
// are not ours; an object that is copied onto itself keeps them.
func Names() []string {
	return []string{ctimeName, gidName, modeName, mtimeName, rdevName, uidName, xattrName}
}

// Encode gives the metadata of a. Attributes that are absent have none.
func Encode(a Attr) map[string]string {
	md := map[string]string{}
	if a.Mode != 0 {
		md[modeName] = formatMode(a.Mode)
	}
	if isDevice(a.Mode) {
		md[rdevName] = strconv.FormatUint(a.Rdev, 16)
	}
	if a.UID != nil {
		md[uidName] = formatUint(uint64(*a.UID))
	}
	if a.GID != nil {
		md[gidName] = formatUint(uint64(*a.GID))
	}
	if a.Mtime != nil {
		md[mtimeName] = formatTime(*a.Mtime)
	}
	if a.Ctime != nil {
		md[ctimeName] = formatTime(*a.Ctime)
	}
	if len(a.Xattrs) > 0 {
		md[xattrName] = formatXattrs(a.Xattrs)
	}
	return md
}

// Decode reads what s3fs, rclone or Encode wrote. It never fails.
func Decode(md map[string]string) Attr {
	_, s3fs := md[ctimeName]
	mode, octal := parseMode(md[modeName], s3fs)
	a := Attr{
		Mode:   mode,
		UID:    parseID(md[uidName]),
		GID:    parseID(md[gidName]),
		Mtime:  parseTime(md[mtimeName]),
		Ctime:  parseTime(md[ctimeName]),
		Xattrs: only(parseXattrs(md[xattrName]), true),
	}
	if isDevice(mode) {
		a.Rdev = parseRdev(md[rdevName], octal)
	}
	return a
}

// Merge gives the metadata of an object that had old and gets a: what old says
// under names that are not ours, and Encode of a. Extended attributes of old
// that are no user.* (s3fs keeps ACLs so) stay. Neither map is changed.
func Merge(old map[string]string, a Attr) map[string]string {
	md := maps.Clone(old)
	if md == nil {
		md = map[string]string{}
	}
	for _, name := range Names() {
		delete(md, name)
	}
	maps.Copy(md, Encode(a))
	if kept := only(parseXattrs(old[xattrName]), false); len(kept) > 0 {
		maps.Copy(kept, a.Xattrs)
		md[xattrName] = formatXattrs(kept)
	}
	return md
}

func formatUint(n uint64) string { return strconv.FormatUint(n, 10) }

// parseID reads a user's or a group's number.
func parseID(s string) *uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 1<<32-1 {
		return nil
	}
	id := uint32(n)
	return &id
}

// parseRdev reads a device number: rclone's hexadecimal beside an octal mode,
// else decimal. What is neither is 0, no device at all.
func parseRdev(s string, hex bool) uint64 {
	base := 10
	if hex {
		base = 16
	}
	n, err := strconv.ParseUint(s, base, 64)
	if err != nil {
		return 0
	}
	return n
}

func isDevice(mode uint32) bool {
	return slices.Contains([]uint32{unix.S_IFCHR, unix.S_IFBLK}, mode&unix.S_IFMT)
}
