package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

func TestShortestFirst(t *testing.T) {
	for path, want := range map[string][]string{
		"":       {""},
		"a":      {"", "a/"},
		"a/b/c":  {"", "a/", "a/b/", "a/b/c/"},
		"a/b/c/": {"", "a/", "a/b/", "a/b/c/"},
	} {
		if got := slices.Collect(shortestFirst(path)); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

func TestParsePath(t *testing.T) {
	for spec, want := range map[string][2]string{
		"s3://bkt":          {"bkt", ""},
		"s3://bkt/":         {"bkt", ""},
		"s3://bkt/a b\nc/d": {"bkt", "a b\nc/d"},
		"s3://bkt/dir/":     {"bkt", "dir"},
		"s3://bkt//x":       {},
		"bkt/x":             {},
		"s3://b$/x":         {},
		"arn:aws:s3:eu-central-1:111122223333:accesspoint/main/x/y":      {"arn:aws:s3:eu-central-1:111122223333:accesspoint/main", "x/y"},
		"s3://arn:aws:s3:eu-central-1:111122223333:accesspoint/main/x/y": {"arn:aws:s3:eu-central-1:111122223333:accesspoint/main", "x/y"},
		"s3://arn:aws:s3:::bkt/x":                                        {},
	} {
		got, path, err := option.ParsePath(spec)
		if (err != nil) != (want[0] == "") || got.Bucket != want[0] || path != want[1] || got.Prefix != "" {
			t.Errorf("%q: %+v %q %v, want %q", spec, got, path, err, want)
		}
	}
}

// Of volumes inside of one another a target is in the innermost that has a volume
// object, else in the innermost that has epochs, else in one of its own.
func TestRootOfNestedVolumes(t *testing.T) {
	store := mem.New(mem.Options{})
	for _, key := range []string{
		"outer/.sigil/volume", "outer/.sigil/epochs/1",
		"outer/mid/.sigil/epochs/1",
		"outer/mid/inner/.sigil/volume",
		"old/.sigil/epochs/1", "old/deep/.sigil/epochs/1",
		"odd/.sigil/volumes", "odd/.sigil/indexes/1", "odd/x",
		"dark/.sigil/volume", "dark/in/.sigil/volume",
		"torn/.sigil/volume", "torn/in/.sigil/volume",
	} {
		object := keyring.NewVolumeObject()
		if key == "dark/.sigil/volume" {
			object = object.Sealed(keyring.NewEpochID(), new([keyring.KeySize]byte), new([keyring.NameKeySize]byte))
		}
		body := string(object.Marshal())
		if key == "torn/.sigil/volume" {
			body = body[1:]
		}
		if _, err := store.Put(t.Context(), key, strings.NewReader(body), int64(len(body)), objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ target, dir, file string }{
		{"outer", "outer/", "outer/"},
		{"outer/x/y", "outer/", "outer/"},
		{"outer/mid/x", "outer/", "outer/"}, // a volume object goes before epochs, however deep
		{"outer/mid/inner/x", "outer/mid/inner/", "outer/mid/inner/"},
		{"outer/mid/inner", "outer/mid/inner/", "outer/mid/inner/"},
		{"outer/mid/innermost", "outer/", "outer/"},
		{"old/x", "old/", "old/"},
		{"old/deep/x", "old/deep/", "old/deep/"},
		{"odd/x", "odd/x/", "odd/"},
		{"none/x/y", "none/x/y/", "none/x/"},
		{"dark/in/x", "dark/", "dark/"}, // below it no name is asked for
		{"torn/in/x", "torn/", "torn/"},
		{"file", "file/", ""},
		{"", "", ""},
	} {
		s := defaultSettings()
		s.source = "s3://bkt/" + c.target
		o := &offline{mounting: &mounting{set: s, objects: store}, path: c.target}
		dir, err := o.rootOf(t.Context(), reads)
		if err != nil {
			t.Fatal(err)
		}
		file, err := o.rootOf(t.Context(), reads|aFile)
		if err != nil || dir != c.dir || file != c.file {
			t.Errorf("%q: %q, and of a file %q, %v; want %q and %q", c.target, dir, file, err, c.dir, c.file)
		}
	}
}

// A volume of which everything was removed is found by who brings it back: else
// epochs would be put back beside the target.
func TestRootOfRemovedVolume(t *testing.T) {
	store := mem.New(mem.Options{Versioned: true})
	for _, key := range []string{"was/.sigil/epochs/1", "was/d/x", "is/.sigil/epochs/1", "is/d/.sigil/epochs/1"} {
		if _, err := store.Put(t.Context(), key, strings.NewReader(""), 0, objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"was/.sigil/epochs/1", "was/d/x", "is/d/.sigil/epochs/1"} {
		if err := store.Delete(t.Context(), objstore.ID{Key: key}, objstore.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		target, want string
		lost         bool
	}{
		{"was/d/x", "was/d/", false},
		{"was/d/x", "was/", true},
		{"is/d/x", "is/", true}, // what is there goes first
		{"none/x", "none/", true},
	} {
		s := defaultSettings()
		s.source, s.lostEpochs = "s3://bkt/"+c.target, c.lost
		o := &offline{mounting: &mounting{set: s, objects: store}, path: c.target}
		if root, err := o.rootOf(t.Context(), reads|aFile); err != nil || root != c.want {
			t.Errorf("%q (%v): %q, %v; want %q", c.target, c.lost, root, err, c.want)
		}
	}
}
