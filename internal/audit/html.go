package audit

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"time"
)

// The page in its parts. Style and script go into it as they are: the page's
// policy names them by their hashes, and nothing else is loaded or run.
var (
	//go:embed page/page.html
	pageSource string
	//go:embed page/style.css
	pageStyle string
	//go:embed page/script.js
	pageScript string
)

// pageKind is a kind and how many there are.
type pageKind struct {
	KindInfo
	Count int64
}

// pageData is what the template is given.
type pageData struct {
	R       *Report
	Policy  string
	Style   template.CSS
	Script  template.JS
	Verdict string
	Caption string
	Remarks []string
	Charts  []chart
	Kinds   []pageKind
}

// WriteHTML writes the report as one page.
func WriteHTML(w io.Writer, r *Report) error {
	page, err := template.New("page").Funcs(template.FuncMap{
		"name": shown, "inside": shownInside, "number": number, "bytes": bytesText, "share": share, "when": when,
		"stamp":     func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
		"info":      Kind.Info,
		"rank":      Kind.rank,
		"modeClass": modeClass,
	}).Parse(pageSource)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	b := bufio.NewWriter(w)
	if err := page.Execute(b, newPage(r)); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	return b.Flush()
}

func newPage(r *Report) pageData {
	p := pageData{
		R: r, Policy: pagePolicy(), Style: template.CSS(pageStyle), Script: template.JS(pageScript), //nolint:gosec // both are constants
		Verdict: verdict(r), Caption: caption(r), Remarks: remarks(r),
		Charts: []chart{
			groupChart("mode", "mode", r.ByMode), groupChart("key", "key", r.ByKey), groupChart("age", "age", r.ByAge),
			prefixChart(r.ByPrefix), groupChart("class", "storage class", r.ByClass),
		},
	}
	for _, k := range r.ByKind {
		p.Kinds = append(p.Kinds, pageKind{k.Kind.Info(), k.Count})
	}
	return p
}

// pagePolicy lets the page's own style and script be used, and nothing be loaded.
func pagePolicy() string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; style-src " + hash(pageStyle) + "; script-src " + hash(pageScript) + "; img-src data:; base-uri 'none'; form-action 'none'"
}

func verdict(r *Report) string {
	switch {
	case r.Clean() && r.Complete:
		return "Nothing was found: " + plural(r.Current.Objects, "object is", "objects are") + " as they should be."
	case r.Clean():
		return "Nothing was found as far as was looked."
	}
	text := plural(r.Findings, "finding", "findings") + " in objects"
	if r.BucketBad > 0 {
		text += ", " + plural(int64(r.BucketBad), "finding", "findings") + " about the bucket"
	}
	return text + "."
}

func caption(r *Report) string {
	if r.KeptAll {
		return plural(r.Findings, "finding", "findings")
	}
	return fmt.Sprintf("%s of %s findings: the first %d of each kind", number(int64(len(r.Kept))), number(r.Findings), maxKept)
}

func modeClass(mode string) string {
	if mode == modeNone {
		return "danger"
	}
	return ""
}
