package main

import (
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/manual"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newManual is for who makes packages.
func newManual() *cobra.Command {
	var names []string
	for _, page := range manualPages() {
		names = append(names, page.name)
	}
	return &cobra.Command{
		Use:       "manual " + strings.Join(names, "|"),
		Short:     "Print a manual page, for man -l",
		Hidden:    true,
		ValidArgs: names,
		Args:      arguments(1, "sigilfs manual "+names[0]),
		RunE: func(c *cobra.Command, args []string) error {
			i := slices.Index(names, args[0])
			if i < 0 {
				return usageError("there is no page %s: it is one of %s", args[0], strings.Join(names, ", "))
			}
			page := manualPages()[i].write(c.Root())
			page.Version, page.Date = manualVersion()
			if _, err := io.WriteString(c.OutOrStdout(), page.String()); err != nil {
				return systemError("%w", err)
			}
			return nil
		},
	}
}

// manualPage is one, by the name of its file.
type manualPage struct {
	name  string
	write func(root *cobra.Command) manual.Page
}

func manualPages() []manualPage {
	return []manualPage{{"sigilfs.1", programPage}, {"mount.sigilfs.8", helperPage}, {"sigilfs.yaml.5", filePage}}
}

// manualVersion is that of the program, with the time of its commit.
func manualVersion() (string, time.Time) {
	v, _ := built()
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v, time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			when, _ := time.Parse(time.RFC3339, s.Value)
			return v, when
		}
	}
	return v, time.Time{}
}

// programPage is sigilfs(1).
func programPage(root *cobra.Command) manual.Page {
	page := manual.Page{
		Name: "sigilfs", Number: 1, Chapter: "User Commands", What: "mount encrypted S3 buckets",
		Description: root.Long,
		Parts:       []manual.Part{{Title: "Commands"}},
		SeeAlso:     []string{"mount.sigilfs(8)", "sigilfs.yaml(5)", "fusermount3(1)", "age(1)"},
	}
	flags := mountFlags(root)
	for _, c := range leaves(root) {
		page.Synopsis = append(page.Synopsis, manual.Forms(c)...)
		page.Parts = append(page.Parts, manual.CommandPart(c, flags))
	}
	page.Parts = append(page.Parts, manual.Part{Title: "Options", Text: "Of mount, and of each command that takes a TARGET. Every one is an option of -o and a field of the configuration file too, under the same name; _ and - are alike."})
	page.Parts = append(page.Parts, manual.FlagParts(flags, manual.FlagItem)...)
	sources := sourcesPart("Sources of keys", "--key NAME=SOURCE names a key, for --encryption to refer to. aes:, ssec: or rsa: goes before SOURCE where the mode alone does not say which kind of key it is.")
	sources.Items = append(
		sources.Items,
		manual.Item{Words: []string{"kms:"}, Value: "ID[,context=NAME=VALUE,...]", Joined: true, Text: "A key of AWS KMS: its ID, its ARN, or an alias (alias/NAME)."},
		manual.Item{Words: []string{"age:"}, Value: "RECIPIENT[,RECIPIENT,...][,SOURCE]", Joined: true, Text: "Recipients of age (age1..., ssh-...), and where the identity is that this host reads with."},
	)
	return with(page, sources, exitPart(), environmentPart(), filesPart())
}

// with adds parts.
func with(page manual.Page, parts ...manual.Part) manual.Page {
	page.Parts = append(page.Parts, parts...)
	return page
}

// leaves are the commands that do something.
func leaves(c *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, sub := range c.Commands() {
		switch {
		case sub.Hidden || sub.Name() == "help":
		case sub.HasSubCommands():
			all = append(append(all, sub), leaves(sub)...)
		default:
			all = append(all, sub)
		}
	}
	return all
}

func mountFlags(root *cobra.Command) *pflag.FlagSet {
	mount, _, _ := root.Find([]string{"mount"}) // it is there
	return mount.Flags()
}

func sourcesPart(title, more string) manual.Part {
	part := manual.Part{Title: title, Text: "A key is never written into a command line or a configuration file, but where it is. " + more}
	for _, d := range config.Sources() {
		part.Items = append(part.Items, manual.Item{Words: []string{d.Name + ":"}, Value: d.Value, Joined: true, Text: d.Text + "."})
	}
	return part
}

func exitPart() manual.Part {
	return manual.Part{Title: "Exit status", Items: []manual.Item{
		{Words: []string{"0"}, Text: "All is well."},
		{Words: []string{"1"}, Text: "The command line, or the configuration file, is wrong."},
		{Words: []string{"2"}, Text: "This host cannot: no FUSE device, a disk that cannot be written."},
		{Words: []string{"32"}, Text: "The mount failed, is not there, or ended with data that is not in the bucket."},
		{Words: []string{"64"}, Text: "Of doctor and status: nothing failed, and somebody should look."},
	}}
}

func environmentPart() manual.Part {
	return manual.Part{
		Title: "Environment",
		Text: `Credentials, region and endpoints are found as AWS's own tools find them, so
their variables count: AWS_ACCESS_KEY_ID and its like, AWS_PROFILE, AWS_REGION,
AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE, AWS_ENDPOINT_URL,
AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL_KMS, AWS_CA_BUNDLE, AWS_MAX_ATTEMPTS,
AWS_REQUEST_CHECKSUM_CALCULATION; and HTTPS_PROXY and NO_PROXY.`,
		Items: []manual.Item{
			{Words: []string{"CREDENTIALS_DIRECTORY"}, Text: "Where systemd has put credentials."},
			{Words: []string{"XDG_STATE_HOME"}, Text: "Where the state of users other than root lies, in place of ~/.local/state."},
		},
	}
}

func filesPart() manual.Part {
	return manual.Part{Title: "Files", Items: []manual.Item{
		{Words: []string{"/etc/sigilfs/"}, Value: "NAME.yaml", Joined: true, Text: "What the unit sigilfs@NAME.service mounts; see sigilfs.yaml(5). Of a user's own service manager: ~/.config/sigilfs/NAME.yaml."},
		{Words: []string{"/var/lib/sigilfs", "~/.local/state/sigilfs"}, Text: "Unfinished writes, sealed, and memory of keys: of root, and of others."},
		{Words: []string{"/run/sigilfs", "/run/user/"}, Value: "UID/sigilfs", Joined: true, Text: "By what umount and status find the process of a mount: of root, and of others."},
	}}
}

// helperPage is mount.sigilfs(8).
func helperPage(root *cobra.Command) manual.Page {
	page := manual.Page{
		Name: "mount.sigilfs", Number: 8, Chapter: "System Administration", What: "mount an encrypted S3 bucket by mount(8) and fstab(5)",
		Synopsis:    []string{`\fBmount \-t sigilfs\fR [\fB\-o\fR \fIOPTIONS\fR] \fISPEC DIR\fR`, `\fBmount.sigilfs\fR \fISPEC DIR\fR [\fB\-sfnv\fR] [\fB\-o\fR \fIOPTIONS\fR] [\fB\-t\fR \fITYPE\fR]`, `\fBumount\fR \fIDIR\fR`},
		Description: helperDescription,
		SeeAlso:     []string{"sigilfs(1)", "sigilfs.yaml(5)", "mount(8)", "umount(8)", "fstab(5)", "systemd.mount(5)"},
	}
	flags := mountFlags(root)
	page.Parts = []manual.Part{{Title: "Options", Text: "Those of sigilfs mount; _ and - are alike. A comma in a value is written \\, or the value stands in quotes. Of an option that is given twice the last one counts, but of those that are repeatable."}}
	page.Parts = append(page.Parts, manual.FlagParts(flags, func(f *pflag.Flag) manual.Item {
		return manual.OptionItem(f, optionName(f.Name))
	}, "options")...)
	return with(page, wordsPart(), aliasesPart(), needlessPart(), refusedPart(), exitPart())
}

const helperDescription = `mount(8) calls mount.sigilfs for file systems of type sigilfs. SPEC is
s3://bucket/prefix, bucket:/prefix, or a configuration file, see
sigilfs.yaml(5). In /etc/fstab:

    s3://acme/web1      /mnt/web1  sigilfs  _netdev,nofail,encrypt=client,key=file:/etc/sigilfs/main.key  0 0
    /etc/sigilfs/b.yaml /mnt/b     sigilfs  _netdev,nofail                                               0 0

The command returns when the mount answers, or says why not. An option that
nobody knows is an error that names the nearest. PATH and HOME need not be set.

umount(8) calls umount.sigilfs in the same way, which returns when what was
written is in the bucket and the process of the mount has ended. umount -l and
umount -f do not wait, and neither does umount -i, which asks no helper.

-f is fake: all is checked that can be without a request. -s passes over unknown
options, and says so. -v says what is done. -n changes nothing. -N is refused.`

// optionName is that of a flag, or one that mount(8) hands on.
func optionName(flag string) string {
	if flag == "encryption" {
		return "encrypt"
	}
	return flag
}

func wordsPart() manual.Part {
	part := manual.Part{Title: "Options of mount(8)", Text: "Further options of mount(8), and those that begin with x-, are for others, and taken: " + listed(ignoredNames()) + "."}
	for _, name := range slices.Sorted(maps.Keys(words())) {
		w := words()[name]
		if w.flag == name {
			continue
		}
		text := "As " + manual.Option(w.flag) + "."
		if !w.on {
			text = "As without " + manual.Option(w.flag) + ", which is so unless it is asked for."
		}
		part.Items = append(part.Items, manual.Item{Words: []string{name}, Text: text})
	}
	part.Items = append(part.Items, shorthands()...)
	return part
}

func aliasesPart() manual.Part {
	part := manual.Part{Title: "Options of s3fs"}
	for _, name := range slices.Sorted(maps.Keys(aliases())) {
		text := "As " + manual.Option(optionName(aliases()[name])) + "."
		if aliases()[name] == "encryption" {
			text = "--encryption of sigilfs mount. mount(8) keeps an option called encryption to itself and hands on nothing of it."
		}
		part.Items = append(part.Items, manual.Item{Words: []string{manual.Option(name)}, Text: text})
	}
	part.Items = append(part.Items, translated()...)
	return part
}

func needlessPart() manual.Part {
	return manual.Part{
		Title: "Options of s3fs that do nothing",
		Text:  "They ask for what is so in any case, or tune what tunes itself here: " + listed(needless()) + ".",
	}
}

func refusedPart() manual.Part {
	part := manual.Part{Title: "Options that are refused", Text: "There is no equivalent, but something else:"}
	for _, name := range slices.Sorted(maps.Keys(refusedOptions())) {
		part.Items = append(part.Items, manual.Item{Words: []string{manual.Option(name)}, Text: manual.Sentence(refusedOptions()[name])})
	}
	return part
}

// listed names options in a sentence.
func listed(names []string) string {
	var all []string
	for _, name := range slices.Sorted(slices.Values(names)) {
		all = append(all, manual.Option(name))
	}
	return strings.Join(all, ", ")
}
