package manual

import (
	"fmt"
	"regexp"
	"strings"
)

// roff builds a page. See groff_man(7) and mandoc's man(7): only what both know
// is used.
type roff struct{ strings.Builder }

// line ends with one newline. A blank or a dot that it begins with is the
// caller's.
func (r *roff) line(text string) { r.WriteString(text + "\n") }

func (r *roff) head(name string, number int, date, version, chapter string) {
	r.line(fmt.Sprintf(`.TH %s %d "%s" "%s" "%s"`, escape(strings.ToUpper(name)), number, date, escape(version), chapter))
	r.line(".nr HY 0") // options are searched for, and copied, as they are written
	r.line(".ad l")
}

func (r *roff) section(title string) { r.line(".SH " + strings.ToUpper(escape(title))) }

func (r *roff) part(p Part) {
	if p.Sub {
		r.line(".SS " + escape(p.Title))
	} else {
		r.section(p.Title)
	}
	if p.Text != "" {
		r.text(p.Text)
	}
	for _, i := range p.Items {
		r.item(i)
	}
}

// item is a word with what it means, indented.
func (r *roff) item(i Item) {
	var words []string
	for _, w := range i.Words {
		words = append(words, bold(w))
	}
	tag := strings.Join(words, ", ")
	if i.Value != "" {
		if !i.Joined {
			tag += " "
		}
		tag += italic(i.Value)
	}
	r.line(".TP")
	r.line(tag)
	r.line(prose(i.Text))
}

// text sets paragraphs and examples.
func (r *roff) text(text string) {
	for i, block := range blocks(text) {
		if i > 0 {
			r.line(".PP")
		}
		if strings.HasPrefix(block, margin) {
			r.example(block)
		} else {
			r.line(prose(block))
		}
	}
}

// margin is what each line of an example begins with.
const margin = "    "

func (r *roff) example(block string) {
	r.line(".RS 4")
	r.line(".EX")
	for line := range strings.SplitSeq(block, "\n") {
		r.line(guard(escape(strings.TrimPrefix(line, margin))))
	}
	r.line(".EE")
	r.line(".RE")
}

// blocks takes a text apart at empty lines, and where an example begins or ends.
// An empty line within an example stays.
func blocks(text string) []string {
	var all []string
	var now []string
	flush := func() {
		if block := strings.Trim(strings.Join(now, "\n"), "\n"); block != "" {
			all = append(all, block)
		}
		now = nil
	}
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		indented := strings.HasPrefix(line, margin)
		within := len(now) > 0 && strings.HasPrefix(now[0], margin)
		switch {
		case line == "" && within && i+1 < len(lines) && strings.HasPrefix(lines[i+1], margin):
		case line == "":
			flush()
			continue
		case len(now) > 0 && indented != within:
			flush()
		}
		now = append(now, line)
	}
	flush()
	return all
}

// flag is one in a sentence.
var flag = regexp.MustCompile(`(^|[\s(])(--?[a-z][a-z-]*)`)

// prose sets a sentence: flags in bold, each line safe from being a request.
func prose(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		var b strings.Builder
		for {
			at := flag.FindStringSubmatchIndex(line)
			if at == nil {
				break
			}
			b.WriteString(escape(line[:at[4]]) + bold(line[at[4]:at[5]]))
			line = line[at[5]:]
		}
		lines = append(lines, guard(b.String()+escape(line)))
	}
	return strings.Join(lines, "\n")
}

func bold(text string) string   { return `\fB` + escape(text) + `\fR` }
func italic(text string) string { return `\fI` + escape(text) + `\fR` }

// guard keeps a line from being taken for a request.
func guard(line string) string {
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}

// escape says text in roff: what stands there is what is to be typed, so a dash
// is one of ASCII, and so are quotes; what is not ASCII goes by its number.
func escape(text string) string {
	var b strings.Builder
	for _, c := range text {
		switch {
		case c == '\\':
			b.WriteString(`\e`)
		case c == '-':
			b.WriteString(`\-`)
		case c == '\'':
			b.WriteString(`\(aq`)
		case c == '`':
			b.WriteString(`\(ga`)
		case c == '^':
			b.WriteString(`\(ha`)
		case c == '~':
			b.WriteString(`\(ti`)
		case c == '"':
			b.WriteString(`\(dq`)
		case c == '…':
			b.WriteString("...")
		case c > 126:
			fmt.Fprintf(&b, `\[u%04X]`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
