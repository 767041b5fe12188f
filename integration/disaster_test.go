package integration

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What "Rotation" and "Disaster recovery" of docs/OPERATIONS.md say is tried.

// A new key that comes first, and an old one that only reads: what is written
// from then on, or written anew as a whole, needs the new one alone.
func TestRotationOfKeys(t *testing.T) {
	t.Parallel()
	k := newKeys(t, nil)
	config := func(keys string) func(string) string {
		return func(bucket string) string {
			return "bucket: s3://" + bucket + "\nkeys: {" + keys + "}\nencryption: [{mode: client, key: now}]\n"
		}
	}
	old, fresh := "aes: file:"+k.file("main.key"), "aes: file:"+k.file("s3ec.key")
	m := newMount(t, mountOptions{YAML: config("now: {" + old + "}")})
	small, large := []byte("small"), content(1, 2*segment+5)
	for _, name := range []string{"left", "small", "large"} {
		writeFile(t, m.Path(name), small)
	}
	writeFile(t, m.Path("large"), large)
	m.Unmount(t)

	writeFile(t, m.yaml, []byte(config("now: {"+fresh+"}, old: {"+old+"}")(m.bucket)))
	m.Start(t)
	writeFile(t, m.Path("new"), small)
	cp := newTool(t, m.Dir(), "cp")
	for _, name := range []string{"small", "large"} {
		cp.run("cp", "--preserve", name, name+".anew")
		cp.run("mv", name+".anew", name)
	}
	wantFile(t, m.Path("left"), small)
	m.Unmount(t)

	writeFile(t, m.yaml, []byte(config("now: {"+fresh+"}")(m.bucket)))
	m.state = t.TempDir() // nothing is remembered
	m.Start(t)
	wantFile(t, m.Path("new"), small)
	wantFile(t, m.Path("small"), small)
	wantFile(t, m.Path("large"), large)
	if _, err := os.ReadFile(m.Path("left")); !errors.Is(err, unix.ENOKEY) {
		t.Errorf("what was not written anew: %v, want ENOKEY", err)
	}
}

// Older versions come back by AWS's own tools, with the commands of the manual;
// so does an epoch that somebody removed.
func TestVersionsAreRestored(t *testing.T) {
	t.Parallel()
	bucket := versioned(t)
	m := newMount(t, mountOptions{Bucket: bucket})
	writeFile(t, m.Path("file"), []byte("the first"))
	writeFile(t, m.Path("file"), []byte("written over"))
	writeFile(t, m.Path("gone"), []byte("removed"))
	must(t, os.Remove(m.Path("gone")))
	m.Unmount(t)

	aws := newTool(t, "/", awsCLI, append(minioServer(t).env(), "AWS_CA_BUNDLE="+minioServer(t).CAFile)...)
	s3api := func(verb string, args ...string) []byte {
		return []byte(aws.run(append([]string{awsCLI, "--endpoint-url", minioServer(t).URL, "s3api", verb, "--bucket", bucket}, args...)...))
	}
	var list struct {
		Versions, DeleteMarkers []struct {
			Key, VersionID string
			IsLatest       bool
		}
	}
	must(t, json.Unmarshal(s3api("list-object-versions", "--prefix", m.Key("")), &list))
	epochs := 0
	for _, v := range list.DeleteMarkers {
		if v.Key == m.Key("gone") {
			s3api("delete-object", "--key", v.Key, "--version-id", v.VersionID)
		}
	}
	for _, v := range list.Versions {
		switch {
		case v.Key == m.Key("file") && !v.IsLatest:
			s3api("copy-object", "--copy-source", bucket+"/"+v.Key+"?versionId="+v.VersionID, "--key", v.Key)
		case filepath.Dir(v.Key) == m.Key(".sigil/epochs"):
			s3api("delete-object", "--key", v.Key) // somebody; the host's own state has it
			epochs++
		}
	}
	if epochs == 0 {
		t.Errorf("there is no epoch in %+v", list)
	}
	m.Start(t)
	wantFile(t, m.Path("file"), []byte("the first"))
	wantFile(t, m.Path("gone"), []byte("removed"))
	m.WantLog(t, "the epoch was missing from the bucket and was put back at")
	m.Unmount(t)
	m.state = t.TempDir() // as on a new host
	m.Start(t)
	wantFile(t, m.Path("file"), []byte("the first"))
}
