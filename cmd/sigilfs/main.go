// Sigilfs mounts encrypted S3 buckets. It knows flags, wiring, logs,
// signals and exit codes; formats, requests and the filesystem are other
// packages'. One file is one subcommand; what they stand on and can be tested
// alone is under internal/:
//
//	option      what a person types: -o lists, sizes, modes, targets
//	state       the state directory of a volume, its lock, the host's id
//	diskkey     keys of what a mount keeps on disk, and their records
//	keymemory   which SSE-C key objects have, from one mount to the next
//	mountpoint  the kernel's table of mounts
//	control     how umount and status find the process that serves a mount
//	socket      where it is asked how it is
//	status      what it answers: the document of sigilfs status
//	background  how a mount becomes a daemon, and its parent learns of it
//	logging     where the log of a daemon goes
//	progress    how far a long command is: a bar, lines, or events
//	mountargs   the command lines of mount.sigilfs and umount.sigilfs
//	manual      manual pages, from the same definitions as the flags
//
// Called mount.sigilfs it is mount(8)'s helper, see mountcmd.go, and called
// umount.sigilfs that of umount(8), see umountcmd.go.
//
// Exit codes are those of mount(8), see exit.go.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// version is set by the linker (-X main.version=…).
var version string

func main() {
	start := run
	switch name := filepath.Base(os.Args[0]); {
	case isHelper(name):
		start = runHelper
	case isUmountHelper(name):
		start = runUmountHelper
	}
	os.Exit(profiled(func() int { return start(context.Background(), os.Args[1:], os.Stdout, os.Stderr) }))
}

// say tells a person something. Whether anybody reads it changes nothing.
func say(stderr io.Writer, text string) {
	_, _ = io.WriteString(stderr, "sigilfs: "+visible(strings.TrimSpace(text))+"\n")
}

// run is the whole program, but for the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	return end(err, stderr)
}

// end says what is wrong, unless somebody has, and gives the exit code.
func end(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	if !errors.Is(err, errTold) {
		if isJournal(stderr) {
			_, _ = io.WriteString(stderr, "<3>") // of an error, see logging.Prioritized
		}
		say(stderr, err.Error())
	}
	return exitCode(err)
}
