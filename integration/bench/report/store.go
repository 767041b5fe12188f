package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Load reads a report; where there is no file, or name is "", it is empty.
func Load(name string) (*Report, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return &Report{}, nil
	}
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("report %s: %w", name, err)
	}
	return r, nil
}

// Save writes the report; not where name is "".
func (r *Report) Save(name string) error {
	if name == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return write(name, append(text, '\n'))
}

// Publish writes the report, the plot, and the report's part of PERFORMANCE.md
// into dir. Nothing else of that document changes.
func (r *Report) Publish(dir string) error {
	if err := r.Save(filepath.Join(dir, "performance.json")); err != nil {
		return err
	}
	plot, err := os.Create(filepath.Join(dir, "performance.svg"))
	if err != nil {
		return err
	}
	if err := errors.Join(r.Plot(plot), plot.Close()); err != nil {
		return err
	}
	name := filepath.Join(dir, "PERFORMANCE.md")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	text, err = r.Document(text)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return write(name, text)
}

// write replaces a file as a whole.
func write(name string, text []byte) error {
	if err := os.WriteFile(name+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
