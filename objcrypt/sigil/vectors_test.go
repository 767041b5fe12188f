package sigil

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigilfs/sigilfs/objcrypt"
)

// vectors is a file of testdata; docs/FORMAT.md says how to read it.
type vectors struct {
	Epochs   map[string]string `json:"epochs"` // id to the epoch key in hex
	Objects  []vector          `json:"objects"`
	Tampered []tampered        `json:"tampered"`

	bodies map[string][]byte // by name, once made and checked
}

// vector is one object. Its plaintext is the keystream of Seed, of which most
// frames repeat the first Period bytes where there is one, patched; its body is
// given as it is, or by what it is made of.
type vector struct {
	Name       string            `json:"name"`
	Key        string            `json:"key"`
	Metadata   map[string]string `json:"metadata"`
	Size       int64             `json:"size"`
	Seed       string            `json:"seed,omitempty"`
	Period     int64             `json:"period,omitempty"`
	Patch      []patch           `json:"patch,omitempty"`
	Body       []byte            `json:"body,omitempty"`
	Frames     [][]byte          `json:"frames,omitempty"` // of layout 1, compressed; nil: stored
	Tail       []byte            `json:"tail,omitempty"`
	BodySize   int64             `json:"body_size"`
	BodySHA256 string            `json:"body_sha256"`
	Stat       stat              `json:"stat"` // what stands, late or not
}

type patch struct {
	At  int64  `json:"at"`
	Hex string `json:"hex"`
}

// stat is the attributes as decrypt_sigil.py --stat prints them.
type stat struct {
	Mode       string            `json:"mode"`
	Size       int64             `json:"size"`
	Xattrs     map[string][]byte `json:"xattrs"`
	Generation string            `json:"generation"`
	Version    uint64            `json:"version"`
	UID        uint32            `json:"uid"`
	GID        uint32            `json:"gid"`
	Rdev       uint64            `json:"rdev,omitempty"`
	Mtime      int64             `json:"mtime"`
	Ctime      int64             `json:"ctime"`
	Nlink      uint64            `json:"nlink,omitempty"` // absent: 1
	FileID     uint64            `json:"file_id"`
	Inode      string            `json:"inode,omitempty"`
}

func statOf(rec *Record, l Late, n int64) stat {
	s := stat{
		Mode: fmt.Sprintf("%o", l.Mode), Size: n, Xattrs: rec.Xattrs, Generation: hex.EncodeToString(rec.Generation[:]),
		Version: l.Version, UID: l.UID, GID: l.GID, Rdev: rec.Rdev, Mtime: l.Mtime, Ctime: l.Ctime, FileID: rec.FileID,
	}
	if s.Xattrs == nil {
		s.Xattrs = map[string][]byte{}
	}
	if rec.Nlink > 1 {
		s.Nlink = rec.Nlink
	}
	if rec.Inode != [16]byte{} {
		s.Inode = hex.EncodeToString(rec.Inode[:])
	}
	return s
}

// tampered is an object after Edits, and the error that it gives.
type tampered struct {
	Name  string `json:"name"`
	Of    string `json:"of"`
	Edits []edit `json:"edits"`
	Error string `json:"error"`
}

// edit is one step. Negative offsets count from the body's end.
type edit struct {
	Op    string `json:"op"`              // metadata, key, xor, set, append, truncate, cut, swap, copy
	Name  string `json:"name,omitempty"`  // metadata: which; with Value "" it is removed
	Value string `json:"value,omitempty"` // metadata, key
	At    int64  `json:"at,omitempty"`
	To    int64  `json:"to,omitempty"`  // swap: the other offset
	Len   int64  `json:"len,omitempty"` // cut, swap, copy
	From  string `json:"from,omitempty"`
	Src   int64  `json:"src,omitempty"` // copy: offset in the body of object From, Len bytes of which are written at At
	Hex   string `json:"hex,omitempty"` // xor, set, append
}

var sentinels = map[string]error{
	"ErrCorrupt": objcrypt.ErrCorrupt, "ErrMoved": objcrypt.ErrMoved, "ErrWrongKey": objcrypt.ErrWrongKey,
	"ErrDowngrade": objcrypt.ErrDowngrade, "ErrVersion": objcrypt.ErrVersion,
}

const (
	vectorFile = "testdata/vectors.json"
	framesFile = "testdata/vectors-frames.json" // of layout 1
)

// vectorFiles are both, by what subtests are named.
func vectorFiles(t testing.TB) map[string]*vectors {
	t.Helper()
	return map[string]*vectors{"chunks": loadVectors(t, vectorFile), "frames": loadVectors(t, framesFile)}
}

func loadVectors(t testing.TB, name string) *vectors {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	v := &vectors{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *vectors) object(t testing.TB, name string) vector {
	t.Helper()
	i := slices.IndexFunc(v.Objects, func(o vector) bool { return o.Name == name })
	if i < 0 {
		t.Fatalf("no object %q", name)
	}
	return v.Objects[i]
}

func (v *vectors) epoch(t testing.TB, id EpochID) Epoch {
	t.Helper()
	e := Epoch{ID: id}
	if n, err := hex.Decode(e.Key[:], []byte(v.Epochs[id.String()])); err != nil || n != KeySize {
		t.Fatalf("no key of epoch %s", id)
	}
	return e
}

// plaintext gives the content of the object.
func (o vector) plaintext(t testing.TB) Bytes {
	t.Helper()
	p := keystream{o.Seed, o.Size}.bytes(t)
	for i := o.Period; o.Period > 0 && i < o.Size; i++ {
		if i/FrameSize%8 != 3 {
			p[i] = p[i%o.Period]
		}
	}
	for _, c := range o.Patch {
		b, err := hex.DecodeString(c.Hex)
		if err != nil {
			t.Fatal(err)
		}
		copy(p[c.At:], b)
	}
	return p
}

// body gives the object's body, made of plaintext, record and tail where the
// file does not hold it, and checked against its hash.
func (v *vectors) body(t testing.TB, o vector) []byte {
	t.Helper()
	b := o.Body
	if made, ok := v.bodies[o.Name]; ok {
		return made
	}
	if int64(len(b)) != o.BodySize {
		b = v.makeBody(t, o)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != o.BodySHA256 || int64(len(b)) != o.BodySize {
		t.Fatalf("%s: the body is not the one that was written down", o.Name)
	}
	if v.bodies == nil {
		v.bodies = map[string][]byte{}
	}
	v.bodies[o.Name] = b
	return b
}

func (v *vectors) makeBody(t testing.TB, o vector) []byte {
	t.Helper()
	h, err := ParseHeader(o.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := h.Open(v.epoch(t, h.Epoch), o.Key)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Layout == layoutFrames {
		return append(sealFrames(rec.DEK, saltsOf(o.Tail, o.Size), o.plaintext(t), o.Frames), o.Tail...)
	}
	salts := []salt{salt(rec.Generation)}
	if len(o.Tail) > 0 {
		salts = saltsOf(o.Tail, o.Size)
	}
	img := newImage(image{dek: rec.DEK, src: o.plaintext(t), end: o.Size, salts: salts, final: len(o.Tail) == 0, tail: o.Tail})
	return readAll(t, img.section(t.Context(), 0, img.size()))
}

// saltsOf gives the salts at the beginning of the tail of n bytes.
func saltsOf(tail []byte, n int64) (salts []salt) {
	for s := range slices.Chunk(tail[:saltSize*ceil(n, SegmentSize)], saltSize) {
		salts = append(salts, salt(s))
	}
	return salts
}

// sealFrames seals what frames have of the plaintext, and where they have nothing
// the plaintext.
func sealFrames(dek Key, salts []salt, plain []byte, frames [][]byte) []byte {
	var body []byte
	for f := range ceil(int64(len(plain)), FrameSize) {
		data := plain[f*FrameSize:][:plainFrame(int64(len(plain)), f)]
		if frames[f] != nil {
			data = frames[f]
		}
		s, nonce := f/framesPerSegment, chunkNonce(f%framesPerSegment, false)
		body = segmentAEAD(dek, salts[s], s).Seal(body, nonce[:], data, nil)
	}
	return body
}

// open reads an object from the metadata to the last byte.
func (v *vectors) open(t testing.TB, key string, metadata map[string]string, body []byte) ([]byte, stat, error) {
	t.Helper()
	h, err := ParseHeader(metadata)
	if err != nil {
		return nil, stat{}, err
	}
	rec, err := h.Open(v.epoch(t, h.Epoch), key)
	if err != nil {
		return nil, stat{}, err
	}
	if h.Layout == layoutFrames && !rec.SizeKnown {
		_, n, err := OpenSuffix(rec, h, body[max(0, len(body)-TailReadSize):], int64(len(body)))
		if err != nil {
			return nil, stat{}, err
		}
		rec.Size = n
	}
	r, err := NewReader(rec, h, Bytes(body), int64(len(body)), NewFrames())
	if err != nil {
		return nil, stat{}, err
	}
	l, err := r.Late(t.Context())
	if err != nil {
		return nil, stat{}, err
	}
	p, err := content(t.Context(), r)
	if err != nil {
		return nil, stat{}, err
	}
	return p, statOf(rec, l, r.Size()), r.Verify(t.Context())
}

func TestVectors(t *testing.T) {
	for file, v := range vectorFiles(t) {
		for _, o := range v.Objects {
			t.Run(file+"/"+o.Name, func(t *testing.T) { v.check(t, o) })
		}
	}
}

func (v *vectors) check(t *testing.T, o vector) {
	t.Helper()
	body := v.body(t, o)
	p, s, err := v.open(t, o.Key, o.Metadata, body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p, o.plaintext(t)) {
		t.Error("the plaintext differs")
	}
	if diff := cmp.Diff(o.Stat, s); diff != "" {
		t.Error(diff)
	}
	tail := body[max(0, len(body)-TailReadSize):]
	h, _ := ParseHeader(o.Metadata)
	rec, _ := h.Open(v.epoch(t, h.Epoch), o.Key)
	if l, n, err := OpenSuffix(rec, h, tail, o.BodySize); err != nil || n != o.Size || statOf(rec, l, n).Mode != o.Stat.Mode {
		t.Errorf("by its suffix: %v, %d, %v", l, n, err)
	}
}

// apply gives the object after the edits.
func (v *vectors) apply(t testing.TB, c tampered) (key string, metadata map[string]string, body []byte) {
	t.Helper()
	o := v.object(t, c.Of)
	key, metadata, body = o.Key, maps.Clone(o.Metadata), bytes.Clone(v.body(t, o))
	for _, e := range c.Edits {
		data, err := hex.DecodeString(e.Hex)
		if err != nil {
			t.Fatal(err)
		}
		at, to := e.At, e.To
		if at < 0 {
			at += int64(len(body))
		}
		if to < 0 {
			to += int64(len(body))
		}
		switch e.Op {
		case "metadata":
			if metadata[e.Name] = e.Value; e.Value == "" {
				delete(metadata, e.Name)
			}
		case "key":
			key = e.Value
		case "xor":
			for i, b := range data {
				body[at+int64(i)] ^= b
			}
		case "set":
			copy(body[at:], data)
		case "append":
			body = append(body, data...)
		case "truncate":
			body = body[:at]
		case "cut":
			body = slices.Delete(body, int(at), int(at+e.Len))
		case "swap":
			saved := bytes.Clone(body[at : at+e.Len])
			copy(body[at:], body[to:to+e.Len])
			copy(body[to:], saved)
		case "copy":
			src := v.body(t, v.object(t, e.From))[e.Src:][:e.Len]
			body = append(body, make([]byte, max(0, at+e.Len-int64(len(body))))...)
			copy(body[at:], src)
		default:
			t.Fatalf("%s: unknown edit %q", c.Name, e.Op)
		}
	}
	return key, metadata, body
}

func TestTamperedVectors(t *testing.T) {
	for file, v := range vectorFiles(t) {
		if len(v.Tampered) < 40 {
			t.Errorf("only %d tampered vectors of %s", len(v.Tampered), file)
		}
		for _, c := range v.Tampered {
			t.Run(file+"/"+c.Name, func(t *testing.T) { v.checkTampered(t, c) })
		}
	}
}

func (v *vectors) checkTampered(t *testing.T, c tampered) {
	t.Helper()
	key, metadata, body := v.apply(t, c)
	p, _, err := v.open(t, key, metadata, body)
	if len(p) != 0 {
		t.Errorf("%d bytes of it are released", len(p))
	}
	for name, sentinel := range sentinels {
		want := name == c.Error || name == "ErrCorrupt" && c.Error == "ErrMoved"
		if errors.Is(err, sentinel) != want {
			t.Errorf("%v, want %s", err, c.Error)
		}
	}
}

// seal is the raw seal of an object.
func (o vector) seal(t testing.TB) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(o.Metadata[MetaSeal])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// whole reads a section without a test's context.
func whole(t testing.TB, b *Body) []byte {
	t.Helper()
	return readAll(t, b.Section(context.Background(), 0, b.Size()))
}
