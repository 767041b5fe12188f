package keyring

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxEpochSize is the most bytes that an epoch object may have; a Bucket need
// not fetch more than one byte over it.
const MaxEpochSize = 1 << 20

// maxHost is the most bytes of the host name in an epoch object.
const maxHost = 255

// Phase is the "state" of an epoch; it only ever grows.
type Phase uint8

// The phases of an epoch.
const (
	Live    Phase = iota // "open": its maker seals under it
	Retired              // read, never sealed under
	Closed               // nothing under it opens any more
)

// phaseNames are as in the format, by Phase.
var phaseNames = [...]string{Live: "open", Retired: "retired", Closed: "closed"}

func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return fmt.Sprintf("Phase(%d)", uint8(p))
}

func parsePhase(s string) (Phase, error) {
	i := slices.Index(phaseNames[:], s)
	if i < 0 {
		return 0, fmt.Errorf("state unknown: %w", ErrVersion)
	}
	return Phase(i), nil
}

// Wrap is an epoch key under one master key.
type Wrap struct {
	Key     string            // global key id
	Type    string            // KindAES, KindAge or KindKMS
	Blob    []byte            // as Type has it
	Context map[string]string // encryption context, for KindKMS only
}

// Epoch is an epoch object: the wraps of one epoch key, and what is known of
// it. It holds no secret. Treat it as immutable once parsed or marshalled.
type Epoch struct {
	ID       EpochID
	Revision uint64 // from 1, one more at every change
	State    Phase
	Created  time.Time // UTC
	Host     string    // who made it; at most 255 bytes
	Wraps    []Wrap    // at least one, each for another key

	// Signature is the Ed25519 signature of the third line, nil without one.
	// Parsing finds it well-formed; whose it is, SignedBy tells.
	Signature []byte

	stored  []byte // the object as it lies in the bucket
	payload []byte // its first line without LF
	mac     [sha256.Size]byte
}

// Marshal gives the object as stored, with a MAC under the epoch key and
// without a signature, and keeps it as what the epoch was parsed from.
func (e *Epoch) Marshal(key *[KeySize]byte) ([]byte, error) {
	line := payloadJSON{
		Version: 1, ID: e.ID.String(), Revision: e.Revision, State: e.State.String(),
		Created: e.Created.UTC().Format(time.RFC3339), Host: e.Host,
	}
	for _, w := range e.Wraps {
		line.Wraps = append(line.Wraps, wrapJSON(w))
	}
	payload, err := json.Marshal(line)
	if err != nil {
		return nil, fmt.Errorf("write epoch %s: %w", e.ID, err)
	}
	e.payload, e.mac = payload, epochMAC(e.ID, key, payload)
	e.Signature = nil
	e.stored = slices.Concat(payload, []byte("\n"+hex.EncodeToString(e.mac[:])+"\n"))
	return e.stored, nil
}

// Verify checks the object's MAC under the epoch key: ErrWrongKey if it fails.
func (e *Epoch) Verify(key *[KeySize]byte) error {
	want := epochMAC(e.ID, key, e.payload)
	if !hmac.Equal(want[:], e.mac[:]) {
		return fmt.Errorf("epoch %s: MAC does not fit its key: %w", e.ID, ErrWrongKey)
	}
	return nil
}

// wrappedFor tells whether the wraps are exactly those of the sorted key ids.
func (e *Epoch) wrappedFor(ids []string) bool { return slices.Equal(e.keyIDs(), ids) }

// keyIDs are the sorted ids of the wraps' keys.
func (e *Epoch) keyIDs() []string {
	ids := make([]string, 0, len(e.Wraps))
	for _, w := range e.Wraps {
		ids = append(ids, w.Key)
	}
	slices.Sort(ids)
	return ids
}

func epochMAC(id EpochID, key *[KeySize]byte, payload []byte) [sha256.Size]byte {
	macKey := derive(key[:], id[:], "sigil/v1/epoch")
	defer clear(macKey[:])
	h := hmac.New(sha256.New, macKey[:])
	h.Write(payload)
	return [sha256.Size]byte(h.Sum(nil))
}

// ParseEpoch reads the object stored under the name id. It checks structure
// only: what it says is the maker's word once Verify holds.
// Errors: ErrCorrupt, ErrVersion.
func ParseEpoch(id EpochID, stored []byte) (*Epoch, error) {
	e, err := parseEpoch(id, stored)
	if err != nil {
		return nil, fmt.Errorf("parse epoch %s: %w", id, err)
	}
	return e, nil
}

func parseEpoch(id EpochID, stored []byte) (*Epoch, error) {
	if len(stored) > MaxEpochSize {
		return nil, fmt.Errorf("over %d bytes: %w", MaxEpochSize, ErrCorrupt)
	}
	lines := bytes.SplitAfter(stored, []byte("\n"))
	if n := len(lines) - 1; n < 2 || n > 3 || len(lines[n]) != 0 {
		return nil, fmt.Errorf("not two or three lines: %w", ErrCorrupt)
	}
	e := &Epoch{ID: id, stored: slices.Clone(stored)}
	e.payload = e.stored[:len(lines[0])-1]
	if err := e.parsePayload(); err != nil {
		return nil, err
	}
	if err := e.parseMAC(string(lines[1])); err != nil {
		return nil, err
	}
	if len(lines) == 4 {
		return e, e.parseSignature(string(lines[2]))
	}
	return e, nil
}

func (e *Epoch) parseMAC(line string) error {
	text := strings.TrimSuffix(line, "\n")
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(e.mac) || text != strings.ToLower(text) {
		return fmt.Errorf("MAC is not 64 lower-case hex digits: %w", ErrCorrupt)
	}
	e.mac = [sha256.Size]byte(raw)
	return nil
}

func (e *Epoch) parseSignature(line string) error {
	sig, err := parseBase64(strings.TrimSuffix(line, "\n"))
	if err != nil || len(sig) != 64 {
		return fmt.Errorf("signature is not base64 of 64 bytes: %w", ErrCorrupt)
	}
	e.Signature = sig
	return nil
}

// parseBase64 takes standard padded base64 in its one canonical form; the
// library alone would skip line breaks.
func parseBase64(s string) ([]byte, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || base64.StdEncoding.EncodeToString(raw) != s {
		return nil, fmt.Errorf("base64 is not canonical: %w", ErrCorrupt)
	}
	return raw, nil
}
