package state

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// readFull reads until the end of r or of buf.
func readFull(r io.Reader, buf []byte) (int, error) {
	n, err := io.ReadFull(r, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}

// createOnce gives path a content that is there whole or not at all, unless
// it has one already, and gives that which it has.
func createOnce(path string, content []byte, limit int) ([]byte, error) {
	have, err := readSmall(path, limit)
	if !errors.Is(err, fs.ErrNotExist) {
		return have, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return nil, err
	}
	// link(2), unlike rename(2), leaves what another process put there first.
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return readSmall(path, limit)
}

// syncDir makes new names in a directory durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

var hostID = regexp.MustCompile(`^[0-9a-f]{16}$`)

// loadHost gives the host's id, and makes it at first. It is random: a host's
// name would lie readable in the bucket, in the names of journals and of
// conflict files.
func loadHost(root string) (string, error) {
	path := filepath.Join(root, "host-id")
	var fresh [8]byte
	_, _ = rand.Read(fresh[:]) // never fails (crypto/rand)
	content, err := createOnce(path, []byte(hex.EncodeToString(fresh[:])+"\n"), 64)
	if err != nil {
		return "", fmt.Errorf("host id: %w", err)
	}
	id := strings.TrimSpace(string(content))
	if !hostID.MatchString(id) {
		return "", fmt.Errorf("host id: %s does not hold 16 hex digits; remove it to get a new one", path)
	}
	return id, nil
}
