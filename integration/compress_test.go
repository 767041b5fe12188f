package integration

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// stored is the length of an object as AWS's command line tells it.
func (r rescuer) stored(key string) int64 {
	r.t.Helper()
	r.fetch(key)
	var head struct{ ContentLength int64 }
	raw, err := os.ReadFile(r.dir + "/head.json")
	must(r.t, err)
	must(r.t, json.Unmarshal(raw, &head))
	return head.ContentLength
}

// What is compressed takes less room in the bucket, reads as it was written, also
// after parts of it changed, and opens without sigilfs.
func TestCompressedFiles(t *testing.T) {
	m := newMount(t, mountOptions{Args: []string{"--compress", "zstd"}})
	text := []byte(strings.Repeat("The quick brown fox jumps over the lazy dog; and what follows is not the same.\n", 1<<18))
	for i := range text {
		if i%1009 == 0 {
			text[i] = byte('a' + i/1009%26)
		}
	}
	noise := content(3, 3*segment+5)
	for name, want := range map[string][]byte{"text": text, "noise": noise, "empty": nil, "small": []byte("small")} {
		writeFile(t, m.Path(name), want)
	}
	f, err := os.OpenFile(m.Path("noise"), os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt(text[:segment+77], segment/2)
	must(t, err)
	must(t, f.Close())
	copy(noise[segment/2:], text[:segment+77])
	f, err = os.OpenFile(m.Path("text"), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.Write([]byte("the end"))
	must(t, err)
	must(t, f.Close())
	text = append(text, "the end"...)
	must(t, os.Rename(m.Path("small"), m.Path("renamed")))
	m.Unmount(t)

	r := newRescuer(t, m)
	if n := r.stored(m.Key("text")); n > int64(len(text))/20 {
		t.Errorf("%d bytes of text take %d", len(text), n)
	}
	if n := r.stored(m.Key("noise")); n > int64(len(noise))-segment/2 || n < int64(len(noise))-2*segment {
		t.Errorf("%d bytes of noise and some text take %d", len(noise), n)
	}
	files := map[string][]byte{"text": text, "noise": noise, "empty": nil, "renamed": []byte("small")}
	for name, want := range files {
		if got, err := r.decrypt(name, "--aes-key", m.key); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s opens as %d bytes, %v", name, len(got), err)
		}
	}
	m.Start(t)
	for name, want := range files {
		if got, err := os.ReadFile(m.Path(name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s reads as %d bytes, %v", name, len(got), err)
		}
	}
}
