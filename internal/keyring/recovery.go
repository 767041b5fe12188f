package keyring

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// A recovery file holds the keys of epochs outside of the bucket: lines for who
// finds it, then an armored age file (age-encryption.org/v1) of JSON lines, the
// first a RecoveryInfo, each other one an epoch's id, place, key and object. It
// is text, can be printed, and stock age opens it.

// RecoveryInfo says what a recovery file is of.
type RecoveryInfo struct {
	Version    int       `json:"sigilfs-recovery"` // 1
	Bucket     string    `json:"bucket"`
	Endpoint   string    `json:"endpoint"`
	VolumeRoot string    `json:"volume_root"`
	Made       time.Time `json:"made"`
	Host       string    `json:"host"`
	Epochs     int       `json:"epochs"` // the lines that follow

	// Volume is the volume object of the root, as it is stored; "": there is none.
	// It has the key of encrypted names, sealed under one of the epochs.
	Volume string `json:"volume,omitempty"`
}

// recoveryLine is one epoch.
type recoveryLine struct {
	ID     string `json:"id"`
	At     string `json:"at"`
	Key    []byte `json:"key"`
	Object string `json:"object"`
}

// Recovered is an epoch of a recovery file. Its object's MAC holds.
type Recovered struct {
	ID    EpochID
	At    string // the prefix in whose .sigil/epochs/ it lay
	Epoch *Epoch
	key   *[KeySize]byte
}

// Format keeps the key out of every verb.
func (r Recovered) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "epoch "+r.ID.String()) }

// maxRecovery bounds a recovery file: some 100,000 epochs.
const maxRecovery = 256 << 20

// minPassphrase is the fewest characters of a passphrase for the safe: who has
// the file can try as many as he likes.
const minPassphrase = 12

// RecoveryLock is who opens a recovery file: the holder of a passphrase, or those
// of age identities.
type RecoveryLock struct {
	to   []age.Recipient
	text []string // of the recipients; nil: a passphrase
}

// PassphraseLock is a passphrase, of 12 characters or more.
func PassphraseLock(passphrase []byte) (RecoveryLock, error) {
	if n := len([]rune(string(passphrase))); n < minPassphrase {
		return RecoveryLock{}, fmt.Errorf("%w: a passphrase of %d characters can be guessed by who has the file: take %d or more, or --recipient", ErrKeySource, n, minPassphrase)
	}
	r, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return RecoveryLock{}, fmt.Errorf("%w: %w", ErrKeySource, err)
	}
	return RecoveryLock{to: []age.Recipient{r}}, nil
}

// RecipientLock is age recipients, as of Open.
func RecipientLock(recipients []string) (RecoveryLock, error) {
	var l RecoveryLock
	var all []recipient
	for i, s := range recipients {
		r, err := parseRecipient(strings.TrimSpace(s))
		if err != nil {
			return l, fmt.Errorf("%w: --recipient %d %w", ErrKeySource, i+1, err)
		}
		all, l.to, l.text = append(all, r), append(l.to, r.Recipient), append(l.text, r.text)
	}
	if len(all) == 0 {
		return l, fmt.Errorf("%w: there is no recipient", ErrKeySource)
	}
	return l, checkMix(all)
}

// ErrManyEpochs: a recovery file would be larger than ReadRecovery takes.
var ErrManyEpochs = errors.New("too many epochs for one recovery file")

// WriteRecovery writes a recovery file of the epochs that opened. What was written
// where it fails is none. Errors: ErrManyEpochs, those of w and of the lock.
func (a *Admin) WriteRecovery(w io.Writer, info RecoveryInfo, epochs []Held, lock RecoveryLock) error {
	return writeRecovery(&recoveryRoom{w, maxRecovery}, info, epochs, lock)
}

// recoveryRoom takes no more than a recovery file may have.
type recoveryRoom struct {
	w    io.Writer
	left int64
}

func (r *recoveryRoom) Write(p []byte) (int, error) {
	if int64(len(p)) > r.left {
		return 0, ErrManyEpochs
	}
	n, err := r.w.Write(p)
	r.left -= int64(n)
	return n, err
}

func writeRecovery(w io.Writer, info RecoveryInfo, epochs []Held, lock RecoveryLock) error {
	info.Version, info.Epochs = 1, len(epochs)
	if _, err := io.WriteString(w, recoveryHeader(info, lock)); err != nil {
		return fmt.Errorf("write recovery file: %w", err)
	}
	armored := armor.NewWriter(w)
	sealed, err := age.Encrypt(armored, lock.to...)
	if err != nil {
		return fmt.Errorf("write recovery file: %w", err)
	}
	out := json.NewEncoder(sealed)
	out.SetEscapeHTML(false)
	err = out.Encode(info)
	for _, h := range epochs {
		if err != nil {
			break
		}
		if h.Err != nil || h.found.entry == nil {
			return fmt.Errorf("write recovery file: epoch %s does not open", h.ID)
		}
		err = out.Encode(recoveryLine{h.ID.String(), h.At, h.found.key[:], string(h.Epoch.stored)})
	}
	for _, end := range []func() error{sealed.Close, armored.Close} {
		if err == nil {
			err = end()
		}
	}
	if err != nil {
		return fmt.Errorf("write recovery file: %w", err)
	}
	return nil
}

// recoveryHeader is for who finds the file in a safe. Nothing depends on it.
func recoveryHeader(info RecoveryInfo, lock RecoveryLock) string {
	with, flag := "a passphrase", ""
	if lock.text != nil {
		with, flag = strings.Join(lock.text, ", "), " -i IDENTITY"
	}
	return fmt.Sprintf(`sigilfs recovery file: the keys of %d epochs. Who opens it can read all that
was encrypted under them, with nothing but a copy of the bucket.

    bucket       %q at %q
    volume root  %q
    made         %s by %q
    opens with   %s

To put the epochs back where they are missing:

    sigilfs keys import s3://BUCKET/PREFIX ... FILE

Without sigilfs, by age (age-encryption.org) and docs/decrypt_sigil.py:

    sed -n '/^-----BEGIN AGE/,/^-----END AGE/p' FILE | age -d%s > epochs.jsonl
    decrypt_sigil.py --key KEY --meta head.json --recovery epochs.jsonl body > plain

`, info.Epochs, info.Bucket, info.Endpoint, info.VolumeRoot, info.Made.UTC().Format(time.RFC3339), info.Host, with, flag)
}

// RecoveryWays is how a recovery file may be opened.
type RecoveryWays struct {
	// Masters are keys; the identities of those of KindAge are tried.
	Masters []Master

	// Passphrase gives that of a file that has one. Nil: it is refused.
	Passphrase func(ctx context.Context) ([]byte, error)
}

// ReadRecovery opens a recovery file, and proves that each epoch is whole.
// Errors: ErrKeySource (it does not open), ErrCorrupt, ErrVersion.
func ReadRecovery(ctx context.Context, r io.Reader, via RecoveryWays) (RecoveryInfo, []Recovered, error) {
	var info RecoveryInfo
	text, err := io.ReadAll(io.LimitReader(r, maxRecovery+1))
	switch at := bytes.Index(text, []byte(armor.Header)); {
	case err != nil:
		return info, nil, fmt.Errorf("read recovery file: %w", err)
	case len(text) > maxRecovery:
		return info, nil, fmt.Errorf("read recovery file: over %d bytes: %w", maxRecovery, ErrCorrupt)
	case at < 0:
		return info, nil, fmt.Errorf("read recovery file: it has no %s: %w", armor.Header, ErrCorrupt)
	default:
		text = text[at:]
	}
	file, err := io.ReadAll(armor.NewReader(bytes.NewReader(text)))
	if err != nil {
		return info, nil, fmt.Errorf("read recovery file: its armor is damaged: %w", ErrCorrupt)
	}
	ids, err := via.identities(ctx, file)
	if err != nil {
		return info, nil, fmt.Errorf("read recovery file: %w", err)
	}
	plain, err := age.Decrypt(bytes.NewReader(file), ids...)
	if err != nil {
		return info, nil, fmt.Errorf("%w: the recovery file does not open: %w", ErrKeySource, err)
	}
	return parseRecovery(plain)
}

// identities are those that may open an age file. One with a passphrase has no
// other recipient (C2SP age, "The scrypt recipient type").
func (via RecoveryWays) identities(ctx context.Context, file []byte) ([]age.Identity, error) {
	_, stanza, _ := bytes.Cut(file, []byte("\n"))
	if bytes.HasPrefix(stanza, []byte("-> scrypt ")) {
		if via.Passphrase == nil {
			return nil, fmt.Errorf("%w: it opens with a passphrase, and there is nobody to ask for it", ErrKeySource)
		}
		pass, err := via.Passphrase(ctx)
		if err != nil {
			return nil, err
		}
		defer clear(pass)
		id, err := age.NewScryptIdentity(string(pass))
		if err != nil {
			return nil, fmt.Errorf("%w: the passphrase is empty", ErrKeySource)
		}
		return []age.Identity{id}, nil
	}
	var ids []age.Identity
	for _, m := range via.Masters {
		if a, ok := m.(*ageMaster); ok {
			ids = append(ids, a.identities...)
		}
	}
	if ids == nil {
		return nil, fmt.Errorf("%w: it opens with an age identity, and none is given: --identity SOURCE", ErrKeySource)
	}
	return ids, nil
}

// parseRecovery reads what was encrypted. All of it is read, or nothing given:
// where it was cut off, age says so only at the end.
func parseRecovery(r io.Reader) (info RecoveryInfo, all []Recovered, err error) {
	lines := bufio.NewReader(io.LimitReader(r, maxRecovery))
	first, err := recoveryBytes(lines)
	if errors.Is(err, io.EOF) && !errors.Is(err, ErrCorrupt) { // else it ends within its first line
		return info, nil, fmt.Errorf("read recovery file: it is empty: %w", ErrCorrupt)
	}
	if err != nil {
		return info, nil, err
	}
	switch err := json.Unmarshal(first, &info); {
	case err != nil || info.Version < 1:
		return info, nil, fmt.Errorf("read recovery file: it holds something else: %w", ErrCorrupt)
	case info.Version != 1:
		return info, nil, fmt.Errorf("read recovery file: version %d: %w", info.Version, ErrVersion)
	}
	if info.Volume != "" {
		if _, err := ParseVolumeObject([]byte(info.Volume)); err != nil {
			return info, nil, fmt.Errorf("read recovery file: %w", err)
		}
	}
	for {
		line, err := recoveryBytes(lines)
		if errors.Is(err, io.EOF) && !errors.Is(err, ErrCorrupt) { // else it ends within a line
			break
		}
		if err != nil {
			return info, nil, err
		}
		one, err := parseRecovered(line)
		clear(line)
		if err != nil {
			return info, nil, fmt.Errorf("read recovery file: epoch %d: %w", len(all)+1, err)
		}
		all = append(all, one)
	}
	if len(all) != info.Epochs {
		return info, nil, fmt.Errorf("read recovery file: it has %d epochs and says %d: %w", len(all), info.Epochs, ErrCorrupt)
	}
	return info, all, nil
}

// recoveryBytes reads a line; io.EOF where there is none.
func recoveryBytes(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err == io.EOF && len(line) == 0 {
		return nil, io.EOF
	}
	if err != nil {
		return nil, fmt.Errorf("read recovery file: %w: %w", ErrCorrupt, err)
	}
	return line, nil
}

func parseRecovered(line []byte) (Recovered, error) {
	var l recoveryLine
	if err := json.Unmarshal(line, &l); err != nil || len(l.Key) != KeySize {
		return Recovered{}, fmt.Errorf("its line is malformed: %w", ErrCorrupt)
	}
	id, err := ParseEpochID(l.ID)
	if err != nil {
		return Recovered{}, err
	}
	if l.At != "" && !strings.HasSuffix(l.At, "/") {
		return Recovered{}, fmt.Errorf("its place does not end in /: %w", ErrCorrupt)
	}
	epoch, err := ParseEpoch(id, []byte(l.Object))
	if err != nil {
		return Recovered{}, err
	}
	key := [KeySize]byte(l.Key)
	clear(l.Key)
	if err := epoch.Verify(&key); err != nil {
		return Recovered{}, err
	}
	return Recovered{ID: id, At: l.At, Epoch: epoch, key: &key}, nil
}
