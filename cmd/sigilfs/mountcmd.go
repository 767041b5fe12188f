package main

import (
	"context"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/background"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountargs"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/spf13/pflag"
)

// isHelper tells the names under which mount(8) calls the program: by the type
// of fstab, and by that of the kernel's table, when something is remounted.
func isHelper(name string) bool {
	return name == "mount.sigilfs" || name == "mount.fuse.sigilfs"
}

const helperUsage = `mount.sigilfs SPEC DIR [-sfnv] [-N namespace] [-o options] [-t type]

It is for mount(8) to call: mount -t sigilfs SPEC DIR -o OPTIONS, or a line of fstab:

    s3://bucket/prefix  /mnt  sigilfs  _netdev,nofail,encrypt=client,key=file:/etc/sigilfs/main.key  0 0

SPEC is s3://bucket/prefix, bucket:/prefix or a configuration file. Options are
those of mount(8), and the flags of sigilfs mount (see sigilfs mount --help), but
write encrypt= for --encryption: mount(8) keeps an option of that name to itself.
-f is fake: all is checked that can be without a request, and nothing mounted.
-s takes unknown options and says so; -v says what is done; -n changes nothing.
`

// runHelper is the whole program under the name of mount(8)'s helper.
func runHelper(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return end(helper(ctx, args, stdout, stderr), stderr)
}

func helper(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	call, err := mountargs.Parse(args)
	switch {
	case err != nil:
		return usageError("%w; see mount.sigilfs -h", err)
	case call.Help, call.Version:
		text := helperUsage
		if call.Version {
			text = versionLine() + "\n"
		}
		_, _ = io.WriteString(stdout, text)
		return nil
	case call.Namespace != "":
		return usageError("-N is not supported: run mount inside the namespace (nsenter --mount=FILE mount …)")
	case !slices.Contains([]string{"", "sigilfs", "fuse.sigilfs"}, call.Type):
		return usageError("-t: this is the helper of type sigilfs")
	}
	if err := surroundings(); err != nil {
		return systemError("%w", err)
	}
	return helped(ctx, call, stdout, stderr)
}

// helped does what was called for.
func helped(ctx context.Context, call mountargs.Call, stdout, stderr io.Writer) error {
	s := defaultSettings()
	flags := pflag.NewFlagSet("mount", pflag.ContinueOnError)
	flags.SetNormalizeFunc(normalize)
	s.addFlags(flags)
	list := &optionList{flags: flags, helper: true, sloppy: call.Sloppy}
	for _, o := range call.Options {
		if err := list.Set(o); err != nil {
			return err
		}
	}
	if !background.Inside() { // else it is said already
		for _, text := range list.passed {
			say(stderr, text+"; it is ignored (-s)")
		}
	}
	if list.remount {
		return remount(call, s.readOnly, flags, stderr)
	}
	s.dir = call.Dir
	if err := s.open(call.Spec, flags); err != nil {
		return err
	}
	if !s.ofFile && !flags.Changed("encryption") && !flags.Changed("sse") {
		return usageError("%s: no encryption is named, and nothing is mounted without saying how it is encrypted; add the option encrypt=client,key=file:PATH, or another mode (mount(8) keeps encryption= to itself)", call.Spec)
	}
	if err := s.check(); err != nil {
		return err
	}
	if !call.Fake {
		if err := mount(ctx, s); err != nil {
			return err
		}
	}
	if call.Verbose && !background.Inside() && (call.Fake || !s.foreground) { // else it has ended
		sayMounted(call, stdout)
	}
	return nil
}

// sayMounted is for -v.
func sayMounted(call mountargs.Call, stdout io.Writer) {
	what := " mounted on "
	if call.Fake {
		what = " would be mounted on "
	}
	_, _ = io.WriteString(stdout, "sigilfs: "+call.Spec+what+call.Dir+"\n")
}

// surroundings gives what mount(8) need not, systemd's least of all: PATH, for
// fusermount3 and sources of keys and credentials that are commands; HOME, for
// AWS's shared files.
func surroundings() error {
	if os.Getenv("PATH") == "" {
		if err := os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
			return err
		}
	}
	if os.Getenv("HOME") != "" {
		return nil
	}
	me, err := user.Current()
	if err != nil || me.HomeDir == "" {
		return nil //nolint:nilerr // who has no home has no files there
	}
	return os.Setenv("HOME", me.HomeDir)
}

// remains lists the options that a remount does not look at, by name.
func remains(flags *pflag.FlagSet) []string {
	var names []string
	flags.Visit(func(f *pflag.Flag) {
		if f.Name != "read-only" {
			names = append(names, f.Name)
		}
	})
	return names
}

// spelled is the name of an option as people write it: what begins with "-" is
// _netdev, or meant to be.
func spelled(name string) string {
	if rest, ok := strings.CutPrefix(name, "-"); ok {
		return "_" + rest
	}
	return name
}

// unknownOption is the error about p, nil where it is passed over (-s).
func (l *optionList) unknownOption(p option.Pair) error {
	known := slices.Concat(flagNames(l.flags), wordNames(), s3fsNames(), ignoredNames())
	for i, name := range known {
		known[i] = spelled(name)
	}
	text := unknown("option", spelled(p.Name), known, laterFlags())
	if l.sloppy && strings.HasPrefix(text, "unknown ") {
		l.passed = append(l.passed, "-o: "+text)
		return nil
	}
	return usageError("-o: %s", text)
}
