package interop

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/server"
)

// mounted is the built program: the bucket as a directory, in which every
// config has a prefix and a rule of its own.
type mounted struct {
	*daemon.Daemon
	dir string
}

var _ party = mounted{}

func (m mounted) write(_ context.Context, key string, plaintext []byte, _ config) error {
	file := filepath.Join(m.dir, key)
	if err := os.MkdirAll(path.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, plaintext, 0o600) // committed by close
}

func (m mounted) read(_ context.Context, key string, _ config) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(m.dir, key))
	return b, named(err, map[error]error{
		syscall.EBADMSG: errRefused, syscall.EKEYREJECTED: errRefused, // corrupt or a downgrade; another key
		syscall.EIO: errUnknown, // which a failure would be too: counted only where it is expected
	})
}

// strict is where the mount's rule requires commitment and knows no instruction
// files.
const strict = "strict/"

// prefix is where the objects of a config lie.
func (c config) prefix() string {
	if len(c.Context) == 0 {
		return c.form() + "/without/"
	}
	return c.form() + "/"
}

// mount starts the program over the bucket, with its files under root.
func mount(ctx context.Context, root string, minio *server.Server, keys *server.KMS) (mounted, error) {
	m := mounted{dir: filepath.Join(root, "mnt")}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return m, err
	}
	bin, err := daemon.Binary(ctx, root)
	if err != nil {
		return m, err
	}
	file := filepath.Join(root, "mount.yaml")
	text, err := mountConfig(root)
	if err != nil {
		return m, err
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return m, err
	}
	m.Daemon, err = daemon.Start(ctx, daemon.Config{
		Bin: bin, Target: file, Bucket: "s3://" + bucket, Dir: m.dir, Env: append(minio.Env(), keys.Env()...),
		Args: []string{"--state-dir", filepath.Join(root, "state"), "--attr-timeout", "0s"},
	})
	return m, err
}

// mountConfig is in JSON, which is YAML.
func mountConfig(root string) ([]byte, error) {
	for keyring, kind := range map[string]string{"aes": "", "rsa": "PRIVATE KEY"} {
		secret, err := base64.StdEncoding.DecodeString(world.secrets[keyring][0])
		if err != nil {
			return nil, err
		}
		if kind != "" {
			secret = pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: secret})
		}
		if err := os.WriteFile(filepath.Join(root, keyring), secret, 0o600); err != nil {
			return nil, err
		}
	}
	type object = map[string]any
	rules := []object{
		{"mode": "none"},
		{"prefix": strict, "mode": "s3ec", "key": "aes", "s3ec-require-commitment": true},
	}
	for _, c := range configs() {
		bare := c
		bare.Context = nil
		for _, c := range []config{c, bare} {
			key := c.Keyring
			switch {
			case c.Keyring == "rsa": // it only reads, and every rule reads by all keys
				key = "aes"
			case c.Keyring == "kms" && c.Context == nil:
				key = "bare"
			}
			version := map[bool]string{false: "2", true: "3"}[c.Commit]
			rules = append(rules, object{
				"prefix": c.prefix(), "mode": "s3ec", "key": key, "s3ec-version": version, "instruction-files": c.Instruction,
			})
		}
	}
	return json.Marshal(object{
		"bucket": "s3://" + bucket, "encryption": rules,
		"keys": object{
			"kms": object{"kms": world.secrets["kms"][0], "context": context1}, "bare": object{"kms": world.secrets["kms"][0]},
			"aes": object{"aes": "file:" + filepath.Join(root, "aes")}, "rsa": object{"rsa": "file:" + filepath.Join(root, "rsa")},
		},
	})
}
