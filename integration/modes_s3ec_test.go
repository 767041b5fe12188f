package integration

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// One tag at the end authenticates a whole body: 1 GiB goes in and comes out,
// and the daemon never holds 300 MiB.
func TestS3ECStreamInBoundedMemory(t *testing.T) {
	k := newKeys(t, nil)
	m := newMount(t, mountOptions{YAML: func(bucket string) string { return k.yaml(bucket, []string{"mode: s3ec, key: s3ec"}) }})
	m.streamsThrough(t, 1<<30)
}

// Nothing is released before all of it is proved: with the last byte changed
// not even the first is read.
func TestS3ECReleasesNothingUnproved(t *testing.T) {
	k := newKeys(t, nil)
	m := newMount(t, mountOptions{YAML: func(bucket string) string { return k.yaml(bucket, []string{"mode: s3ec, key: s3ec"}) }})
	writeFile(t, m.Path("file"), content(1, 20<<20))
	m.Unmount(t)
	o := newObserver(t, m.bucket, k)
	was := o.raw.get("file")
	flipped := object{bytes.Clone(was.Body), was.Metadata}
	flipped.Body[len(flipped.Body)-1] ^= 1
	o.raw.put("file", flipped)
	m.Start(t)
	f, err := os.Open(m.Path("file"))
	must(t, err)
	defer f.Close()
	if n, err := f.ReadAt(make([]byte, 1), 0); n != 0 || !errors.Is(err, unix.EBADMSG) {
		t.Errorf("byte 0: %d, %v, want EBADMSG", n, err)
	}
	m.WantLog(t, "file")
}

// What does not fit here cannot be proved, and is refused as too large.
func TestS3ECNeedsRoom(t *testing.T) {
	k := newKeys(t, nil)
	m := newMount(t, mountOptions{YAML: func(bucket string) string { return k.yaml(bucket, []string{"mode: s3ec, key: s3ec"}) }})
	writeFile(t, m.Path("file"), content(1, 40<<20))
	m.Unmount(t)
	m.args = append(m.args, "--spool-size", "32MiB")
	m.Start(t)
	if got, err := readAll(m.Path("file")); !errors.Is(err, unix.EFBIG) || len(got) != 0 {
		t.Errorf("%d bytes, %v, want EFBIG", len(got), err)
	}
	writeFile(t, m.Path("small"), content(2, 1<<20))
	wantFile(t, m.Path("small"), content(2, 1<<20))
}
