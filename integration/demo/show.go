package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// say prints a heading.
func say(format string, args ...any) {
	fmt.Printf("\n== "+strings.ReplaceAll(format, "\n", "\n   ")+"\n", args...)
}

// command prints a command line that is about to run.
func command(argv ...string) {
	fmt.Println("  $ " + strings.Join(argv, " "))
}

// show runs a command in dir and prints it with what it says, indented.
func show(dir string, argv ...string) error {
	command(argv...)
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // ls and cat; they end by themselves
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	fmt.Println("  " + strings.ReplaceAll(strings.TrimRight(string(out), "\n"), "\n", "\n  "))
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return nil
}

// listObjects prints size and key of a bucket's objects, which a server keeps as
// files below dir.
func listObjects(dir, bucket string) error {
	return filepath.WalkDir(filepath.Join(dir, bucket), func(p string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		key, err := filepath.Rel(dir, p)
		fmt.Printf("  %9d  s3://%s\n", info.Size(), key)
		return err
	})
}

// dump prints the beginning of a file as hexadecimal.
func dump(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	fmt.Printf("  $ hexdump -C %s\n  %s\n", name, strings.ReplaceAll(strings.TrimSpace(hex.Dump(b[:min(len(b), 64)])), "\n", "\n  "))
	return nil
}
