package config

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxDepth bounds nesting. What is known is four deep.
const maxDepth = 8

// parseYAML makes a tree of the one document in text. Of YAML it leaves out
// what makes one place of a file depend on another, or on a type's name:
// anchors, aliases, merge keys, tags, directives.
func parseYAML(name string, text []byte) (node, error) {
	file := Place{Name: name}
	if len(text) > MaxSize {
		return node{}, file.errorf("longer than %d bytes", MaxSize)
	}
	if err := checkText(file, text); err != nil {
		return node{}, err
	}
	tokens := lexer.Tokenize(string(text))
	if err := checkTokens(file, tokens); err != nil {
		return node{}, err
	}
	doc, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // which node.each refuses
	if err != nil {
		return node{}, syntaxError(file, err)
	}
	b := builder{file}
	switch bodies := documents(doc); len(bodies) {
	case 0:
		return node{}, file.errorf("nothing is in it")
	case 1:
		return b.node(bodies[0], maxDepth)
	default:
		return node{}, b.place(bodies[1]).errorf("a second document begins here; there may be one")
	}
}

// checkText refuses bytes that are no text: YAML 1.2.2, 5.1.
func checkText(at Place, text []byte) error {
	for i, r := range string(text) {
		bad := r == utf8.RuneError && !utf8.FullRune(text[i:]) || r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRune(text[i:]); size == 1 {
				bad = true
			}
		}
		if bad {
			line := bytes.Count(text[:i], []byte("\n"))
			at.Line, at.Column = line+1, utf8.RuneCount(text[bytes.LastIndexByte(text[:i], '\n')+1:i])+1
			return at.errorf("a byte that is not text in UTF-8")
		}
	}
	return nil
}

// checkTokens bounds nesting before the parser, which recurses, and refuses
// what is left out of YAML. Deep nesting by indentation takes a file that is
// longer than the square of it.
func checkTokens(file Place, tokens token.Tokens) error {
	flow, line, dashes := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType, token.MappingKeyType:
			return at(file, t).errorf("anchors, aliases, tags, directives and keys of several parts are not understood here; write the value out, in quotes if it begins with one of & * ! %% ?")
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType:
			dashes++
		}
		if flow > maxDepth || dashes > maxDepth {
			return at(file, t).errorf("nested deeper than %d levels", maxDepth)
		}
	}
	return nil
}

// at is the place of a token.
func at(file Place, t *token.Token) Place {
	if t != nil && t.Position != nil {
		file.Line, file.Column = max(1, t.Position.Line), max(1, t.Position.Column)
	}
	return file
}

// syntaxError keeps the place of the parser's error, and its sentence where
// that holds nothing of the file.
func syntaxError(file Place, err error) error {
	var bad yaml.Error
	if !errors.As(err, &bad) {
		return file.errorf("not YAML")
	}
	message := bad.GetMessage()
	if message == "" || strings.ContainsRune(message, '"') {
		return at(file, bad.GetToken()).errorf("not YAML")
	}
	return at(file, bad.GetToken()).errorf("not YAML: %s", message)
}

// documents gives those that hold something.
func documents(f *ast.File) []ast.Node {
	var bodies []ast.Node
	for _, doc := range f.Docs {
		if doc != nil && doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	return bodies
}

// builder makes nodes of the parser's tree.
type builder struct{ file Place }

func (b builder) place(n ast.Node) Place {
	switch n := n.(type) {
	case *ast.MappingNode: // its token is the first ":"
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return b.place(n.Values[0])
		}
	case *ast.MappingValueNode:
		return b.place(n.Key)
	}
	return at(b.file, n.GetToken())
}

// node converts n, which may have depth levels.
func (b builder) node(n ast.Node, depth int) (node, error) {
	made := node{at: b.place(n)}
	if depth == 0 {
		return made, made.at.errorf("nested deeper than %d levels", maxDepth)
	}
	switch n := n.(type) {
	case *ast.NullNode:
		made.kind = isEmpty
	case *ast.BoolNode:
		made.kind, made.text = isBool, strings.ToLower(n.Token.Value)
	case *ast.IntegerNode, *ast.FloatNode:
		made.kind, made.text = isNumber, n.GetToken().Value
	case *ast.StringNode:
		made.kind, made.text = isText, n.Value
	case *ast.LiteralNode:
		made.kind, made.text = isText, strings.TrimSuffix(n.Value.Value, "\n")
	case *ast.SequenceNode:
		return b.list(made, n, depth)
	case *ast.MappingValueNode:
		return b.mapping(made, []*ast.MappingValueNode{n}, depth)
	case *ast.MappingNode:
		return b.mapping(made, n.Values, depth)
	default:
		return made, made.at.errorf("a value of no use here")
	}
	return made, nil
}

func (b builder) list(made node, n *ast.SequenceNode, depth int) (node, error) {
	made.kind = isList
	for _, v := range n.Values {
		item, err := b.node(v, depth-1)
		if err != nil {
			return made, err
		}
		made.items = append(made.items, item)
	}
	return made, nil
}

func (b builder) mapping(made node, values []*ast.MappingValueNode, depth int) (node, error) {
	made.kind = isMapping
	for _, v := range values {
		key, err := b.node(v.Key, 1)
		if err != nil {
			return made, err
		}
		if key.kind == isEmpty || key.kind == isList || key.kind == isMapping {
			return made, key.at.errorf("the name of a field must be a word")
		}
		value, err := b.node(v.Value, depth-1)
		if err != nil {
			return made, err
		}
		if value.kind == isEmpty {
			value.at = key.at
		}
		made.entries = append(made.entries, entry{key.text, key.at, value})
	}
	return made, nil
}
