package main

import (
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

// harden keeps keys out of core dumps and out of the reach of a debugger that
// the same user runs (prctl(2), PR_SET_DUMPABLE), and this process alive when
// whoever read its log has gone. Before any key is read.
func harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return systemError("core dumps cannot be turned off: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return systemError("core dumps cannot be turned off: %w", err)
	}
	signal.Ignore(syscall.SIGPIPE)
	return nil
}

// limitMemory tells the garbage collector the bound. What it does not count
// (the binary, stacks of the kernel's making) gets an eighth. A bound from
// GOMEMLIMIT stands if it is lower. Heaps here are mostly buffers that live
// long or a moment: collecting at half as much again instead of at double
// costs little and keeps the process small.
func limitMemory(limit int64) {
	limit -= limit / 8
	if now := debug.SetMemoryLimit(-1); now < limit {
		limit = now
	}
	debug.SetMemoryLimit(limit)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// cacheBytes is the read cache's share of memory. With a disk beneath it the
// size that is given is the disk's.
func (s *settings) cacheBytes() int64 {
	size := s.cacheSize
	if size < 0 || size > 0 && s.cacheDir != "" {
		size = defaultCache
	}
	return max(1<<20, min(size, s.memoryLimit/4))
}

// rememberedBytes is the memory for names, attributes and small bodies.
func (s *settings) rememberedBytes() int64 { return s.memoryLimit / 8 }

// sharedBytes is the memory for content under way, read and written: what is
// left then is for the program itself and the collector.
func (s *settings) sharedBytes() int64 { return max(leastShared, s.memoryLimit/8) }
