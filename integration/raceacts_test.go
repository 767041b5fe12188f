package integration

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// raced is the name that two hosts fight for.
const raced = "name"

// before is what it holds, if anything, before they do.
const before = "what was there before"

// A side is one of two hosts in one round: everything that it makes has its
// name in it.
type side struct{ host, dir string }

func (s side) path(name string) string { return filepath.Join(s.dir, name) }
func (s side) own() string             { return "own-" + s.host }
func (s side) text() string            { return "from " + s.host }

// A raceAct is something that a host does to the name.
type raceAct struct {
	name    string
	absent  bool // it can begin where nothing is
	present bool // it can begin where a file is
	links   bool // it makes a hard link

	// open is what comes before the race, and gives what takes part in it.
	open func(s side) (func() error, error)

	// serial does it to the model, or tells that it cannot be done.
	serial func(m model, s side) bool

	// text is what a conflict file holds if it fails at close; nil for what
	// writes nothing.
	text func(s side) string
}

// A model is a directory of a filesystem where one thing happens after another:
// what each name shows.
type model map[string]string

const (
	aDir  = "directory"
	aLink = "symlink to "
)

func (m model) file(name string) bool {
	return m[name] != "" && m[name] != aDir && !strings.HasPrefix(m[name], aLink)
}

// make does what gives EEXIST.
func (m model) make(name, what string) bool {
	if m[name] != "" {
		return false
	}
	m[name] = what
	return true
}

// put does what replaces a file, or what a link points to.
func (m model) put(name, what string) bool {
	if to, link := strings.CutPrefix(m[name], aLink); link {
		return m.put(to, what)
	}
	if m[name] == aDir {
		return false
	}
	m[name] = what
	return true
}

// move renames a file over whatever is there, unless it is a directory.
func (m model) move(from, to string) bool {
	if !m.file(from) || m[to] == aDir {
		return false
	}
	m[to] = m[from]
	delete(m, from)
	return true
}

// opened writes text to a file opened with flags, and leaves its close.
func opened(flags int, text func(side) string) func(side) (func() error, error) {
	return func(s side) (func() error, error) {
		f, err := os.OpenFile(s.path(raced), os.O_WRONLY|flags, 0o644)
		if err != nil {
			return nil, err
		}
		_, err = f.WriteString(text(s))
		return f.Close, err
	}
}

// whole leaves everything to the race.
func whole(do func(s side) error) func(side) (func() error, error) {
	return func(s side) (func() error, error) { return func() error { return do(s) }, nil }
}

// over is what is in the file after text was written at its beginning.
func over(s side) string { return s.text() + before[len(s.text()):] }

// Acts of which docs/SEMANTICS.md says more than that one of two wins.
const (
	renameAway = "rename away"
	unlinkIt   = "unlink"
	makeDir    = "mkdir"
)

var raceActs = []raceAct{
	{
		name: "close of a created file", absent: true, text: side.text,
		open:   opened(os.O_CREATE, side.text),
		serial: func(m model, s side) bool { return m.make(raced, s.text()) },
	},
	{
		name: "close of an exclusively created file", absent: true, text: side.text,
		open:   opened(os.O_CREATE|os.O_EXCL, side.text),
		serial: func(m model, s side) bool { return m.make(raced, s.text()) },
	},
	{
		name: "close of an overwritten file", present: true, text: over,
		open: opened(0, side.text),
		serial: func(m model, s side) bool {
			return m[raced] == before && m.put(raced, over(s))
		},
	},
	{
		name: "close of a truncated file", present: true, text: side.text,
		open:   opened(os.O_TRUNC, side.text),
		serial: func(m model, s side) bool { return m[raced] == before && m.put(raced, s.text()) },
	},
	{
		name: "creation", absent: true, present: true, text: side.text,
		open:   whole(func(s side) error { return os.WriteFile(s.path(raced), []byte(s.text()), 0o644) }),
		serial: func(m model, s side) bool { return m.put(raced, s.text()) },
	},
	{
		name: "exclusive creation", absent: true, text: side.text,
		open: whole(func(s side) error {
			done, err := opened(os.O_CREATE|os.O_EXCL, side.text)(s)
			if err != nil {
				return err
			}
			return done()
		}),
		serial: func(m model, s side) bool { return m.make(raced, s.text()) },
	},
	{
		name: "rename onto it", absent: true, present: true,
		open:   whole(func(s side) error { return os.Rename(s.path(s.own()), s.path(raced)) }),
		serial: func(m model, s side) bool { return m.move(s.own(), raced) },
	},
	{
		name: renameAway, present: true,
		open:   whole(func(s side) error { return os.Rename(s.path(raced), s.path("away-"+s.host)) }),
		serial: func(m model, s side) bool { return m.move(raced, "away-"+s.host) },
	},
	{
		name: unlinkIt, present: true,
		open: whole(func(s side) error { return unix.Unlink(s.path(raced)) }),
		serial: func(m model, _ side) bool {
			there := m[raced] != "" && m[raced] != aDir
			delete(m, raced)
			return there
		},
	},
	{
		name: makeDir, absent: true,
		open:   whole(func(s side) error { return os.Mkdir(s.path(raced), 0o755) }),
		serial: func(m model, _ side) bool { return m.make(raced, aDir) },
	},
	{
		name: "symlink", absent: true,
		open:   whole(func(s side) error { return os.Symlink(s.text(), s.path(raced)) }),
		serial: func(m model, s side) bool { return m.make(raced, aLink+s.text()) },
	},
	{
		name: "link", absent: true, links: true,
		open:   whole(func(s side) error { return os.Link(s.path(s.own()), s.path(raced)) }),
		serial: func(m model, s side) bool { return m.make(raced, m[s.own()]) },
	},
	{
		name: "link of it", present: true, links: true,
		open:   whole(func(s side) error { return os.Link(s.path(raced), s.path("link-"+s.host)) }),
		serial: func(m model, s side) bool { return m.file(raced) && m.make("link-"+s.host, m[raced]) },
	},
}
