package sse_test

import (
	"bytes"
	"crypto/md5" //nolint:gosec // as S3 has it
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

const (
	h   = "x-amz-server-side-encryption"
	src = "x-amz-copy-source-server-side-encryption"
	id  = "1234abcd-12ab-34cd-56ef-1234567890ab"
	arn = "arn:aws:kms:eu-central-1:111122223333:key/" + id
)

var yes, no = true, false

func kms(t *testing.T, keyID string, context map[string]string, bucketKey *bool) *sse.Mode {
	t.Helper()
	return must(sse.KMS(keyID, context, bucketKey))(t)
}

func must(m *sse.Mode, err error) func(*testing.T) *sse.Mode {
	return func(t *testing.T) *sse.Mode {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}

func key(t *testing.T, b byte) sse.CustomerKey {
	t.Helper()
	k, err := sse.NewCustomerKey(bytes.Repeat([]byte{b}, sse.KeyLen))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func customer(t *testing.T, b byte) *sse.Mode {
	t.Helper()
	return must(sse.Customer(key(t, b)))(t)
}

// The headers of every request kind (Amazon S3 API Reference, the request
// syntax of each).
func TestHeaders(t *testing.T) {
	// 32 times 'a', and what `openssl dgst -md5 -binary | base64` says of it.
	const aKey, aMD5 = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=", "Xsqb0+sHwAbNQ65I395/0w=="
	cKey := map[string]string{h + "-customer-algorithm": "AES256", h + "-customer-key": aKey, h + "-customer-key-md5": aMD5}
	for _, tc := range []struct {
		name                string
		mode                *sse.Mode
		write, read, source map[string]string
	}{
		{"nothing", nil, nil, nil, nil},
		{"sse-s3", sse.S3(), map[string]string{h: "AES256"}, nil, nil},
		{"sse-kms", kms(t, "", nil, nil), map[string]string{h: "aws:kms"}, nil, nil},
		{"sse-kms with all", kms(t, arn, map[string]string{"team": "<backup>", "a": "b"}, &yes), map[string]string{
			h: "aws:kms", h + "-aws-kms-key-id": arn, h + "-bucket-key-enabled": "true",
			h + "-context": base64.StdEncoding.EncodeToString([]byte(`{"a":"b","team":"<backup>"}`)),
		}, nil, nil},
		{"sse-kms without bucket key", kms(t, "alias/a", nil, &no), map[string]string{h: "aws:kms", h + "-aws-kms-key-id": "alias/a", h + "-bucket-key-enabled": "false"}, nil, nil},
		{"dsse-kms", must(sse.DSSE(id, map[string]string{"k": ""}))(t), map[string]string{
			h: "aws:kms:dsse", h + "-aws-kms-key-id": id, h + "-context": base64.StdEncoding.EncodeToString([]byte(`{"k":""}`)),
		}, nil, nil},
		{"sse-c", customer(t, 'a'), cKey, cKey, map[string]string{src + "-customer-algorithm": "AES256", src + "-customer-key": aKey, src + "-customer-key-md5": aMD5}},
	} {
		for kind, both := range map[string][2]map[string]string{
			"write": {tc.mode.Write(), tc.write}, "read": {tc.mode.Read(), tc.read}, "source": {tc.mode.Source(), tc.source},
		} {
			if !maps.Equal(both[0], both[1]) || (both[1] == nil) != (both[0] == nil) {
				t.Errorf("%s, %s: %v, not %v", tc.name, kind, both[0], both[1])
			}
		}
	}
}

func TestModesAreImmutable(t *testing.T) {
	context, bucketKey := map[string]string{"a": "1"}, true
	m := kms(t, id, context, &bucketKey)
	want := m.Write()
	context["a"], bucketKey = "2", false
	m.Context()["b"] = "3"
	m.Write()[h] = "changed"
	if got := m.Write(); !maps.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

func TestValidation(t *testing.T) {
	good := []string{
		"", id, arn, "mrk-1234abcd12ab34cd56ef1234567890ab", "alias/aws/s3", "alias/my_key-1/x", "arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/a",
		"arn:aws:kms:my-minio-key", "my-minio-key",
	}
	for _, keyID := range good {
		if m, err := sse.KMS(keyID, nil, nil); err != nil || m.KeyID() != keyID {
			t.Errorf("%q: %v", keyID, err)
		}
	}
	bad := []string{
		" ", "alias/", "a b", "key/" + id, arn + " ", "arn:aws:kms:", "arn:aws:s3:::bucket", "arn:aws:kms:eu-central-1:111122223333:" + id, "arn:aws:kms:eu-central-1::key/x",
		"arn:aws:kms:eu-central-1:111122223333:key/", "arn:aws:kms:eu-central-1:111122223333:key/a/b", "x\r\nx-amz-acl: public-read", "schlüssel", strings.Repeat("a", 2049), "arn",
	}
	for _, keyID := range bad {
		if _, err := sse.KMS(keyID, nil, nil); !errors.Is(err, sse.ErrInvalid) {
			t.Errorf("%q: %v", keyID, err)
		}
		if _, err := sse.DSSE(keyID, nil); !errors.Is(err, sse.ErrInvalid) {
			t.Errorf("%q: %v", keyID, err)
		}
	}
	for _, context := range []map[string]string{{"": "x"}, {"ü": "x"}, {"x": "ü"}, {"x": "a\nb"}, {"x": "\xff"}, {"x": strings.Repeat("a", 8192)}} {
		if _, err := sse.KMS(id, context, nil); !errors.Is(err, sse.ErrInvalid) {
			t.Errorf("%.40q: %v", context, err)
		}
	}
	for _, n := range []int{0, 16, 31, 33, 64} {
		if _, err := sse.NewCustomerKey(make([]byte, n)); !errors.Is(err, sse.ErrInvalid) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := sse.Customer(sse.CustomerKey{}); !errors.Is(err, sse.ErrInvalid) {
		t.Error(err)
	}
}

func TestCustomerKey(t *testing.T) {
	raw := bytes.Repeat([]byte{7}, sse.KeyLen)
	k, err := sse.NewCustomerKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(append([]byte("sigil/ssec-id"), raw...))
	if want := hex.EncodeToString(sum[:])[:16]; k.ID() != want || customer(t, 7).KeyID() != want {
		t.Errorf("ID %s, not %s", k.ID(), want)
	}
	digest := md5.Sum(raw) //nolint:gosec // as S3 has it
	raw[0]++
	if k.MD5() != base64.StdEncoding.EncodeToString(digest[:]) {
		t.Error("the key changed with what it was made of")
	}
	if !k.Equal(key(t, 7)) || k.Equal(key(t, 8)) || k.Equal(sse.CustomerKey{}) || !(sse.CustomerKey{}).Equal(sse.CustomerKey{}) {
		t.Error("Equal")
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	raw := []byte("0123456789abcdefghijklmnopqrstuv")
	k, err := sse.NewCustomerKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	m := must(sse.Customer(k))(t)
	type hidden struct {
		k sse.CustomerKey
		m *sse.Mode
		n sse.Mode
	}
	spellings := []string{string(raw), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), base64.StdEncoding.EncodeToString(raw), "48 49 50", "30 31 32", "0x30, 0x31", "'0', '1'", "[48"}
	for _, verb := range strings.Split("v +v #v s +s #s q +q x #x X d +d b o c U p T", " ") {
		for _, v := range []any{k, &k, m, *m, hidden{k, m, *m}, &hidden{k, m, *m}, []any{k, m}, map[string]any{"k": k}, m.Confirm(nil)} {
			text := fmt.Sprintf("%"+verb, v)
			for _, s := range spellings {
				if strings.Contains(text, s) {
					t.Errorf("%%%s of %T prints the key: %s", verb, v, text)
				}
			}
		}
		if text := fmt.Sprintf("%"+verb, k); verb != "T" && verb != "p" && text != k.ID() {
			t.Errorf("%%%s: %s", verb, text)
		}
	}
}

func TestStates(t *testing.T) {
	for _, tc := range []struct {
		answer map[string]string
		want   sse.State
		text   string
	}{
		{nil, sse.State{}, "none"},
		{map[string]string{"etag": "x"}, sse.State{}, "none"},
		{map[string]string{h: "AES256"}, sse.State{Algorithm: sse.SSES3}, "sse-s3"},
		{map[string]string{h: "aws:kms", h + "-aws-kms-key-id": arn, h + "-bucket-key-enabled": "true"}, sse.State{Algorithm: sse.SSEKMS, KMSKeyID: arn, BucketKey: true}, "sse-kms"},
		{map[string]string{h: "aws:kms:dsse", h + "-aws-kms-key-id": arn}, sse.State{Algorithm: sse.DSSEKMS, KMSKeyID: arn}, "dsse-kms"},
		{map[string]string{h + "-customer-algorithm": "AES256", h + "-customer-key-md5": "m"}, sse.State{Algorithm: sse.SSEC, CustomerMD5: "m"}, "sse-c"},
		{map[string]string{h: "aws:fsx"}, sse.State{Algorithm: sse.Unknown}, "unknown"},
		{map[string]string{h: "aes256"}, sse.State{Algorithm: sse.Unknown}, "unknown"},
		{map[string]string{h: "AES256", h + "-customer-algorithm": "AES256"}, sse.State{Algorithm: sse.Unknown}, "unknown"},
		{map[string]string{h + "-customer-algorithm": "ROT13"}, sse.State{Algorithm: sse.Unknown}, "unknown"},
		{map[string]string{h + "-customer-key-md5": "m"}, sse.State{Algorithm: sse.Unknown, CustomerMD5: "m"}, "unknown"},
	} {
		if got := sse.Of(tc.answer); got != tc.want || got.String() != tc.text {
			t.Errorf("%v: %+v %s", tc.answer, got, got)
		}
	}
}

func TestStrength(t *testing.T) {
	order := [][]sse.Algorithm{{sse.None, sse.Unknown}, {sse.SSES3}, {sse.SSEKMS, sse.SSEC}, {sse.DSSEKMS}}
	for i, weak := range order {
		for j, strong := range order {
			for _, a := range weak {
				for _, b := range strong {
					if got := (sse.State{Algorithm: a}).WeakerThan(sse.State{Algorithm: b}); got != (i < j) {
						t.Errorf("%v weaker than %v: %v", a, b, got)
					}
				}
			}
		}
	}
}

// What Again asks for, the same object confirms.
func TestAgain(t *testing.T) {
	for _, answer := range []map[string]string{
		nil,
		{h: "AES256"},
		{h: "aws:kms"},
		{h: "aws:kms", h + "-aws-kms-key-id": arn},
		{h: "aws:kms", h + "-aws-kms-key-id": "arn:aws:kms:minio", h + "-bucket-key-enabled": "true"},
		{h: "aws:kms:dsse", h + "-aws-kms-key-id": arn},
	} {
		m, err := sse.Of(answer).Again()
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Confirm(answer); err != nil || m.Algorithm() != sse.Of(answer).Algorithm || (m == nil) != (answer == nil) {
			t.Errorf("%v: %v, %v", answer, m, err)
		}
	}
	for _, a := range []sse.Algorithm{sse.SSEC, sse.Unknown} {
		if _, err := (sse.State{Algorithm: a}).Again(); !errors.Is(err, sse.ErrUnknown) {
			t.Errorf("%v: %v", a, err)
		}
	}
	if _, err := (sse.State{Algorithm: sse.SSEKMS, KMSKeyID: "a b"}).Again(); !errors.Is(err, sse.ErrInvalid) {
		t.Error(err)
	}
}

func TestConfirm(t *testing.T) {
	answer := func(algorithm, key string, more ...string) map[string]string {
		a := map[string]string{h: algorithm}
		if key != "" {
			a[h+"-aws-kms-key-id"] = key
		}
		for _, name := range more {
			a[h+name] = "true"
		}
		return a
	}
	const otherARN = "arn:aws:kms:eu-central-1:111122223333:key/other"
	const otherHome = "arn:aws:kms:us-east-1:111122223333:key/" + id
	mine := map[string]string{h + "-customer-algorithm": "AES256", h + "-customer-key-md5": key(t, 1).MD5()}
	for _, tc := range []struct {
		name   string
		mode   *sse.Mode
		answer map[string]string
		ok     bool
	}{
		{"nothing asked", nil, nil, true},
		{"nothing asked, something came", nil, answer("aws:kms", arn), true},
		{"ignored", sse.S3(), nil, false},
		{"sse-s3", sse.S3(), answer("AES256", ""), true},
		{"sse-s3, kms came", sse.S3(), answer("aws:kms", arn), false},
		{"kms ignored", kms(t, "", nil, nil), nil, false},
		{"kms, sse-s3 came", kms(t, arn, nil, nil), answer("AES256", ""), false},
		{"kms, dsse came", kms(t, arn, nil, nil), answer("aws:kms:dsse", arn), false},
		{"dsse, kms came", must(sse.DSSE(arn, nil))(t), answer("aws:kms", arn), false},
		{"dsse", must(sse.DSSE(arn, nil))(t), answer("aws:kms:dsse", arn), true},
		{"managed key", kms(t, "", nil, nil), answer("aws:kms", arn), true},
		{"managed key, not named", kms(t, "", nil, nil), answer("aws:kms", ""), true},
		{"ARN", kms(t, arn, nil, nil), answer("aws:kms", arn), true},
		{"ARN, other key", kms(t, arn, nil, nil), answer("aws:kms", otherARN), false},
		{"ARN, other region", kms(t, arn, nil, nil), answer("aws:kms", otherHome), false},
		{"ARN, no key", kms(t, arn, nil, nil), answer("aws:kms", ""), false},
		{"ARN, its ID", kms(t, arn, nil, nil), answer("aws:kms", id), true},
		{"ID", kms(t, id, nil, nil), answer("aws:kms", arn), true},
		{"ID, other key", kms(t, id, nil, nil), answer("aws:kms", otherARN), false},
		{"alias", kms(t, "alias/a", nil, nil), answer("aws:kms", arn), true},
		{"alias, no key", kms(t, "alias/a", nil, nil), answer("aws:kms", ""), false},
		{"alias, another alias", kms(t, "alias/a", nil, nil), answer("aws:kms", "alias/b"), false},
		{"alias, an ID that might be anything", kms(t, "alias/a", nil, nil), answer("aws:kms", "something"), false},
		{"alias, sse-s3 came", kms(t, "alias/a", nil, nil), answer("AES256", ""), false},
		{"alias ARN", kms(t, "arn:aws:kms:eu-central-1:111122223333:alias/a", nil, nil), answer("aws:kms", arn), true},
		{"alias ARN, other region", kms(t, "arn:aws:kms:eu-central-1:111122223333:alias/a", nil, nil), answer("aws:kms", otherHome), false},
		{"MinIO", kms(t, "minio", nil, nil), answer("aws:kms", "arn:aws:kms:minio"), true},
		{"MinIO, by its answer", kms(t, "arn:aws:kms:minio", nil, nil), answer("aws:kms", "arn:aws:kms:minio"), true},
		{"MinIO, other key", kms(t, "minio", nil, nil), answer("aws:kms", "arn:aws:kms:other"), false},
		{"garbage", kms(t, id, nil, nil), answer("aws:kms", "\x00"), false},
		{"bucket key", kms(t, id, nil, &yes), answer("aws:kms", arn, "-bucket-key-enabled"), true},
		{"bucket key ignored", kms(t, id, nil, &yes), answer("aws:kms", arn), false},
		{"bucket key unwanted", kms(t, id, nil, &no), answer("aws:kms", arn, "-bucket-key-enabled"), false},
		{"no bucket key", kms(t, id, nil, &no), answer("aws:kms", arn), true},
		{"bucket key not spoken of", kms(t, id, nil, nil), answer("aws:kms", arn, "-bucket-key-enabled"), true},
		{"sse-c", customer(t, 1), mine, true},
		{"sse-c, other key", customer(t, 2), mine, false},
		{"sse-c ignored", customer(t, 1), nil, false},
		{"sse-c, sse-s3 came", customer(t, 1), answer("AES256", ""), false},
		{"sse-c, both came", customer(t, 1), map[string]string{h: "AES256", h + "-customer-algorithm": "AES256", h + "-customer-key-md5": key(t, 1).MD5()}, false},
	} {
		err := tc.mode.Confirm(tc.answer)
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, sse.ErrUnconfirmed) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if err != nil && (!strings.Contains(err.Error(), tc.mode.String()) || !strings.Contains(err.Error(), "got ") || strings.Contains(err.Error(), "\x00")) {
			t.Errorf("%s: the message %q", tc.name, err)
		}
		if tc.mode.Told(tc.answer) != (len(tc.answer) > 0) {
			t.Errorf("%s: told", tc.name)
		}
	}
	if sse.S3().Told(map[string]string{"etag": "x", src + "-customer-algorithm": "AES256"}) {
		t.Error("told by other headers")
	}
}

// Whatever a server answers: nothing panics, a state is its own repetition, and
// only the algorithm that was asked for is ever confirmed.
func FuzzAnswers(f *testing.F) {
	f.Add("", "", "", "", "", "")
	f.Add("AES256", "", "", "", "", "")
	f.Add("aws:kms", arn, "true", "", "", id)
	f.Add("aws:kms:dsse", "arn:aws:kms:name", "false", "", "", "alias/x")
	f.Add("", "", "", "AES256", "Xsqb0+sHwAbNQ65I395/0w==", "arn:aws:kms:a:b:alias/c")
	f.Fuzz(func(t *testing.T, algorithm, keyID, bucketKey, customerAlgorithm, customerMD5, asked string) {
		answer := map[string]string{}
		for name, value := range map[string]string{
			h: algorithm, h + "-aws-kms-key-id": keyID, h + "-bucket-key-enabled": bucketKey, h + "-customer-algorithm": customerAlgorithm, h + "-customer-key-md5": customerMD5,
		} {
			if value != "" {
				answer[name] = value
			}
		}
		s := sse.Of(answer)
		modes := []*sse.Mode{sse.S3(), customer(t, 'a')}
		if m, err := sse.KMS(asked, nil, &yes); err == nil {
			modes = append(modes, m, must(sse.DSSE(asked, nil))(t))
		}
		for _, m := range modes {
			if err := m.Confirm(answer); err == nil && s.Algorithm != m.Algorithm() || err != nil && !errors.Is(err, sse.ErrUnconfirmed) {
				t.Fatalf("%v, %s: %v", answer, m, err)
			}
		}
		if m, err := s.Again(); err == nil {
			if err := m.Confirm(answer); err != nil {
				t.Fatalf("%v: %v", answer, err)
			}
			for _, value := range m.Write() {
				if strings.ContainsAny(value, "\r\n\x00") {
					t.Fatalf("%q in a header", value)
				}
			}
		}
	})
}
