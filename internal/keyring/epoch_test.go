package keyring

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hkdf32 is RFC 5869 by hand, to 32 bytes: one block of expansion.
func hkdf32(secret, salt []byte, info string) []byte {
	if salt == nil {
		salt = make([]byte, 32)
	}
	extract := hmac.New(sha256.New, salt)
	extract.Write(secret)
	expand := hmac.New(sha256.New, extract.Sum(nil))
	expand.Write([]byte(info + "\x01"))
	return expand.Sum(nil)
}

// The golden epoch: what it is made of.
var (
	goldenID     = EpochID{0xf0, 0xe1, 0xd2, 0xc3, 0xb4, 0xa5, 0x96, 0x87, 0x78, 0x69, 0x5a, 0x4b, 0x3c, 0x2d, 0x1e, 0x0f}
	goldenMaster = aesKey(0x40)
	goldenKey    = *aesKey(0xa0).key
	goldenNonce  = []byte("golden nonce")
)

// goldenObject writes the golden epoch object with nothing of this package.
func goldenObject(t *testing.T) []byte {
	t.Helper()
	const id = "6dq5fq5uuwlio6djljftyli6b4"
	keyID := "aes:" + hex.EncodeToString(hkdf32(goldenMaster.key[:], nil, "sigil/v1/key-id")[:16])
	block, err := aes.NewCipher(hkdf32(goldenMaster.key[:], goldenID[:], "sigil/v1/wrap"))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	aad := "sigil/v1/wrap" + string(goldenID[:]) + "\x00\x24" + keyID
	blob := aead.Seal(bytes.Clone(goldenNonce), goldenNonce, goldenKey[:], []byte(aad))
	payload := `{"version":1,"id":"` + id + `","revision":1,"state":"open","created":"2026-11-21T12:00:00Z","host":"web1","wraps":[` +
		`{"key":"` + keyID + `","type":"aes","blob":"` + base64.StdEncoding.EncodeToString(blob) + `"}]}`
	mac := hmac.New(sha256.New, hkdf32(goldenKey[:], goldenID[:], "sigil/v1/epoch"))
	mac.Write([]byte(payload))
	return []byte(payload + "\n" + hex.EncodeToString(mac.Sum(nil)) + "\n")
}

func TestGoldenEpoch(t *testing.T) {
	stored, err := os.ReadFile("testdata/epoch-v1")
	if err != nil {
		t.Fatal(err)
	}
	if want := goldenObject(t); !bytes.Equal(stored, want) {
		t.Fatalf("testdata/epoch-v1 is not what the format says:\n%s\n%s", stored, want)
	}
	e, err := ParseEpoch(goldenID, stored)
	if err != nil {
		t.Fatal(err)
	}
	key, err := goldenMaster.Unwrap(t.Context(), goldenID, e.Wraps[0])
	if err != nil || *key != goldenKey {
		t.Fatalf("unwrap: %v", err)
	}
	if err := e.Verify(key); err != nil {
		t.Fatal(err)
	}
	again := &Epoch{ID: e.ID, Revision: e.Revision, State: e.State, Created: e.Created, Host: e.Host, Wraps: e.Wraps}
	if data, err := again.Marshal(key); err != nil || !bytes.Equal(data, stored) {
		t.Fatalf("written again it is\n%s (%v)", data, err)
	}
}

// TestTamperedEpoch changes the golden object; each change has its error, at
// parsing, or at opening and verifying.
func TestTamperedEpoch(t *testing.T) {
	good := string(goldenObject(t))
	payload, rest, _ := strings.Cut(good, "\n")
	keyID := goldenMaster.ID()
	sig := base64.StdEncoding.EncodeToString(make([]byte, 64))
	sub := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("nothing to replace: %s", old)
		}
		return strings.Replace(good, old, with, 1)
	}
	tests := []struct {
		name, object string
		want         error
	}{
		{"untouched", good, nil},
		{"signed", good + sig + "\n", nil},
		{"empty", "", ErrCorrupt},
		{"one line", payload + "\n", ErrCorrupt},
		{"no last LF", strings.TrimSuffix(good, "\n"), ErrCorrupt},
		{"fourth line", good + sig + "\n\n", ErrCorrupt},
		{"CR before LF", strings.ReplaceAll(good, "\n", "\r\n"), ErrCorrupt},
		{"trailing bytes", good + "x", ErrCorrupt},
		{"signature short", good + sig[:84] + "\n", ErrCorrupt},
		{"signature without LF", good + sig, ErrCorrupt},
		{"signature not canonical", good + strings.TrimSuffix(sig, "A==") + "B==\n", ErrCorrupt},
		{"mac upper case", payload + "\n" + strings.ToUpper(rest), ErrCorrupt},
		{"mac short", payload + "\n" + rest[2:], ErrCorrupt},
		{"mac flipped", payload + "\n" + flipHex(rest), ErrWrongKey},
		{"too long", sub("web1", strings.Repeat("x", MaxEpochSize)), ErrCorrupt},
		{"not an object", "[]\n" + rest, ErrCorrupt},
		{"null", "null\n" + rest, ErrCorrupt},
		{"truncated JSON", payload[:60] + "\n" + rest, ErrCorrupt},
		{"second value", payload + " {}\n" + rest, ErrCorrupt},
		{"not UTF-8", sub("web1", "\xff"), ErrCorrupt},
		{"version 2", sub(`"version":1`, `"version":2`), ErrVersion},
		{"version 2 and new members", `{"version":2,"new":1}` + "\n" + rest, ErrVersion},
		{"version a string", sub(`"version":1`, `"version":"1"`), ErrCorrupt},
		{"version missing", sub(`"version":1,`, ``), ErrCorrupt},
		{"member unknown", sub(`"version":1`, `"version":1,"note":""`), ErrVersion},
		{"member in other case", sub(`"host"`, `"Host"`), ErrVersion},
		{"member repeated", sub(`"revision":1`, `"revision":1,"revision":1`), ErrCorrupt},
		{"member missing", sub(`"host":"web1",`, ``), ErrCorrupt},
		{"member null", sub(`"web1"`, `null`), ErrCorrupt},
		{"revision 0", sub(`"revision":1`, `"revision":0`), ErrCorrupt},
		{"revision negative", sub(`"revision":1`, `"revision":-1`), ErrCorrupt},
		{"revision a float", sub(`"revision":1`, `"revision":1.5`), ErrCorrupt},
		{"revision raised", sub(`"revision":1`, `"revision":2`), ErrWrongKey},
		{"state unknown", sub(`"open"`, `"Open"`), ErrVersion},
		{"state changed", sub(`"open"`, `"closed"`), ErrWrongKey},
		{"id of another", sub("6dq5", "7dq5"), ErrCorrupt},
		{"id with spare bits", sub("li6b4", "li6b5"), ErrCorrupt},
		{"created not UTC", sub("12:00:00Z", "12:00:00+00:00"), ErrCorrupt},
		{"created no date", sub("2026-11-21T", "2026-13-21T"), ErrCorrupt},
		{"host long", sub("web1", strings.Repeat("x", 256)), ErrCorrupt},
		{"host changed", sub("web1", "web2"), ErrWrongKey},
		{"no wraps", payload[:strings.Index(payload, "[")] + "[]}\n" + rest, ErrCorrupt},
		{"wrap repeated", sub(`"wraps":[`, `"wraps":[`+payload[strings.Index(payload, "[")+1:len(payload)-2]+","), ErrCorrupt},
		{"wrap null", sub(`"wraps":[`, `"wraps":[null,`), ErrCorrupt},
		{"wrap type unknown", sub(`"type":"aes"`, `"type":"tpm"`), ErrVersion},
		{"wrap type of another key", sub(`"type":"aes"`, `"type":"age"`), ErrCorrupt},
		{"wrap member unknown", sub(`"type":"aes"`, `"type":"aes","x":1`), ErrVersion},
		{"wrap without blob", sub(`"type":"aes","blob":`, `"type":"aes","blob2":`), ErrVersion},
		{"context with aes", sub(`"type":"aes"`, `"type":"aes","context":{}`), ErrCorrupt},
		{"key id upper case", sub(keyID, "aes:"+strings.ToUpper(keyID[4:])), ErrCorrupt},
		{"key id short", sub(keyID, keyID[:35]), ErrCorrupt},
		{"blob not base64", sub(`"blob":"`, `"blob":"*`), ErrCorrupt},
		{"blob with line break", sub(`"blob":"`, `"blob":"\n`), ErrCorrupt},
		{"blob short", sub(`"blob":"Z29s`, `"blob":"`), ErrWrongKey},
		{"blob flipped", sub(`"blob":"Z29s`, `"blob":"Z29t`), ErrWrongKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := openGolden(t, []byte(tt.object))
			if tt.want == nil && err != nil || !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func flipHex(s string) string {
	if s[0] == '0' {
		return "1" + s[1:]
	}
	return "0" + s[1:]
}

// openGolden opens an object as a ring does.
func openGolden(t *testing.T, object []byte) (*[KeySize]byte, error) {
	t.Helper()
	e, err := ParseEpoch(goldenID, object)
	if err != nil {
		return nil, err
	}
	r := mustRing(t, conf{WriteSet: []Master{goldenMaster}, Bucket: newBucket()})
	return r.unwrap(t.Context(), e)
}

func TestKMSWrapIsParsed(t *testing.T) {
	want := Wrap{
		Key: "arn:aws:kms:eu-central-1:111122223333:key/1", Type: KindKMS,
		Blob: []byte("ciphertext"), Context: map[string]string{"team": "backup"},
	}
	e := &Epoch{ID: goldenID, Revision: 7, State: Retired, Created: time.Unix(1e9, 0).UTC(), Host: "h<>é", Wraps: []Wrap{want}}
	data, err := e.Marshal(&goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseEpoch(goldenID, data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Wraps[0]); diff != "" {
		t.Error(diff)
	}
	if got.Host != e.Host || got.State != Retired || got.Revision != 7 || !got.Created.Equal(e.Created) {
		t.Errorf("read back %+v", got)
	}
	twice := bytes.Replace(data, []byte(`"team":"backup"`), []byte(`"team":"backup","team":"backup"`), 1)
	_, err = ParseEpoch(goldenID, twice)
	wantErr(t, err, ErrCorrupt)
}

func FuzzParseEpoch(f *testing.F) {
	golden, err := os.ReadFile("testdata/epoch-v1")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(append(bytes.Clone(golden), base64.StdEncoding.EncodeToString(make([]byte, 64))+"\n"...))
	signed, err := os.ReadFile("testdata/epoch-v1-signed")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add([]byte("{\"version\":1}\n\n"))
	signer := signingKey(0x20)
	f.Add([]byte(kmsEpoch(f, map[string]string{"team": "backup"})))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseEpoch(goldenID, data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if e.Revision < 1 || len(e.Wraps) == 0 || !bytes.Equal(e.stored, data) {
			t.Fatalf("accepted: %+v", e)
		}
		if e.SignedBy(signer.Signer()) && !bytes.Equal(data, signed) {
			t.Fatal("signed by whom it is not")
		}
		if _, err := e.Marshal(&goldenKey); err != nil {
			t.Fatal(err)
		}
		e.sign(signer)
		again := e.stored
		if !e.SignedBy(signer.Signer()) {
			t.Fatal("it is not signed by whom it is")
		}
		back, err := ParseEpoch(goldenID, again)
		if err != nil {
			t.Fatalf("written again it does not parse: %v", err)
		}
		if diff := cmp.Diff(e.Wraps, back.Wraps); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestEpochID(t *testing.T) {
	id, err := ParseEpochID(goldenID.String())
	if err != nil || id != goldenID {
		t.Fatalf("%s: %v", id, err)
	}
	for _, bad := range []string{"", "6dq5fq5uuwlio6djljftyli6b", "6DQ5FQ5UUWLIO6DJLJFTYLI6B4", "6dq5fq5uuwlio6djljftyli6b5", "6dq5fq5uuwlio6djljftyli6b\n", "6dq5fq5uuwlio6djljftyli6b1", "6dq5fq5uuwlio6djljftyli6b4="} {
		_, err := ParseEpochID(bad)
		wantErr(t, err, ErrCorrupt)
	}
}

// TestForeignKeyIDsInMessages: an object that nobody here can open is not
// authenticated, and yet its key ids are shown.
func TestForeignKeyIDsInMessages(t *testing.T) {
	epochOf := func(ids ...string) []byte {
		e := &Epoch{ID: goldenID, Revision: 1}
		for _, id := range ids {
			e.Wraps = append(e.Wraps, Wrap{Key: id, Type: KindKMS, Blob: []byte{1}})
		}
		data, err := e.Marshal(&[KeySize]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, id := range []string{"arn:x\x1b[2J", "arn:x\nall is well", "arn:a b", "arn:\u202e", "arn:"} {
		_, err := ParseEpoch(goldenID, epochOf(id))
		wantErr(t, err, ErrCorrupt)
	}
	var many []string
	for i := range 5000 {
		many = append(many, fmt.Sprintf("arn:%d", i))
	}
	b := newBucket()
	b.set(epochPath("", goldenID), epochOf(many...))
	_, err := mustRing(t, conf{Masters: []Master{aesKey(1)}, ReadOnly: true, Bucket: b}).
		Open(t.Context(), obj, goldenID, func(*[KeySize]byte) bool { return true })
	wantErr(t, err, ErrNoKey)
	if len(err.Error()) > 500 || !strings.Contains(err.Error(), "and 4992 more") {
		t.Errorf("%d bytes: %.600s", len(err.Error()), err)
	}
}
