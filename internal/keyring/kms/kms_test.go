package kms_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/keyring/kms"
)

var (
	plain = [32]byte{'p', 'l', 'a', 'i', 'n', 30: 7, 31: 9}
	blob  = []byte("a ciphertext")
	team  = map[string]string{"team": "backup"}
)

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// good is the answer of every action.
func good() reply {
	return reply{body: map[string]any{
		"KeyId": arn, "SourceKeyId": arn, "Plaintext": b64(plain[:]), "CiphertextBlob": b64(blob),
		"KeyMetadata": map[string]any{"Arn": arn, "KeyId": keyID, "CreationDate": 1.7e9},
	}}
}

func TestRequests(t *testing.T) {
	var calls []kms.Call
	c, f := served(t, kms.Config{OnCall: func(call kms.Call) { calls = append(calls, call) }}, good())
	ctx := t.Context()
	if got, b, err := c.GenerateDataKey(ctx, arn, team); err != nil || got != plain || string(b) != string(blob) {
		t.Fatal(b, err)
	}
	if got, err := c.Decrypt(ctx, arn, blob, team); err != nil || got != plain {
		t.Fatal(err)
	}
	if b, err := c.Encrypt(ctx, arn, &plain, team); err != nil || string(b) != string(blob) {
		t.Fatal(b, err)
	}
	if b, err := c.ReEncrypt(ctx, kms.Side{KeyID: arn, Context: team}, blob, kms.Side{KeyID: keyID}); err != nil || string(b) != string(blob) {
		t.Fatal(b, err)
	}
	if at := c.Created(arn); !at.IsZero() {
		t.Errorf("a key that nobody asked for was made %v", at)
	}
	for _, name := range []string{keyID, "alias/backup", "arn:aws:kms:eu-central-1:111122223333:alias/backup", arn} {
		if got, err := c.Resolve(ctx, name); err != nil || got != arn {
			t.Fatal(got, err)
		}
	}
	if at := c.Created(arn); at.Unix() != 1.7e9 {
		t.Errorf("the key was made %v", at)
	}
	if got, want := c.Stats(), (kms.Stats{GenerateDataKey: 1, Decrypt: 1, Encrypt: 1, ReEncrypt: 1, DescribeKey: 3}); got != want || got.Total() != 7 || len(calls) != 7 {
		t.Errorf("counted %v, told %v", got, calls)
	}
	if got := c.Stats().String(); got != "1 GenerateDataKey, 1 Decrypt, 1 Encrypt, 1 ReEncrypt, 3 DescribeKey" {
		t.Errorf("Stats prints %q", got)
	}
	want := []map[string]string{
		{"KeyId": arn, "KeySpec": "AES_256", "EncryptionContext": fmt.Sprint(team)},
		{"KeyId": arn, "CiphertextBlob": b64(blob), "EncryptionContext": fmt.Sprint(team)},
		{"KeyId": arn, "Plaintext": b64(plain[:]), "EncryptionContext": fmt.Sprint(team)},
		{"SourceKeyId": arn, "CiphertextBlob": b64(blob), "SourceEncryptionContext": fmt.Sprint(team), "DestinationKeyId": keyID},
	}
	for i, fields := range want {
		for name, value := range fields {
			if got := fmt.Sprint(f.requests()[i].body[name]); got != value {
				t.Errorf("%s has %s %s, want %s", f.requests()[i].target, name, got, value)
			}
		}
	}
}

// TestErrors: what the key ring, and in the end an application, is told.
func TestErrors(t *testing.T) {
	tests := []struct {
		code   string
		status int
		want   error // nil: one that may pass
		again  bool
	}{
		{"AccessDeniedException", 400, keyring.ErrAccess, false},
		{"UnrecognizedClientException", 400, keyring.ErrAccess, false},
		{"InvalidSignatureException", 400, keyring.ErrAccess, false},
		{"NotFoundException", 400, keyring.ErrNoKey, false},
		{"DisabledException", 400, keyring.ErrWrongKey, false},
		{"KMSInvalidStateException", 400, keyring.ErrWrongKey, false},
		{"InvalidCiphertextException", 400, keyring.ErrWrongKey, false},
		{"IncorrectKeyException", 400, keyring.ErrWrongKey, false},
		{"InvalidKeyUsageException", 400, keyring.ErrWrongKey, false},
		{"ValidationException", 400, nil, false},
		{"ThrottlingException", 400, nil, true},
		{"LimitExceededException", 400, nil, true},
		{"KMSInternalException", 500, nil, true},
		{"DependencyTimeoutException", 500, nil, true},
		{"KeyUnavailableException", 500, nil, true},
		{"ExpiredTokenException", 400, nil, true},
		{"SomethingNew", 503, nil, true},
		{"SomethingNew", 400, nil, false},
	}
	sentinels := []error{keyring.ErrAccess, keyring.ErrNoKey, keyring.ErrWrongKey}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.code, tt.status), func(t *testing.T) {
			c, f := served(t, kms.Config{MaxAttempts: 2}, reply{status: tt.status, code: tt.code})
			got, err := c.Decrypt(t.Context(), arn, blob, team)
			if err == nil || got != [32]byte{} {
				t.Fatal("no error, or a key with it")
			}
			for _, s := range sentinels {
				if errors.Is(err, s) != (s == tt.want) {
					t.Errorf("%v: is %v: %v", err, s, errors.Is(err, s))
				}
			}
			if again := c.Stats().Decrypt > 1; again != tt.again {
				t.Errorf("%v in %d requests", c.Stats(), len(f.requests()))
			}
			for _, want := range []string{"Decrypt", arn, tt.code, "request-77"} {
				if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%q does not say %s in one line", err, want)
				}
			}
		})
	}
}

func TestDeniedSaysWhatToGrant(t *testing.T) {
	c, _ := served(t, kms.Config{}, reply{status: 400, code: "AccessDeniedException"})
	ctx := t.Context()
	_, decrypt := c.Decrypt(ctx, arn, blob, nil)
	_, _, generate := c.GenerateDataKey(ctx, arn, nil)
	_, encrypt := c.Encrypt(ctx, arn, &plain, nil)
	_, again := c.ReEncrypt(ctx, kms.Side{KeyID: arn}, blob, kms.Side{KeyID: arn})
	_, describe := c.Resolve(ctx, "alias/a")
	for want, err := range map[string]error{
		"grant kms:Decrypt on " + arn + " to this identity": decrypt, "grant kms:GenerateDataKey on " + arn: generate, "grant kms:Encrypt on " + arn: encrypt,
		"grant kms:ReEncryptFrom and kms:ReEncryptTo on": again, "name the key by its ARN": describe,
	} {
		if !errors.Is(err, keyring.ErrAccess) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// TestAnswersAreChecked: success that makes no sense is none, and a key in it
// is not shown.
func TestAnswersAreChecked(t *testing.T) {
	edit := func(name string, value any) reply {
		r := good()
		r.body.(map[string]any)[name] = value
		return r
	}
	other := strings.Replace(arn, "1234abcd", "99999999", 1)
	for name, r := range map[string]reply{
		"short key":     edit("Plaintext", b64(plain[:16])),
		"long key":      edit("Plaintext", b64(append(plain[:], 1))),
		"no key":        edit("Plaintext", nil),
		"other key":     edit("KeyId", other),
		"unnamed key":   edit("KeyId", nil),
		"not JSON":      {raw: `{"Plaintext":"` + b64(plain[:]) + `","KeyId":}`},
		"not KMS":       {raw: "<html>"},
		"no ciphertext": edit("CiphertextBlob", nil),
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := served(t, kms.Config{MaxAttempts: 2}, r)
			_, _, generate := c.GenerateDataKey(t.Context(), arn, nil)
			_, decrypt := c.Decrypt(t.Context(), arn, blob, nil)
			if name == "no ciphertext" {
				decrypt = generate
			}
			for _, err := range []error{generate, decrypt} {
				if err == nil {
					t.Error("accepted")
				} else if text := err.Error(); strings.Contains(text, b64(plain[:])[:12]) || strings.Contains(text, "plain") {
					t.Errorf("%q shows the key", text)
				}
			}
		})
	}
}

// TestState: a key store that is away may come back, a key that is to be
// deleted was taken away; both have one error.
func TestState(t *testing.T) {
	invalid := reply{status: 400, code: "KMSInvalidStateException"}
	for state, want := range map[string]error{
		"PendingDeletion": keyring.ErrWrongKey, "PendingImport": keyring.ErrWrongKey, "Disabled": keyring.ErrWrongKey,
		"Unavailable": nil, "Updating": nil, "Enabled": nil, "": keyring.ErrWrongKey,
	} {
		answer := reply{body: map[string]any{"KeyMetadata": map[string]any{"Arn": arn, "KeyId": keyID, "KeyState": state}}}
		if state == "" {
			answer = reply{status: 400, code: "AccessDeniedException"}
		}
		c, f := served(t, kms.Config{}, invalid, answer)
		_, err := c.Decrypt(t.Context(), arn, blob, nil)
		if err == nil || errors.Is(err, keyring.ErrWrongKey) != (want != nil) || errors.Is(err, keyring.ErrAccess) || !strings.Contains(err.Error(), state) {
			t.Errorf("%s: %v", state, err)
		}
		if c.Stats() != (kms.Stats{Decrypt: 1, DescribeKey: 1}) || len(f.requests()) != 2 {
			t.Errorf("%s: %v", state, c.Stats())
		}
	}
}

// TestNotKMS: an error in another form goes by its HTTP status.
func TestNotKMS(t *testing.T) {
	for status, want := range map[int]error{403: keyring.ErrAccess, 401: keyring.ErrAccess, 404: nil, 502: nil} {
		c, f := served(t, kms.Config{MaxAttempts: 2}, reply{status: status, raw: "<html>"})
		_, err := c.Decrypt(t.Context(), arn, blob, nil)
		if err == nil || errors.Is(err, keyring.ErrAccess) != (want != nil) || errors.Is(err, keyring.ErrNoKey) || errors.Is(err, keyring.ErrWrongKey) {
			t.Errorf("%d: %v", status, err)
		}
		if again := len(f.requests()) > 1; again != (status > 500) {
			t.Errorf("%d: %d requests", status, len(f.requests()))
		}
	}
}

func TestRetries(t *testing.T) {
	c, f := served(t, kms.Config{}, reply{status: 400, code: "ThrottlingException"}, reply{status: 500, raw: "<html>"}, good())
	if got, err := c.Decrypt(t.Context(), arn, blob, nil); err != nil || got != plain {
		t.Fatal(err)
	}
	if n := len(f.requests()); n != 3 || c.Stats().Decrypt != 3 {
		t.Errorf("%d requests, %v counted", n, c.Stats())
	}
}

// TestTime: a KMS that does not answer costs the time it was given.
func TestTime(t *testing.T) {
	c, f := served(t, kms.Config{AttemptTimeout: 20 * time.Millisecond, RetryTimeout: 400 * time.Millisecond}, reply{hang: true})
	begin := time.Now()
	_, err := c.Decrypt(t.Context(), arn, blob, nil)
	if took := time.Since(begin); err == nil || took > 5*time.Second {
		t.Fatalf("after %v: %v", took, err)
	}
	if len(f.requests()) < 2 || !strings.Contains(err.Error(), "no answer in time") || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d requests, then %v", len(f.requests()), err)
	}
}

func TestInterrupted(t *testing.T) {
	c, f := served(t, kms.Config{}, reply{status: 400, code: "ThrottlingException"})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := c.Decrypt(ctx, arn, blob, nil)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "ThrottlingException") || len(f.requests()) == 0 {
		t.Errorf("%d requests, then %v", len(f.requests()), err)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	c, f := served(t, kms.Config{Concurrency: 2, AttemptTimeout: 50 * time.Millisecond, MaxAttempts: 1}, reply{hang: true})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { _, _ = c.Decrypt(t.Context(), arn, blob, nil) })
	}
	wg.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.most > 2 || len(f.seen) != 8 {
		t.Errorf("%d at once of %d", f.most, len(f.seen))
	}
}

// TestRegion: a request is signed for the region of the key.
func TestRegion(t *testing.T) {
	c, f := served(t, kms.Config{Region: "ap-south-1"}, good())
	if _, err := c.Decrypt(t.Context(), arn, blob, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Decrypt(t.Context(), keyID, blob, nil); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"/eu-central-1/kms/", "/ap-south-1/kms/"} {
		if got := f.requests()[i].auth; !strings.Contains(got, want) {
			t.Errorf("signed %s, want %s", got, want)
		}
	}
}

// TestEnvironment: the SDK's own chain says where KMS is.
func TestEnvironment(t *testing.T) {
	settle(t)
	f := newAWS(t, (*httptest.Server).Start, good())
	profile := filepath.Join(t.TempDir(), "config")
	text := "[profile a]\naws_access_key_id = AKPROFILE\naws_secret_access_key = x\nendpoint_url = " + f.URL + "\nregion = eu-west-3\n"
	if err := os.WriteFile(profile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		env  map[string]string
		cfg  kms.Config
		want string
	}{
		{map[string]string{"AWS_ENDPOINT_URL_KMS": f.URL, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, kms.Config{}, "AKTEST"},
		{map[string]string{"AWS_ENDPOINT_URL": f.URL, "AWS_REGION": "eu-west-3"}, kms.Config{}, "/eu-west-3/kms/"},
		{map[string]string{"AWS_CONFIG_FILE": profile, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, kms.Config{Profile: "a"}, "AKPROFILE"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			tt.cfg.MaxAttempts = 1
			if _, err := newClient(t, tt.cfg).Decrypt(t.Context(), keyID, blob, nil); err != nil {
				t.Fatal(err)
			}
			if all := f.requests(); !strings.Contains(all[len(all)-1].auth, tt.want) {
				t.Errorf("signed %s, want %s", all[len(all)-1].auth, tt.want)
			}
		})
	}
}

func TestCABundle(t *testing.T) {
	settle(t)
	f := newAWS(t, (*httptest.Server).StartTLS, good())
	ca := writeCA(t, f)
	open := func(cfg kms.Config) error {
		cfg.Endpoint, cfg.MaxAttempts = f.URL, 5
		_, err := newClient(t, cfg).Decrypt(t.Context(), arn, blob, nil)
		return err
	}
	if err := open(kms.Config{CABundle: ca}); err != nil {
		t.Error(err)
	}
	begin := time.Now()
	if err := open(kms.Config{}); err == nil || !strings.Contains(err.Error(), "--ca-bundle") || time.Since(begin) > 5*time.Second {
		t.Errorf("an unknown CA: %v", err)
	}
	t.Setenv("AWS_CA_BUNDLE", ca)
	if err := open(kms.Config{}); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		env  string // NAME=VALUE
		cfg  kms.Config
		want string
	}{
		{"", kms.Config{Endpoint: "localhost:4566"}, "not a URL"},
		{"AWS_ENDPOINT_URL_KMS=https://user:pass@host", kms.Config{}, "not a URL"},
		{"AWS_ENDPOINT_URL_KMS=http://kms.example.com:8080", kms.Config{}, "keys in the clear"},
		{"AWS_ENDPOINT_URL=http://10.0.0.1", kms.Config{}, "AWS_ENDPOINT_URL_KMS"},
		{"", kms.Config{Endpoint: "http://127.0.0.1.example.com"}, "keys in the clear"},
		{"AWS_CA_BUNDLE=", kms.Config{}, "AWS_CA_BUNDLE is set but empty"},
		{"AWS_CA_BUNDLE=/none", kms.Config{}, "AWS_CA_BUNDLE=/none"},
		{"", kms.Config{CABundle: empty}, "no PEM certificate"},
		{"", kms.Config{Profile: "none"}, "none"},
	} {
		settle(t)
		if name, value, ok := strings.Cut(tt.env, "="); ok {
			t.Setenv(name, value)
		}
		c, err := kms.New(t.Context(), tt.cfg)
		if err == nil || c != nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%s %+v: %v", tt.env, tt.cfg, err)
		}
	}
}

// TestNoCredentials: told at once, and as what may pass.
func TestNoCredentials(t *testing.T) {
	c, f := served(t, kms.Config{}, good())
	_ = c
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	begin := time.Now()
	_, err := newClient(t, kms.Config{Endpoint: f.URL}).Decrypt(t.Context(), arn, blob, nil)
	if err == nil || !strings.Contains(err.Error(), "no credentials") || errors.Is(err, keyring.ErrAccess) || time.Since(begin) > 5*time.Second {
		t.Errorf("%v", err)
	}
}
