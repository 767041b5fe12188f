package sigil

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/cryptotest"

	"filippo.io/age"
)

var generate = flag.Bool("generate", false, "write testdata/vectors.json anew; only for a new format version")

// generator makes the vectors, from a fixed random source.
type generator struct {
	*testing.T
	v     *vectors
	epoch Epoch
}

func TestGenerateVectors(t *testing.T) {
	if !*generate {
		t.Skip("vectors are never regenerated; -generate makes those of a new format version")
	}
	cryptotest.SetGlobalRandom(t, 0x5161)
	g := &generator{T: t, v: &vectors{Epochs: map[string]string{}}}
	first := g.newEpoch("open")
	g.epoch = first
	g.sizes()
	g.kinds()
	g.versions()
	g.stream()
	g.epoch = g.newEpoch("retired")
	g.rewrapped(first)
	g.epoch = first
	g.tamper()
	out, err := json.MarshalIndent(g.v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	g.write(vectorFile, append(out, '\n'))
}

func (g *generator) write(name string, b []byte) {
	g.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		g.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		g.Fatal(err)
	}
}

// newEpoch writes an epoch object, wrapped for an AES master key and for an age
// recipient.
func (g *generator) newEpoch(state string) Epoch {
	g.Helper()
	var e Epoch
	_, _ = rand.Read(e.ID[:])
	_, _ = rand.Read(e.Key[:])
	master, err := os.ReadFile("testdata/aes.key")
	if os.IsNotExist(err) {
		raw := make([]byte, KeySize)
		_, _ = rand.Read(raw)
		master = []byte(hex.EncodeToString(raw) + "\n")
		g.write("testdata/aes.key", master)
		id, err := age.GenerateX25519Identity()
		if err != nil {
			g.Fatal(err)
		}
		g.write("testdata/age.key", []byte(id.String()+"\n"))
	}
	raw, _ := hex.DecodeString(strings.TrimSpace(string(master)))
	payload := fmt.Sprintf(`{"version":1,"id":"%s","revision":1,"state":"%s","created":"2026-01-02T03:04:05Z","host":"vectors.example","wraps":[%s,%s]}`,
		e.ID, state, g.aesWrap(e, raw), g.ageWrap(e))
	mac := hmac.New(sha256.New, derive(e.Key[:], e.ID[:], "sigil/v1/epoch", 32))
	mac.Write([]byte(payload))
	g.write("testdata/epochs/"+e.ID.String(), fmt.Appendf(nil, "%s\n%x\n", payload, mac.Sum(nil)))
	g.v.Epochs[e.ID.String()] = hex.EncodeToString(e.Key[:])
	return e
}

func (g *generator) aesWrap(e Epoch, master []byte) string {
	g.Helper()
	name := fmt.Sprintf("aes:%x", derive(master, nil, "sigil/v1/key-id", 32)[:16])
	block, _ := aes.NewCipher(derive(master, e.ID[:], "sigil/v1/wrap", 32))
	gcm, _ := cipher.NewGCM(block)
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce)
	aad := binary.BigEndian.AppendUint16(append([]byte("sigil/v1/wrap"), e.ID[:]...), uint16(len(name)))
	blob := gcm.Seal(nonce, nonce, e.Key[:], append(aad, name...))
	return fmt.Sprintf(`{"key":"%s","type":"aes","blob":"%s"}`, name, base64.StdEncoding.EncodeToString(blob))
}

func (g *generator) ageWrap(e Epoch) string {
	g.Helper()
	text, err := os.ReadFile("testdata/age.key")
	if err != nil {
		g.Fatal(err)
	}
	id, err := age.ParseX25519Identity(strings.TrimSpace(string(text)))
	if err != nil {
		g.Fatal(err)
	}
	recipient := id.Recipient().String()
	sum := sha256.Sum256([]byte(recipient + "\n"))
	var blob bytes.Buffer
	w, err := age.Encrypt(&blob, id.Recipient())
	if err != nil {
		g.Fatal(err)
	}
	_, _ = w.Write(e.Key[:])
	if err := w.Close(); err != nil {
		g.Fatal(err)
	}
	return fmt.Sprintf(`{"key":"age:%x","type":"age","blob":"%s"}`, sum[:16], base64.StdEncoding.EncodeToString(blob.Bytes()))
}

func (g *generator) record(mode uint32) *Record {
	r := file()
	r.Mode = mode
	var id [8]byte
	_, _ = rand.Read(id[:])
	r.FileID = binary.BigEndian.Uint64(id[:])
	return r
}

// add seals the record and puts the object down.
func (g *generator) add(o vector, rec *Record, body []byte, l Late) {
	g.Helper()
	if o.Key == "" {
		o.Key = "data/" + o.Name
		if rec.isDir() {
			o.Key += "/"
		}
	}
	h, err := rec.Seal(g.epoch, o.Key)
	if err != nil {
		g.Fatal(err)
	}
	sum := sha256.Sum256(body)
	o.Metadata, o.BodySize, o.BodySHA256 = h.Metadata(), int64(len(body)), hex.EncodeToString(sum[:])
	o.Tail = body[int64(len(body))-TailSize(rec.Layout, o.Size):]
	if rec.Layout == layoutFrames {
		o.Frames = packedFrames(g, rec, body, o.Size)
	}
	if len(body) <= 512 {
		o.Body = body
	}
	o.Stat = statOf(rec, l, o.Size)
	g.v.Objects = append(g.v.Objects, o)
	if back := g.v.body(g, o); !bytes.Equal(back, body) {
		g.Fatalf("%s cannot be made again", o.Name)
	}
}

// file adds an object written whole.
func (g *generator) file(name string, rec *Record, n int64) {
	g.Helper()
	o := vector{Name: name, Size: n, Seed: name}
	b, err := NewBody(g.Context(), rec, nil, o.plaintext(g), n)
	if err != nil {
		g.Fatal(err)
	}
	g.add(o, rec, whole(g, b), Late{Attr: rec.Attr, Version: rec.Version})
}

func (g *generator) sizes() {
	g.Helper()
	for _, n := range boundaries {
		g.file(fmt.Sprintf("size %d", n), g.record(typeRegular|0o644), n)
	}
	g.file("small", g.record(typeRegular|0o600), 300)
	g.file("small too", g.record(typeRegular|0o600), 300)
}

func (g *generator) kinds() {
	g.Helper()
	g.file("directory", g.record(typeDir|0o1777), 0)
	g.file("symlink", g.record(typeSymlink|0o777), 20)
	g.file("fifo", g.record(typeFifo|0o600), 0)
	g.file("socket", g.record(typeSocket|0o600), 0)
	device := g.record(typeBlock | 0o660)
	device.Rdev = 8<<8 | 1
	g.file("device", device, 0)
	link := g.record(typeRegular | 0o600)
	_, _ = rand.Read(link.Inode[:])
	link.Nlink = 3
	g.file("hard-link name", link, 0)
	full := g.record(typeRegular | 0o6755)
	full.UID, full.GID, full.Mtime, full.Ctime, full.Version = 1<<32-1, 1<<32-2, -1, -1<<63, 1<<64-1
	full.Xattrs = map[string][]byte{"user.empty": {}, "user.comment": []byte("héllo"), "security.capability": {1, 0, 0, 2}}
	full.extra = map[uint64]any{64: "a later field", 1 << 40: []any{uint64(1), nil, true, -5, map[any]any{"x": []byte{1}}}}
	g.file("every field", full, 10)
	unknown := g.record(typeRegular | 0o644)
	b, _ := NewBody(g.Context(), unknown, nil, keystream{"size unknown", 100}, 100)
	unknown.SizeKnown, unknown.Size = false, 0
	g.add(vector{Name: "size unknown", Size: 100, Seed: "size unknown"}, unknown, whole(g, b), Late{Attr: unknown.Attr, Version: unknown.Version})
}

// versions adds a body of three segments, and the same with one byte of
// segment 1 written.
func (g *generator) versions() {
	g.Helper()
	const n = 2*SegmentSize + 1000
	rec := g.record(typeRegular | 0o644)
	first := vector{Name: "version 1", Key: "data/versions", Size: n, Seed: "versions"}
	b, err := NewBody(g.Context(), rec, nil, first.plaintext(g), n)
	if err != nil {
		g.Fatal(err)
	}
	old := whole(g, b)
	g.add(first, rec, old, Late{Attr: rec.Attr, Version: rec.Version})
	r, err := NewReader(rec, Header{}, Bytes(old), int64(len(old)), nil)
	if err != nil {
		g.Fatal(err)
	}
	second := first
	second.Name, second.Patch = "version 2", []patch{{At: SegmentSize + 5, Hex: "00112233"}}
	next := rec.Clone()
	next.Version++
	if b, err = NewRewrite(g.Context(), next, nil, r, second.plaintext(g), n, func(i int64) bool { return i == 1 }); err != nil {
		g.Fatal(err)
	}
	g.add(second, next, rewriteBody(g, b, old), Late{Attr: next.Attr, Version: next.Version})
}

// stream adds one of unknown length, and the same after a chmod.
func (g *generator) stream() {
	g.Helper()
	const n = SegmentSize + 100
	rec := g.record(typeRegular | 0o600)
	o := vector{Name: "stream", Key: "data/stream", Size: n, Seed: "stream"}
	s, err := NewStream(rec, nil, n)
	if err != nil {
		g.Fatal(err)
	}
	src := o.plaintext(g)
	section, _, err := s.Finish(g.Context(), src, 0, n, lateAttr)
	if err != nil {
		g.Fatal(err)
	}
	body := readAll(g, section)
	g.add(o, rec, body, lateAttr)
	settled := rec.Clone()
	settled.Settle(lateAttr, n)
	settled.Mode, settled.Version = typeRegular|0o400, 100
	o.Name = "stream, then chmod"
	g.add(o, settled, body, Late{Attr: settled.Attr, Version: settled.Version})
}

// rewrapped adds an object whose data key was first sealed under another epoch.
func (g *generator) rewrapped(first Epoch) {
	g.Helper()
	rec := g.record(typeRegular | 0o644)
	rec.Fresh()
	rec.SealEpoch = first.ID
	g.file("another epoch", rec, 50)
}
