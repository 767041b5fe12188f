package doctor

import (
	"encoding/json"
	"slices"
	"strings"
)

// command is a line for a shell that has aws(1) ask S3's API about the bucket.
func (e *exam) command(verb string, args ...string) string {
	words := slices.Concat([]string{"aws"}, e.AWS, []string{"s3api", verb, "--bucket", e.Bucket}, args)
	for i, w := range words {
		words[i] = quote(w)
	}
	return strings.Join(words, " ")
}

// quote makes one word of it for a shell.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+,", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// abortRule is the rule that the volume should have, as S3's API spells it.
func (e *exam) abortRule() map[string]any {
	return map[string]any{
		"ID": "abort-abandoned-uploads", "Status": "Enabled", "Filter": map[string]string{"Prefix": e.Root},
		"AbortIncompleteMultipartUpload": map[string]int{"DaysAfterInitiation": abortDays},
	}
}

func compact(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data
	}
	return string(b)
}

const configuration = "--lifecycle-configuration"

// add are the lines that add the rule. A configuration is replaced as a whole,
// so the rules that are there go into the new one.
func (e *exam) add() []string {
	if len(e.rules) == 0 {
		return []string{e.command("put-bucket-lifecycle-configuration", configuration, compact(map[string]any{"Rules": []any{e.abortRule()}}))}
	}
	lines := e.change()
	lines[1] = "# add to the Rules of lifecycle.json: " + compact(e.abortRule())
	return lines
}

// change are the lines that change what is there.
func (e *exam) change() []string {
	return []string{
		e.command("get-bucket-lifecycle-configuration", "--query", "{Rules: Rules}") + " >lifecycle.json",
		"# edit lifecycle.json",
		e.command("put-bucket-lifecycle-configuration", configuration, "file://lifecycle.json"),
	}
}
