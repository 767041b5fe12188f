// Package manual writes the manual pages from what the program itself goes by:
// commands and flags with their texts, tables of options, fields of the
// configuration file. So a page cannot miss an option, or tell of one that is
// not there. It knows roff(7) and man(7), and no option by name.
//
// A text of the program is plain: paragraphs between empty lines, and examples,
// of which each line begins with four blanks. What looks like a flag is set in
// bold.
package manual

import (
	"strings"
	"time"
)

// A Page is what a manual page says beside its options. Sections come in the
// order of the fields.
type Page struct {
	Name    string // of the page: sigilfs
	Number  int    // of the chapter of the manual
	Chapter string // its name: "User Commands"
	What    string // what it is, in some words
	Version string
	Date    time.Time // of the version; the zero time if it is not known

	Synopsis    []string
	Description string
	Parts       []Part
	SeeAlso     []string // NAME(NUMBER)
}

// A Part is a section, or within one a part of it.
type Part struct {
	Title string
	Sub   bool // it is a part of the section before
	Text  string
	Items []Item
}

// An Item is a word and what it means. Words are in bold, as they are typed,
// and what is typed in place of Value in italics, behind a blank unless it is
// Joined.
type Item struct {
	Words  []string
	Value  string
	Joined bool
	Text   string
}

// String is the page in the language of man(7), in ASCII.
func (p Page) String() string {
	var r roff
	date := ""
	if !p.Date.IsZero() {
		date = p.Date.UTC().Format(time.DateOnly)
	}
	r.head(p.Name, p.Number, date, "sigilfs "+p.Version, p.Chapter)
	r.section("Name")
	r.line(escape(p.Name) + ` \- ` + escape(p.What))
	r.section("Synopsis")
	for i, form := range p.Synopsis {
		if i > 0 {
			r.line(".br")
		}
		r.line(form)
	}
	r.section("Description")
	r.text(p.Description)
	for _, part := range p.Parts {
		r.part(part)
	}
	if len(p.SeeAlso) > 0 {
		r.section("See also")
		r.line(strings.Join(references(p.SeeAlso), ",\n"))
	}
	return r.String()
}

// references sets NAME(NUMBER) as man(7) pages do.
func references(pages []string) []string {
	var all []string
	for _, page := range pages {
		name, number, _ := strings.Cut(page, "(")
		all = append(all, bold(name)+"("+number)
	}
	return all
}
