package main

import (
	"errors"
	"fmt"
)

// Exit codes of mount(8).
const (
	exitUsage  = 1  // the command line is wrong
	exitSystem = 2  // this host cannot: no FUSE device, a disk that cannot be written
	exitMount  = 32 // the mount failed: bucket, credentials, key, mountpoint, data left
	exitWarned = 64 // doctor, status and audit: nothing failed, and not all is well
)

// exitError is an error with the exit code of the process.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usageError, systemError and mountError are fmt.Errorf with an exit code.
func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func systemError(format string, args ...any) error {
	return &exitError{exitSystem, fmt.Errorf(format, args...)}
}

func mountError(format string, args ...any) error {
	return &exitError{exitMount, fmt.Errorf(format, args...)}
}

// exitCode is that of the error, or exitUsage: cobra's own are about the
// command line.
func exitCode(err error) int {
	if e := (*exitError)(nil); errors.As(err, &e) {
		return e.code
	}
	return exitUsage
}
