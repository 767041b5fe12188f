// Run is fsx by hand: it does random operations in DIR, and the same in REF,
// which is of a local filesystem; both must be empty. -remount is a shell
// command that unmounts and mounts again.
//
//	go run ./fsx/run -seed 7 -ops 50000 -remount 'sigilfs umount /mnt && sigilfs mount …' /mnt/a /tmp/a
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/sigilfs/sigilfs/integration/fsx"
)

func main() {
	opt := fsx.Options{}
	remount := ""
	flag.Uint64Var(&opt.Seed, "seed", rand.Uint64(), "all follows from it") //nolint:gosec // to be repeated, not guessed
	flag.IntVar(&opt.Ops, "ops", 50_000, "how many operations")
	flag.Int64Var(&opt.MaxSize, "max-size", 0, "of a file, in bytes (default 40 MiB)")
	flag.IntVar(&opt.Large, "large", 0, "share of large files, in percent (default 3)")
	flag.BoolVar(&opt.Full, "full", false, "the filesystem may be full until an fsync")
	verbose := flag.Bool("v", false, "print every operation")
	flag.StringVar(&remount, "remount", "", "command")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: run [flags] DIR REF")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	opt.Dir, opt.Ref = flag.Arg(0), flag.Arg(1)
	if *verbose {
		opt.Trace = os.Stdout
	}
	if remount != "" {
		opt.Remount = func(ctx context.Context) error {
			cmd := exec.CommandContext(ctx, "sh", "-c", remount)
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			return cmd.Run()
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := fsx.Run(ctx, opt)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fsx:", err)
		os.Exit(1)
	}
	fmt.Printf("seed %d: %d operations, no difference\n", opt.Seed, opt.Ops)
}
