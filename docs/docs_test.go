// Package docs holds the documentation to the source: what OPERATIONS.md says of
// messages and policies is so.
package docs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is all of the program, parsed: what is for tests left out.
func source(t *testing.T) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	set := token.NewFileSet()
	for _, dir := range []string{"cmd", "fs", "cache", "internal", "objcrypt", "systemd"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files[path], err = parser.ParseFile(set, path, nil, 0)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// text gives a string literal, or a sum with such in it, in which %v stands for
// the rest; else "".
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, _ := strconv.Unquote(e.Value) // the parser has seen it
			return s
		}
	case *ast.BinaryExpr:
		if x, y := text(e.X), text(e.Y); e.Op == token.ADD && x+y != "" {
			return cmp.Or(x, "%v") + cmp.Or(y, "%v")
		}
	}
	return ""
}

// troubles are the messages in the tables of the last section.
func troubles(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(b), "\n## Troubleshooting\n")
	if !found {
		t.Fatal("there is no such section")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var all []string
	quoted := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(section) {
		cell, found := strings.CutPrefix(line, "| ")
		cell, _, _ = strings.Cut(cell, " | ")
		for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
			if found {
				all = append(all, m[1])
			}
		}
	}
	return all
}

// What is said to mean something is said by the program.
func TestMessagesAreOfTheSource(t *testing.T) {
	var literals []string
	for _, f := range source(t) {
		ast.Inspect(f, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				if s := text(e); s != "" {
					literals = append(literals, s)
				}
			}
			return true
		})
	}
	messages := troubles(t)
	if len(messages) < 150 {
		t.Errorf("%d messages", len(messages))
	}
	for _, m := range messages {
		for _, part := range parts(m) {
			if !slices.ContainsFunc(literals, func(s string) bool { return strings.Contains(s, part) }) {
				t.Errorf("%q: nothing says %q", m, part)
			}
		}
	}
}

// parts are what of a message of the tables is always the same.
func parts(message string) []string {
	var all []string
	for p := range strings.SplitSeq(message, "…") {
		if p = strings.TrimSpace(p); len(p) > 2 {
			all = append(all, p)
		}
	}
	return all
}

// What the log warns of, and the names of errors that reach people, stand in the
// tables.
func TestMessagesAreExplained(t *testing.T) {
	known := troubles(t)
	explained := func(message string) bool {
		return slices.ContainsFunc(known, func(k string) bool {
			of := parts(k)
			return len(of) > 0 && !slices.ContainsFunc(of, func(part string) bool { return !strings.Contains(message, part) })
		})
	}
	for path, f := range source(t) {
		ast.Inspect(f, func(n ast.Node) bool {
			for _, m := range append(logged(n), sentinels(path, n)...) {
				if strings.Trim(m, "%v: ") != "" && !explained(m) {
					t.Errorf("%s says %q, of which the tables say nothing", path, m)
				}
			}
			return true
		})
	}
}

// logged gives what a call of a logger says, if it warns or worse, and what the
// key ring reports.
func logged(n ast.Node) []string {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return nil
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Warn", "Warnf", "Error", "Errorf", "report"}, method.Sel.Name) {
		return nil
	}
	if x, ok := method.X.(*ast.Ident); ok && (x.Name == "fmt" || x.Name == "t") {
		return nil
	}
	if method.Sel.Name == "report" && len(call.Args) == 2 {
		return []string{text(call.Args[1])}
	}
	return []string{text(call.Args[0])}
}

// sentinels gives the texts of errors of packages whose errors come to people.
func sentinels(path string, n ast.Node) []string {
	spec, ok := n.(*ast.ValueSpec)
	dirs := []string{
		"../internal/objstore", "../internal/keyring", "../objcrypt", "../objcrypt/sse", "../cache/spool", "../cache/disk", "../cache/scratch",
		"../cmd/sigilfs/internal/mountpoint", "../cmd/sigilfs/internal/state",
	}
	if !ok || !slices.Contains(dirs, filepath.Dir(path)) {
		return nil
	}
	var all []string
	for i, name := range spec.Names {
		if !name.IsExported() || inner(name.Name) || i >= len(spec.Values) {
			continue
		}
		if call, ok := spec.Values[i].(*ast.CallExpr); ok && len(call.Args) == 1 {
			all = append(all, text(call.Args[0]))
		}
	}
	return all
}

// inner are errors that somebody below a person always answers, or that say
// nothing beside what stands with them.
func inner(name string) bool {
	return slices.Contains([]string{
		"ErrClosed", "ErrSent", "ErrLeftover", "ErrInvalid", "ErrBusy", "ErrNotMounted", "ErrNotRoot", "ErrReadOnly",
		"ErrNotExist", "ErrExist", "ErrChanged", "ErrKeyNeeded", "ErrKeyUnwanted",
	}, name)
}

// Each check of doctor has a line in its table.
func TestChecksAreExplained(t *testing.T) {
	b, err := os.ReadFile("OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for path, f := range source(t) {
		all := path == filepath.FromSlash("../internal/doctor/bucket.go")
		ast.Inspect(f, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !all && (filepath.Base(filepath.Dir(path)) != "sigilfs" || !strings.HasSuffix(spec.Names[0].Name, "Check")) {
				return true
			}
			if name := text(spec.Values[0]); name != "" {
				n++
				if !strings.Contains(string(b), "\n| "+name+" | ") {
					t.Errorf("the check %s of %s is not in the table", name, path)
				}
			}
			return true
		})
	}
	if n < 20 {
		t.Errorf("there are %d checks", n)
	}
}

// A policy allows what is in the table of permissions, and nothing else.
func TestPolicies(t *testing.T) {
	b, err := os.ReadFile("OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := string(b)
	files, err := filepath.Glob("policies/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if !strings.Contains(manual, "`"+filepath.Base(name)+"`") {
			t.Errorf("OPERATIONS.md does not name %s", name)
		}
		for _, s := range statements(t, name) {
			if s.Sid == "" || s.Effect != "Allow" && s.Effect != "Deny" || len(s.Action) == 0 || len(s.Resource) == 0 {
				t.Errorf("%s: %+v", name, s)
			}
			for _, action := range s.Action {
				if s.Effect == "Allow" && strings.HasPrefix(action, "s3:") && action != "s3:*" && !strings.Contains(manual, "`"+action+"`") {
					t.Errorf("%s allows %s, of which OPERATIONS.md says nothing", name, action)
				}
			}
		}
	}
	for _, name := range []string{"rw", "ro", "wo", "keep"} {
		for _, s := range statements(t, "policies/"+name+".json") {
			for _, r := range s.Resource {
				if s.Effect == "Allow" && r != "arn:aws:s3:::acme-backups" && !strings.HasPrefix(r, "arn:aws:s3:::acme-backups/web1/") {
					t.Errorf("%s allows %v beyond the volume: %s", name, s.Action, r)
				}
			}
			if name == "wo" && slices.Contains(s.Action, "s3:DeleteObjectVersion") {
				t.Errorf("%+v", s)
			}
		}
	}
}

// a statement of a policy; one text or a list of them.
type statement struct {
	Sid, Effect      string
	Action, Resource texts
	Condition        map[string]map[string]any
}

type texts []string

// UnmarshalJSON takes both.
func (l *texts) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(l))
	}
	*l = make(texts, 1)
	return json.Unmarshal(b, &(*l)[0])
}

func statements(t *testing.T, name string) []statement {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Version   string
		Statement []statement
	}
	if err := json.Unmarshal(b, &doc); err != nil || doc.Version != "2012-10-17" || len(doc.Statement) == 0 {
		t.Fatal(fmt.Sprint(name, ": ", err, doc))
	}
	return doc.Statement
}
