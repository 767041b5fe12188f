package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// A command is what the programs in java/ and python/ read.
type command struct {
	Op   string `json:"op"` // put, get
	Key  string `json:"key"`
	File string `json:"file"` // holds the plaintext, or shall
	config
}

// An answer is what they write.
type answer struct {
	Error  string `json:"error"`
	Broken bool   `json:"broken"` // not the client refused, the network failed
}

// errBroken is an error that proves nothing about the client.
var errBroken = errors.New("the client did not get its answer")

// refusals begin the errors by which AWS's clients refuse an object, or say
// that they do not know its format: they have one class for both.
func refusals() []string {
	return []string{
		"software.amazon.encryption.s3.S3EncryptionClientException: ",
		"java.lang.RuntimeException: javax.crypto.AEADBadTagException: ", // of a stream's end
		"S3EncryptionClientError: ",
	}
}

// client is one of AWS's in a process of its own.
type client struct {
	mu      sync.Mutex // one command at a time
	in      *json.Encoder
	out     *json.Decoder
	file    string // passes the plaintext
	process *exec.Cmd
	stdin   io.Closer
	log     *os.File
}

var _ party = (*client)(nil)

// start runs argv with its files in dir. The process ends with close, and when
// ours does.
func start(ctx context.Context, dir string, env, argv []string) (*client, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "stderr"))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Stderr = env, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &client{
		in: json.NewEncoder(stdin), out: json.NewDecoder(stdout), file: filepath.Join(dir, "plaintext"),
		process: cmd, stdin: stdin, log: log,
	}, cmd.Start()
}

// close says that there is nothing more to do, and waits.
func (c *client) close() error {
	return errors.Join(c.stdin.Close(), c.process.Wait(), c.log.Close())
}

func (c *client) write(_ context.Context, key string, plaintext []byte, cfg config) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := os.WriteFile(c.file, plaintext, 0o600); err != nil {
		return err
	}
	return c.do(command{Op: "put", Key: key, File: c.file, config: cfg})
}

func (c *client) read(_ context.Context, key string, cfg config) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := os.RemoveAll(c.file); err != nil {
		return nil, err
	}
	if err := c.do(command{Op: "get", Key: key, File: c.file, config: cfg}); err != nil {
		return nil, err
	}
	return os.ReadFile(c.file)
}

func (c *client) do(cmd command) error {
	if err := c.in.Encode(cmd); err != nil {
		return c.died(err)
	}
	var a answer
	if err := c.out.Decode(&a); err != nil {
		return c.died(err)
	}
	switch {
	case a.Broken:
		return fmt.Errorf("%w: %s", errBroken, a.Error)
	case slices.ContainsFunc(refusals(), func(class string) bool { return strings.HasPrefix(a.Error, class) }):
		return fmt.Errorf("%w: %s", errRefused, a.Error)
	case a.Error != "":
		return errors.New(a.Error)
	}
	return nil
}

func (c *client) died(err error) error {
	log, _ := os.ReadFile(c.log.Name())
	return fmt.Errorf("%w: %w: %s", errBroken, err, log[max(0, len(log)-2000):])
}
