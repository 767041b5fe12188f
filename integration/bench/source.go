package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A source is what is written, as local files: large, and tree with small files
// in its directories. The large file is mapped too, and the small ones are parts
// of it, so that comparing costs next to nothing.
type source struct {
	dir   string
	sizes sizes
	data  []byte // of large
}

func makeSource(dir string, sizes sizes) (*source, error) {
	s := &source{dir: dir, sizes: sizes}
	if err := os.Mkdir(dir, 0o750); err != nil {
		return nil, err
	}
	if err := s.makeLarge(); err != nil {
		return nil, err
	}
	return s, s.makeTree()
}

// makeLarge fills it with what does not compress.
func (s *source) makeLarge() error {
	f, err := os.Create(s.large())
	if err != nil {
		return err
	}
	noise := io.LimitReader(rand.NewChaCha8(sha256.Sum256([]byte("bench"))), s.sizes.large)
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, noise, make([]byte, mib))
	if err == nil {
		s.data, err = unix.Mmap(int(f.Fd()), 0, int(s.sizes.large), unix.PROT_READ, unix.MAP_SHARED)
	}
	return errors.Join(err, f.Close())
}

func (s *source) makeTree() error {
	for i := range s.sizes.small() {
		name := filepath.Join(s.tree(), s.name(i))
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(name, s.small(i), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) large() string { return filepath.Join(s.dir, "large") }
func (s *source) tree() string  { return filepath.Join(s.dir, "tree") }

// name is the i'th small file's, below the tree.
func (s *source) name(i int) string {
	return fmt.Sprintf("d%02d/f%04d", i/s.sizes.files, i%s.sizes.files)
}

// small is its content.
func (s *source) small(i int) []byte {
	size := smallSize(i)
	from := int64(i) * 104_729 % (s.sizes.large - size)
	return s.data[from : from+size]
}

// stream is the content of one of the files that are moved at once.
func (s *source) stream(i int) []byte {
	each := len(s.data) / s.sizes.streams
	return s.data[i*each : (i+1)*each]
}

func (s *source) close() error { return unix.Munmap(s.data) }
