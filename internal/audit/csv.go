package audit

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// CSV writes a row for each object as it comes, by RFC 4180. encoding/csv is not
// used as it changes line breaks within fields, and keys may have some.
//
// A field that a spreadsheet would take for a formula (OWASP, "CSV Injection")
// gets an apostrophe before it, and so does one that begins with an apostrophe:
// who reads the file by program takes one away.
type CSV struct {
	w   *bufio.Writer
	err error
}

func csvHeader() []string {
	return []string{
		"key", "version", "old", "mode", "algorithm", "key_id", "epoch", "epoch_state", "commitment", "server",
		"storage_class", "stored", "plain", "modified", "finding_kinds", "findings", "path",
	}
}

// NewCSV begins a file with the row of names.
func NewCSV(w io.Writer) *CSV {
	c := ResumeCSV(w)
	c.row(csvHeader())
	return c
}

// ResumeCSV goes on with a file that has it already.
func ResumeCSV(w io.Writer) *CSV { return &CSV{w: bufio.NewWriterSize(w, 64<<10)} }

// Object writes one.
func (c *CSV) Object(o Object) error {
	var kinds, texts []string
	for _, f := range o.Findings {
		kinds = append(kinds, string(f.Kind))
		text := string(f.Kind)
		if f.Text != "" {
			text += ": " + f.Text
		}
		texts = append(texts, text)
	}
	plain, modified := "", ""
	if o.Plain >= 0 {
		plain = strconv.FormatInt(o.Plain, 10)
	}
	if !o.Modified.IsZero() {
		modified = o.Modified.UTC().Format(time.RFC3339)
	}
	c.row([]string{
		o.Key, o.Version, strconv.FormatBool(o.Old), o.Mode, o.Algorithm, o.KeyID, o.Epoch, o.EpochState, o.Commitment, o.Server,
		classOf(o), strconv.FormatInt(o.Stored, 10), plain, modified, strings.Join(kinds, " "), strings.Join(texts, "; "), o.Path,
	})
	return c.err
}

// Close writes what is left. The Report has no place in rows.
func (c *CSV) Close(*Report) error { return c.Flush() }

// Flush writes what was told.
func (c *CSV) Flush() error {
	if c.err == nil {
		c.err = c.w.Flush()
	}
	return c.err
}

func (c *CSV) row(fields []string) {
	for i, f := range fields {
		if i > 0 {
			c.write(",")
		}
		c.write(field(f))
	}
	c.write("\r\n")
}

func (c *CSV) write(s string) {
	if c.err == nil {
		_, c.err = c.w.WriteString(s)
	}
}

// field makes text one field.
func field(s string) string {
	if s != "" && strings.ContainsRune("'=+-@\t\r\n＝＋－＠", first(s)) {
		s = "'" + s
	}
	if strings.ContainsAny(s, "\",\r\n") || strings.TrimSpace(s) != s {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}

func first(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}
