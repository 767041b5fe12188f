package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// completions are what a shell would offer, without descriptions, and how.
func completions(t *testing.T, args ...string) (words []string, directive string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), append([]string{"__completeNoDesc"}, args...), &out, &errs); code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, errs.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return lines[:len(lines)-1], lines[len(lines)-1]
}

func TestCompletions(t *testing.T) {
	const (
		files    = ":0"
		noFiles  = ":4"
		noSpace  = ":6"
		filtered = ":8"
		dirs     = ":16"
	)
	for _, tt := range []struct {
		line      string // words, of which the last is being typed: _ is none
		some      []string
		directive string
	}{
		{"m_", []string{"mount"}, noFiles},
		{"mount _", []string{"yaml", "yml"}, filtered},
		{"mount s3://b _", nil, dirs},
		{"mount --encryption s_", []string{"sse-s3", "sse-kms", "s3ec"}, noSpace},
		{"mount --key _", []string{"file:", "kms:", "age:", "credential:"}, noSpace},
		{"mount --on-conflict _", []string{"copy", "fail", "overwrite"}, noFiles},
		{"mount --cache _", nil, ":20"},
		{"mount --ca-bundle _", nil, files},
		{"mount --region _", nil, noFiles},
		{"mount --read_", []string{"--read-only"}, noFiles},
		{"mount -o ro,allow_o_", []string{"ro,allow_other"}, noSpace},
		{"mount -o cach_", []string{"cache="}, noSpace},
		{"doctor _", []string{"yaml"}, filtered},
		{"recover replay _", []string{"yaml"}, filtered},
		{"recover _", []string{"list", "replay", "export", "discard"}, noFiles},
		{"keygen --kind _", []string{"aes", "age", "ssec", "sign"}, noFiles},
		{"keygen -o _", nil, files},
		{"completion _", []string{"bash", "zsh", "fish"}, noFiles},
		{"umount _", nil, noFiles},
		{"version _", nil, noFiles},
	} {
		words := strings.Fields(tt.line)
		words[len(words)-1] = strings.TrimSuffix(words[len(words)-1], "_")
		got, directive := completions(t, words...)
		for _, want := range tt.some {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %q is not offered, but %q", tt.line, want, got)
			}
		}
		if directive != tt.directive {
			t.Errorf("%s: directive %s, want %s", tt.line, directive, tt.directive)
		}
	}
}

// What is not built yet, or hidden, is not offered.
func TestCompletionsThatAreNot(t *testing.T) {
	words, _ := completions(t, "")
	for _, not := range []string{"manual", "top", "__complete"} {
		if slices.Contains(words, not) {
			t.Errorf("%s is offered", not)
		}
	}
}
