// Package keymemory remembers between mounts under which SSE-C key objects are,
// so that each is asked for once and not with one key after another. What is
// remembered may be wrong or lost: that costs requests, nothing else.
//
// It is a file of mode 0600 whose lines are 16 hex digits of SHA-256 of an
// object's key, a space, and the ID of its SSE-C key, "-" for none. The last
// line for an object counts. No name and no key is in it.
package keymemory

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxEntries bounds what is remembered: about 40 bytes each on disk, 100 in
// memory. What is over is not remembered.
const maxEntries = 200_000

// maxFile is the longest file that is read, in bytes.
const maxFile = 4 * maxEntries * 40

// File is a memory. It is safe for concurrent use.
type File struct {
	path string // "" is kept nowhere

	saving sync.Mutex // one Save at a time; taken before mu

	mu    sync.Mutex // guards all below, and is not held over the disk
	known map[name]string
	dirty bool
}

// name is the first 8 bytes of SHA-256 of an object's key.
type name [8]byte

func nameOf(key string) name {
	sum := sha256.Sum256([]byte(key))
	return name(sum[:8])
}

// Open reads the file at path; one that is not there, or damaged, remembers
// nothing of what it cannot read. With an error, such as of a symbolic link in
// its place, comes a memory that is never saved.
func Open(path string) (*File, error) {
	f := &File{path: path, known: map[name]string{}}
	data, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		f.path = ""
		return f, fmt.Errorf("memory of sse-c keys: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		f.take(strings.TrimSuffix(line, "\n"))
	}
	return f, nil
}

func read(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, nil
	}
	data := make([]byte, info.Size())
	_, err = file.ReadAt(data, 0)
	return data, err
}

// take reads a line; a damaged one is passed over.
func (f *File) take(line string) {
	which, id, ok := strings.Cut(line, " ")
	var n name
	if !ok || len(which) != hex.EncodedLen(len(n)) || len(f.known) >= maxEntries || !validID(id) {
		return
	}
	if _, err := hex.Decode(n[:], []byte(which)); err == nil {
		f.known[n] = strings.TrimPrefix(id, "-")
	}
}

func validID(id string) bool {
	_, err := hex.DecodeString(id)
	return id == "-" || len(id) == 16 && err == nil
}

// Recall gives the ID of the SSE-C key of the object at key, "" for none.
func (f *File) Recall(key string) (id string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, ok = f.known[nameOf(key)]
	return id, ok
}

// Remember notes it.
func (f *File) Remember(key, id string) {
	n := nameOf(key)
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, ok := f.known[n]; ok && old == id || !ok && len(f.known) >= maxEntries {
		return
	}
	f.known[n], f.dirty = id, true
}

// Save writes the file anew if anything has changed.
func (f *File) Save() error {
	f.saving.Lock()
	defer f.saving.Unlock()
	known := f.changed()
	if known == nil {
		return nil
	}
	if err := f.write(known); err != nil {
		f.mu.Lock()
		f.dirty = true
		f.mu.Unlock()
		return fmt.Errorf("memory of sse-c keys: %w", err)
	}
	return nil
}

// changed gives a copy of what is known, nil where it is written already.
func (f *File) changed() map[name]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.dirty || f.path == "" {
		return nil
	}
	f.dirty = false
	return maps.Clone(f.known)
}

// write replaces the file as a whole.
func (f *File) write(known map[name]string) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(f.path), filepath.Base(f.path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name()) // it would only lie about
		}
	}()
	w := bufio.NewWriter(tmp)
	for _, n := range slices.SortedFunc(maps.Keys(known), func(a, b name) int { return slices.Compare(a[:], b[:]) }) {
		id := known[n]
		if id == "" {
			id = "-"
		}
		_, _ = fmt.Fprintf(w, "%x %s\n", n[:], id) // Flush tells
	}
	if err := errors.Join(w.Flush(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), f.path)
}
