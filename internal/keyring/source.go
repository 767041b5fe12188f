package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Sources is how Open reaches outside the program. The zero Sources use the
// process environment and ask nobody.
type Sources struct {
	// Getenv looks up env: sources and CREDENTIALS_DIRECTORY; nil: os.LookupEnv.
	Getenv func(name string) (string, bool)

	// Stderr shows what a command: source writes there; nil: nowhere.
	Stderr io.Writer

	// CommandTimeout bounds a command: source; 0: one minute.
	CommandTimeout time.Duration

	// Passphrase asks for the passphrase of the protected identity what. Nil:
	// it is refused.
	Passphrase func(ctx context.Context, what string) ([]byte, error)

	// KMS is what kms: keys are used through. Nil: they are refused.
	KMS KMS
}

// maxSource is the most bytes that a source may give.
const maxSource = 1 << 20

// content is what a source gave.
type content struct {
	data    []byte
	name    string    // of the source, for messages
	loose   error     // says why the source is too open for a secret; nil if it is not
	written time.Time // of a file: when it was last; else zero
}

// secret gives the data, if the source keeps it from others.
func (c content) secret() ([]byte, error) { return c.data, c.loose }

// read takes "file:PATH", "env:NAME", "credential:NAME" or "command:CMD". It
// never repeats a source it does not understand: that might be a key.
func (via Sources) read(ctx context.Context, source string) (content, error) {
	scheme, rest, ok := strings.Cut(source, ":")
	if !ok || rest == "" {
		return content{}, errScheme()
	}
	switch scheme {
	case "file":
		return readFile(rest, "file "+rest, true)
	case "env":
		return via.readEnv(rest)
	case "credential":
		return via.readCredential(rest)
	case "command":
		return via.run(ctx, rest)
	}
	return content{}, errScheme()
}

func errScheme() error {
	return fmt.Errorf("%w: write file:PATH, env:NAME, credential:NAME or command:COMMAND", ErrKeySource)
}

// readFile reads a regular file. private: for a secret it must be ours or
// root's and give others nothing. Symbolic links are followed, as secrets are
// commonly mounted behind them.
func readFile(path, name string, private bool) (content, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a fifo must not hold us up
	if err != nil {
		return content{}, fmt.Errorf("%w: %s: %w", ErrKeySource, name, reason(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return content{}, fmt.Errorf("%w: %s: %w", ErrKeySource, name, reason(err))
	}
	if !info.Mode().IsRegular() {
		return content{}, fmt.Errorf("%w: %s is not a regular file", ErrKeySource, name)
	}
	c := content{name: name}
	if private { // a credential is written anew at each start of its service
		c.loose, c.written = looseFile(path, name, info), info.ModTime()
	}
	c.data, err = io.ReadAll(io.LimitReader(f, maxSource+1))
	if err != nil {
		return content{}, fmt.Errorf("%w: %s: %w", ErrKeySource, name, reason(err))
	}
	return c, c.checkSize()
}

func looseFile(path, name string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&^0o600 != 0 {
		return fmt.Errorf("%w: %s has mode %04o, and a key must be its owner's alone: chmod 600 %s", ErrKeySource, name, mode, path)
	}
	if !ownedByUs(info) {
		return fmt.Errorf("%w: %s belongs to another user; a key must belong to the user who mounts, or to root", ErrKeySource, name)
	}
	return nil
}

// reason drops the path of an os error: the message has it already.
func reason(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}

func (c content) checkSize() error {
	if len(c.data) > maxSource {
		return fmt.Errorf("%w: %s gives over %d bytes", ErrKeySource, c.name, maxSource)
	}
	return nil
}

func (via Sources) getenv(name string) (string, bool) {
	if via.Getenv == nil {
		return os.LookupEnv(name)
	}
	return via.Getenv(name)
}

func (via Sources) readEnv(name string) (content, error) {
	value, ok := via.getenv(name)
	if !ok || value == "" {
		return content{}, fmt.Errorf("%w: the environment variable %s is not set", ErrKeySource, name)
	}
	c := content{data: []byte(value), name: "environment variable " + name}
	return c, c.checkSize()
}

// readCredential reads what systemd's LoadCredential= left for this service
// (systemd.exec(5)): systemd itself guards the directory.
func (via Sources) readCredential(name string) (content, error) {
	dir, ok := via.getenv("CREDENTIALS_DIRECTORY")
	if !ok || dir == "" {
		return content{}, fmt.Errorf("%w: credential %s: CREDENTIALS_DIRECTORY is not set; start with systemd's LoadCredential=%s:PATH", ErrKeySource, name, name)
	}
	if strings.ContainsRune(name, '/') || name == "." || name == ".." {
		return content{}, fmt.Errorf("%w: credential %s is not a plain name", ErrKeySource, name)
	}
	return readFile(filepath.Join(dir, name), "credential "+name, false)
}

// run gives what a command writes to its stdout. It goes through /bin/sh -c,
// like the credential helpers of git and restic; its stdin is empty, and its
// whole process group ends with the timeout.
func (via Sources) run(ctx context.Context, command string) (content, error) {
	timeout := via.CommandTimeout
	if timeout == 0 {
		timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var out bounded
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Stdout, cmd.Stderr = &out, via.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	c := content{data: out.Bytes(), name: "key command"}
	switch {
	case ctx.Err() != nil:
		return content{}, fmt.Errorf("%w: the key command did not end in time: %w", ErrKeySource, ctx.Err())
	case err != nil:
		return content{}, fmt.Errorf("%w: the key command failed: %w", ErrKeySource, err)
	}
	return c, c.checkSize()
}

// bounded keeps one byte more than a source may give, and drops the rest.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	room := max(0, maxSource+1-b.Len())
	_, _ = b.Buffer.Write(p[:min(room, len(p))])
	return len(p), nil
}
