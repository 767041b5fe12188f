package interop

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// A tampering is what somebody who can write to the bucket does to an object.
type tampering struct {
	name string
	// on says where it makes sense; nil is everywhere.
	on func(c config) bool
	do func(o *stored)
	// passes names those that do not notice.
	passes []string
	// mutes names those that never come back from it.
	mutes []string
	// unknown: it names a format that no reader knows.
	unknown bool
}

func tamperings() []tampering {
	commits := func(c config) bool { return c.Commit }
	plain := func(c config) bool { return !c.Commit }
	kms := func(c config) bool { return c.Keyring == "kms" }
	java := []string{"java-v3", "java-v4"}
	return []tampering{
		{name: "first bit of the body", do: func(o *stored) { o.body[0] ^= 0x80 }},
		{name: "a bit in the middle", do: func(o *stored) { o.body[len(o.body)/2] ^= 1 }},
		{name: "last bit of the tag", do: func(o *stored) { o.body[len(o.body)-1] ^= 1 }},
		{name: "last byte cut off", do: func(o *stored) { o.body = o.body[:len(o.body)-1] }},
		{name: "tag cut off", do: func(o *stored) { o.body = o.body[:len(o.body)-16] }},
		{name: "cut to a tag's length", do: func(o *stored) { o.body = o.body[:16] }},
		{name: "shorter than a tag", do: func(o *stored) { o.body = o.body[:15] }, mutes: java},
		{name: "empty body", do: func(o *stored) { o.body = nil }, mutes: java},
		{name: "a byte appended", do: func(o *stored) { o.body = append(o.body, 0) }},
		{name: "two bytes exchanged", do: func(o *stored) { o.body[1], o.body[2] = o.body[2]^0xff, o.body[1] }},

		{name: "bit of the wrapped key", on: plain, do: flip("x-amz-key-v2")},
		{name: "bit of the wrapped key", on: commits, do: flip("x-amz-3")},
		{name: "no wrapped key", on: plain, do: drop("x-amz-key-v2")},
		{name: "no wrapped key", on: commits, do: drop("x-amz-3")},
		{name: "bit of the IV", on: plain, do: flip("x-amz-iv")},
		{name: "no IV", on: plain, do: drop("x-amz-iv")},
		{name: "bit of the message ID", on: commits, do: flip("x-amz-i")},
		{name: "no message ID", on: commits, do: drop("x-amz-i")},
		{name: "bit of the commitment", on: commits, do: flip("x-amz-d")},
		{name: "no commitment", on: commits, do: drop("x-amz-d")},
		{name: "short commitment", on: commits, do: set("x-amz-d", base64.StdEncoding.EncodeToString(make([]byte, 16)))},

		{name: "suite named 114", on: commits, do: set("x-amz-c", "114"), unknown: true},
		{name: "suite named CBC", on: plain, do: set("x-amz-cek-alg", "AES/CBC/PKCS5Padding")},
		{name: "suite named CTR", on: plain, do: set("x-amz-cek-alg", "AES/CTR/NoPadding"), unknown: true},
		{name: "tag named 96 bits", on: plain, do: set("x-amz-tag-len", "96"), passes: []string{"python-v4"}},
		{name: "wrapping named legacy KMS", on: func(c config) bool { return kms(c) && plain(c) }, do: set("x-amz-wrap-alg", "kms")},
		{name: "wrapping named AESWrap", on: func(c config) bool { return c.Keyring == "aes" && plain(c) }, do: set("x-amz-wrap-alg", "AESWrap")},
		{name: "wrapping of another keyring", on: func(c config) bool { return kms(c) && commits(c) }, do: set("x-amz-w", "02")},
		{name: "wrapping of another keyring", on: func(c config) bool { return c.Keyring == "rsa" && commits(c) }, do: set("x-amz-w", "12")},
		{name: "context changed", on: func(c config) bool { return kms(c) && plain(c) }, do: change("x-amz-matdesc", "x y", "x z")},
		{name: "context changed", on: func(c config) bool { return kms(c) && commits(c) }, do: change("x-amz-t", "x y", "x z")},

		{name: "keys of V2 beside those of V3", on: commits, do: func(o *stored) {
			o.metadata["x-amz-key-v2"], o.metadata["x-amz-iv"] = o.holder("x-amz-3")["x-amz-3"], "AAAAAAAAAAAAAAAA"
			o.metadata["x-amz-cek-alg"], o.metadata["x-amz-tag-len"] = "AES/GCM/NoPadding", "128"
			o.metadata["x-amz-wrap-alg"], o.metadata["x-amz-matdesc"] = "AES/GCM", "{}"
		}},
		{name: "commitment in the instruction file", on: func(c config) bool { return commits(c) && c.Instruction }, do: func(o *stored) {
			o.file["x-amz-d"] = o.metadata["x-amz-d"]
		}},
		{name: "instruction file that is no JSON", on: func(c config) bool { return c.Instruction }, do: func(o *stored) { o.raw = []byte("{") }},
		{name: "no instruction file", on: func(c config) bool { return c.Instruction }, do: func(o *stored) { o.file = nil }},
	}
}

// flip changes a bit of a value in base64.
func flip(field string) func(*stored) {
	return func(o *stored) {
		b, err := base64.StdEncoding.DecodeString(o.holder(field)[field])
		if err != nil || len(b) == 0 {
			panic("there is no " + field)
		}
		b[len(b)-1] ^= 1
		o.holder(field)[field] = base64.StdEncoding.EncodeToString(b)
	}
}

func drop(field string) func(*stored) {
	return func(o *stored) { delete(o.holder(field), field) }
}

func set(field, value string) func(*stored) {
	return func(o *stored) { o.holder(field)[field] = value }
}

func change(field, from, to string) func(*stored) {
	return func(o *stored) {
		was := o.holder(field)[field]
		if !strings.Contains(was, from) {
			panic(field + " is " + was)
		}
		o.holder(field)[field] = strings.Replace(was, from, to, 1)
	}
}

// splice gives the body of one object the headers of another.
func splice(headers, body stored) stored {
	o := headers.clone()
	o.body = bytes.Clone(body.body)
	return o
}
