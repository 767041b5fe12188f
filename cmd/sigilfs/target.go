package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// onTarget makes cmd one that takes a TARGET and the flags of its mount, and
// mounts nothing. run has nothing opened yet; what it opens is let go of. args
// come after the target.
func onTarget(cmd *cobra.Command, run func(ctx context.Context, c *cobra.Command, m *mounting, args []string) error) {
	s := defaultSettings()
	cmd.RunE = func(c *cobra.Command, args []string) error {
		if err := s.open(args[0], c.Flags()); err != nil {
			return err
		}
		if err := s.check(); err != nil {
			return err
		}
		if s.at.given() {
			return s.wrong("at", "goes with what reads files; %s is about the bucket as it is", c.CommandPath())
		}
		if err := harden(); err != nil {
			return err
		}
		limitMemory(s.memoryLimit)
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		m := &mounting{set: s, log: newLog(c.ErrOrStderr(), s.logFormat, s.debug), stderr: c.ErrOrStderr()}
		defer m.abandon(ctx)
		return run(ctx, c, m, args[1:])
	}
	s.addFlags(cmd.Flags())
}
