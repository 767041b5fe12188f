package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/user"
	"strconv"
	"time"

	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

// row is one entry of a listing, or why nothing is known of it.
type row struct {
	path  string // in the volume
	name  string // as it is shown
	info  volume.Info
	link  string // where a symbolic link leads
	known bool   // info is more than a type
	err   error  // why it does not open, or why nothing is known
	fatal bool   // the listing could not go on
}

func (r row) isDir() bool { return r.info.Mode&unix.S_IFMT == unix.S_IFDIR }

// rows is where a listing goes, an entry at a time.
type rows interface {
	row(r row) error
	end() error
}

func (l *listing) rows(out io.Writer) rows {
	w := bufio.NewWriter(out)
	switch {
	case l.json:
		return &jsonRows{out: w}
	case l.long:
		return &longRows{out: w, owners: map[string]string{}}
	}
	return nameRows{w}
}

// shown is the name on one line: with a slash behind a directory's, and the
// reason where it does not open.
func (r row) shown() string {
	text := quoted(r.name)
	if r.isDir() {
		text = quoted(r.name + "/")
	}
	if r.link != "" {
		text += " -> " + quoted(r.link)
	}
	if r.err != nil {
		text += "  (" + oneLine(r.err) + ")"
	}
	return text
}

// nameRows is a listing of names.
type nameRows struct{ out *bufio.Writer }

func (n nameRows) row(r row) error {
	_, err := n.out.WriteString(r.shown() + "\n")
	return err
}

func (n nameRows) end() error { return n.out.Flush() }

// longRows is one as of ls -l, of fixed columns: whoever lists a million entries
// sees the first at once.
type longRows struct {
	out    *bufio.Writer
	owners map[string]string // by "u"UID and "g"GID
}

func (l *longRows) row(r row) error {
	if !r.known {
		_, err := fmt.Fprintf(l.out, "%-10s %3s %-8s %-8s %12s %-19s %s\n", "??????????", "?", "?", "?", "?", "?", r.shown())
		return err
	}
	a := r.info.Attr
	_, err := fmt.Fprintf(l.out, "%s %3d %-8s %-8s %12d %s %s\n", modeString(a.Mode), a.Nlink,
		l.owner("u", a.UID), l.owner("g", a.GID), a.Size, time.Unix(0, a.Mtime).Format(time.DateTime), r.shown())
	return err
}

func (l *longRows) end() error { return l.out.Flush() }

// owner is a user's or group's name, or the number where it has none here.
func (l *longRows) owner(kind string, id uint32) string {
	number := strconv.FormatUint(uint64(id), 10)
	if name, ok := l.owners[kind+number]; ok {
		return name
	}
	name := number
	if kind == "u" {
		if u, err := user.LookupId(number); err == nil {
			name = u.Username
		}
	} else if g, err := user.LookupGroupId(number); err == nil {
		name = g.Name
	}
	l.owners[kind+number] = name
	return name
}

// modeString is a mode as ls(1) shows it.
func modeString(mode uint32) string {
	b := []byte("?rwxrwxrwx")
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			b[i+1] = '-'
		}
	}
	b[0] = typeLetter(mode)
	for _, s := range []struct {
		bit  uint32
		at   int
		x, n byte
	}{{unix.S_ISUID, 3, 's', 'S'}, {unix.S_ISGID, 6, 's', 'S'}, {unix.S_ISVTX, 9, 't', 'T'}} {
		if mode&s.bit == 0 {
			continue
		}
		if b[s.at] == 'x' {
			b[s.at] = s.x
		} else {
			b[s.at] = s.n
		}
	}
	return string(b)
}

func typeLetter(mode uint32) byte {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return '-'
	case unix.S_IFDIR:
		return 'd'
	case unix.S_IFLNK:
		return 'l'
	case unix.S_IFIFO:
		return 'p'
	case unix.S_IFSOCK:
		return 's'
	case unix.S_IFBLK:
		return 'b'
	case unix.S_IFCHR:
		return 'c'
	}
	return '?'
}

// typeName is the type of a file for machines.
func typeName(mode uint32) string {
	switch typeLetter(mode) {
	case '-':
		return "file"
	case 'd':
		return "directory"
	case 'l':
		return "symlink"
	case 'p':
		return "fifo"
	case 's':
		return "socket"
	case 'b':
		return "block-device"
	case 'c':
		return "character-device"
	}
	return ""
}

// entryJSON is an entry for machines. What is not known is absent.
type entryJSON struct {
	Name   string            `json:"name"` // by its path where the listing is of several directories
	Path   string            `json:"path"` // in the volume
	Type   string            `json:"type,omitempty"`
	Mode   string            `json:"mode,omitempty"` // octal, without the type
	Nlink  uint32            `json:"nlink,omitempty"`
	UID    *uint32           `json:"uid,omitempty"`
	GID    *uint32           `json:"gid,omitempty"`
	Size   *int64            `json:"size,omitempty"`
	Mtime  *time.Time        `json:"mtime,omitempty"`
	Ctime  *time.Time        `json:"ctime,omitempty"`
	ID     uint64            `json:"id,omitempty"` // st_ino
	Rdev   uint64            `json:"rdev,omitempty"`
	Target string            `json:"target,omitempty"` // of a symbolic link
	Xattrs map[string][]byte `json:"xattrs,omitempty"` // in base64
	Sigil  map[string]string `json:"sigil,omitempty"`  // how it is stored, as user.sigil.*
	Error  string            `json:"error,omitempty"`  // why it does not open
}

func (r row) json() entryJSON {
	j := entryJSON{Name: r.name, Path: r.path, Type: typeName(r.info.Mode), Target: r.link}
	if r.err != nil {
		j.Error = oneLine(r.err)
	}
	if !r.known {
		return j
	}
	a := r.info.Attr
	mtime, ctime := time.Unix(0, a.Mtime).UTC(), time.Unix(0, a.Ctime).UTC()
	j.Mode, j.Nlink, j.ID, j.Rdev = fmt.Sprintf("%04o", a.Mode&0o7777), a.Nlink, a.FileID, a.Rdev
	j.UID, j.GID, j.Size, j.Mtime, j.Ctime = &a.UID, &a.GID, &a.Size, &mtime, &ctime
	j.Xattrs, j.Sigil = r.info.Xattrs, r.info.Sigil
	return j
}

// jsonRows is one array, written as it comes.
type jsonRows struct {
	out   *bufio.Writer
	begun bool
}

func (j *jsonRows) row(r row) error {
	b, err := json.Marshal(r.json())
	if err != nil {
		return err
	}
	before := ",\n "
	if !j.begun {
		before = "[\n "
	}
	j.begun = true
	_, err = j.out.WriteString(before + string(b))
	return err
}

func (j *jsonRows) end() error {
	text := "\n]\n"
	if !j.begun {
		text = "[]\n"
	}
	if _, err := j.out.WriteString(text); err != nil {
		return err
	}
	return j.out.Flush()
}

// ordered does work to what in gives, at most n at a time, and gives the results
// in the order of in. It returns when all that it began has ended.
func ordered[T any](ctx context.Context, n int, in func(yield func(T) bool), work func(context.Context, T) T) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		ctx, cancel := context.WithCancel(ctx)
		line := make(chan chan T, n)
		go func() {
			defer close(line)
			for x := range in {
				result := make(chan T, 1)
				select {
				case line <- result:
				case <-ctx.Done():
					return
				}
				go func() { result <- work(ctx, x) }()
			}
		}()
		defer func() {
			cancel()
			for result := range line {
				<-result
			}
		}()
		for result := range line {
			if !yield(<-result) {
				return
			}
		}
	}
}
