package main

import (
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/manual"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
)

// shorthands are options that stand for several flags, or for none.
func shorthands() []manual.Item {
	return []manual.Item{
		{Words: []string{"umask="}, Value: "MASK", Joined: true, Text: "Permissions that are taken off 0777 for dir_mode and off 0666 for file_mode."},
		{Words: []string{"remount"}, Text: "With ro or rw: let the kernel write to a mount that is there, or not. Nothing else changes."},
	}
}

// translated are options of s3fs's that set flags by way of optionList.s3fs.
func translated() []manual.Item {
	return []manual.Item{
		{Words: []string{"use_sse"}, Value: "[=1]", Joined: true, Text: "S3 encrypts with keys of its own: sse=sse-s3."},
		{Words: []string{"use_sse=kmsid"}, Value: "[:ID]", Joined: true, Text: "S3 encrypts with a key of KMS: sse=sse-kms, sse_kms_key_id=ID."},
		{Words: []string{"use_sse=custom"}, Value: "[:FILE]", Joined: true, Text: "S3 encrypts with the key in FILE, or in that of load_sse_c: sse=sse-c, sse_c_key=file:FILE. A file holds one key."},
		{Words: []string{"load_sse_c="}, Value: "FILE", Joined: true, Text: "A key for S3 to encrypt with, or only to read with: key=ssec:file:FILE."},
		{Words: []string{"public_bucket"}, Value: "[=0|1]", Joined: true, Text: "As no_sign_request."},
		{Words: []string{"use_rrs"}, Value: "[=0|1]", Joined: true, Text: "As storage_class=REDUCED_REDUNDANCY."},
		{Words: []string{"iam_role"}, Value: "[=auto]", Joined: true, Text: "The role of this host is found by itself. Another one is assumed by a profile."},
		{Words: []string{"ensure_diskfree="}, Value: "NUMBER", Joined: true, Text: "A number without a unit is of MiB."},
		{Words: []string{"dbglevel="}, Value: "LEVEL", Joined: true, Text: "critical, error, warning or info: what is logged anyway. debug: as debug."},
		{Words: []string{"curldbg"}, Text: "As debug."},
	}
}

// itemNames are the options that items tell of.
func itemNames(items []manual.Item) []string {
	var names []string
	for _, i := range items {
		for _, word := range i.Words {
			word, _, _ = strings.Cut(word, "=")
			names = append(names, option.Canonical(word))
		}
	}
	return names
}
