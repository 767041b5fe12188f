package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// Epochs, and the first probe, ask for what the bucket may demand of the root.
func TestRootEncryption(t *testing.T) {
	const algorithm = "x-amz-server-side-encryption"
	for rule, want := range map[string][2]string{ // of the probe, of epochs
		"{mode: none}":                          {"", ""},
		"{mode: bucket-default}":                {"", ""},
		"{mode: s3ec, key: main}":               {"", ""},
		"{mode: sse-s3}":                        {"AES256", "AES256"},
		"{mode: sse-kms}":                       {"aws:kms", "aws:kms"},
		"{mode: dsse-kms}":                      {"aws:kms:dsse", "aws:kms:dsse"},
		"{mode: s3ec, key: main, sse: sse-kms}": {"aws:kms", "aws:kms"},
		"{mode: sse-c, key: cust}":              {"customer", ""},
		"{mode: s3ec, key: main, sse: {mode: sse-c, key: cust}}": {"customer", ""},
	} {
		m := opened(t, "bucket: s3://acme\nkeys: {main: {aes: 'command:"+anyKey+"'}, cust: {ssec: 'command:"+anyKey+"'}}\nencryption: ["+rule+"]\n")
		probe, err := m.rootEncryption()
		if err != nil {
			t.Fatal(err)
		}
		epochs, err := m.beneath()
		if err != nil {
			t.Fatal(err)
		}
		got := [2]string{probe.Writes()[algorithm], epochs.Writes()[algorithm]}
		if probe.Writes()[algorithm+"-customer-algorithm"] != "" && len(probe.Reads()) == 3 && len(probe.Sources()) == 3 {
			got[0] = "customer"
		}
		if got != want || len(epochs.Reads()) > 0 {
			t.Errorf("%s: %q, want %q", rule, got, want)
		}
	}
}

// Rules that send other headers are each tried, though their modes read alike.
func TestDistinctRules(t *testing.T) {
	on, off := true, false
	kms := func(context map[string]string, bucketKey *bool) *sse.Mode {
		m, err := sse.KMS("alias/x", context, bucketKey)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	rules := []volume.Rule{
		{Server: kms(nil, nil)},
		{Server: kms(nil, &on)},
		{Server: kms(nil, &off)},
		{},
		{Server: kms(map[string]string{"team": "a"}, nil)},
		{Server: kms(nil, &on)}, // again
		{Server: kms(nil, nil), Assumed: true},
		{Server: sse.S3()},
		{Server: sse.S3(), Mode: "client"}, // the same, beneath
	}
	if got, want := distinct(rules), []int{0, 1, 2, 4, 6, 7}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What only saves requests refuses no mount.
func TestMemoryThatCannotBeOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	m := &mounting{log: newLog(&said, "text", false)}
	m.openMemory(path)
	if m.memory == nil || !strings.Contains(said.String(), "level=warning") {
		t.Errorf("%v: %s", m.memory, &said)
	}
}
