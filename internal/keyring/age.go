package keyring

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/tag"
)

var _ Master = (*ageMaster)(nil)

// ageMaster is a group of age recipients, and perhaps identities that open for
// it. Its blobs are standard age files of the 32 bytes of an epoch key.
type ageMaster struct {
	recipients []age.Recipient
	identities []age.Identity // none: only recipients are held
	external   bool           // an identity asks a plugin, which may fail and later not
	id         string
	made       time.Time // the identities' source; zero: not known
}

// recipient is an age recipient and its one canonical text, which the key id
// is made of.
type recipient struct {
	age.Recipient
	text string
}

// identity is an age identity and the recipient that it opens for; recipient
// is nil where that cannot be told.
type identity struct {
	age.Identity
	recipient *recipient
}

// newAge makes a key of recipients, or, where none are given, of those of the
// identities.
func newAge(recipients []recipient, ids []identity) (*ageMaster, error) {
	derived, all := derivedRecipients(ids)
	if len(recipients) == 0 {
		if !all {
			return nil, fmt.Errorf("%w: the recipient of an age plugin identity must be given too: age:RECIPIENT,file:PATH", ErrKeySource)
		}
		recipients = derived
	}
	recipients = slices.Clone(recipients)
	slices.SortFunc(recipients, func(a, b recipient) int { return strings.Compare(a.text, b.text) })
	recipients = slices.CompactFunc(recipients, sameRecipient)
	if err := checkMix(recipients); err != nil {
		return nil, err
	}
	if all && len(ids) > 0 && !slices.ContainsFunc(derived, func(d recipient) bool {
		return slices.ContainsFunc(recipients, func(r recipient) bool { return sameRecipient(d, r) })
	}) {
		return nil, fmt.Errorf("%w: the age identity belongs to none of the recipients given with it", ErrKeySource)
	}
	m := &ageMaster{id: ageKeyID(recipients)}
	for _, r := range recipients {
		m.recipients = append(m.recipients, r.Recipient)
	}
	for _, i := range ids {
		m.identities = append(m.identities, i.Identity)
		m.external = m.external || i.recipient == nil
	}
	return m, nil
}

func sameRecipient(a, b recipient) bool { return a.text == b.text }

// derivedRecipients are those of the identities; all is false where one is
// missing.
func derivedRecipients(ids []identity) (derived []recipient, all bool) {
	all = true
	for _, i := range ids {
		if i.recipient == nil {
			all = false
			continue
		}
		derived = append(derived, *i.recipient)
	}
	return derived, all
}

// checkMix refuses what age refuses to put in one file: a classic recipient
// beside a post-quantum one would undo the latter's protection.
func checkMix(recipients []recipient) error {
	pq := 0
	for _, r := range recipients {
		switch r := r.Recipient.(type) {
		case *age.HybridRecipient:
			pq++
		case *tag.Recipient:
			if r.Hybrid() {
				pq++
			}
		}
	}
	if pq != 0 && pq != len(recipients) {
		return fmt.Errorf("%w: age does not mix post-quantum recipients (age1pq1…) with others in one key; give them as two keys", ErrKeySource)
	}
	return nil
}

// ageKeyID hashes the sorted recipients, a line each.
func ageKeyID(recipients []recipient) string {
	h := sha256.New()
	for _, r := range recipients {
		_, _ = io.WriteString(h, r.text+"\n")
	}
	return "age:" + hex.EncodeToString(h.Sum(nil)[:16])
}

func (m *ageMaster) ID() string      { return m.id }
func (m *ageMaster) Kind() string    { return KindAge }
func (m *ageMaster) CanUnwrap() bool { return len(m.identities) > 0 }

// Format keeps identities, which print themselves whole, out of every verb.
func (m ageMaster) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.id) }

func (m *ageMaster) Wrap(_ context.Context, _ EpochID, key *[KeySize]byte) (Wrap, error) {
	var blob bytes.Buffer
	w, err := age.Encrypt(&blob, m.recipients...)
	if err == nil {
		_, err = w.Write(key[:])
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return Wrap{}, fmt.Errorf("wrap for %s: %w", m.id, err)
	}
	return Wrap{Key: m.id, Type: KindAge, Blob: blob.Bytes()}, nil
}

func (m *ageMaster) Unwrap(_ context.Context, _ EpochID, w Wrap) (*[KeySize]byte, error) {
	if !m.CanUnwrap() {
		return nil, fmt.Errorf("open wrap for %s: only recipients are held: %w", m.id, ErrNoKey)
	}
	plain, err := decryptAge(w.Blob, KeySize, m.identities...)
	if match := (*age.NoIdentityMatchError)(nil); err != nil && m.external && !errors.As(err, &match) {
		return nil, fmt.Errorf("open wrap for %s: %w", m.id, err)
	}
	if err != nil || len(plain) != KeySize {
		clear(plain)
		return nil, fmt.Errorf("open wrap for %s: %w", m.id, ErrWrongKey)
	}
	defer clear(plain)
	key := [KeySize]byte(plain)
	return &key, nil
}

var errTooLong = errors.New("age file is too long")

// decryptAge opens a whole age file of at most limit bytes of content.
func decryptAge(file []byte, limit int64, ids ...age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(file), ids...)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(plain)) > limit {
		err = errTooLong
	}
	return plain, err
}
