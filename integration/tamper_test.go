package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const segment = 8 << 20 // plaintext bytes; bigger files have a tail

// A tampering is what the owner of a bucket can do to an object.
type tampering struct {
	name string
	do   func(o, other object) object
	want error // EBADMSG where nil
}

func flip(at func(n int) int) func(o, _ object) object {
	return func(o, _ object) object {
		o.Body = bytes.Clone(o.Body)
		o.Body[at(len(o.Body))] ^= 0x01
		return o
	}
}

func body(change func(b []byte) []byte) func(o, _ object) object {
	return func(o, _ object) object {
		o.Body = change(bytes.Clone(o.Body))
		return o
	}
}

func metadata(change func(m, other map[string]string)) func(o, other object) object {
	return func(o, other object) object {
		o.Metadata = maps.Clone(o.Metadata)
		change(o.Metadata, other.Metadata)
		return o
	}
}

var tamperings = []tampering{
	{name: "first byte flipped", do: flip(func(int) int { return 0 })},
	{name: "middle byte flipped", do: flip(func(n int) int { return n / 2 })},
	{name: "last byte flipped", do: flip(func(n int) int { return n - 1 })},
	{name: "a byte cut off", do: body(func(b []byte) []byte { return b[:len(b)-1] })},
	{name: "half cut off", do: body(func(b []byte) []byte { return b[:len(b)/2] })},
	{name: "a tag's length cut off", do: body(func(b []byte) []byte { return b[:len(b)-16] })},
	{name: "one byte left", do: body(func(b []byte) []byte { return b[:1] })},
	{name: "emptied", do: body(func([]byte) []byte { return nil })},
	{name: "a byte added", do: body(func(b []byte) []byte { return append(b, 0) })},
	{name: "a tag's length added", do: body(func(b []byte) []byte { return append(b, make([]byte, 16)...) })},
	{name: "doubled", do: body(func(b []byte) []byte { return append(b, b...) })},
	{name: "swapped with another", do: func(_, other object) object { return other }},
	{name: "body of another", do: func(o, other object) object { o.Body = other.Body; return o }},
	{name: "metadata of another", do: func(o, other object) object { o.Metadata = other.Metadata; return o }},
	{name: "seal of another", do: metadata(func(m, other map[string]string) { m["sigil-seal"] = other["sigil-seal"] })},
	{name: "seal flipped", do: metadata(func(m, _ map[string]string) { m["sigil-seal"] = swapCase(m["sigil-seal"], 80) })},
	{name: "commitment flipped", do: metadata(func(m, _ map[string]string) { m["sigil-seal"] = swapCase(m["sigil-seal"], 30) })},
	{name: "seal cut", do: metadata(func(m, _ map[string]string) { m["sigil-seal"] = m["sigil-seal"][:64] })},
	{name: "seal removed", do: metadata(func(m, _ map[string]string) { delete(m, "sigil-seal") })},
	{name: "header removed", do: metadata(func(m, _ map[string]string) { delete(m, "sigil") })},
	{name: "layout changed", do: metadata(func(m, _ map[string]string) { m["sigil"] = strings.Replace(m["sigil"], "1 0 ", "1 1 ", 1) })},
	{name: "header not a header", do: metadata(func(m, _ map[string]string) { m["sigil"] = "nonsense" })},
	{name: "plaintext in its place", do: func(object, object) object { return object{Body: []byte(forged)} }},
	{name: "plaintext with the metadata", do: func(o, _ object) object { o.Body = []byte(forged); return o }},
	{name: "unknown version", do: metadata(func(m, _ map[string]string) { m["sigil"] = "2" + m["sigil"][1:] }), want: unix.EIO},
	{name: "unknown epoch", do: metadata(func(m, _ map[string]string) { m["sigil"] = "1 0 aaaaaaaaaaaaaaaaaaaaaaaaaa" }), want: unix.ENOKEY},
}

const forged = "what the attacker wants to be read"

// swapCase changes one base64 digit at or after i into another.
func swapCase(s string, i int) string {
	b := []byte(s)
	for ; i < len(b); i++ {
		if c := b[i] ^ 0x20; b[i]|0x20 >= 'a' && b[i]|0x20 <= 'z' {
			b[i] = c
			break
		}
	}
	return string(b)
}

// T1, T2, T3, T5: whatever is done to an object, reading its file gives EBADMSG
// and not one byte that was not written there.
func TestTamperedObjects(t *testing.T) {
	m := newMount(t, mountOptions{})
	sizes := []int64{0, 100, 200_000, segment + 100_000}
	name := func(i int, size int64) string { return fmt.Sprintf("file-%d-%d", i, size) }
	for i := range tamperings {
		for _, size := range sizes {
			writeFile(t, m.Path(name(i, size)), content(uint64(size), size))
		}
	}
	for _, size := range sizes {
		writeFile(t, m.Path(name(-1, size)), content(99, size))
	}
	m.Unmount(t)

	attacker := newClient(t, m.bucket)
	for _, size := range sizes {
		other := attacker.get(m.Key(name(-1, size)))
		for i, tt := range tamperings {
			key := m.Key(name(i, size))
			attacker.put(key, tt.do(attacker.get(key), other))
		}
	}

	m.Start(t)
	for i, tt := range tamperings {
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%s, %d bytes", tt.name, size), func(t *testing.T) {
				if tt.want == nil {
					tt.want = unix.EBADMSG
				}
				got, err := readAll(m.Path(name(i, size)))
				if !errors.Is(err, tt.want) {
					t.Errorf("%d bytes and error %v, want %v", len(got), err, tt.want)
				}
				if !bytes.HasPrefix(content(uint64(size), size), got) {
					t.Errorf("%d bytes were released that nobody wrote there", len(got))
				}
				if size < 65536 && len(got) != 0 {
					t.Errorf("%d bytes of a chunk that does not authenticate", len(got))
				}
			})
		}
	}
	m.WantLog(t, name(0, 100), "authenticate")
	for _, size := range sizes {
		wantFile(t, m.Path(name(-1, size)), content(99, size))
	}
}

// readAll gives what could be read, and the error of open or read.
func readAll(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// T3: what the attacker writes about modes in clear metadata is not believed.
func TestModesInClearMetadataAreIgnored(t *testing.T) {
	m := newMount(t, mountOptions{})
	writeFile(t, m.Path("file"), []byte("x"))
	m.Unmount(t)
	attacker := newClient(t, m.bucket)
	o := attacker.get(m.Key("file"))
	for name, value := range map[string]string{"mode": "35309", "uid": "0", "gid": "0", "mtime": "1", "permissions": "4777"} {
		o.Metadata[name] = value
	}
	attacker.put(m.Key("file"), o)
	m.Start(t)
	info, err := os.Stat(m.Path("file"))
	if err != nil || info.Mode() != 0o644 {
		t.Errorf("mode %v, %v", info, err)
	}
	wantFile(t, m.Path("file"), []byte("x"))
}

// An object that is renamed in the bucket is one object served under
// another's name.
func TestObjectMovedInTheBucket(t *testing.T) {
	m := newMount(t, mountOptions{})
	writeFile(t, m.Path("one"), []byte("one"))
	must(t, os.Mkdir(m.Path("dir"), 0o700))
	must(t, os.Symlink("target", m.Path("link")))
	m.Unmount(t)
	attacker := newClient(t, m.bucket)
	attacker.put(m.Key("two"), attacker.get(m.Key("one")))
	attacker.put(m.Key("link2"), attacker.get(m.Key("link")))
	attacker.put(m.Key("dir2/"), attacker.get(m.Key("dir/")))
	m.Start(t)
	if got, err := readAll(m.Path("two")); !errors.Is(err, unix.EBADMSG) {
		t.Errorf("moved file: %q, %v", got, err)
	}
	// It is no link whose target could be read, but something that does not open.
	if got, err := os.Readlink(m.Path("link2")); err == nil {
		t.Errorf("moved link: %q", got)
	}
	if got, err := readAll(m.Path("link2")); !errors.Is(err, unix.EBADMSG) {
		t.Errorf("moved link: %q, %v", got, err)
	}
	// The marker is not believed; the prefix would show without one.
	if info, err := os.Stat(m.Path("dir2")); err == nil && info.Mode() != os.ModeDir|0o755 {
		t.Errorf("moved directory: %v", info.Mode())
	}
	m.WantLog(t, "dir2")
	wantFile(t, m.Path("one"), []byte("one"))
}
