package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountpoint"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	sigilfs "github.com/sigilfs/sigilfs/fs"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"golang.org/x/sys/unix"
)

// explainStore says what to do about an error of the bucket, or of a key in it.
func explainStore(spec string, err error) error {
	if remedy := storeRemedy(err); remedy != "" {
		return mountError("%s: %w; %s", spec, err, remedy)
	}
	return mountError("%s: %w", spec, err)
}

// storeRemedy is what there is to do; "" where nobody knows.
func storeRemedy(err error) string {
	for _, c := range []struct {
		is     error
		remedy string
	}{
		{keyring.ErrKeySource, "check --key"},
		{objstore.ErrBucket, "create it, or check its name, --endpoint-url and --region"},
		{objstore.ErrBadAuth, "give credentials that work: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, --profile, or the role of this host"},
		{objstore.ErrKeyBlocked, "have the bucket take SSE-C, or choose another mode"},
		{objstore.ErrKeyAccess, "allow it in the policies of these credentials and of the key"},
		{objstore.ErrKeyMissing, "name a key that exists, in the region of the bucket"},
		{objstore.ErrKeyDisabled, "enable the key, or name another one"},
		{keyring.ErrAccess, "allow it in the policies of these credentials and of the key"},
		{objstore.ErrAccess, "allow it in the policies of these credentials and of the bucket"},
		{objstore.ErrUnreachable, "check --endpoint-url, the network and, for TLS, --ca-bundle"},
		{objstore.ErrThrottled, "try again later"},
		{context.DeadlineExceeded, "check --endpoint-url and the network"},
		{objstore.ErrUnknown, "check --endpoint-url: what answers there does not behave like S3"},
		{objstore.ErrQuota, "make room in the bucket"},
		{objstore.ErrUnsupported, "ask less of the server, or take another one"},
		{objstore.ErrInvalid, "check --endpoint-url, --region, and what is asked of the server: the mode, --storage-class"},
	} {
		if errors.Is(err, c.is) {
			return c.remedy
		}
	}
	return ""
}

// explainMode is explainStore of what a rule asks S3 to do. Errors about
// permissions say it all themselves.
func explainMode(r rule, err error) error {
	if remedy := storeRemedy(err); remedy != "" && !errors.Is(err, objstore.ErrAccess) {
		return mountError("%s: mode %s: %w; %s", r.At, r.Mode, err, remedy)
	}
	return mountError("%s: mode %s: %w", r.At, r.Mode, err)
}

func explainDir(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return mountError("mountpoint %w; make it with mkdir", err)
	case errors.Is(err, mountpoint.ErrNotDir):
		return mountError("mountpoint %w; name a directory", err)
	case errors.Is(err, mountpoint.ErrVital):
		return mountError("mountpoint %w; name a directory of its own", err)
	case errors.Is(err, mountpoint.ErrForeign):
		return mountError("mountpoint %w; name a directory of your own, or mount as root", err)
	case errors.Is(err, mountpoint.ErrMounted):
		return mountError("mountpoint %w; take it away first with sigilfs umount", err)
	case errors.Is(err, mountpoint.ErrHung):
		return mountError("mountpoint %w; end that process, or take the mount away first with umount -l", err)
	case errors.Is(err, mountpoint.ErrDead):
		return mountError("mountpoint %w; take it away first with umount -l", err)
	}
	return mountError("mountpoint %w", err)
}

func explainState(err error) error {
	var locked *state.LockedError
	switch {
	case errors.As(err, &locked) && locked.Owner.Mountpoint != "":
		return mountError("%w; unmount it first (sigilfs umount %s), or give this mount a state of its own with --state-dir", err, locked.Owner.Mountpoint)
	case errors.As(err, &locked) && locked.Owner.PID != 0:
		return mountError("%w; wait until it has ended", err)
	case errors.As(err, &locked):
		return mountError("%w; unmount that mount first, or give this one a state of its own with --state-dir", err)
	case errors.Is(err, state.ErrUnsafe), errors.Is(err, context.Canceled):
		return systemError("%w", err)
	}
	return systemError("%w; name a directory that can be written to with --state-dir", err)
}

// explainMount is for what fs.Mount gives: the bucket answered until then.
func explainMount(spec string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return systemError("%s: %w; mounting takes CAP_SYS_ADMIN (in a container: --cap-add SYS_ADMIN --device /dev/fuse)", spec, err)
	case errors.Is(err, sigilfs.ErrHelper):
		why := cmp.Or(mountpoint.Powerless(), "it has said why (in a container it takes --cap-add SYS_ADMIN --device /dev/fuse)")
		return mountError("%s: %w: %s", spec, err, why)
	}
	return mountError("%s: %w", spec, err)
}
