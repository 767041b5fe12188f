//go:build profile

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
)

// profiled has a mount write $SIGILFS_PROFILE.cpu and .heap, for `go tool
// pprof`. It is in no binary but one that was built with -tags profile, which
// `make bench BENCH=-profile=DIR` does.
func profiled(do func() int) int {
	name := os.Getenv("SIGILFS_PROFILE")
	if name == "" || len(os.Args) < 2 || os.Args[1] != "mount" {
		return do()
	}
	code := exitSystem
	err := errors.Join(
		intoFile(name+".cpu", func(f io.Writer) error {
			if err := pprof.StartCPUProfile(f); err != nil {
				return err
			}
			defer pprof.StopCPUProfile()
			code = do()
			return nil
		}),
		intoFile(name+".heap", func(f io.Writer) error { return pprof.Lookup("allocs").WriteTo(f, 0) }),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
	}
	return code
}

func intoFile(name string, do func(io.Writer) error) error {
	f, err := os.Create(name) //nolint:gosec // where whoever profiles says
	if err != nil {
		return err
	}
	return errors.Join(do(f), f.Close())
}
