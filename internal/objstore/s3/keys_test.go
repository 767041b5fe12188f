package s3_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
)

const (
	prefix       = "x-amz-server-side-encryption"
	sourcePrefix = "x-amz-copy-source-server-side-encryption"
	secretKey    = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="
)

// customer is SSE-C under a key that begins with tag.
func customer(tag string) *objstore.Encryption {
	set := func(prefix string) objstore.Header {
		return objstore.Header{prefix + "-customer-algorithm": "AES256", prefix + "-customer-key": tag + secretKey, prefix + "-customer-key-md5": tag + "md5=="}
	}
	return &objstore.Encryption{Write: set(prefix), Read: set(prefix), Source: set(sourcePrefix)}
}

var kms = &objstore.Encryption{Write: objstore.Header{prefix: "aws:kms", prefix + "-aws-kms-key-id": "arn:aws:kms:eu-central-1:111122223333:key/k", prefix + "-context": "e30=", prefix + "-bucket-key-enabled": "true"}}

// encryptionOf gives the headers of encryption in a request, which must all be
// signed.
func encryptionOf(t *testing.T, r *http.Request) map[string]string {
	t.Helper()
	signed := r.Header.Get("Authorization")
	got := map[string]string{}
	for name, values := range r.Header {
		name = strings.ToLower(name)
		if !strings.Contains(name, "server-side-encryption") {
			continue
		}
		got[name] = strings.Join(values, "|")
		if !strings.Contains(signed, ";"+name+";") && !strings.Contains(signed, ";"+name+",") {
			t.Errorf("%s is not signed", name)
		}
	}
	return got
}

func TestEveryRequestBringsItsEncryption(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"`+tag+`"`)
		switch {
		case r.Method == http.MethodPost && r.URL.Query().Has("uploads"):
			says("<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>", prefix, "aws:kms")(w, r)
		case r.Method == http.MethodPost:
			says("<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")(w, r)
		case r.Header.Get("X-Amz-Copy-Source") != "" && r.URL.Query().Has("partNumber"):
			says("<CopyPartResult><ETag>x</ETag></CopyPartResult>")(w, r)
		case r.Header.Get("X-Amz-Copy-Source") != "":
			says("<CopyObjectResult><ETag>x</ETag></CopyObjectResult>")(w, r)
		case r.Method == http.MethodGet:
			says("body", prefix+"-customer-algorithm", "AES256")(w, r)
		default:
			says("")(w, r)
		}
	}
	old, now := customer("old"), customer("new")
	for _, tc := range []struct {
		name   string
		source *objstore.Encryption
		enc    *objstore.Encryption
	}{
		{"nothing", nil, nil}, {"kms", nil, kms}, {"customer", old, now}, {"from customer", old, kms}, {"to customer", nil, now},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t, answer)
			s := f.open(t)
			ctx := t.Context()
			opt := objstore.PutOptions{Encryption: tc.enc}
			src := objstore.ID{Key: "src", Encryption: tc.source}
			body := func() *strings.Reader { return strings.NewReader("body") }
			var up objstore.Uploader
			steps := []struct {
				name string
				do   func() error
				want []objstore.Header
			}{
				{"put", func() error { _, err := s.Put(ctx, "k", body(), 4, opt); return err }, []objstore.Header{tc.enc.Writes()}},
				{"get", func() error { _, _, err := get(ctx, s, src, objstore.Range{}); return err }, []objstore.Header{tc.source.Reads()}},
				{"head", func() error { _, err := s.Head(ctx, src); return err }, []objstore.Header{tc.source.Reads()}},
				{"copy", func() error { _, err := s.Copy(ctx, src, "k", opt); return err }, []objstore.Header{tc.enc.Writes(), tc.source.Sources()}},
				{"upload", func() (err error) { up, err = s.Upload(ctx, "k", opt); return err }, []objstore.Header{tc.enc.Writes()}},
				{"part", func() error { return up.Part(ctx, 1, body(), 4) }, []objstore.Header{tc.enc.Reads()}},
				{"copy part", func() error { return up.CopyPart(ctx, 2, src, objstore.Range{Len: 2}) }, []objstore.Header{tc.enc.Reads(), tc.source.Sources()}},
				{"complete", func() error { _, err := up.Complete(ctx, objstore.Condition{}); return err }, []objstore.Header{tc.enc.Reads()}},
				{"delete", func() error { return s.Delete(ctx, src, objstore.Condition{}) }, nil},
				{"tags", func() error { _, err := s.Tags(ctx, src); return err }, nil},
			}
			for i, step := range steps {
				if err := step.do(); err != nil && step.name != "tags" {
					t.Fatalf("%s: %v", step.name, err)
				}
				all := f.requests()
				if len(all) != i+1 {
					t.Fatalf("%s: %d requests", step.name, len(all)-i)
				}
				want := map[string]string{}
				for _, h := range step.want {
					maps.Copy(want, h)
				}
				if got := encryptionOf(t, all[i]); !maps.Equal(got, want) {
					t.Errorf("%s sent %v, not %v", step.name, got, want)
				}
			}
			if up.Encrypted()[prefix] != "aws:kms" {
				t.Errorf("the upload was said to be %v", up.Encrypted())
			}
			info, _, err := get(ctx, s, src, objstore.Range{})
			if err != nil || info.Encryption != tc.source || info.Encrypted[prefix+"-customer-algorithm"] != "AES256" {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
}

func TestKeysGoOverHTTPSOnly(t *testing.T) {
	for endpoint, refused := range map[string]bool{
		"http://192.0.2.1:9": true, "http://example.invalid": true, "http://localhost.example.invalid": true,
		"http://127.0.0.1:9": false, "http://[::1]:9": false, "http://localhost:9": false, "https://192.0.2.1:9": false,
	} {
		settle(t)
		s, err := s3.New(t.Context(), s3.Config{Bucket: "b", Endpoint: endpoint, RetryTimeout: time.Millisecond, CommitTimeout: time.Millisecond, StallTimeout: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		_, errHead := s.Head(t.Context(), objstore.ID{Key: "k", Encryption: customer("")})
		_, errPut := s.Put(t.Context(), "k", strings.NewReader("x"), 1, objstore.PutOptions{Encryption: customer("")})
		_, errCopy := s.Copy(t.Context(), objstore.ID{Key: "k", Encryption: customer("")}, "l", objstore.PutOptions{})
		for _, err := range []error{errHead, errPut, errCopy} {
			if errors.Is(err, objstore.ErrInvalid) != refused || refused && !strings.Contains(err.Error(), "HTTPS only") || errors.Is(err, objstore.ErrUnknown) && refused {
				t.Errorf("%s: %v", endpoint, err)
			}
			if strings.Contains(err.Error(), secretKey) {
				t.Errorf("the key is in %v", err)
			}
		}
		_ = s.Close()
	}
}

func TestKeysAreNeverPrinted(t *testing.T) {
	for _, answer := range []http.HandlerFunc{fails(403, "AccessDenied"), fails(400, "InvalidRequest"), hangsUp, fails(500, "InternalError")} {
		s := newFake(t, answer).open(t, func(c *s3.Config) { c.RetryTimeout, c.CommitTimeout = 10*time.Millisecond, 10*time.Millisecond })
		opt := objstore.PutOptions{Encryption: customer("")}
		_, errPut := s.Put(t.Context(), "k", strings.NewReader("x"), 1, opt)
		_, errHead := s.Head(t.Context(), objstore.ID{Key: "k", Encryption: customer("")})
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
			if text := fmt.Sprintf(verb, []any{errPut, errHead, opt, *opt.Encryption, opt.Encryption.Write}); strings.Contains(text, secretKey) {
				t.Errorf("%s prints the key: %s", verb, text)
			}
		}
	}
}

// explains answers with a message.
func explains(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
	}
}

const someKey = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

func TestErrorsOfKeys(t *testing.T) {
	denied := "User: arn:aws:iam::111122223333:user/u is not authorized to perform: kms:%s on resource: " + someKey + " because no identity-based policy allows the kms:%[1]s action"
	for _, tc := range []struct {
		name    string
		status  int
		code    string
		message string
		verb    string
		enc     *objstore.Encryption
		want    error
		not     error
		text    string
	}{
		{"missing key", 404, "KMS.NotFoundException", "Key '" + someKey + "' does not exist", "put", kms, objstore.ErrKeyMissing, objstore.ErrNotExist, someKey},
		{"missing key, copy", 404, "KMS.NotFoundException", "Invalid keyId", "copy", kms, objstore.ErrKeyMissing, objstore.ErrNotExist, "Invalid keyId"},
		{"missing key, MinIO", 404, "kms:KeyNotFound", "key with given key ID does not exist", "put", kms, objstore.ErrKeyMissing, objstore.ErrNotExist, "does not exist"},
		{"missing key, MinIO, part", 404, "kms:KeyNotFound", "key with given key ID does not exist", "get", nil, objstore.ErrKeyMissing, objstore.ErrNotExist, "does not exist"},
		{"unlisted", 404, "KMS.WhateverException", "m", "copy", kms, objstore.ErrKeyDisabled, objstore.ErrNotExist, "KMS.WhateverException"},
		{"disabled", 400, "KMS.DisabledException", someKey + " is disabled.", "get", nil, objstore.ErrKeyDisabled, objstore.ErrInvalid, someKey + " is disabled"},
		{"pending deletion", 400, "KMS.KMSInvalidStateException", someKey + " is pending deletion.", "get", nil, objstore.ErrKeyDisabled, objstore.ErrInvalid, "pending deletion"},
		{"pending deletion, other code", 400, "KMSInvalidStateException", "m", "get", nil, objstore.ErrKeyDisabled, nil, "KMSInvalidStateException"},
		{"throttled", 400, "KMS.ThrottlingException", "Rate exceeded", "get", nil, objstore.ErrThrottled, nil, "KMS.ThrottlingException"},
		{"throttled write", 503, "KMS.ThrottlingException", "Rate exceeded", "put", kms, objstore.ErrThrottled, objstore.ErrUnknown, "KMS.ThrottlingException"},
		{"may not decrypt", 403, "AccessDenied", fmt.Sprintf(denied, "Decrypt"), "get", nil, objstore.ErrKeyAccess, nil, "permission kms:Decrypt on " + someKey + " is missing: grant kms:GenerateDataKey (writes) and kms:Decrypt (reads"},
		{"may not encrypt", 403, "AccessDenied", fmt.Sprintf(denied, "GenerateDataKey"), "put", kms, objstore.ErrKeyAccess, nil, "permission kms:GenerateDataKey on " + someKey},
		{"also denied", 403, "AccessDenied", fmt.Sprintf(denied, "Decrypt"), "get", nil, objstore.ErrAccess, objstore.ErrKeyWrong, ""},
		{"may not, in few words", 403, "AccessDenied", "Access Denied", "put", kms, objstore.ErrAccess, objstore.ErrKeyAccess, "s3:PutObject is missing, or kms:GenerateDataKey"},
		{"may not, a part", 403, "AccessDenied", "Access Denied", "part", kms, objstore.ErrAccess, objstore.ErrKeyAccess, "or kms:GenerateDataKey or kms:Decrypt on the KMS key"},
		{"may not read, in few words", 403, "AccessDenied", "Access Denied", "get", nil, objstore.ErrAccess, objstore.ErrKeyAccess, "permission s3:GetObject is missing, or kms:Decrypt if the object has a KMS key"},
		{"may not write, by name", 403, "AccessDenied", "User: u is not authorized to perform: s3:PutObject on resource: r", "put", customer(""), objstore.ErrAccess, objstore.ErrKeyBlocked, "permission s3:PutObject is missing (HTTP"},
		{"no KMS at MinIO", 501, "NotImplemented", "Server side encryption specified but KMS is not configured", "put", kms, objstore.ErrUnsupported, nil, "KMS is not configured"},
		{"no key sent with HEAD", 400, "InvalidArgument", "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm.", "get", nil, objstore.ErrKeyNeeded, objstore.ErrInvalid, ""},
		{"no key sent", 400, "InvalidRequest", "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.", "get", nil, objstore.ErrKeyNeeded, objstore.ErrKeyWrong, ""},
		{"no key sent for the source", 400, "InvalidRequest", "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.", "copy", customer(""), objstore.ErrKeyNeeded, objstore.ErrKeyWrong, ""},
		{"wrong key", 403, "AccessDenied", "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.", "get", customer(""), objstore.ErrKeyWrong, objstore.ErrAccess, ""},
		{"wrong key or no access", 403, "AccessDenied", "Access Denied.", "get", customer(""), objstore.ErrKeyWrong, nil, "the key is wrong, or permission s3:GetObject is missing"},
		{"wrong key or no access too", 403, "AccessDenied", "Access Denied.", "get", customer(""), objstore.ErrAccess, nil, ""},
		{"no access", 403, "AccessDenied", "User: u is not authorized to perform: s3:GetObject on resource: r", "get", customer(""), objstore.ErrAccess, objstore.ErrKeyWrong, "s3:GetObject"},
		{"key for a plain object", 400, "InvalidRequest", "The encryption parameters are not applicable to this object.", "get", customer(""), objstore.ErrKeyUnwanted, objstore.ErrInvalid, ""},
		{"part without the key", 400, "InvalidRequest", "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.", "part", nil, objstore.ErrKeyNeeded, objstore.ErrKeyUnwanted, ""},
		{"part with a key of its own", 400, "InvalidRequest", "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.", "part", customer(""), objstore.ErrKeyUnwanted, nil, ""},
		{"part with another key", 400, "InvalidArgument", "The provided encryption parameters did not match the ones used originally.", "part", customer(""), objstore.ErrKeyWrong, nil, ""},
		{"blocked", 403, "AccessDenied", `User: u is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::b/k" because this bucket has blocked upload requests that specify Server Side Encryption with Customer provided keys (SSE-C). Please specify a different server-side encryption type`, "put", customer(""), objstore.ErrKeyBlocked, objstore.ErrKeyWrong, "BlockedEncryptionTypes NONE"},
		{"blocked, perhaps", 403, "AccessDenied", "Access Denied", "put", customer(""), objstore.ErrAccess, objstore.ErrKeyBlocked, "or the bucket refuses SSE-C"},
		{"other argument", 400, "InvalidArgument", "something else about encryption", "get", customer(""), objstore.ErrInvalid, objstore.ErrKeyNeeded, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			begun := says("<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
			answer := explains(tc.status, tc.code, tc.message)
			short := func(c *s3.Config) { c.RetryTimeout, c.CommitTimeout = 50*time.Millisecond, 50*time.Millisecond }
			ctx, opt := t.Context(), objstore.PutOptions{Encryption: tc.enc}
			var err error
			switch tc.verb {
			case "get":
				_, _, err = get(ctx, newFake(t, answer).open(t, short), objstore.ID{Key: "k", Encryption: tc.enc}, objstore.Range{})
			case "put":
				_, err = newFake(t, answer).open(t, short).Put(ctx, "k", strings.NewReader("x"), 1, opt)
			case "copy":
				_, err = newFake(t, answer).open(t, short).Copy(ctx, objstore.ID{Key: "src"}, "k", opt)
			case "part":
				up, errUpload := newFake(t, begun, answer).open(t, short).Upload(ctx, "k", opt)
				if errUpload != nil {
					t.Fatal(errUpload)
				}
				err = up.Part(ctx, 1, strings.NewReader("x"), 1)
			}
			if !errors.Is(err, tc.want) || tc.not != nil && errors.Is(err, tc.not) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestThrottledKMSIsAskedAgain(t *testing.T) {
	f := newFake(t, explains(400, "KMS.ThrottlingException", "Rate exceeded"), says("", "ETag", `"`+tag+`"`))
	got, err := f.open(t).Put(t.Context(), "k", strings.NewReader("x"), 1, objstore.PutOptions{Encryption: kms})
	if err != nil || got.ETag != tag || len(f.requests()) != 2 {
		t.Errorf("%d requests, %+v, %v", len(f.requests()), got, err)
	}
}

func TestHeadOfAKeyIsExplained(t *testing.T) {
	needed := explains(400, "InvalidRequest", "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")
	wrong := explains(403, "AccessDenied", "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.")
	minio := saysAs(400, "", "X-Minio-Error-Code", "InvalidRequest", "X-Minio-Error-Desc", `"The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object."`)
	for _, tc := range []struct {
		name     string
		enc      *objstore.Encryption
		answers  []http.HandlerFunc
		want     error
		requests int
	}{
		{"no key", nil, []http.HandlerFunc{saysAs(400, ""), needed}, objstore.ErrKeyNeeded, 2},
		{"wrong key", customer(""), []http.HandlerFunc{saysAs(403, ""), wrong}, objstore.ErrKeyWrong, 2},
		{"MinIO says it at once", nil, []http.HandlerFunc{minio}, objstore.ErrKeyNeeded, 1},
	} {
		f := newFake(t, tc.answers...)
		if _, err := f.open(t).Head(t.Context(), objstore.ID{Key: "k", Encryption: tc.enc}); !errors.Is(err, tc.want) || len(f.requests()) != tc.requests {
			t.Errorf("%s: %d requests, %v", tc.name, len(f.requests()), err)
		}
	}
}

// Some servers tell of an error as if it were the body.
func TestAnswerWithoutAnETagIsNone(t *testing.T) {
	s := newFake(t, says("<Error><Code>XMinioObjectTampered</Code></Error>")).open(t, func(c *s3.Config) { c.RetryTimeout = 200 * time.Millisecond })
	if _, err := s.Head(t.Context(), objstore.ID{Key: "k"}); !errors.Is(err, objstore.ErrUnknown) {
		t.Error(err)
	}
	if _, _, err := get(t.Context(), s, objstore.ID{Key: "k"}, objstore.Range{}); !errors.Is(err, objstore.ErrUnknown) {
		t.Error(err)
	}
}

func TestTags(t *testing.T) {
	f := newFake(t, says("<Tagging><TagSet><Tag><Key>a</Key><Value>1 +&amp;</Value></Tag></TagSet></Tagging>"))
	got, err := f.open(t).Tags(t.Context(), objstore.ID{Key: "k", VersionID: "v1", Encryption: customer("")})
	if err != nil || !maps.Equal(got, map[string]string{"a": "1 +&"}) || f.requests()[0].URL.Query().Get("versionId") != "v1" {
		t.Errorf("%v, %v", got, err)
	}
	for _, tc := range []struct {
		status int
		code   string
		want   error
	}{
		{501, "NotImplemented", objstore.ErrUnsupported},
		{405, "MethodNotAllowed", objstore.ErrUnsupported},
		{403, "AccessDenied", objstore.ErrAccess},
		{404, "NoSuchKey", objstore.ErrNotExist},
		{404, "NoSuchBucket", objstore.ErrBucket},
	} {
		if _, err := newFake(t, fails(tc.status, tc.code)).open(t).Tags(t.Context(), objstore.ID{Key: "k"}); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.code, err)
		}
	}
}

func TestTagsAreWritten(t *testing.T) {
	f := newFake(t, says("<CopyObjectResult><ETag>x</ETag></CopyObjectResult>", "ETag", `"x"`))
	s := f.open(t)
	tags := map[string]string{"sigil-key-id": "0123456789abcdef", "a b": "c&d"}
	if _, err := s.Put(t.Context(), "k", strings.NewReader(""), 0, objstore.PutOptions{Tags: tags}); err != nil {
		t.Fatal(err)
	}
	for _, tags := range []map[string]string{nil, {}, tags} {
		if _, err := s.Copy(t.Context(), objstore.ID{Key: "a"}, "k", objstore.PutOptions{Tags: tags}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range f.requests() {
		got = append(got, r.Header.Get("X-Amz-Tagging-Directive")+":"+r.Header.Get("X-Amz-Tagging"))
	}
	set := "a+b=c%26d&sigil-key-id=0123456789abcdef"
	if want := []string{":" + set, ":", "REPLACE:", "REPLACE:" + set}; !slices.Equal(got, want) {
		t.Errorf("sent %q, not %q", got, want)
	}
	_, err := newFake(t, fails(403, "AccessDenied")).open(t).Put(t.Context(), "k", strings.NewReader(""), 0, objstore.PutOptions{Tags: tags})
	if !errors.Is(err, objstore.ErrAccess) || !strings.Contains(err.Error(), "s3:PutObjectTagging") {
		t.Error(err)
	}
}

func TestDefaultEncryption(t *testing.T) {
	rule := func(s string) http.HandlerFunc {
		return says("<ServerSideEncryptionConfiguration><Rule>" + s + "</Rule></ServerSideEncryptionConfiguration>")
	}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   objstore.Header
		blocks bool
		err    error
	}{
		{"sse-s3", rule("<ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled><BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>"), objstore.Header{prefix: "AES256"}, true, nil},
		{"kms", rule("<ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>" + someKey + "</KMSMasterKeyID></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled><BlockedEncryptionTypes><EncryptionType>NONE</EncryptionType></BlockedEncryptionTypes>"), objstore.Header{prefix: "aws:kms", prefix + "-aws-kms-key-id": someKey, prefix + "-bucket-key-enabled": "true"}, false, nil},
		{"only blocks", rule("<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>"), nil, true, nil},
		{"none", fails(404, "ServerSideEncryptionConfigurationNotFoundError"), nil, false, nil},
		{"none, 400", fails(400, "ServerSideEncryptionConfigurationNotFoundError"), nil, false, nil},
		{"denied", fails(403, "AccessDenied"), nil, false, objstore.ErrAccess},
		{"unknown", fails(501, "NotImplemented"), nil, false, objstore.ErrUnsupported},
		{"not found", fails(404, "NotFound"), nil, false, objstore.ErrUnsupported},
		{"no bucket", fails(404, "NoSuchBucket"), nil, false, objstore.ErrBucket},
	} {
		got, err := newFake(t, tc.answer).open(t).DefaultEncryption(t.Context())
		if !errors.Is(err, tc.err) || !maps.Equal(got.Encrypted, tc.want) || got.KeysBlocked != tc.blocks {
			t.Errorf("%s: %v %v, %v", tc.name, map[string]string(got.Encrypted), got.KeysBlocked, err)
		}
	}
}

func TestSystemMetadata(t *testing.T) {
	want := map[string]string{
		"content-type": "text/plain", "cache-control": "no-cache", "content-disposition": "attachment", "content-encoding": "gzip",
		"content-language": "de", "expires": "Sat, 21 Nov 2026 12:00:00 GMT", "x-amz-website-redirect-location": "/x",
	}
	f := newFake(t, says("<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>", "ETag", `"x"`))
	s := f.open(t)
	if _, err := s.Put(t.Context(), "k", strings.NewReader(""), 0, objstore.PutOptions{System: want}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Upload(t.Context(), "k", objstore.PutOptions{System: want}); err != nil {
		t.Fatal(err)
	}
	for _, r := range f.requests() {
		for name, value := range want {
			if got := r.Header.Get(name); got != value && !strings.HasPrefix(got, value+",") && !strings.HasSuffix(got, ","+value) {
				t.Errorf("%s %s: %q", r.Method, name, got)
			}
		}
	}
	for name, value := range map[string]string{"x-amz-acl": "public-read", "content-type": "a\r\nx-amz-acl: public-read"} {
		if _, err := s.Put(t.Context(), "k", strings.NewReader(""), 0, objstore.PutOptions{System: map[string]string{name: value}}); !errors.Is(err, objstore.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(f.requests()) != 2 {
		t.Errorf("%d requests", len(f.requests()))
	}
}
