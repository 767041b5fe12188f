package volume

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

func FuzzParseJournal(f *testing.F) {
	f.Add([]byte(`{"version":1,"from":"r/a/","to":"r/b/","host":"h","beats":3}`), "r/")
	f.Add([]byte(`{"version":1,"from":"a/","to":"a/b/","host":"h"}`), "")
	f.Add([]byte(`{"version":2}`), "")
	f.Add([]byte(`{"version":1,"from":"../","to":".sigil/","x":1} {}`), "")
	f.Fuzz(func(t *testing.T, b []byte, root string) {
		j, err := parseJournal(b, root, 1, checkPath)
		if err != nil {
			if j != nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("%+v, %v", j, err)
			}
			return
		}
		for _, key := range []string{j.From, j.To} {
			rest, inside := strings.CutPrefix(key, root)
			if !inside || rest == "" || !strings.HasSuffix(rest, "/") || strings.Contains("/"+rest, "/../") ||
				strings.Contains("/"+rest, "/.sigil/") || strings.Contains("/"+rest, "//") {
				t.Fatalf("%q in %q", key, root)
			}
		}
		if strings.HasPrefix(j.From, j.To) || strings.HasPrefix(j.To, j.From) {
			t.Fatalf("%q to %q", j.From, j.To)
		}
	})
}

func TestParseJournal(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want error
	}{
		{`{"version":1,"from":"r/a/","to":"r/b/","host":"h","beats":3}`, nil},
		{`{"version":1,"from":"r/a/","to":"r/ab/","host":"h","beats":3}`, nil},
		{`{"version":2,"from":"r/a/","to":"r/b/"}`, ErrVersion},
		{`{"version":1,"from":"r/a/","to":"r/b/","more":1}`, ErrCorrupt},
		{`{"version":1,"from":"r/a/","to":"r/b/"}{}`, ErrCorrupt},
		{`{"version":1,"from":"r/a/","to":"r/a/b/"}`, ErrCorrupt},
		{`{"version":1,"from":"r/a/b/","to":"r/a/"}`, ErrCorrupt},
		{`{"version":1,"from":"r/a","to":"r/b/"}`, ErrCorrupt},
		{`{"version":1,"from":"r/","to":"r/b/"}`, ErrCorrupt},
		{`{"version":1,"from":"q/a/","to":"r/b/"}`, ErrCorrupt},
		{`{"version":1,"from":"r/.sigil/epochs/","to":"r/b/"}`, ErrCorrupt},
		{`{"version":1,"from":"r/../a/","to":"r/b/"}`, ErrCorrupt},
		{`nothing`, ErrCorrupt},
		{``, ErrCorrupt},
	} {
		_, err := parseJournal([]byte(tc.in), "r/", 1, checkPath)
		if tc.want == nil && err != nil || !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.in, err, tc.want)
		}
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, p := range []string{"", "a", "a/b", "/", "a//b", "..", "a/../b", ".", ".sigil", "a/.sigil/b", "a\x00", strings.Repeat("n", 256), ".sigilx", "\xff", "a/"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		want := true
		if p != "" {
			for _, name := range strings.Split(p, "/") {
				bad := slices.Contains([]string{"", ".", "..", ".sigil"}, name) || len(name) > 255 || strings.Contains(name, "\x00") || !utf8.ValidString(name)
				want = want && !bad
				if expressible(name) == bad {
					t.Fatalf("expressible(%q) = %v", name, !bad)
				}
			}
		}
		if err := checkPath(p); (err == nil) != want {
			t.Fatalf("%q: %v", p, err)
		}
	})
}

// FuzzList plants keys and makes files here, and compares the listing of every
// directory with what is said of it: each name once, directories win.
func FuzzList(f *testing.F) {
	f.Add("a\na/b\na!\na-b\na.b/c\n.sigil/x\n//\n../y", "a.b\nz", uint8(3))
	f.Add("d/\nd/e/\nd/e/f\nd\nd/g", "d!\nd0", uint8(0))
	f.Fuzz(func(t *testing.T, foreign, mine string, stop uint8) {
		if len(foreign)+len(mine) > 200 {
			return // small inputs find what large ones do
		}
		m := bucket()
		want := map[string]bool{}
		add := func(key string) {
			name, _, _ := strings.Cut(key, "/")
			if expressible(name) && len(key) <= 1024 {
				want[name] = true
			}
		}
		for key := range strings.SplitSeq(foreign, "\n") {
			if key != "" {
				m.Plant(key, mem.Object{})
				add(key)
			}
		}
		v := mountIdle(t, m)
		for p := range strings.SplitSeq(mine, "\n") {
			if file, err := v.Create(v.ctx, p, Attr{}, false); err == nil {
				defer file.Release()
				add(p)
			}
		}
		var got []string
		after, n := "", 0
		for more := true; more; {
			more = false
			for e, err := range v.List(v.ctx, "", after) {
				v.must(err)
				got, after = append(got, e.Name), e.Cookie
				if n++; stop > 0 && n%int(stop) == 0 {
					more = true
					break
				}
			}
		}
		for _, name := range got {
			if !want[name] {
				t.Errorf("%q listed twice, or not there: %q", name, got)
			}
			delete(want, name)
		}
		if len(want) > 0 {
			t.Errorf("not listed: %v of %q", want, got)
		}
	})
}

// FuzzParseNote: whatever lies beside a dirty file, it is a note that says the
// same when it is written again and leads to nothing outside the mount, or it is
// damaged.
func FuzzParseNote(f *testing.F) {
	full := note{
		Path: "d/a", Key: "p/d/a", Mode: "client", Open: true, Attr: Attr{Mode: 0o100644, Size: 5}, Xattrs: map[string][]byte{"user.a": {1}},
		ETag: "e", Version: "v", Generation: "g", Sent: []string{"m"}, Last: []string{"m"}, Beside: "d/a.conflict", Behind: true,
		Uploads: []uploading{{Version: 1, Key: "p/d/a", Upload: "u"}}, Boot: "b", Synced: true, At: 1, Cause: "c",
	}
	f.Add(full.encode(), "p/")
	f.Add(note{Key: "p/.sigil/inodes/x", Name: "p/a"}.encode(), "p/")
	f.Add(note{Key: "p/../a"}.encode(), "p/")
	f.Add(note{Key: "p/.sigil/epochs/a"}.encode(), "p/")
	f.Add([]byte(`{"key":"a","uploads":[{"version":1}]}`), "")
	f.Add([]byte(`{"key":"a"} {}`), "")
	f.Add([]byte(`{"key":"a","at":1e99}`), "")
	f.Add([]byte(`null`), "")
	f.Add([]byte(``), "")
	f.Fuzz(func(t *testing.T, b []byte, prefix string) {
		n, err := parseNote(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := parseNote(n.encode())
		if err != nil || string(again.encode()) != string(n.encode()) {
			t.Fatalf("%s: %+v, %v", n.encode(), again, err)
		}
		for _, u := range n.Uploads {
			if u.Key == "" || u.Upload == "" {
				t.Fatalf("%+v", u)
			}
		}
		shown, path, ok := n.place(prefix, checkPath)
		if ok && (prefix+shown != n.name() || shown == "" || strings.Contains("/"+shown+"/", "/../") ||
			strings.Contains("/"+shown+"/", "/.sigil/") || n.Name == "" && path != shown) {
			t.Fatalf("%q in %q is %q, %q", n.name(), prefix, shown, path)
		}
		if n.ours(nil) {
			t.Fatal("nothing is ours")
		}
	})
}
