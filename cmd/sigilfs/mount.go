package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/background"
	"github.com/spf13/cobra"
)

func newMount() *cobra.Command {
	s := defaultSettings()
	cmd := &cobra.Command{
		Use: `mount --encryption MODE --key SOURCE s3://bucket[/prefix] DIR
  sigilfs mount CONFIG.yaml DIR`,
		Short: "Mount a bucket, or a prefix of one",
		Long: `mount shows s3://bucket/prefix as the directory DIR, or what CONFIG.yaml says:
every flag is a field there, keys have names, and each prefix its own rule.
Flags stand above the file. A rule by flag is

    --encryption 'logs/=sse-kms,key=main,bucket-key' --key main=kms:alias/logs

with the fields that a rule has in the file.

The command returns when bucket, credentials, key and conditional writes were
tried and DIR answers, or says why not. What serves the mount goes on in the
background, and logs to the host's log (journald, syslog) or --log-file. With -f
it stays in the foreground and logs to stderr.

It serves until DIR is unmounted, by sigilfs umount DIR, umount(8), SIGTERM or
(with -f) Ctrl-C, and ends when what was written is committed. SIGHUP reads
credentials and CONFIG.yaml again, SIGUSR1 logs what it is doing, SIGUSR2 makes
the log more or less talkative.

Exit codes are those of mount(8): 1 usage, 2 system, 32 mount failure.`,
		Args: arguments(2, "sigilfs mount --encryption client --key file:main.key s3://bucket/prefix DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			s.dir = args[1]
			if err := s.open(args[0], c.Flags()); err != nil {
				return err
			}
			if err := s.check(); err != nil {
				return err
			}
			return mount(c.Context(), s)
		},
	}
	s.addFlags(cmd.Flags())
	for _, name := range alwaysAllowed() {
		cmd.Flags().Bool(name, true, "is so in any case")
		_ = cmd.Flags().MarkHidden(name) // the flag is there
	}
	return cmd
}

// mount makes one mount: in the foreground it returns at its end, else when it
// answers. A usage error was found before, so a process is started for what may
// succeed only.
func mount(ctx context.Context, s *settings) error {
	child, err := background.Inherit()
	switch {
	case err != nil:
		return usageError("%w", err)
	case child == nil && !s.foreground:
		return inBackground()
	}
	return serveMount(ctx, s, child)
}

// serveMount runs a mount from its first check to its end. child is nil in the
// foreground.
func serveMount(ctx context.Context, s *settings, child *background.Process) error {
	if err := harden(); err != nil {
		return err
	}
	limitMemory(s.memoryLimit)
	s.settlePaths()
	log, sink, err := openLog(s, child != nil, os.Stderr)
	if err != nil {
		return err
	}
	m := &mounting{set: s, log: log, sink: sink, stderr: os.Stderr}
	defer m.closeLog()
	log.AddHook(&m.seen.errors)
	m.openManager(child)
	// From here on until the end no signal is lost, and none ends the process
	// under its mount.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	if err := m.begin(ctx, child); err != nil {
		m.managed.failed(err)
		return err
	}
	if child != nil && !m.goBehind(child) {
		return m.end(ctx, signals, true)
	}
	m.tellManager()
	return m.serve(ctx, signals)
}

// begin starts, unless a signal or the end of who waits for child comes first.
func (m *mounting) begin(ctx context.Context, child *background.Process) error {
	starting, started := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer started()
	starting, stop := untilGone(starting, child)
	defer stop()
	err := m.start(starting)
	if err == nil {
		return nil
	}
	interrupted := starting.Err() != nil
	m.abandon(ctx)
	if interrupted && ctx.Err() == nil {
		return mountError("%s: interrupted before it was mounted", m.set.target.Spec)
	}
	return err
}

// closeLog is the last of all.
func (m *mounting) closeLog() {
	if m.sink != nil {
		_ = m.sink.Close()
	}
}
