package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sigilfs/sigilfs/internal/audit"
)

// auditOutput writes an audit in the forms that were asked for: rows as they
// come, and the report at its end.
type auditOutput struct {
	stdout  io.Writer
	rows    []rowWriter
	reports []func(*audit.Report) error
	files   []*outFile
	csv     *audit.CSV // nil: none, or not in a file that can be gone on with
	partial *outFile   // its file
}

// rowWriter is a form that has every object.
type rowWriter interface {
	Object(o audit.Object) error
	Close(r *audit.Report) error
}

func newAuditOutput(stdout io.Writer, a *auditing, head audit.Head) (o *auditOutput, err error) {
	o = &auditOutput{stdout: stdout}
	defer func() {
		if err != nil {
			o.abandon()
		}
	}()
	if a.asJSON {
		o.rows = append(o.rows, audit.NewJSON(stdout, head))
	}
	if a.csv != "" {
		w, err := o.openRows(a)
		if err != nil {
			return o, err
		}
		o.rows = append(o.rows, w)
	}
	if a.html != "" {
		w, err := o.open(a.html)
		if err != nil {
			return o, err
		}
		o.reports = append(o.reports, func(r *audit.Report) error { return audit.WriteHTML(w, r) })
	}
	if !a.asJSON && a.csv != "-" && a.html != "-" {
		o.reports = append(o.reports, func(r *audit.Report) error { return audit.WriteTable(stdout, r) })
	}
	return o, nil
}

func (o *auditOutput) open(path string) (io.Writer, error) {
	if path == "-" {
		return o.stdout, nil
	}
	f, err := newOutFile(path)
	if err == nil {
		o.files = append(o.files, f)
	}
	return f, err
}

// openRows begins the file of rows, or goes on with it.
func (o *auditOutput) openRows(a *auditing) (*audit.CSV, error) {
	if a.journal == nil {
		w, err := o.open(a.csv)
		if err != nil {
			return nil, err
		}
		return audit.NewCSV(w), nil
	}
	f, err := partialFile(a.csv, a.state.Rows, a.journal.Resumed() || a.restart)
	if err != nil {
		return nil, err
	}
	o.files, o.partial = append(o.files, f), f
	if o.csv = audit.NewCSV(f); a.state.Rows > 0 {
		o.csv = audit.ResumeCSV(f)
	}
	return o.csv, nil
}

// settle has the rows that were told on the disk, and says how many bytes they are.
func (o *auditOutput) settle() (size int64, err error) {
	if o.partial == nil {
		return 0, nil
	}
	if err := errors.Join(o.csv.Flush(), o.partial.Sync()); err != nil {
		return 0, err
	}
	o.partial.stays = true
	return o.partial.Seek(0, io.SeekCurrent)
}

func (o *auditOutput) object(obj audit.Object) error {
	for _, w := range o.rows {
		if err := w.Object(obj); err != nil {
			return err
		}
	}
	return nil
}

// close writes what comes at the end, and puts the files in their places.
func (o *auditOutput) close(r *audit.Report) error {
	for _, w := range o.rows {
		if err := w.Close(r); err != nil {
			return err
		}
	}
	for _, f := range o.files {
		defer f.abandon()
	}
	for _, write := range o.reports {
		if err := write(r); err != nil {
			return err
		}
	}
	for _, f := range o.files {
		if f.partial && !r.Complete {
			continue // it comes to its name when it is whole
		}
		if err := f.keep(); err != nil {
			return err
		}
	}
	return nil
}

// abandon leaves no file of those that were not put in their places.
func (o *auditOutput) abandon() {
	for _, f := range o.files {
		f.abandon()
	}
}

// outFile is a file that comes to its name when it is whole; who reads the name
// meanwhile reads what was there. Its mode is by the umask. What is there and no
// file (a pipe, /dev/stdout) is written to as it is.
type outFile struct {
	*os.File
	path string
	temp string // "" in place
	done bool

	partial bool // of an audit that can be gone on with
	stays   bool // which goes on with what is in temp
}

func newOutFile(path string) (*outFile, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		return &outFile{File: f, path: path}, err
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if to, err := filepath.EvalSymlinks(path); err == nil {
		path = to // a link goes on leading where it did
	}
	temp := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s-%s", filepath.Base(path), rand.Text()))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) //nolint:gosec // as the umask has it
	if err != nil {
		return nil, err
	}
	return &outFile{File: f, path: path, temp: temp}, nil
}

func (f *outFile) keep() error {
	if f.done {
		return nil
	}
	f.done = true
	if f.temp == "" {
		return f.Close()
	}
	err := errors.Join(f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.temp, f.path)
	}
	if err != nil {
		_ = os.Remove(f.temp)
	}
	return err
}

func (f *outFile) abandon() {
	if f.done {
		return
	}
	f.done = true
	_ = f.Close()
	if f.temp != "" && !f.stays {
		_ = os.Remove(f.temp)
	}
}
