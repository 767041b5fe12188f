package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/internal/volume/named"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// Whether names are encrypted says the volume object. It is read at every start:
// looked at before anything is made in the volume, and opened when there are keys.
// What cannot be read is never taken for absent, and what this host has once known
// to be encrypted is never written in the clear.

// naming is how the names of a volume lie in the bucket.
type naming struct {
	object  *keyring.VolumeObject // nil: there is none
	etag    string
	pin     state.Pin // what this host held it to be when it looked
	pinned  bool      // it did
	print   string    // fingerprint of the name key; "": names are clear
	siv     *sigil.Names
	longest int // component of a key that the server takes, in bytes; 0: no limit
}

// errNames: the volume is not what its names are held to be. A mount is refused.
var errNames = errors.New("the volume's names are not as they are held to be")

// fingerprint is what a name key is told by: hex of its SHA-256.
func fingerprint(key *[keyring.NameKeySize]byte) string {
	sum := sha256.Sum256(key[:])
	return hex.EncodeToString(sum[:])
}

// wish is what --names says.
func (s *settings) wish() (encrypted bool, mark string) {
	encrypted = s.names != namesAuto
	if _, p, ok := strings.Cut(s.names, ":"); ok {
		mark = p
	}
	return encrypted, mark
}

// Values of --names.
const (
	namesAuto      = "auto"
	namesEncrypted = "encrypted"
)

// parseNames reads --names.
func parseNames(text string) (string, error) {
	word, mark, given := strings.Cut(text, ":")
	switch sum, err := hex.DecodeString(mark); {
	case !given && (word == namesAuto || word == namesEncrypted):
		return word, nil
	case !given || word != namesEncrypted:
		return "", errors.New("is auto, encrypted or encrypted:FINGERPRINT")
	case err != nil || len(sum) != sha256.Size:
		return "", errors.New("a fingerprint is 64 hex digits, as sigilfs init prints them")
	}
	return namesEncrypted + ":" + strings.ToLower(mark), nil
}

// volumeKey is where the volume object of a root lies.
func volumeKey(root string) string { return root + ".sigil/volume" }

// lookVolume reads the volume object, and refuses what needs no key to refuse.
func (m *mounting) lookVolume(ctx context.Context) (err error) {
	n := &m.naming
	if n.object, n.etag, err = m.readVolume(ctx, m.set.volumeRoot); err != nil {
		return m.unreadVolume(err)
	}
	if n.pin, n.pinned, err = m.recallPin(); err != nil {
		return err
	}
	demanded, given := m.set.wish()
	where := quoted("s3://" + m.set.target.Bucket + "/" + volumeKey(m.set.volumeRoot))
	switch known := n.pinned && !m.set.acceptVolume; {
	case n.object == nil && demanded:
		return m.refuseNames("%s is missing, and names are to be encrypted (%s): sigilfs init --encrypt-names makes it for a new volume; if it was removed, put it back with sigilfs keys import of a recovery file, or as its last version where the bucket keeps versions", where, m.set.said("names"))
	case n.object == nil && known && n.pin.Names != "":
		return m.refuseNames("%s is missing, and this host knows the volume with encrypted names: put it back with sigilfs keys import of a recovery file, or as its last version where the bucket keeps versions; --accept-volume takes the volume for one with clear names", where)
	case n.object == nil:
		return m.lookAbove(ctx)
	case known && n.pin.ID != "" && n.pin.ID != n.object.ID.String():
		return m.refuseNames("%s says that this is volume %s, and this host knows %s there: somebody has replaced it, or the bucket is another one; --accept-volume takes it for the right one", where, n.object.ID, n.pin.ID)
	case !n.object.Encrypted() && demanded:
		return m.refuseNames("%s says that names are not encrypted, and they are to be (%s)", where, m.set.said("names"))
	case known && !n.object.Encrypted() && n.pin.Names != "":
		return m.refuseNames("%s says that names are not encrypted, and this host knows the volume with encrypted ones: somebody has replaced it; --accept-volume takes it for the right one", where)
	case known && n.object.Encrypted() && n.pin.Names == "" && given == "": // a fingerprint says more, and is held against the key
		return m.refuseNames("%s says that names are encrypted, and this host knows the volume with clear ones; --names encrypted:FINGERPRINT says that they are to be, --accept-volume takes it for the right one", where)
	case n.object.Encrypted() && !m.hides:
		return m.isHidden(ctx)
	}
	return nil
}

// isHidden refuses a volume of which only a part has encrypted names: it would show
// that for the whole.
func (m *mounting) isHidden(ctx context.Context) error {
	_, err := m.store.Head(ctx, objstore.ID{Key: m.set.volumeRoot + volume.HidingKey})
	switch {
	case err == nil, errors.Is(err, objstore.ErrKeyNeeded):
		return m.refuseNames("they are being encrypted, and not all are yet: sigilfs encrypt-names goes on where it was interrupted")
	case errors.Is(err, objstore.ErrNotExist), errors.Is(err, objstore.ErrTooLong):
		return nil
	}
	return explainStore(m.set.target.Spec, err)
}

// said names a setting as it was given.
func (s *settings) said(flag string) string {
	if at, ok := s.places[flag]; ok {
		return at.String()
	}
	return "--" + flag
}

// refuseNames is the error of a volume that is not what it is held to be.
func (m *mounting) refuseNames(format string, args ...any) error {
	return mountError("%s: %w: "+format, append([]any{m.set.target.Spec, errNames}, args...)...)
}

// unreadVolume is about a volume object of which nobody knows whether it is there.
func (m *mounting) unreadVolume(err error) error {
	switch {
	case errors.Is(err, objstore.ErrAccess) && !errors.Is(err, objstore.ErrKeyAccess):
		return mountError("%s: whether names are encrypted is not known: %w; grant s3:GetObject for %s, and s3:ListBucket, without which S3 says the same of what is missing", m.set.target.Spec, err, quoted(volumeKey(m.set.volumeRoot)))
	case errors.Is(err, keyring.ErrCorrupt), errors.Is(err, keyring.ErrVersion):
		return mountError("%s: whether names are encrypted is not known: %w", m.set.target.Spec, err)
	}
	return explainStore(m.set.target.Spec, err)
}

// lookAbove refuses a new volume within one whose names are encrypted: what was
// written there would have clear ones, and be hidden from the other. What may not
// be read above is not this host's.
func (m *mounting) lookAbove(ctx context.Context) error {
	for _, at := range keyring.Above(m.set.volumeRoot) {
		object, _, err := m.readVolume(ctx, at)
		switch {
		case errors.Is(err, objstore.ErrAccess) && !errors.Is(err, objstore.ErrKeyAccess):
		case err != nil:
			return m.unreadVolume(err)
		case object != nil && object.Encrypted():
			return m.refuseNames("it lies in the volume at %s, whose names are encrypted: give --volume-root %s, or another prefix", quoted("s3://"+m.set.target.Bucket+"/"+at), quoted("/"+at))
		}
	}
	return nil
}

// readVolume reads the volume object of a root; nil: there is none. Who may list
// and not read is told whether there is one by a listing.
func (m *mounting) readVolume(ctx context.Context, root string) (*keyring.VolumeObject, string, error) {
	object, etag, err := readVolumeOf(ctx, m.store, root)
	if err == nil && object == nil && m.objects != objstore.Store(m.store) { // of another time
		object, _, err = readVolumeOf(ctx, m.objects, root)
	}
	return object, etag, err
}

func readVolumeOf(ctx context.Context, store objstore.Store, root string) (*keyring.VolumeObject, string, error) {
	key := volumeKey(root)
	info, _, body, err := store.Get(ctx, objstore.ID{Key: key}, objstore.Range{Len: keyring.MaxVolumeSize + 1})
	switch {
	case errors.Is(err, objstore.ErrNotExist), errors.Is(err, objstore.ErrTooLong):
		return nil, "", nil
	case errors.Is(err, objstore.ErrAccess) && !errors.Is(err, objstore.ErrKeyAccess):
		if there, lerr := isListed(ctx, store, key); lerr == nil && !there {
			return nil, "", nil
		}
		return nil, "", err
	case err != nil:
		return nil, "", err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, keyring.MaxVolumeSize+1))
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", key, err)
	}
	object, err := keyring.ParseVolumeObject(data)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", key, err)
	}
	return &object, info.ETag, nil
}

// isListed tells whether there is an object, by a listing.
func isListed(ctx context.Context, store objstore.Store, key string) (bool, error) {
	for e, err := range store.List(ctx, objstore.ListOptions{Prefix: key, Limit: 1}) {
		if err != nil || e.Key == key {
			return err == nil, err
		}
	}
	return false, nil
}

// recallPin gives what this host remembers of the volume. One that keeps no state
// looks at that of others here, where there is any.
func (m *mounting) recallPin() (state.Pin, bool, error) {
	dir := m.state
	if dir == nil {
		var err error
		if dir, err = state.Look(m.set.stateDir, m.stateID()); err != nil {
			return state.Pin{}, false, nil //nolint:nilerr // there is no place for one
		}
	}
	pin, ok, err := dir.Pin()
	if err != nil {
		return pin, ok, systemError("%w; name another directory with --state-dir", err)
	}
	return pin, ok, nil
}

// openNames opens the name key of a volume that has one, and remembers what the
// volume is.
func (m *mounting) openNames(ctx context.Context) error {
	n := &m.naming
	if n.object != nil && n.object.Encrypted() {
		if err := m.openNameKey(ctx); err != nil {
			return err
		}
	}
	return m.remember()
}

func (m *mounting) openNameKey(ctx context.Context) error {
	key, err := openNameKey(ctx, m.ring, m.set.volumeRoot, *m.naming.object)
	if err != nil {
		return m.unopenedNames(err)
	}
	defer clear(key[:])
	n := &m.naming
	n.print = fingerprint(key)
	if _, want := m.set.wish(); want != "" && !sameHex(want, n.print) {
		return m.refuseNames("they are encrypted under a key with the fingerprint %s, and not under the one that %s says", n.print, m.set.said("names"))
	}
	if n.pinned && !m.set.acceptVolume && n.pin.Names != "" && !sameHex(n.pin.Names, n.print) {
		return m.refuseNames("they are encrypted under a key with the fingerprint %s, and this host knows %s: somebody has replaced .sigil/volume; --accept-volume takes it for the right one", n.print, n.pin.Names)
	}
	if n.longest, err = m.probeComponent(ctx); err != nil {
		return explainStore(m.set.target.Spec, err)
	}
	n.siv = sigil.NewNames(sigil.NameKey(*key))
	m.names, err = named.New(n.siv, strings.TrimPrefix(m.set.target.Prefix, m.set.volumeRoot), n.longest)
	if err != nil {
		return mountError("%s: %w", m.set.target.Spec, err)
	}
	return nil
}

// unopenedNames is the error of names that no key here opens.
func (m *mounting) unopenedNames(err error) error {
	for _, is := range doesNotOpen() {
		if errors.Is(err, is) {
			return mountError("%s: names are encrypted, and this host has no key that opens them: %w; give a key that opens the epoch with --key, as one that reads at least", m.set.target.Spec, err)
		}
	}
	return explainStore(m.set.target.Spec, err)
}

// openNameKey gives the name key, which the caller clears.
func openNameKey(ctx context.Context, ring *keyring.Ring, root string, object keyring.VolumeObject) (*[keyring.NameKeySize]byte, error) {
	epoch, err := ring.Open(ctx, root, object.Epoch, object.Opens)
	if err != nil {
		return nil, err
	}
	defer clear(epoch[:])
	return object.NameKey(&epoch)
}

// sameHex compares two fingerprints, in constant time.
func sameHex(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (m *mounting) probeComponent(ctx context.Context) (int, error) {
	enc, err := m.rootEncryption()
	if err != nil {
		return 0, err
	}
	return objstore.ProbeComponent(ctx, m.store, m.set.volumeRoot+".sigil/doctor/", sigil.EncodedLen(sigil.MaxName), enc, m.set.readOnly || m.dry)
}

// seen is the pin of the volume as it was found.
func (n *naming) seen() state.Pin {
	p := state.Pin{Names: n.print}
	if n.object != nil {
		p.ID = n.object.ID.String()
	}
	return p
}

// remember pins the volume, where this host keeps a state. An id that is missing
// now is not forgotten.
func (m *mounting) remember() error {
	n := &m.naming
	seen := n.seen()
	if n.pinned && seen.ID == "" && seen.Names == n.pin.Names {
		seen.ID = n.pin.ID
	}
	if m.state == nil || m.set.readOnly || m.dry || n.pinned && seen == n.pin {
		return nil
	}
	if n.pinned || m.set.acceptVolume {
		if err := m.state.Repin(seen); err != nil {
			return systemError("%w", err)
		}
		return nil
	}
	have, err := m.state.PinFirst(seen)
	switch {
	case err != nil:
		return systemError("%w", err)
	case have != seen:
		return m.refuseNames("another process of this host has met another volume there at this moment; try again")
	}
	return nil
}

// storedPrefix is the prefix of every key of the mount.
func (m *mounting) storedPrefix() string {
	if m.names == nil {
		return m.set.target.Prefix
	}
	return m.set.volumeRoot + m.names.Base()
}

// storedRule is the prefix of the keys of a rule.
func (m *mounting) storedRule(r rule) (string, error) {
	stored, err := m.names.Stored(strings.TrimSuffix(r.Prefix, "/"))
	if stored != "" && strings.HasSuffix(r.Prefix, "/") {
		stored += "/"
	}
	return m.storedPrefix() + stored, err
}
