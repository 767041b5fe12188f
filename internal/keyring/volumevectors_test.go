package keyring

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

// volumeVectors is testdata/vectors-volume.json, which volume.py beside it has
// made, and which shares nothing with this program; docs/FORMAT.md says how to
// read it.
type volumeVectors struct {
	Epochs  map[string]string `json:"epochs"` // id to the epoch key in hex
	Volumes []struct {
		What        string `json:"what"`
		Object      string `json:"object"`
		ID          string `json:"id"`
		Epoch       string `json:"epoch"`
		NameKey     string `json:"name_key"` // in hex, as the next
		Fingerprint string `json:"fingerprint"`
	} `json:"volumes"`
	Tampered []struct {
		What     string `json:"what"`
		Object   string `json:"object"`
		EpochKey string `json:"epoch_key"`
		Error    string `json:"error"`
	} `json:"tampered"`
}

func loadVolumes(t testing.TB) (v volumeVectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors-volume.json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if len(v.Volumes) < 7 || len(v.Tampered) < 45 {
		t.Fatalf("only %d volume objects and %d tampered", len(v.Volumes), len(v.Tampered))
	}
	return v
}

func epochKey(t testing.TB, text string) *[KeySize]byte {
	t.Helper()
	var k [KeySize]byte
	if n, err := hex.Decode(k[:], []byte(text)); err != nil || n != KeySize {
		t.Fatalf("no epoch key: %q, %v", text, err)
	}
	return &k
}

func TestVolumeVectors(t *testing.T) {
	v := loadVolumes(t)
	for _, c := range v.Volumes {
		t.Run(c.What, func(t *testing.T) {
			o, err := ParseVolumeObject([]byte(c.Object))
			if err != nil || o.ID.String() != c.ID || o.Encrypted() != (c.Epoch != "") {
				t.Fatalf("%+v, %v", o, err)
			}
			if !o.Encrypted() {
				if k, err := o.NameKey(new([KeySize]byte)); !errors.Is(err, ErrWrongKey) || k != nil {
					t.Errorf("a name key of nothing: %v", err)
				}
				return
			}
			if o.Epoch.String() != c.Epoch {
				t.Errorf("under epoch %s", o.Epoch)
			}
			k, err := o.NameKey(epochKey(t, v.Epochs[c.Epoch]))
			if err != nil || hex.EncodeToString(k[:]) != c.NameKey {
				t.Fatalf("another name key, %v", err)
			}
			if sum := sha256.Sum256(k[:]); hex.EncodeToString(sum[:]) != c.Fingerprint {
				t.Errorf("fingerprint %x", sum)
			}
			for id, key := range v.Epochs {
				if o.Opens(epochKey(t, key)) != (id == c.Epoch) {
					t.Errorf("opens under epoch %s: %t", id, id != c.Epoch)
				}
			}
			if again, err := ParseVolumeObject(o.Marshal()); err != nil || !bytes.Equal(again.names, o.names) {
				t.Errorf("written again: %v", err)
			}
		})
	}
	if got, _ := ParseVolumeObject([]byte(v.Volumes[1].Object)); string(got.Marshal()) != v.Volumes[1].Object {
		t.Errorf("is written as %s", got.Marshal())
	}
}

func TestTamperedVolumeVectors(t *testing.T) {
	v := loadVolumes(t)
	for _, c := range v.Tampered {
		o, err := ParseVolumeObject([]byte(c.Object))
		var names *[NameKeySize]byte
		if err == nil {
			names, err = o.NameKey(epochKey(t, c.EpochKey))
		}
		for name, sentinel := range map[string]error{"ErrCorrupt": ErrCorrupt, "ErrWrongKey": ErrWrongKey, "ErrVersion": ErrVersion} {
			if errors.Is(err, sentinel) != (name == c.Error) || names != nil {
				t.Errorf("%s: %v, want %s", c.What, err, c.Error)
			}
		}
	}
}

// TestFormatExampleOfVolume holds the example of docs/FORMAT.md to the code.
func TestFormatExampleOfVolume(t *testing.T) {
	page, err := os.ReadFile("../../docs/FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	var epoch [KeySize]byte
	var names [NameKeySize]byte
	o := VolumeObject{Epoch: EpochID(count(0x80, 16)), ID: EpochID(count(0x70, 16))}
	copy(epoch[:], count(0x40, KeySize))
	copy(names[:], count(0, NameKeySize))
	gcm, commitment := o.cipher(&epoch, count(0x60, nameSalt))
	o.names = append(append(count(0x60, nameSalt), commitment...), gcm.Seal(nil, make([]byte, gcm.NonceSize()), names[:], o.aad())...)
	for _, shown := range []string{string(o.Marshal()), hex.EncodeToString(commitment)} {
		if !bytes.Contains(page, []byte("    "+shown)) {
			t.Errorf("the page has no %s", shown)
		}
	}
}

// count gives n bytes from first on.
func count(first byte, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = first + byte(i)
	}
	return p
}
