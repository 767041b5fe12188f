package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
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

// dump prints the beginning of a file as hexadecimal.
func dump(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	fmt.Printf("  $ hexdump -C %s\n  %s\n", name, strings.ReplaceAll(strings.TrimSpace(hex.Dump(b[:min(len(b), 64)])), "\n", "\n  "))
	return nil
}
