package main

import (
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/manual"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const fileDescription = `A file of YAML says what is mounted and how it is encrypted:

    sigilfs mount /etc/sigilfs/backups.yaml /mnt/backups
    systemctl enable --now sigilfs@backups

Its name ends in .yaml or .yml, or it is any other regular file that is there.
Flags of the command line stand above it: a rule takes the place of that for
the same prefix, a key that of the same name.

A field that is not known, a name or prefix that is given twice, a missing key
and a value of the wrong type are refused, with line and column. Anchors,
aliases, tags and a second document are not understood, and a file may have
1 MiB. Relative paths are those of the directory in which the command was given:
for systemd and mount(8) write absolute ones.`

// fileExample is a whole file.
const fileExample = `    bucket: s3://acme-backups/web1
    keys:
      main:    {kms: alias/backup, context: {team: backup}}
      escrow:  {age: {recipients: [age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z], identities: file:/etc/sigilfs/escrow.txt}}
      cust-24: {ssec: file:/etc/sigilfs/cust-24.key}
      cust-25: {ssec: file:/etc/sigilfs/cust-25.key}
    encryption:                       # the longest prefix wins
      - {mode: client, key: [main, escrow]}
      - {prefix: logs/,    mode: sse-kms, key: main, bucket-key: true}
      - {prefix: exports/, mode: s3ec, key: main}
      - {prefix: partner/, mode: sse-c, key: cust-25}
    cache: {dir: /var/cache/sigilfs/web1, size: 20GiB}
    read-only: false`

// filePage is sigilfs.yaml(5).
func filePage(root *cobra.Command) manual.Page {
	page := manual.Page{
		Name: "sigilfs.yaml", Number: 5, Chapter: "File Formats", What: "configuration of a sigilfs mount",
		Synopsis:    []string{`\fB/etc/sigilfs/\fR\fINAME\fR\fB.yaml\fR`},
		Description: fileDescription,
		SeeAlso:     []string{"sigilfs(1)", "mount.sigilfs(8)"},
	}
	flags := mountFlags(root)
	page = with(
		page,
		docsPart("Fields", "", config.Parts()),
		cachePart(flags),
		docsPart("Keys", "A key has a name of up to 64 letters, digits, dots, dashes and underscores, and is one of kms, age, aes, ssec and rsa.", config.KeyFields()),
		sub(docsPart("Of an age key", "", config.AgeFields())),
		sub(sourcesPart("SOURCE", "The secret is then read by who mounts.")),
		docsPart("Rules", "Each is a mapping of these fields.", ruleDocs()),
		sub(modesPart()),
		sub(docsPart("Of sse", "", config.BeneathFields())),
		flagsPart(flags),
		manual.Part{Title: "Example", Text: fileExample},
	)
	return page
}

func sub(p manual.Part) manual.Part {
	p.Sub = true
	return p
}

func docsPart(title, text string, docs []config.Doc) manual.Part {
	part := manual.Part{Title: title, Text: text}
	for _, d := range docs {
		part.Items = append(part.Items, manual.Item{Words: []string{d.Name + ":"}, Value: d.Value, Text: d.Text + "."})
	}
	return part
}

// ruleDocs say with which modes a field goes.
func ruleDocs() []config.Doc {
	docs := config.RuleFields()
	for i, d := range docs {
		var modes []string
		for _, m := range config.Modes() {
			if slices.Contains(m.Fields(), d.Name) {
				modes = append(modes, string(m))
			}
		}
		if len(modes) > 0 {
			docs[i].Text += ". With mode " + strings.Join(modes, ", ")
		}
	}
	return docs
}

func modesPart() manual.Part {
	part := manual.Part{Title: "MODE"}
	for _, d := range config.ModeDocs() {
		text := d.Text + "."
		if d.Value != "" {
			text += " Keys: " + d.Value + "."
		}
		part.Items = append(part.Items, manual.Item{Words: []string{d.Name}, Text: text})
	}
	return part
}

// cachePart has the texts of the flags that its fields are.
func cachePart(flags *pflag.FlagSet) manual.Part {
	part := manual.Part{Title: "Of cache", Sub: true}
	for _, d := range config.CacheFields() {
		value, text := manual.Usage(flags.Lookup(d.Value))
		part.Items = append(part.Items, manual.Item{Words: []string{d.Name + ":"}, Value: value, Text: d.Text + ". " + text})
	}
	return part
}

// flagsPart are the fields that are flags.
func flagsPart(flags *pflag.FlagSet) manual.Part {
	part := manual.Part{Title: "Flags of mount", Text: "Under their own names."}
	for _, field := range config.Flags() {
		value, text := manual.Usage(flags.Lookup(field.Name))
		if field.Type == config.Switch {
			value = "true|false"
		}
		part.Items = append(part.Items, manual.Item{Words: []string{field.Name + ":"}, Value: value, Text: text})
	}
	return part
}
