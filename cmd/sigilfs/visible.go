package main

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible is text with what a terminal would obey rather than show as escapes of
// Go; line breaks and tabs stay. An error may have names in it that anybody chose.
func visible(text string) string {
	var b strings.Builder
	for text != "" {
		r, n := utf8.DecodeRuneInString(text)
		if r == '\n' || r == '\t' || unicode.IsPrint(r) && (r != utf8.RuneError || n > 1) {
			b.WriteString(text[:n])
		} else {
			q := strconv.Quote(text[:n])
			b.WriteString(q[1 : len(q)-1])
		}
		text = text[n:]
	}
	return b.String()
}
