package main

import (
	"slices"
	"testing"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
)

func TestLongestFirst(t *testing.T) {
	for path, want := range map[string][]string{
		"":       {""},
		"a":      {"a/", ""},
		"a/b/c":  {"a/b/c/", "a/b/", "a/", ""},
		"a/b/c/": {"a/b/c/", "a/b/", "a/", ""},
	} {
		if got := slices.Collect(longestFirst(path)); !slices.Equal(got, want) {
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
