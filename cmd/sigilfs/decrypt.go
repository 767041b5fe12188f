package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore/files"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// decrypting is a decrypt.
type decrypting struct {
	*offline
	keys, epochs              []string
	object, instruction, into string
	recovery                  string
	opening                   recoveryFlags
}

func newDecrypt() *cobra.Command {
	d := &decrypting{}
	s := defaultSettings()
	cmd := &cobra.Command{
		Use:   "decrypt BODY METADATA -o FILE",
		Short: "Decrypt an object that was downloaded, without a bucket",
		Long: `decrypt opens an object of the formats client and s3ec from files: its body, the
metadata that S3 had with it, and, of the former, its epoch.

    aws s3api head-object --bucket B --key K > head.json
    aws s3api get-object  --bucket B --key K body
    aws s3api get-object  --bucket B --key PREFIX/.sigil/epochs/ID epoch
    sigilfs decrypt body head.json --object K --epoch epoch --key file:main.key -o plain

A recovery file, of sigilfs keys export, stands for the epoch and the key:

    sigilfs decrypt body head.json --object K --recovery volume.recovery -o plain

ID is the last word of the metadata "sigil". METADATA is what head-object prints, or
a JSON object of names and values. Nothing is written but what authenticates, and
FILE gets its name when all of it did. -o - writes to stdout, as it comes.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 || d.into == "" {
				return usageError("sigilfs decrypt BODY METADATA -o FILE --object KEY --epoch FILE --key file:main.key, or --recovery FILE")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := harden(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			d.offline = &offline{mask: umask(), mounting: &mounting{set: s, log: offlineLog(c, s), stderr: c.ErrOrStderr()}}
			err := d.run(ctx, c, args[0], args[1])
			return d.end(ctx, err)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&d.keys, "key", nil, "`SOURCE` of a key, as of mount; repeatable")
	f.StringArrayVar(&d.epochs, "epoch", nil, "`FILE` of an epoch object; repeatable")
	f.StringVar(&d.recovery, "recovery", "", "recovery `FILE`, instead of --epoch and --key")
	d.opening.add(cmd)
	f.StringVar(&d.object, "object", "", "`KEY` that the object has in its bucket, or s3://BUCKET/KEY: its seal is of that name")
	f.StringVar(&d.instruction, "instruction-file", "", "`FILE` of the instruction file of an s3ec object")
	f.StringVarP(&d.into, "output", "o", "", "`FILE` to write, - for stdout")
	f.StringVar(&s.region, "region", "", "`REGION` of KMS keys (or AWS_REGION)")
	f.StringVar(&s.profile, "profile", "", "`NAME` of a profile in the shared configuration, for KMS")
	f.StringVar(&s.caBundle, "ca-bundle", "", "`FILE` of CA certificates to trust, for KMS")
	f.BoolVarP(&s.debug, "debug", "d", false, "log more")
	return cmd
}

func (d *decrypting) run(ctx context.Context, c *cobra.Command, body, metadata string) error {
	key, err := d.key(body)
	if err != nil {
		return err
	}
	meta, err := readMetadata(metadata)
	if err != nil {
		return systemError("%s: %w", metadata, err)
	}
	objects := map[string]files.Object{key: {Path: body, Metadata: meta}}
	if d.instruction != "" {
		objects[key+".instruction"] = files.Object{Path: d.instruction, Metadata: map[string]string{s3ec.InstructionMark: ""}}
	}
	for _, name := range d.epochs {
		id, err := epochFile(name)
		if err != nil {
			return systemError("%s: %w", name, err)
		}
		objects[".sigil/epochs/"+id.String()] = files.Object{Path: name}
	}
	// Below its directory it has a name, wherever that is: the body of a hard link
	// lies in .sigil/.
	dir := strings.LastIndexByte(key, '/') + 1
	d.set.target.Prefix = key[:dir]
	if err := d.openFiles(ctx, files.New(objects)); err != nil {
		return err
	}
	if d.into == "-" {
		return d.explained(d.cat(ctx, c.OutOrStdout(), key[dir:], 0, -1))
	}
	return d.explained(d.write(ctx, key[dir:], body))
}

// explained says what nobody else would of a decryption.
func (d *decrypting) explained(err error) error {
	if errors.Is(err, volume.ErrNoKey) && len(d.epochs) == 0 && d.recovery == "" {
		return mountError("%w (an object of mode client needs --epoch, or --recovery)", err)
	}
	return err
}

// key is the object's, less a bucket in front.
func (d *decrypting) key(body string) (string, error) {
	if d.object == "" { // it matters for what is sealed, which will say so
		d.object = filepath.Base(body)
	}
	if !isRemote(d.object) {
		return d.object, nil
	}
	_, p, err := option.ParsePath(d.object)
	if err != nil {
		return "", usageError("--object: %w", err)
	}
	return p, nil
}

// maxMetadata bounds a metadata file: S3 has 2 KB of it.
const maxMetadata = 1 << 20

// readMetadata reads what head-object prints, or its Metadata alone.
func readMetadata(name string) (map[string]string, error) {
	text, err := readBounded(name, maxMetadata)
	if err != nil {
		return nil, err
	}
	var reply struct{ Metadata map[string]string }
	if err := json.Unmarshal(text, &reply); err != nil || reply.Metadata == nil {
		if err := json.Unmarshal(text, &reply.Metadata); err != nil {
			return nil, fmt.Errorf("it is neither what head-object prints nor a JSON object of names and values: %w", err)
		}
	}
	meta := map[string]string{}
	for name, value := range reply.Metadata {
		name = strings.TrimPrefix(strings.ToLower(name), "x-amz-meta-")
		if _, twice := meta[name]; twice {
			return nil, fmt.Errorf("%q is there twice", name)
		}
		meta[name] = value
	}
	return meta, nil
}

func readBounded(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("it is longer than %d bytes", most)
	}
	return text, err
}

// epochFile reads which epoch an object is of; whether it is, the ring decides.
func epochFile(name string) (keyring.EpochID, error) {
	text, err := readBounded(name, keyring.MaxEpochSize)
	if err != nil {
		return keyring.EpochID{}, err
	}
	payload, _, _ := bytes.Cut(text, []byte("\n"))
	var e struct{ ID string }
	if err := json.Unmarshal(payload, &e); err != nil {
		return keyring.EpochID{}, fmt.Errorf("it is no epoch object: %w", err)
	}
	return keyring.ParseEpochID(e.ID)
}

// openFiles makes a volume of them, which is only read.
func (d *decrypting) openFiles(ctx context.Context, store *files.Bucket) error {
	d.set.readOnly = true
	for i, source := range d.keys {
		k, err := config.KeyFlag(config.Place{Name: "--key"}, fmt.Sprintf("--key %d", i+1), source)
		if err != nil {
			return usageError("%w", err)
		}
		made, err := d.openKey(ctx, k)
		if err != nil {
			return keySourceError(k, err)
		}
		d.opened = append(d.opened, made)
	}
	ring, err := keyring.New(keyring.Options{Masters: d.masters(), Bucket: bucket{store: store}, ReadOnly: true, Host: d.host(), Report: newReporter(d.log).report})
	if err != nil {
		return mountError("%w", err)
	}
	d.ring = ring
	if err := d.recover(ctx); err != nil {
		return err
	}
	opt := volume.Options{
		Store: store, Bucket: "files", Prefix: d.set.target.Prefix, Keys: keys{ring}, S3ECKeys: d.s3ecKeys(), Log: d.log, Host: d.host(), ReadOnly: true,
		Rules: []volume.Rule{{Mode: "s3ec", S3EC: &volume.S3EC{}, Instructions: d.instruction != ""}}, // takes what is sealed too, and no plaintext
	}
	return d.makeVolume(opt)
}

// recover has the ring know the epochs of the recovery file.
func (d *decrypting) recover(ctx context.Context) error {
	if d.recovery == "" {
		if d.opening != (recoveryFlags{}) {
			return usageError("--passphrase and --identity open a recovery file: give --recovery FILE")
		}
		return nil
	}
	via, err := d.recoveryWays(ctx, d.opening)
	if err != nil {
		return err
	}
	_, all, err := readRecovery(ctx, d.recovery, via)
	if err != nil {
		return err
	}
	for _, one := range all {
		if err := d.ring.Recover(one); err != nil {
			return mountError("%s: %w", d.recovery, err)
		}
	}
	return nil
}

// write decrypts to a file under another name, and then gives it its own.
func (d *decrypting) write(ctx context.Context, name, body string) error {
	if isSameFile(d.into, body) {
		return usageError("-o names the body itself")
	}
	local, err := openLocal(d.into, false, d.mask)
	if err != nil {
		return systemError("%w", err)
	}
	defer func() { _ = local.root.Close() }()
	if local.name == "" {
		return usageError("-o %s is a directory", d.into)
	}
	f, err := d.openFile(ctx, name)
	if err != nil {
		return d.explain("decrypt", name, err)
	}
	src := volumeContent{d.offline, f, name}
	defer src.close()
	n := node{mode: unix.S_IFREG | 0o666}
	if err := local.file(ctx, local.name, n, src, func(int64) {}); err != nil {
		return explainLocal("decrypt to", d.into, err)
	}
	if err := local.end(); err != nil {
		return explainLocal("sync", local.dir, err)
	}
	return nil
}

func isSameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, yerr := os.Stat(b)
	return err == nil && yerr == nil && os.SameFile(x, y) || path.Clean(a) == path.Clean(b)
}
