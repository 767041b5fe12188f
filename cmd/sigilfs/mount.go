package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func newMount() *cobra.Command {
	s := defaultSettings()
	cmd := &cobra.Command{
		Use: `mount --encryption MODE --key SOURCE s3://bucket[/prefix] DIR -f
  sigilfs mount CONFIG.yaml DIR`,
		Short: "Mount a bucket, or a prefix of one",
		Long: `mount shows s3://bucket/prefix as the directory DIR, or what CONFIG.yaml says:
every flag is a field there, keys have names, and each prefix its own rule.
Flags stand above the file. A rule by flag is

    --encryption 'logs/=sse-kms,key=main,bucket-key' --key main=kms:alias/logs

with the fields that a rule has in the file. It says "mounted" when
bucket, credentials, key and conditional writes were tried and DIR answers.

It stays in the foreground (-f) until DIR is unmounted, by sigilfs umount DIR,
umount(8), Ctrl-C or SIGTERM, and ends when what was written is committed.
SIGUSR1 logs what it is doing, SIGUSR2 makes the log more or less talkative.

Exit codes are those of mount(8): 1 usage, 2 system, 32 mount failure.`,
		Args: arguments(2, "sigilfs mount --encryption client --key file:main.key s3://bucket/prefix DIR -f"),
		RunE: func(c *cobra.Command, args []string) error {
			s.dir = args[1]
			if err := s.open(args[0], c.Flags()); err != nil {
				return err
			}
			if err := s.check(); err != nil {
				return err
			}
			return mount(c.Context(), s, c.ErrOrStderr())
		},
	}
	s.addFlags(cmd.Flags())
	return cmd
}

// mount runs one mount from its first check to its end.
func mount(ctx context.Context, s *settings, stderr io.Writer) error {
	if err := harden(); err != nil {
		return err
	}
	limitMemory(s.memoryLimit)
	m := &mounting{set: s, log: newLog(stderr, s.logFormat, s.debug), stderr: stderr}
	// From here on until the end no signal is lost, and none ends the process
	// under its mount.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	starting, started := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	err := m.start(starting)
	interrupted := starting.Err() != nil
	started()
	if err != nil {
		m.abandon(ctx)
		if interrupted && ctx.Err() == nil {
			return mountError("%s: interrupted before it was mounted", s.target.Spec)
		}
		return err
	}
	return m.serve(ctx, signals)
}
