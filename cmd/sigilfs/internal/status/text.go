package status

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Text writes the report for a person. What it shows of another user's process
// is made printable: it does not steer a terminal.
func (r *Report) Text(out io.Writer) error {
	w := &writer{out: out}
	for i := range r.Mounts {
		if i > 0 {
			w.line("")
		}
		w.mount(&r.Mounts[i])
	}
	return w.err
}

// writer keeps the first error.
type writer struct {
	out io.Writer
	err error
}

func (w *writer) line(format string, args ...any) {
	if w.err == nil {
		_, w.err = io.WriteString(w.out, strings.Map(printable, fmt.Sprintf(format, args...))+"\n")
	}
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}

// field is a line under a mount's first.
func (w *writer) field(name, format string, args ...any) {
	w.line("  %-10s "+format, append([]any{name}, args...)...)
}

func (w *writer) mount(m *Mount) {
	w.line("%s: %s (%s), process %d: %s", m.Dir, first(m.Bucket, m.Source), first(m.State, "not answering"), m.PID, m.Health)
	if m.Error != "" {
		w.field("error", "%s", m.Error)
		return
	}
	for _, r := range m.Reasons {
		w.field("because", "%s", r)
	}
	w.field("since", "%s (%s)%s", m.Since.Format(time.RFC3339), span(m.Asked.Sub(m.Since)), only(m.ReadOnly, ", read-only"))
	w.files(m)
	w.space(m)
	w.keys(m)
	if len(m.Options) > 0 {
		var all []string
		for name, value := range m.Options {
			all = append(all, name+"="+value)
		}
		slices.Sort(all)
		w.field("options", "%s", strings.Join(all, " "))
	}
	for _, e := range m.Errors {
		w.event(e)
	}
}

func (w *writer) files(m *Mount) {
	if f := m.Files; f != nil {
		w.field("dirty", "%s, %s; %d uploading, %d failing", count(f.Dirty, "file"), Size(f.Size), f.Uploading, f.Failing)
		for _, x := range f.List {
			w.file(x, m.Asked)
		}
		if f.More > 0 {
			w.line("    and %d more", f.More)
		}
	}
	if m.Uploads+m.Chores > 0 {
		w.field("bucket", "%s under way, %s to be done", count(m.Uploads, "multipart upload"), count(m.Chores, "deferred operation"))
	}
	if n := m.Names; n != nil {
		w.field("names", "encrypted, %s%s", n.Fingerprint, only(n.Foreign > 0, fmt.Sprintf("; %d times was something hidden that has no name of this volume", n.Foreign)))
	}
	if m.Conflicts > 0 {
		w.field("conflicts", "%d", m.Conflicts)
	}
	w.older(m)
}

func (w *writer) older(m *Mount) {
	if o := m.Older; o != nil {
		w.field("rollback", "%s", is(o.Objects, "object")+" in an older state than was known")
		for _, x := range o.List {
			w.line("    %s: %s, version %d, known is %d, met %s ago", x.Path, x.Kind, x.Shown, x.Known, span(m.Asked.Sub(x.Since)))
		}
		if o.More > 0 {
			w.line("    and %d more", o.More)
		}
	}
	if v := m.Versions; v != nil {
		w.field("versions", "of %s known, %d at the most%s", count(v.Records, "object"), v.Limit, only(v.Forgotten > 0, fmt.Sprintf("; %d forgotten", v.Forgotten)))
	}
}

func (w *writer) file(f File, now time.Time) {
	var says []string
	switch {
	case f.AttributesOnly:
		says = append(says, "attributes only")
	case f.Uploading && f.Size > 0 && f.Uploaded > 0:
		says = append(says, fmt.Sprintf("uploading, %d %% of %s", f.Uploaded*100/f.Size, Size(f.Size)))
	case f.Uploading:
		says = append(says, "uploading, "+Size(f.Size))
	default:
		says = append(says, Size(f.Size))
	}
	if f.Open {
		says = append(says, "open")
	}
	if f.Error != "" {
		says = append(says, "failing for "+span(now.Sub(f.Since)))
		if f.Next.After(now) {
			says = append(says, "next try in "+span(f.Next.Sub(now)))
		}
	}
	w.line("    %s: %s", first(f.Path, "(unlinked)"), strings.Join(says, ", "))
	if f.Error != "" {
		w.line("      %s", f.Error)
	}
}

func (w *writer) space(m *Mount) {
	if s := m.Spool; s != nil {
		w.field("spool", "%s of %s in %s", Size(s.Used), Size(s.Limit), s.Dir)
	}
	if c := m.Cache; c != nil {
		w.tier("memory", c.Memory)
		if c.Disk != nil {
			w.tier("disk", *c.Disk)
		}
	}
	if mem := m.Memory; mem != nil {
		w.field("memory", "%s of %s", Size(mem.System), Size(mem.Limit))
	}
}

func (w *writer) tier(name string, t Tier) {
	rate := "no reads yet"
	if all := t.Hits + t.Misses; all > 0 {
		rate = fmt.Sprintf("%d %% of %d blocks were there", t.Hits*100/all, all)
	}
	w.field("cache", "%s of %s in %s; %s%s", Size(t.Used), Size(t.Limit), first(t.Dir, name), rate, only(t.Lost > 0, fmt.Sprintf("; %d could not be kept", t.Lost)))
}

func (w *writer) keys(m *Mount) {
	for _, r := range m.Rules {
		w.field("rule", "%s: %s%s", first(r.Prefix, "(all)"), r.Mode, only(len(r.Keys) > 0, ", "+strings.Join(r.Keys, ", ")))
	}
	for _, k := range m.Keys {
		w.field("key", "%s (%s)%s%s", first(k.Name, "without a name"), k.Kind, only(k.ID != "", " "+k.ID), only(!k.Created.IsZero(), ", "+span(m.Asked.Sub(k.Created))+" old"))
	}
	for _, e := range m.Epochs {
		w.field("epoch", "%s, %s, %s old%s%s", e.ID, e.State, span(m.Asked.Sub(e.Created)), only(e.Current, ", written under"), only(e.Lost, ", not in the bucket any more"))
	}
	if m.MoreEpochs > 0 {
		w.line("    and %d more", m.MoreEpochs)
	}
}

func (w *writer) event(e Event) {
	text := e.Text
	for _, more := range []string{e.Op, e.Path, e.Error} {
		if more != "" {
			text += ": " + more
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.More)) {
		text += " " + name + "=" + e.More[name]
	}
	w.field(e.Level, "%s %s%s", e.Time.Format(time.RFC3339), text, only(e.Again > 0, fmt.Sprintf(" (and %d times again)", e.Again)))
}

// first gives the first that is not empty.
func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func only(so bool, text string) string {
	if so {
		return text
	}
	return ""
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// is is count with a verb.
func is(n int, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return count(n, what) + " are"
}

// Size is a number of bytes in the largest binary unit of which there is one,
// with a digit behind the point if there are few.
func Size(n int64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	x, i := float64(n)/(1<<10), 0
	for ; x >= 1024 && i < len(units)-1; i++ {
		x /= 1024
	}
	if x < 10 {
		return fmt.Sprintf("%.1f %ciB", x, units[i])
	}
	return fmt.Sprintf("%.0f %ciB", x, units[i])
}

// span is a time as people say it, in its two largest units.
func span(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	days := d / (24 * time.Hour)
	switch {
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return d.String()
}
