package main

import (
	"context"
	"os"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountpoint"
	"github.com/sigilfs/sigilfs/internal/doctor"
)

// Checks of this host, whatever the bucket.
const (
	fuseCheck   = "fuse"   // the device, and who mounts
	othersCheck = "others" // users than the mount's own
)

// tryFUSE looks for what a mount takes.
func (e *examination) tryFUSE(context.Context) doctor.Finding {
	const remedy = "a mount takes /dev/fuse and, unless root makes it, fusermount3: the module fuse, the package fuse3, and in a container the device"
	if err := mountpoint.Device(false); err != nil {
		return failing(err, remedy)
	}
	if os.Geteuid() == 0 {
		return doctor.Finding{Text: "/dev/fuse can be opened; root mounts by itself"}
	}
	path, err := mountpoint.Fusermount()
	if why := mountpoint.Powerless(); err == nil && why != "" {
		return doctor.Finding{Status: doctor.Warning, Text: path + " will not be able to mount: " + why, Remedy: "leave NoNewPrivileges= and its like out of what starts this, install the package fuse3, or mount as root"}
	}
	return finding(err, "/dev/fuse can be opened; mounts are made by "+path, remedy)
}

// tryOthers looks whether other users can be let in (fusermount3(1)).
func (e *examination) tryOthers(context.Context) doctor.Finding {
	err := mountpoint.Device(true)
	switch {
	case err != nil && e.set.allowOther:
		return doctor.Finding{Status: doctor.Failure, Text: oneLine(err), Remedy: "have root add a line user_allow_other to /etc/fuse.conf, or mount without --allow-other"}
	case err != nil:
		return doctor.Finding{Text: "only the user who mounts is let in: /etc/fuse.conf has no line user_allow_other"}
	case e.set.allowOther:
		return doctor.Finding{Text: "other users are let in, as far as the modes of files let them (--allow-other)"}
	case os.Geteuid() == 0:
		return doctor.Finding{Text: "only root is let in; --allow-other lets in other users"}
	}
	return doctor.Finding{Text: "only the user who mounts is let in; --allow-other lets in others, as /etc/fuse.conf allows"}
}
