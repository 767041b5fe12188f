// Package inventory reads what Amazon S3 Inventory writes: a manifest, and lists
// of objects as CSV, mostly compressed (Amazon S3 User Guide, "Cataloging and
// analyzing your data with S3 Inventory"). No object is asked for by it, and
// none of its text is believed to be anything but text: whoever can write to the
// bucket that has the inventory can write this.
//
// Lists are read as a stream, each against the MD5 that the manifest has of it.
// They are in no order. What they tell of encryption is what the server does:
// bodies that a client has encrypted are not told from others.
package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrInvalid: not an inventory, or one that lacks what it takes here. The text
// is one sentence for the user.
var ErrInvalid = errors.New("inventory cannot be used")

// Bounds of what is read.
const (
	maxManifest = 64 << 20 // bytes
	maxLine     = 64 << 10 // bytes of a row
)

// manifestName is that of a manifest.
const manifestName = "manifest.json"

// Inventory is one, as its manifest says.
type Inventory struct {
	Bucket  string        // that the lists are of
	Created time.Time     // when they were begun; zero where nobody says
	Read    func(n int64) // told of bytes of the lists as they are read; nil: nobody is
	schema  schema
	dir     string // of the manifest
	files   []file
}

// file is a list, as the manifest names it.
type file struct {
	Key  string `json:"key"`
	Size int64  `json:"size"`
	MD5  string `json:"MD5checksum"`
}

type manifest struct {
	SourceBucket string `json:"sourceBucket"`
	Created      string `json:"creationTimestamp"` // ms since 1970
	Format       string `json:"fileFormat"`
	Schema       string `json:"fileSchema"`
	Files        []file `json:"files"`
}

// Open reads the manifest at path, or in the directory path. The lists are
// looked for beside it, in data/ there, and in data/ beside its directory, as S3
// lays them out.
func Open(at string) (*Inventory, error) {
	info, err := os.Stat(at)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		at = filepath.Join(at, manifestName)
	} else if !strings.HasSuffix(at, ".json") {
		return nil, fmt.Errorf("%s: give %s, or the directory that has it: it names the columns of the lists: %w", at, manifestName, ErrInvalid)
	}
	f, err := os.Open(at)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, err
	}
	i, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	i.dir = filepath.Dir(at)
	return i, nil
}

// parse reads a manifest.
func parse(text []byte) (*Inventory, error) {
	if len(text) > maxManifest {
		return nil, fmt.Errorf("over %d MiB: %w", maxManifest>>20, ErrInvalid)
	}
	var m manifest
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&m); err != nil {
		return nil, fmt.Errorf("not a manifest of S3 Inventory (%w): %w", err, ErrInvalid)
	}
	if m.Format != "CSV" {
		return nil, fmt.Errorf("its format is %q, and only CSV is read; configure the inventory so: %w", short(m.Format), ErrInvalid)
	}
	s, err := parseSchema(m.Schema)
	if err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		if name := path.Base(f.Key); name == "." || name == ".." || name == "/" {
			return nil, fmt.Errorf("a list has the key %q: %w", short(f.Key), ErrInvalid)
		}
	}
	return &Inventory{Bucket: m.SourceBucket, Created: milliseconds(m.Created), schema: s, files: m.Files}, nil
}

func milliseconds(text string) time.Time {
	var n int64
	if _, err := fmt.Sscan(text, &n); err != nil || n <= 0 || n > 1<<50 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// Size is how many bytes the manifest says all lists have; 0 where it says nothing.
func (i *Inventory) Size() (n int64) {
	for _, f := range i.files {
		if f.Size > 0 && f.Size < 1<<50 {
			n += f.Size
		}
	}
	return n
}

// Records gives what the lists tell, one after the other. An error ends it.
func (i *Inventory) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, f := range i.files {
			on, err := i.read(f, yield)
			if err != nil {
				yield(Record{}, fmt.Errorf("%q: %w", path.Base(f.Key), err))
				return
			}
			if !on {
				return
			}
		}
	}
}

// open finds a list by the last part of its key: nothing that a manifest says
// leads out of these directories.
func (i *Inventory) open(f file) (*os.File, error) {
	name := path.Base(f.Key)
	dirs := []string{i.dir, filepath.Join(i.dir, "data"), filepath.Join(i.dir, "..", "data")}
	for _, dir := range dirs {
		got, err := os.Open(filepath.Join(dir, name))
		if !errors.Is(err, os.ErrNotExist) {
			return got, err
		}
	}
	return nil, fmt.Errorf("is not in %s; get it with aws s3 cp: %w", strings.Join(slices.Compact(dirs), ", "), ErrInvalid)
}

// short is what a file said, for a message.
func short(s string) string { return s[:min(len(s), 100)] }
