package integration

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/browser"
)

// newPage opens a report in Chromium, which setup installs.
func newPage(t *testing.T) *browser.Page {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	must(t, err)
	p, err := browser.Start(t.Context(), chromium, t.TempDir())
	must(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// value evaluates an expression in the page.
func value[T any](t *testing.T, p *browser.Page, expression string) (v T) {
	t.Helper()
	must(t, p.Eval(expression, &v))
	return v
}

// The report is one file that works without a network, in light and dark, on a
// narrow screen, by keyboard, for screen readers and without its script; and
// names of objects do nothing in it.
func TestAuditPage(t *testing.T) {
	t.Parallel()
	m, _ := audited(t)
	file := filepath.Join(t.TempDir(), "report.html")
	out, err := tryBinary(t, m.env(t), append([]string{"audit", m.yaml, "--html", file}, m.config(t).Args...)...)
	wantExit(t, out, err, 64)
	url := "file://" + file
	p := newPage(t)
	must(t, p.Width(1280))
	must(t, p.Media("light"))
	must(t, p.Open(url))

	t.Run("offline", func(t *testing.T) {
		for _, r := range p.Requests() {
			if r != url && !strings.HasPrefix(r, "data:") {
				t.Errorf("it asks for %s", r)
			}
		}
		if said := p.Trouble(); len(said) != 0 {
			t.Errorf("the console says %q", said)
		}
	})
	t.Run("names", func(t *testing.T) {
		if title := value[string](t, p, "document.title"); !strings.HasPrefix(title, "Audit of ") {
			t.Errorf("the title is %q", title)
		}
		if n := value[int](t, p, "document.images.length + document.querySelectorAll('script').length - 1 + document.querySelectorAll('[onerror],iframe,object,embed').length"); n != 0 {
			t.Errorf("%d elements are not the page's own", n)
		}
		shown := value[[]string](t, p, "[...document.querySelectorAll('#findings-table td.key')].map(c => c.textContent)")
		for _, want := range []string{"names/<script>document.title='owned'</script>", "names/{{.R}}", `"names/esc\x1b]0;owned\a"`, `"names/a\u202egpj.exe"`} {
			if !slices.Contains(shown, want) {
				t.Errorf("%s is not shown in %q", want, shown)
			}
		}
	})
	t.Run("colours", func(t *testing.T) {
		seen := map[string]bool{}
		for _, scheme := range []string{"light", "dark"} {
			must(t, p.Media(scheme))
			seen[value[string](t, p, "getComputedStyle(document.body).backgroundColor")] = true
			for _, weak := range value[[]string](t, p, weakContrast) {
				t.Errorf("%s: too little contrast: %s", scheme, weak)
			}
		}
		if len(seen) != 2 {
			t.Errorf("light and dark are %v", seen)
		}
	})
	t.Run("narrow", func(t *testing.T) {
		for _, width := range []int{320, 390, 1280} {
			must(t, p.Width(width))
			if w := value[int](t, p, "document.documentElement.scrollWidth"); w > width {
				t.Errorf("%d pixels wide on a screen of %d", w, width)
			}
		}
	})
	t.Run("keyboard", func(t *testing.T) { byKeyboard(t, p, url) })
	t.Run("screen reader", func(t *testing.T) { byRoles(t, p) })
	t.Run("no script", func(t *testing.T) {
		must(t, p.Scripts(false))
		must(t, p.Open(url))
		if value[bool](t, p, "document.getElementById('filter').offsetParent !== null || document.querySelectorAll('th button').length > 0") {
			t.Error("there are controls that do nothing")
		}
		if n := value[int](t, p, "document.querySelectorAll('#findings-table tbody tr').length"); n < 10 {
			t.Errorf("%d findings are shown", n)
		}
	})
}

// weakContrast gives the texts whose contrast is under 4.5 (WCAG 2.2, 1.4.3).
const weakContrast = `(() => {
	const rgb = (c) => (c.match(/[\d.]+/g) || []).map(Number);
	const light = (c) => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
	const weak = [];
	for (const e of document.querySelectorAll("body *")) {
		if (e.closest("script,style,title,desc,.hidden,[hidden]") || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
		const style = getComputedStyle(e), fore = light(rgb(e instanceof SVGElement ? style.fill : style.color)), back = light(behind(e));
		const contrast = (Math.max(fore, back) + 0.05) / (Math.min(fore, back) + 0.05);
		if (contrast < 4.5) weak.push(contrast.toFixed(2) + " " + e.tagName + "." + e.getAttribute("class") + " " + e.textContent.trim().slice(0, 30));
	}
	return weak;
})()`

// byKeyboard goes through the page with Tab, filters and sorts.
func byKeyboard(t *testing.T, p *browser.Page, url string) {
	must(t, p.Open(url))
	active := "(e => e.id || e.className || e.getAttribute('href') || e.closest('th')?.textContent.trim() || e.tagName)(document.activeElement)"
	var order []string
	for range 40 {
		must(t, p.Press("Tab"))
		at := value[string](t, p, active)
		order = append(order, at)
		if !value[bool](t, p, "document.activeElement.matches(':focus-visible') && getComputedStyle(document.activeElement).outlineStyle !== 'none'") {
			t.Errorf("one does not see that %s has the focus", at)
		}
		if at == "Object" {
			break
		}
	}
	last := -1
	for _, want := range []string{"skip", "#summary", "#findings", "filter-text", "filter-kind", "Kind", "Object"} {
		at := slices.Index(order, want)
		if at <= last {
			t.Fatalf("%s is not reached in its turn: %q", want, order)
		}
		last = at
	}
	keys := "[...document.querySelectorAll('#findings-table tbody tr:not([hidden]) td.key')].map(c => c.textContent)"
	all := value[[]string](t, p, keys)
	must(t, p.Press("Enter"))
	if up := value[[]string](t, p, keys); !slices.IsSorted(up) || len(up) != len(all) {
		t.Errorf("sorted by object: %q", up)
	}
	must(t, p.Press("Enter"))
	if down := value[[]string](t, p, keys); slices.IsSorted(down) || value[string](t, p, "document.querySelector('[aria-sort]').getAttribute('aria-sort')") != "descending" {
		t.Errorf("sorted the other way: %q", down)
	}
	value[bool](t, p, "document.getElementById('filter-text').focus() ?? true")
	for _, letter := range "moved" {
		must(t, p.Press(string(letter)))
	}
	if left := value[[]string](t, p, keys); !slices.Contains(left, "moved") || len(left) >= len(all) {
		t.Errorf("filtered: %q", left)
	}
	if says, want := value[string](t, p, "document.getElementById('filter-says').textContent"), fmt.Sprintf("of %d rows", len(all)); !strings.Contains(says, want) {
		t.Errorf("it says %q, not %q", says, want)
	}
}

// byRoles looks at what a screen reader is told.
func byRoles(t *testing.T, p *browser.Page) {
	roles, err := p.Roles()
	must(t, err)
	count := map[string]int{}
	for _, r := range roles {
		count[r.Role]++
		if named := []string{"image", "table", "region", "navigation", "searchbox", "combobox", "button", "figure", "search"}; slices.Contains(named, r.Role) && strings.Trim(r.Name, " <nil>") == "" {
			t.Errorf("a %s has no name", r.Role)
		}
	}
	for _, landmark := range []string{"banner", "navigation", "main", "contentinfo", "search"} {
		if count[landmark] != 1 {
			t.Errorf("%d times %s", count[landmark], landmark)
		}
	}
	if count["image"] < 5 || count["table"] < 2 || count["columnheader"] < 5 {
		t.Errorf("there are %v", count)
	}
}
