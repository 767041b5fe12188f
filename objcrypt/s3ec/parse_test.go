package s3ec

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
)

func TestDetect(t *testing.T) {
	for names, want := range map[string]Kind{
		"":                                       KindNone,
		"mtime x-amz-unencrypted-content-length": KindNone,
		"x-amz-key x-amz-iv x-amz-matdesc":       KindV1,
		"x-amz-key-v2 x-amz-iv":                  KindV2,
		"x-amz-3 x-amz-c x-amz-d x-amz-i":        KindV3,
		"x-amz-3":                                KindV3,
		"x-amz-c x-amz-d x-amz-i":                KindV3Instruction,
	} {
		if got, err := Detect(names2md(names)); got != want || err != nil {
			t.Errorf("%q: %s, %v, not %s", names, got, err, want)
		}
	}
	// Any header that is left over makes an object that is not plaintext.
	for _, names := range []string{
		"x-amz-key x-amz-key-v2", "x-amz-key x-amz-3", "x-amz-key-v2 x-amz-3",
		"x-amz-3 x-amz-iv", "x-amz-3 x-amz-wrap-alg", "x-amz-key-v2 x-amz-c", "x-amz-key x-amz-m",
		"x-amz-iv", "x-amz-matdesc", "x-amz-wrap-alg", "x-amz-cek-alg", "x-amz-tag-len",
		"x-amz-c", "x-amz-d", "x-amz-i", "x-amz-w", "x-amz-t", "x-amz-m", "x-amz-c x-amz-d", "x-amz-d x-amz-i",
		"x-amz-c x-amz-d x-amz-i x-amz-iv",
	} {
		if got, err := Detect(names2md(names)); got != KindNone || !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("%q: %s, %v", names, got, err)
		}
	}
}

func names2md(names string) Metadata {
	md := Metadata{}
	for _, n := range strings.Fields(names) {
		md[n] = "x"
	}
	return md
}

// TestNames: what is written is listed, so that it can be taken away.
func TestNames(t *testing.T) {
	for _, f := range []Format{FormatV2, FormatV3} {
		for _, k := range []Sealer{kmsKey(t, testARN, nil), aesKey(t, 1)} {
			md := write(t, k, f, nil).md
			for _, n := range Names() {
				delete(md, n)
			}
			if len(md) != 0 {
				t.Errorf("%v", md)
			}
		}
	}
}

// TestMixtures puts together what is right apart.
func TestMixtures(t *testing.T) {
	all := loadVectors(t)
	byName := map[string]vector{}
	for _, v := range all.Vectors {
		byName[v.Name] = v
	}
	const zeroID = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
	for name, c := range map[string]struct {
		base string
		set  Metadata
		file string
	}{
		"V1 with an algorithm":                 {"v1-aes-cbc-ruby1", Metadata{"x-amz-cek-alg": cekGCM}, ""},
		"V1 with a wrapping":                   {"v1-aes-cbc-ruby1", Metadata{"x-amz-wrap-alg": "kms"}, ""},
		"V1 with a tag":                        {"v1-aes-cbc-ruby1", Metadata{"x-amz-tag-len": "128"}, ""},
		"CBC with a tag":                       {"v2-kms-cbc-ruby1", Metadata{"x-amz-tag-len": "128"}, ""},
		"CBC under AES/GCM":                    {"v2-aeswrap-cbc-hand", Metadata{"x-amz-wrap-alg": "AES/GCM", "x-amz-key-v2": encode(make([]byte, wrappedGCM))}, ""},
		"CBC under kms+context":                {"v2-kms-cbc-ruby1", Metadata{"x-amz-wrap-alg": "kms+context", "x-amz-matdesc": `{"aws:x-amz-cek-alg":"AES/CBC/PKCS5Padding"}`}, ""},
		"V3 with no message ID to speak of":    {"v3-aes-ourswrap", Metadata{"x-amz-i": zeroID}, ""},
		"V3 in metadata, with a file":          {"v3-aes-ourswrap", nil, `{"x-amz-3":"AAAA"}`},
		"V2 in metadata, with a file":          {"v2-aes-ourswrap", nil, `{"x-amz-key-v2":"AAAA"}`},
		"V3 whose file has an IV too":          {"v3-aes-rubywrap-instr", nil, "+iv"},
		"V3 with a wrapping beside the file":   {"v3-aes-rubywrap-instr", Metadata{"x-amz-w": "02"}, "="},
		"V3 with a context beside the file":    {"v3-kms-go4-ec-instr", Metadata{"x-amz-t": "{}"}, "="},
		"no headers, and V3 whole in its file": {"v1-aes-cbc-ruby1-instr", nil, `{"x-amz-3":"AAAA"}`},
		"no headers, and an empty file":        {"v1-aes-cbc-ruby1-instr", nil, `{}`},
		"AES/GCM key of another length":        {"v2-aes-ourswrap", Metadata{"x-amz-key-v2": encode(make([]byte, wrappedGCM+1))}, ""},
		"KMS blob beyond what KMS takes":       {"v3-kms-go4-1", Metadata{"x-amz-3": encode(make([]byte, maxKMSBlob+1))}, ""},
		"RSA key of 1,024 bits":                {"v3-rsa-ourswrap", Metadata{"x-amz-3": encode(make([]byte, 128))}, ""},
		"a context with a name twice":          {"v3-kms-go4-1", Metadata{"x-amz-t": `{"aws:x-amz-cek-alg":"x","aws:x-amz-cek-alg":"115"}`}, ""},
		"a context and more":                   {"v3-kms-go4-1", Metadata{"x-amz-t": `{"aws:x-amz-cek-alg":"115"} {}`}, ""},
	} {
		base := byName[c.base]
		md := maps.Clone(base.Metadata)
		maps.Copy(md, c.set)
		file := []byte(c.file)
		switch c.file {
		case "":
			file = nil
		case "=":
			file = []byte(*base.Instruction)
		case "+iv":
			file = []byte(strings.Replace(*base.Instruction, "{", `{"x-amz-iv":"AAAAAAAAAAAAAAAA",`, 1))
		}
		if e, err := Parse(md, file); !errors.Is(err, objcrypt.ErrCorrupt) || e != nil {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
}

// TestHeadersAsS3GivesThem: RFC 2047 over Latin-1, over UTF-8, and none.
func TestHeadersAsS3GivesThem(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":"=?UTF-8?q?x?="}`:                  `{"a":"=?UTF-8?q?x?="}`,
		`{"ort":"Zürich"}`:                       `{"ort":"Zürich"}`,
		`=?UTF-8?Q?Z=C3=83=C2=BCrich?=`:          `Zürich`,
		`=?UTF-8?B?WsODwrxyaWNo?=`:               `Zürich`,
		`=?UTF-8?Q?Z=C3=BCrich?=`:                `Zürich`,
		`=?UTF-8?Q?=E5=80=A4?=`:                  `値`,
		`=?UTF-8?Q?a?= =?UTF-8?Q?=C3=83=C2=BC?=`: `aü`,
		`=?unknown?Q?a?=`:                        `=?unknown?Q?a?=`,
	} {
		if got := undoRFC2047(in); got != want {
			t.Errorf("%q is %q, not %q", in, got, want)
		}
	}
}
