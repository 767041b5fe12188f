package objtest

import (
	"crypto/md5" //nolint:gosec // what S3 checks a key by
	"encoding/base64"
	"errors"
	"maps"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

const (
	sseHeader    = "x-amz-server-side-encryption"
	keyIDHeader  = sseHeader + "-aws-kms-key-id"
	bucketHeader = sseHeader + "-bucket-key-enabled"
	customer     = sseHeader + "-customer"
	copySource   = "x-amz-copy-source-server-side-encryption-customer"
)

// mode is a way to encrypt, and what an answer then says.
type mode struct {
	name string
	enc  *objstore.Encryption
	want objstore.Header // the key ID by its end alone
}

func managed(name string, h objstore.Header) mode {
	return mode{name: name, enc: &objstore.Encryption{Write: h}, want: h}
}

// byKey makes SSE-C under a random key.
func byKey() mode {
	key := random(32)
	sum := md5.Sum(key) //nolint:gosec // see the import
	headers := func(prefix string) objstore.Header {
		return objstore.Header{
			prefix + "-algorithm": "AES256", prefix + "-key": base64.StdEncoding.EncodeToString(key),
			prefix + "-key-md5": base64.StdEncoding.EncodeToString(sum[:]),
		}
	}
	h := headers(customer)
	return mode{
		name: "SSE-C", enc: &objstore.Encryption{Write: h, Read: h, Source: headers(copySource)},
		want: objstore.Header{customer + "-algorithm": "AES256", customer + "-key-md5": h[customer+"-key-md5"]},
	}
}

// modes are those that the server has.
func (t suite) modes() []mode {
	all := []mode{managed("SSE-S3", objstore.Header{sseHeader: "AES256"})}
	if !t.opt.NoKMS {
		all = append(all, managed("SSE-KMS", objstore.Header{sseHeader: "aws:kms"}))
	}
	if t.opt.KMSKey != "" && !t.opt.NoKMS {
		all = append(all, managed("SSE-KMS by key", objstore.Header{sseHeader: "aws:kms", keyIDHeader: t.opt.KMSKey, sseHeader + "-context": base64.StdEncoding.EncodeToString([]byte(`{"team":"backup"}`))}))
	}
	if !t.opt.NoDSSE && !t.opt.NoKMS {
		all = append(all, managed("DSSE-KMS", objstore.Header{sseHeader: "aws:kms:dsse"}))
	}
	if !t.opt.NoBucketKeys && !t.opt.NoKMS {
		all = append(all, managed("SSE-KMS with bucket key", objstore.Header{sseHeader: "aws:kms", bucketHeader: "true"}))
	}
	if !t.opt.NoCustomerKeys {
		all = append(all, byKey())
	}
	return all
}

// says asserts what an answer tells.
func (t suite) says(what string, got, want objstore.Header) {
	t.Helper()
	for _, name := range []string{sseHeader, keyIDHeader, bucketHeader, customer + "-algorithm", customer + "-key-md5"} {
		switch {
		case name == keyIDHeader && want[name] != "":
			if !strings.HasSuffix(got[name], want[name]) {
				t.Errorf("%s says %s: %q, not %q", what, name, got[name], want[name])
			}
		case name == keyIDHeader: // whichever the server took
		case got[name] != want[name]:
			t.Errorf("%s says %s: %q, not %q", what, name, got[name], want[name])
		}
	}
}

// copied is says of the answers that some servers leave empty.
func (t suite) copied(what string, got, want objstore.Header) {
	t.Helper()
	if len(got) > 0 || !t.opt.SilentCopies {
		t.says(what, got, want)
	}
}

// encrypted asserts what an object is by HEAD and GET, and its body.
func (t suite) encrypted(key string, m mode, body []byte) objstore.ID {
	t.Helper()
	info, err := t.s.Head(t.Context(), objstore.ID{Key: key, Encryption: m.enc})
	t.ok(err)
	t.says("head", info.Encrypted, m.want)
	for _, r := range []objstore.Range{{}, {Off: 1, Len: 10}, {Suffix: 3}} {
		got, _, data, err := t.get(objstore.ID{Key: key, ETag: info.ETag, Encryption: m.enc}, r)
		t.ok(err)
		t.says("get", got.Encrypted, m.want)
		if off, n := r.Of(int64(len(body))); got.Size != int64(len(body)) || string(data) != string(body[off:off+n]) {
			t.Errorf("%s: %+v gave %d bytes of %d", key, r, len(data), got.Size)
		}
		if got.Encryption != m.enc {
			t.Errorf("%s: the ID that GET gives has lost its key", key)
		}
	}
	return info.ID
}

func (t suite) encryption() {
	if t.opt.IgnoresEncryption {
		t.Skip("the server has none")
	}
	plain := mode{name: "none", want: t.opt.Default}
	modes := t.modes()
	for i, m := range modes {
		for _, size := range []int64{0, 1000} {
			body := random(size)
			got, err := t.putAs("k", body, m)
			t.ok(err)
			t.says("put", got.Encrypted, m.want)
			id := t.encrypted("k", m, body)
			if id.ETag != got.ETag || got.Encryption != m.enc {
				t.Errorf("%s: head gave %+v, put %+v", m.name, id, got)
			}
			// A copy is what it asks for, and nothing else.
			for _, to := range []mode{m, plain, modes[(i+1)%len(modes)]} {
				got, err := t.s.Copy(t.Context(), id, "copy", objstore.PutOptions{Encryption: to.enc})
				t.ok(err)
				t.copied("copy", got.Encrypted, to.want)
				t.encrypted("copy", to, body)
			}
			for _, to := range []mode{m, modes[(i+1)%len(modes)], m, plain} { // in place
				got, err = t.s.Copy(t.Context(), id, "k", objstore.PutOptions{Encryption: to.enc, Metadata: map[string]string{"to": "1"}})
				t.ok(err)
				if id = t.encrypted("k", to, body); got.Encryption != to.enc || id.ETag != got.ETag {
					t.Errorf("%s to %s gave %+v, head %+v", m.name, to.name, got, id)
				}
			}
		}
		t.uploaded(m)
		t.ok(t.s.Delete(t.Context(), objstore.ID{Key: "k"}, objstore.Condition{}))
	}
}

func (t suite) putAs(key string, body []byte, m mode) (objstore.Receipt, error) {
	return t.s.Put(t.Context(), key, strings.NewReader(string(body)), int64(len(body)), objstore.PutOptions{Encryption: m.enc})
}

// uploaded makes an object of parts, one of them copied.
func (t suite) uploaded(m mode) {
	t.Helper()
	body := random(t.opt.MinPartSize)
	_, err := t.putAs("src", body, m)
	t.ok(err)
	up := t.begin("k", objstore.PutOptions{Encryption: m.enc})
	t.copied("the beginning of an upload", up.Encrypted(), m.want)
	t.ok(t.part(up, 1, body))
	t.ok(up.CopyPart(t.Context(), 2, objstore.ID{Key: "src", Encryption: m.enc}, objstore.Range{}))
	t.ok(t.part(up, 3, []byte("tail")))
	got, err := up.Complete(t.Context(), objstore.Condition{})
	t.ok(err)
	if m.enc.Reads() == nil { // S3 is silent about SSE-C here
		t.copied("complete", got.Encrypted, m.want)
	}
	whole := append(append(append([]byte(nil), body...), body...), "tail"...)
	if id := t.encrypted("k", m, whole); id.ETag != got.ETag {
		t.Errorf("%s: complete gave %+v, head %+v", m.name, got, id)
	}
}

func (t suite) encryptionIgnored() {
	if !t.opt.IgnoresEncryption {
		t.Skip("the server has some")
	}
	for _, m := range []mode{managed("SSE-S3", objstore.Header{sseHeader: "AES256"}), managed("SSE-KMS", objstore.Header{sseHeader: "aws:kms"})} {
		got, err := t.putAs("k", []byte("x"), m)
		t.ok(err)
		info, err := t.s.Head(t.Context(), objstore.ID{Key: "k"})
		t.ok(err)
		if len(got.Encrypted)+len(info.Encrypted) > 0 {
			t.Errorf("%s: put says %v, head %v", m.name, got.Encrypted, info.Encrypted)
		}
	}
}

func (t suite) customerKeys() {
	if t.opt.IgnoresEncryption || t.opt.NoCustomerKeys {
		t.Skip("the server has none")
	}
	m, other, plain := byKey(), byKey(), mode{}
	_, err := t.putAs("k", []byte("secret"), m)
	t.ok(err)
	_, err = t.putAs("plain", []byte("plain"), plain)
	t.ok(err)
	for _, tc := range []struct {
		name, key string
		with      mode
		want      error
	}{
		{"no key", "k", plain, objstore.ErrKeyNeeded},
		{"wrong key", "k", other, objstore.ErrKeyWrong},
		{"key for a plain object", "plain", m, objstore.ErrKeyUnwanted},
	} {
		id := objstore.ID{Key: tc.key, Encryption: tc.with.enc}
		_, err := t.s.Head(t.Context(), id)
		t.keyError(tc.name+", head", err, tc.want)
		_, _, _, err = t.get(id, objstore.Range{Len: 2})
		t.keyError(tc.name+", get", err, tc.want)
		_, err = t.s.Copy(t.Context(), id, "copy", objstore.PutOptions{})
		t.keyError(tc.name+", copy", err, tc.want)
		up := t.begin("up", objstore.PutOptions{})
		err = up.CopyPart(t.Context(), 1, id, objstore.Range{})
		if tc.key != "plain" || !t.opt.TakesAnySource {
			t.keyError(tc.name+", copy part", err, tc.want)
		}
		t.ok(up.Abort(t.Context()))
	}
	src := t.encrypted("k", m, []byte("secret"))
	for _, dst := range []string{"copy", "k"} {
		got, err := t.s.Copy(t.Context(), src, dst, objstore.PutOptions{Encryption: other.enc})
		t.ok(err)
		t.copied("copy", got.Encrypted, other.want)
		t.encrypted(dst, other, []byte("secret"))
	}
	t.ok(t.s.Delete(t.Context(), objstore.ID{Key: "k"}, objstore.Condition{})) // without a key
}

// keyError asserts the error of a key, which is none of the object.
func (t suite) keyError(what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || errors.Is(err, objstore.ErrNotExist) {
		t.Errorf("%s: %v, not %v", what, err, want)
	}
}

func (t suite) customerKeyParts() {
	if t.opt.IgnoresEncryption || t.opt.NoCustomerKeys {
		t.Skip("the server has none")
	}
	r, ok := t.s.(objstore.Resumer)
	if !ok {
		t.Skip("no upload can be taken up without its key")
	}
	m := byKey()
	up := t.begin("k", objstore.PutOptions{Encryption: m.enc})
	bare := r.Resume("k", up.UploadID())
	t.is(t.part(bare, 1, []byte("x")), objstore.ErrKeyNeeded)
	t.ok(t.part(up, 1, []byte("x")))
	t.ok(bare.Abort(t.Context()))
}

func (t suite) missingKey() {
	if t.opt.IgnoresEncryption || t.opt.NoKMS {
		t.Skip("the server has none")
	}
	m := managed("missing", objstore.Header{sseHeader: "aws:kms", keyIDHeader: "there-is-no-such-key"})
	_, err := t.putAs("k", []byte("x"), m)
	t.is(err, objstore.ErrKeyMissing)
	_, err = t.s.Upload(t.Context(), "k", objstore.PutOptions{Encryption: m.enc})
	t.is(err, objstore.ErrKeyMissing)
	t.mustPut("src", []byte("x"))
	_, err = t.s.Copy(t.Context(), objstore.ID{Key: "src"}, "k", objstore.PutOptions{Encryption: m.enc})
	t.is(err, objstore.ErrKeyMissing)
	_, err = t.s.Head(t.Context(), objstore.ID{Key: "k"})
	t.is(err, objstore.ErrNotExist)
}

func (t suite) defaultEncryption() {
	d, ok := t.s.(objstore.Defaulter)
	if !ok {
		t.Skip("cannot be asked for")
	}
	got, err := d.DefaultEncryption(t.Context())
	if t.opt.NoDefault {
		t.is(err, objstore.ErrUnsupported)
		return
	}
	t.ok(err)
	if !maps.Equal(got.Encrypted, t.opt.Default) || got.KeysBlocked {
		t.Errorf("the default is %v, keys blocked: %v", map[string]string(got.Encrypted), got.KeysBlocked)
	}
}
