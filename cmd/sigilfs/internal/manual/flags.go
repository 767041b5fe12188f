package manual

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Group names the annotation of a flag that says under which heading it comes.
const Group = "sigilfs.group"

// FlagParts are the flags of a set, hidden ones and those of the names aside,
// under their headings.
func FlagParts(flags *pflag.FlagSet, item func(*pflag.Flag) Item, aside ...string) []Part {
	var parts []Part
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || slices.Contains(aside, f.Name) {
			return
		}
		title := strings.Join(f.Annotations[Group], "")
		i := slices.IndexFunc(parts, func(p Part) bool { return p.Title == title })
		if i < 0 {
			i = len(parts)
			parts = append(parts, Part{Title: title, Sub: true})
		}
		parts[i].Items = append(parts[i].Items, item(f))
	})
	return parts
}

// FlagItem is a flag as it is typed on a command line.
func FlagItem(f *pflag.Flag) Item {
	words := []string{"--" + f.Name}
	if f.Shorthand != "" {
		words = []string{"-" + f.Shorthand, "--" + f.Name}
	}
	value, text := Usage(f)
	return Item{Words: words, Value: value, Text: text}
}

// OptionItem is a flag as it is typed in a list of -o, under the name that it
// has there.
func OptionItem(f *pflag.Flag, name string) Item {
	value, text := Usage(f)
	word := Option(name)
	if value != "" {
		word += "="
	}
	return Item{Words: []string{word}, Value: value, Joined: true, Text: text}
}

// Option is how an option is written in fstab, where others have underscores.
func Option(name string) string { return strings.ReplaceAll(name, "-", "_") }

// Usage gives what stands for the value of a flag, "" for a switch, and its
// text as a sentence, with its default.
func Usage(f *pflag.Flag) (value, text string) {
	value, text = pflag.UnquoteUsage(f)
	if f.Value.Type() == "bool" {
		value = ""
	}
	if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
		text += " (default: " + f.DefValue + ")"
	}
	if value != "" && strings.HasPrefix(text, value) { // as it is typed
		return value, stopped(text)
	}
	return value, Sentence(text)
}

// Sentence begins with a capital, unless it begins with no letter of ASCII, and
// ends with a full stop.
func Sentence(text string) string {
	if text != "" && text[0] >= 'a' && text[0] <= 'z' {
		text = string(text[0]-'a'+'A') + text[1:]
	}
	return stopped(text)
}

func stopped(text string) string {
	if text == "" || strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}
