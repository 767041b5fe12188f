package fs

import (
	"context"
	"errors"
	"io"
	"syscall"

	"github.com/sigilfs/sigilfs/internal/volume"
)

// errnos says which errno an error is. The first line that fits counts: an
// error may wrap two of them, the more telling one stands first.
var errnos = [...]struct {
	err   error
	errno syscall.Errno
}{
	{context.Canceled, syscall.EINTR},
	{context.DeadlineExceeded, syscall.EIO},
	{io.EOF, syscall.ENXIO}, // of Seek alone (lseek(2)): reads end without an error

	{errStale, syscall.ESTALE},
	// Of keys in the service: a key that does not exist must not look like a
	// file that does not.
	{volume.ErrKeyMissing, syscall.ENOKEY},
	{volume.ErrKeyDisabled, syscall.EKEYREJECTED},
	{volume.ErrKeyAccess, syscall.EACCES},
	{volume.ErrKeyBlocked, syscall.EACCES},
	{volume.ErrNotEncrypted, syscall.EIO},
	{volume.ErrNotExist, syscall.ENOENT},
	{volume.ErrExist, syscall.EEXIST},
	{volume.ErrIsDir, syscall.EISDIR},
	{volume.ErrNotDir, syscall.ENOTDIR},
	{volume.ErrNotEmpty, syscall.ENOTEMPTY},
	{volume.ErrInvalid, syscall.EINVAL},
	{volume.ErrName, syscall.EPERM},
	{volume.ErrNoLinks, syscall.EPERM},
	{volume.ErrPlainLink, syscall.EPERM},
	{volume.ErrManyLinks, syscall.EMLINK},
	{volume.ErrTooLong, syscall.ENAMETOOLONG},
	{volume.ErrTooLarge, syscall.EFBIG},
	{volume.ErrReadOnly, syscall.EROFS},
	{volume.ErrCrossing, syscall.EXDEV},
	{volume.ErrNoXattr, syscall.ENODATA},
	{volume.ErrXattrs, syscall.ENOSPC},
	{volume.ErrUnsupported, syscall.EOPNOTSUPP},

	{volume.ErrChanged, syscall.ESTALE},
	{volume.ErrOriginGone, syscall.ESTALE},
	{volume.ErrNoKey, syscall.ENOKEY},
	{volume.ErrWrongKey, syscall.EKEYREJECTED},
	{volume.ErrCorrupt, syscall.EBADMSG},
	{volume.ErrDowngrade, syscall.EBADMSG},
	{volume.ErrRollback, syscall.EBADMSG},
	{volume.ErrAccess, syscall.EACCES},
	{volume.ErrKeyNeeded, syscall.ENOKEY}, // after ErrAccess: a bare 403 is perhaps both
	{volume.ErrBadAuth, syscall.EACCES},
	{volume.ErrArchived, syscall.EREMOTE},
	{volume.ErrSpoolFull, syscall.ENOSPC},
	{volume.ErrQuota, syscall.EDQUOT},
	{volume.ErrThrottled, syscall.EIO}, // after all retries; EAGAIN would invite a loop
	{volume.ErrClosed, syscall.ESHUTDOWN},
}

// toErrno is the only way from an error to an errno. What no line of the table
// knows (ErrVersion among it) is EIO.
func toErrno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return e.errno
		}
	}
	return syscall.EIO
}

// unexpected tells what an operator must hear of: it comes from the store, the
// keys or the disk, not from what the application asked for, and is not part of
// the kernel's protocol.
func unexpected(err error, errno syscall.Errno) bool {
	if errors.Is(err, errStale) || errors.Is(err, volume.ErrXattrs) {
		return false
	}
	switch errno {
	case syscall.EIO, syscall.EACCES, syscall.EKEYREJECTED, syscall.ENOKEY, syscall.EBADMSG,
		syscall.ESTALE, syscall.ENOSPC, syscall.EDQUOT, syscall.EREMOTE:
		return true
	}
	return false
}
