package sigil

import (
	"encoding/base64"
	"encoding/hex"
	"maps"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// bad adds a tampered object.
func (g *generator) bad(name, of, want string, edits ...edit) {
	g.v.Tampered = append(g.v.Tampered, tampered{Name: name, Of: of, Edits: edits, Error: want})
}

func (g *generator) tamper() {
	g.Helper()
	g.tamperHeader()
	g.tamperRecord()
	g.tamperSmall()
	g.tamperLarge()
	g.tamperLate()
	g.tamperForm()
}

func meta(name, value string) edit { return edit{Op: "metadata", Name: name, Value: value} }

func (g *generator) tamperHeader() {
	g.Helper()
	o, other := g.v.object(g, "small"), g.v.object(g, "small too")
	head, seal := o.Metadata[MetaSigil], o.Metadata[MetaSeal]
	second := g.v.object(g, "another epoch").Metadata[MetaSigil]
	flip := func(at int) edit {
		s := o.seal(g)
		s[(at+len(s))%len(s)] ^= 0x80
		return meta(MetaSeal, base64.StdEncoding.EncodeToString(s))
	}
	g.bad("plaintext object", "small", "ErrDowngrade", meta(MetaSigil, ""), meta(MetaSeal, ""))
	g.bad("sigil removed", "small", "ErrDowngrade", meta(MetaSigil, ""))
	g.bad("seal removed", "small", "ErrCorrupt", meta(MetaSeal, ""))
	g.bad("version 2", "small", "ErrVersion", meta(MetaSigil, "2"+head[1:]))
	g.bad("layout 7", "small", "ErrCorrupt", meta(MetaSigil, "1 7"+head[3:]))
	g.bad("layout 1", "small", "ErrVersion", meta(MetaSigil, "1 1"+head[3:]))
	g.bad("epoch id in upper case", "small", "ErrCorrupt", meta(MetaSigil, strings.ToUpper(head)))
	g.bad("epoch id with spare bits", "small", "ErrCorrupt", meta(MetaSigil, head[:len(head)-1]+"b"))
	g.bad("sigil sent twice", "small", "ErrCorrupt", meta(MetaSigil, head+", "+head))
	g.bad("seal sent twice", "small", "ErrCorrupt", meta(MetaSeal, seal+", "+seal))
	g.bad("seal with padding missing", "small", "ErrCorrupt", meta(MetaSeal, strings.TrimRight(seal+"=", "=")+"="))
	g.bad("seal cut to salt and commitment", "small", "ErrCorrupt", meta(MetaSeal, seal[:64]))
	g.bad("seal truncated", "small", "ErrCorrupt", meta(MetaSeal, seal[:120]))
	g.bad("another epoch named", "small", "ErrWrongKey", meta(MetaSigil, second))
	g.bad("salt flipped", "small", "ErrWrongKey", flip(3))
	g.bad("commitment flipped", "small", "ErrWrongKey", flip(20))
	g.bad("record flipped", "small", "ErrCorrupt", flip(60))
	g.bad("record's tag flipped", "small", "ErrCorrupt", flip(-1))
	g.bad("served under another name", "small", "ErrMoved", edit{Op: "key", Value: "data/elsewhere"})
	g.bad("another object in whole", "small", "ErrMoved", meta(MetaSeal, other.Metadata[MetaSeal]),
		edit{Op: "copy", From: "small too", Len: other.BodySize})
	g.bad("record of another key", "small", "ErrMoved", meta(MetaSeal, other.Metadata[MetaSeal]))
}

// resealed is the object's record with some fields changed, sealed by someone
// who has the epoch key.
func (g *generator) resealed(name string, change func(m map[uint64]any)) edit {
	g.Helper()
	return g.rawSeal(name, func(plain []byte) []byte {
		f, _, err := decodeFields(plain)
		if err != nil {
			g.Fatal(err)
		}
		m := maps.Clone(f.m)
		change(m)
		out, err := encoding.Marshal(m)
		if err != nil {
			g.Fatal(err)
		}
		return out
	})
}

func (g *generator) rawSeal(name string, change func(plain []byte) []byte) edit {
	g.Helper()
	o := g.v.object(g, name)
	h, err := ParseHeader(o.Metadata)
	if err != nil {
		g.Fatal(err)
	}
	key, _ := sealKeys(g.epoch.Key, []byte(h.seal[:sealSalt]))
	plain, err := newAEAD(key).Open(nil, recordNonce[:], []byte(h.seal[sealPrefix:]), []byte(h.sigil()))
	if err != nil {
		g.Fatal(err)
	}
	raw := sealRecord(g.epoch.Key, change(plain), h.sigil())
	return meta(MetaSeal, base64.StdEncoding.EncodeToString(raw))
}

func (g *generator) tamperRecord() {
	g.Helper()
	field := func(name string, key uint64, value any, want string) {
		g.bad(name, "small", want, g.resealed("small", func(m map[uint64]any) { m[key] = value }))
	}
	field("record with unknown field 20", 20, 1, "ErrVersion")
	field("record with field 12 false", 12, false, "ErrCorrupt")
	field("record says late, body has no tail", 12, true, "ErrCorrupt")
	field("record with another size", 13, 301, "ErrCorrupt")
	field("record with a short data key", 1, make([]byte, 16), "ErrCorrupt")
	field("record with uid over 32 bits", 6, uint64(1<<32), "ErrCorrupt")
	field("record with mode without type", 5, 0o644, "ErrCorrupt")
	field("record of a directory, with a body", 5, typeDir|0o755, "ErrCorrupt")
	field("record of a fifo, with content", 5, typeFifo|0o600, "ErrCorrupt")
	g.bad("record without mtime", "small", "ErrCorrupt", g.resealed("small", func(m map[uint64]any) { delete(m, 9) }))
	raw := func(name string, change func(p []byte) []byte) {
		g.bad(name, "small", "ErrCorrupt", g.rawSeal("small", change))
	}
	raw("record with a trailing byte", func(p []byte) []byte { return append(p, 0) })
	raw("record with a long map head", func(p []byte) []byte { return append([]byte{0xb8, p[0] - 0xa0}, p[1:]...) })
	raw("record with a field twice", func(p []byte) []byte {
		return append([]byte{p[0] + 1, 1, 0x58, 32}, append(make([]byte, 32), p[1:]...)...)
	})
}

// tamperForm adds records whose CBOR is not of the kind that is allowed.
func (g *generator) tamperForm() {
	g.Helper()
	field := func(name string, key uint64, value any, want string) {
		g.bad(name, "small", want, g.resealed("small", func(m map[uint64]any) { m[key] = value }))
	}
	field("record with a float in field 64", 64, cbor.RawMessage{0xf9, 0x3e, 0}, "ErrCorrupt")
	field("record with a simple value in field 64", 64, cbor.SimpleValue(32), "ErrCorrupt")
	field("record with a field 64 nested too deep", 64, nested(maxNested), "ErrCorrupt")
	field("record with mode over 16 bits", 5, uint64(1<<16|typeRegular|0o644), "ErrCorrupt")
	g.bad("record with unknown field 20 and without mtime", "small", "ErrVersion", g.resealed("small", func(m map[uint64]any) {
		delete(m, 9)
		m[20] = 1
	}))
	g.bad("record with true for a field, beside field 1", "small", "ErrCorrupt", g.rawSeal("small", func(p []byte) []byte {
		return append(append([]byte{p[0] + 1}, p[1:]...), append([]byte{0xf5, 0x58, 32}, make([]byte, 32)...)...)
	}))
}

func (g *generator) tamperSmall() {
	g.bad("first byte flipped", "small", "ErrCorrupt", edit{Op: "xor", At: 0, Hex: "01"})
	g.bad("tag flipped", "small", "ErrCorrupt", edit{Op: "xor", At: -1, Hex: "80"})
	g.bad("truncated by a byte", "size unknown", "ErrCorrupt", edit{Op: "truncate", At: -1})
	g.bad("truncated to nothing", "size unknown", "ErrCorrupt", edit{Op: "truncate", At: 0})
	g.bad("truncated to a tag", "size unknown", "ErrCorrupt", edit{Op: "truncate", At: 16})
	g.bad("extended by a byte", "size unknown", "ErrCorrupt", edit{Op: "append", Hex: "00"})
	g.bad("empty body flipped", "size 0", "ErrCorrupt", edit{Op: "xor", At: 7, Hex: "10"})
	g.bad("empty body removed", "size 0", "ErrCorrupt", edit{Op: "truncate", At: 0})
	g.bad("directory with a body", "directory", "ErrCorrupt", edit{Op: "append", Hex: strings.Repeat("00", 16)})
	g.bad("symlink's target flipped", "symlink", "ErrCorrupt", edit{Op: "xor", At: 1, Hex: "ff"})
	g.bad("body of another object", "small", "ErrCorrupt", edit{Op: "copy", From: "small too", Len: 316})
	const four = "size 196613" // three chunks and 5 bytes
	g.bad("two chunks swapped", four, "ErrCorrupt", edit{Op: "swap", At: 0, To: sealedChunk, Len: sealedChunk})
	g.bad("a chunk repeated", four, "ErrCorrupt", edit{Op: "copy", From: four, Src: 0, Len: sealedChunk, At: sealedChunk})
	g.bad("last chunk flipped", four, "ErrCorrupt", edit{Op: "xor", At: -3, Hex: "04"})
}

func (g *generator) tamperLarge() {
	g.Helper()
	const of, segment = "version 2", sealedSegment
	size := g.v.object(g, of).BodySize
	tail := int64(3*saltSize + trailerSize)
	g.bad("chunk of segment 1 flipped", of, "ErrCorrupt", edit{Op: "xor", At: segment + 70000, Hex: "01"})
	g.bad("two segments swapped", of, "ErrCorrupt", edit{Op: "swap", At: 0, To: segment, Len: segment})
	g.bad("chunks swapped across segments", of, "ErrCorrupt", edit{Op: "swap", At: 0, To: segment, Len: sealedChunk})
	g.bad("segment of the older version", of, "ErrCorrupt", edit{Op: "copy", From: "version 1", Src: segment, At: segment, Len: segment})
	g.bad("tail of the older version", of, "ErrCorrupt", edit{Op: "copy", From: "version 1", Src: size - tail, At: -tail, Len: tail})
	g.bad("body of the older version", of, "ErrCorrupt", edit{Op: "copy", From: "version 1", Len: size})
	g.bad("tail removed", of, "ErrCorrupt", edit{Op: "truncate", At: -tail})
	g.bad("a segment cut out", of, "ErrCorrupt", edit{Op: "cut", At: segment, Len: segment})
	g.bad("a segment and its salt cut out", of, "ErrCorrupt", edit{Op: "cut", At: -tail + saltSize, Len: saltSize}, edit{Op: "cut", At: segment, Len: segment})
	g.bad("salts swapped", of, "ErrCorrupt", edit{Op: "swap", At: -tail, To: -tail + saltSize, Len: saltSize})
	g.bad("salt flipped in the tail", of, "ErrCorrupt", edit{Op: "xor", At: -tail, Hex: "01"})
	g.bad("late block flipped", of, "ErrCorrupt", edit{Op: "xor", At: -trailerSize + 5, Hex: "01"})
	g.bad("size in the tail flipped", of, "ErrCorrupt", edit{Op: "xor", At: -macSize - 1, Hex: "01"})
	g.bad("MAC flipped", of, "ErrCorrupt", edit{Op: "xor", At: -1, Hex: "01"})
	g.bad("last bytes truncated", of, "ErrCorrupt", edit{Op: "truncate", At: -100})
	g.bad("cut to one segment", of, "ErrCorrupt", edit{Op: "truncate", At: segment})
	g.bad("one segment extended", "size 8388608", "ErrCorrupt", edit{Op: "append", Hex: strings.Repeat("00", 329)})
	g.bad("one segment cut to a chunk", "size 8388608", "ErrCorrupt", edit{Op: "truncate", At: sealedChunk})
}

// tamperLate makes tails with a right MAC, by someone who has the data key.
func (g *generator) tamperLate() {
	g.Helper()
	o := g.v.object(g, "stream")
	h, _ := ParseHeader(o.Metadata)
	rec, err := h.Open(g.epoch, o.Key)
	if err != nil {
		g.Fatal(err)
	}
	n := o.Size
	salts := []salt{salt(o.Tail[:16]), salt(o.Tail[16:32])}
	with := func(name string, block []byte, size int64) {
		tail := makeTail(rec.DEK, rec.Generation, 0, size, salts, nil, block)
		g.bad(name, "stream", "ErrCorrupt", edit{Op: "set", At: -int64(len(tail)), Hex: hex.EncodeToString(tail)})
	}
	sealLate := func(plain []byte, size int64) []byte {
		block := make([]byte, nonceSize, lateSize)
		random(block)
		padded := append(plain, make([]byte, latePlain-len(plain))...)
		return lateAEAD(rec.DEK, rec.Generation).Seal(block, block[:nonceSize], padded, lateAAD(0, size))
	}
	plain := func(change func(m map[uint64]any)) []byte {
		m := map[uint64]any{}
		lateAttr.fields(m)
		change(m)
		b, err := encoding.Marshal(m)
		if err != nil {
			g.Fatal(err)
		}
		return b
	}
	same := plain(func(map[uint64]any) {})
	with("late block of another size", sealLate(same, n-1), n)
	with("tail of another size", sealLate(same, n), n+1)
	with("late block of a symlink", sealLate(plain(func(m map[uint64]any) { m[5] = uint64(typeSymlink | 0o777) }), n), n)
	with("late block with xattrs", sealLate(plain(func(m map[uint64]any) { m[11] = map[string][]byte{"a": {1}} }), n), n)
	with("late block without ctime", sealLate(plain(func(m map[uint64]any) { delete(m, 10) }), n), n)
	with("late block with padding", sealLate(append(same[:len(same):len(same)], 0, 0, 1), n), n)
	with("late block of zeros", make([]byte, lateSize), n)
}
