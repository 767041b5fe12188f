package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
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

// What reencrypt puts under another master key is read by who has that one alone,
// and by nobody who has no more than the one before: content stays in the store.
// With --all none of it does, and what got no fresh data key is told of, although
// nobody sees by it that it got none.
func TestS3ECRewrapped(t *testing.T) {
	k := newKeys(t, nil)
	under := func(key string, also ...string) func(string) string {
		return func(bucket string) string {
			return k.yaml(bucket, []string{"mode: s3ec, key: " + key + ", instruction-files: true"}, also...)
		}
	}
	m := newMount(t, mountOptions{Proxy: true, YAML: under("s3ec")})
	files := map[string][]byte{"empty": {}, "small": content(1, 1000), "apart": content(2, 5000), "large": content(3, 18<<20)}
	for name, text := range files {
		writeFile(t, m.Path(name), text)
	}
	o := newObserver(t, m.bucket, k)
	o.setApart("apart")
	same := func() {
		t.Helper()
		for name, want := range files {
			wantFile(t, m.Path(name), want)
		}
	}
	bodies := func() map[string][]byte {
		all := map[string][]byte{}
		for name := range files {
			all[name] = o.raw.get(name).Body
		}
		return all
	}
	m.Remount(t)
	same()

	before := bodies()
	m.Reconfigure(t, under("main", "s3ec")(m.bucket))
	args := []string{"reencrypt", m.yaml, "--endpoint-url", m.s3.URL, "--ca-bundle", m.s3.CAFile, "--state-dir", t.TempDir(), "--json"}
	var res struct {
		Settled bool
		Did     map[string]struct{ Entries int }
	}
	lines := strings.Split(strings.TrimSpace(m.sigilfs(t, args...)), "\n")
	must(t, json.Unmarshal([]byte(lines[len(lines)-1]), &res))
	if !res.Settled || res.Did["rewrapped"].Entries != len(files) {
		t.Errorf("it came to %+v", res)
	}
	for name, body := range bodies() {
		if !bytes.Equal(body, before[name]) {
			t.Errorf("%s: the body has left the store", name)
		}
	}
	m.Reconfigure(t, under("s3ec")(m.bucket))
	for name := range files {
		got, err := readAll(m.Path(name))
		if len(got) > 0 || !slices.ContainsFunc(wrongKey, func(e error) bool { return errors.Is(err, e) }) {
			t.Errorf("%s under the old key alone: %d bytes, %v", name, len(got), err)
		}
	}
	m.Reconfigure(t, under("main")(m.bucket))
	same()

	denied := atomic.Bool{}
	m.proxy.Set(faultproxy.Reply(func(r *http.Request) bool {
		return faultproxy.Writing("/large")(r) && denied.CompareAndSwap(false, true)
	}, http.StatusForbidden, "AccessDenied"))
	args = append(args, "--all")
	if out, err := tryBinary(t, m.env(t), args...); err == nil || !strings.Contains(out, "1 objects could not be re-encrypted") {
		t.Errorf("one object was denied a fresh data key: %v\n%s", err, out)
	}
	m.sigilfs(t, args...)
	for name, body := range bodies() {
		if bytes.Equal(body, before[name]) {
			t.Errorf("%s: the data key is not fresh", name)
		}
	}
	same()
}

// setApart moves the wrapped key of an object of V3 into an instruction file, as
// AWS's clients have it.
func (o observer) setApart(key string) {
	o.t.Helper()
	whole := o.raw.get(key)
	file := map[string]string{}
	for _, name := range []string{"x-amz-3", "x-amz-w", "x-amz-m"} {
		file[name] = whole.Metadata[name]
		delete(whole.Metadata, name)
	}
	text, err := json.Marshal(file)
	must(o.t, err)
	o.raw.put(key+".instruction", object{Body: text, Metadata: map[string]string{"x-amz-crypto-instr-file": ""}})
	o.raw.put(key, whole)
}
