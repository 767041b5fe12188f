package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountargs"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountpoint"
)

// isUmountHelper tells the names under which umount(8) calls the program: it
// goes by the type of the kernel's table.
func isUmountHelper(name string) bool {
	return name == "umount.sigilfs" || name == "umount.fuse.sigilfs"
}

const umountHelperUsage = `umount.sigilfs DIR [-flnrv] [-N namespace] [-t type]

It is for umount(8) to call. It returns when what was written is committed and
the process of the mount has ended, as sigilfs umount does; with -l (lazy) and
-f (force) when the mount is taken away. -r makes it read-only where it is in
use; -v says what is done; -n changes nothing.
`

// runUmountHelper is the whole program under the name of umount(8)'s helper.
func runUmountHelper(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return end(umountHelper(ctx, args, stdout, stderr), stderr)
}

func umountHelper(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	call, err := mountargs.ParseUmount(args)
	switch {
	case err != nil:
		return usageError("%w; see umount.sigilfs -h", err)
	case call.Help, call.Version:
		text := umountHelperUsage
		if call.Version {
			text = versionLine() + "\n"
		}
		_, _ = io.WriteString(stdout, text)
		return nil
	case call.Namespace != "":
		return usageError("-N is not supported: run umount inside the namespace (nsenter --mount=FILE umount …)")
	case !slices.Contains([]string{"", "sigilfs", mountpoint.Type}, call.Type):
		return usageError("-t: this is the helper of type sigilfs")
	}
	if err := surroundings(); err != nil {
		return systemError("%w", err)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	done, err := helpedUmount(ctx, call, stderr)
	if err == nil && call.Verbose {
		_, _ = io.WriteString(stdout, "sigilfs: "+call.Dir+" "+done+"\n")
	}
	return err
}

// helpedUmount does what was called for, and says in a word what that was.
func helpedUmount(ctx context.Context, call mountargs.UmountCall, stderr io.Writer) (done string, err error) {
	const unmounted = "unmounted"
	if call.Lazy || call.Force {
		return unmounted, takeAtOnce(ctx, call)
	}
	err = umount(ctx, call.Dir, stderr)
	if !call.ReadOnly || !errors.Is(err, mountpoint.ErrBusy) {
		return unmounted, err
	}
	if err := explainRemount(call.Dir, mountpoint.Remount(call.Dir, true)); err != nil {
		return "", err
	}
	say(stderr, call.Dir+" is in use, and made read-only")
	return "made read-only", nil
}

// takeAtOnce is for who is lazy, or uses force: it waits for nobody. What is not
// ours it leaves alone, since it asks nobody either.
func takeAtOnce(ctx context.Context, call mountargs.UmountCall) error {
	path, _, mounted, err := ours(call.Dir)
	switch {
	case err != nil:
		return err
	case !mounted:
		return mountError("%s: nothing is mounted there", path)
	}
	take := mountpoint.Force
	switch {
	case call.Lazy && call.Force:
		take = mountpoint.Drop
	case call.Lazy:
		take = mountpoint.Detach
	}
	if err := take(ctx, path); err != nil {
		return mountError("%w", err)
	}
	return nil
}
