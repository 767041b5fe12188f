package main

import (
	"errors"
	"io"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/control"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountargs"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountpoint"
	"github.com/spf13/pflag"
)

// remount changes a mount between ro and rw, which is a matter of the kernel
// alone: it lets nothing through that writes. A process that was started
// read-only has neither state nor spool, and cannot learn to write. Nothing else
// changes while it is mounted, and since mount(8) hands over what fstab says as
// well, other options are said to be passed over, not refused.
func remount(call mountargs.Call, readOnly bool, flags *pflag.FlagSet, stderr io.Writer) error {
	path, err := mountpoint.Canonical(call.Dir)
	if err != nil {
		return mountError("%w", err)
	}
	m, mounted, err := mountpoint.Find(path)
	switch {
	case err != nil:
		return systemError("%w", err)
	case !mounted || !m.Ours():
		return mountError("%s: no mount of sigilfs is there to be remounted", path)
	}
	if names := remains(flags); len(names) > 0 {
		say(stderr, "a remount changes ro and rw alone; for "+strings.Join(names, ", ")+" unmount and mount again")
	}
	if !readOnly {
		if err := canWrite(m, path); err != nil {
			return err
		}
	}
	if call.Fake {
		return nil
	}
	return explainRemount(path, mountpoint.Remount(path, readOnly))
}

// canWrite asks the process that serves m.
func canWrite(m mountpoint.Mount, path string) error {
	peer := control.Find(control.Places(m.UID), m.UID, path)
	if peer == nil {
		return mountError("%s: the process that serves it is not found, so it cannot be told whether it can write; unmount it and mount it again", path)
	}
	defer func() { _ = peer.Close() }()
	if peer.Record().ReadOnly {
		return mountError("%s was mounted read-only, without anything to write with; unmount it and mount it again with rw", path)
	}
	return nil
}

func explainRemount(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, mountpoint.ErrBusy):
		return mountError("%s: files are open for writing: close them and try again (fuser -vm %s lists who has them)", path, path)
	case errors.Is(err, mountpoint.ErrNotRoot):
		return mountError("%s: a remount takes root", path)
	}
	return mountError("%w", err)
}
