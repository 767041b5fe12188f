package awsclient

import (
	"strings"
	"unicode"
)

// OneLine makes foreign text fit for a log line: no control characters, and
// about most bytes of it.
func OneLine(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
