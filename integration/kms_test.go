package integration

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/server"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/keyring/kms"
	"github.com/sigilfs/sigilfs/internal/keyring/kmstest"
)

// TestKMS runs the conformance suite of key management against moto.
func TestKMS(t *testing.T) {
	moto := server.Moto(t)
	kmstest.Run(t, kmstest.World{
		Service: kmsClient(t, moto, kms.Config{}), Owner: moto,
		Deny: func(actions ...string) { moto.Fault(server.Deny(actions...)) },
		// No replicas: moto's ciphertexts have room for 36 characters of key id, and its mrk- ids have 40.
	})
}

// kmsClient connects to a KMS with nothing of this process's own settings.
func kmsClient(t *testing.T, k *server.KMS, cfg kms.Config) *kms.Client {
	t.Helper()
	settle(t)
	t.Setenv("AWS_ACCESS_KEY_ID", k.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", k.SecretKey)
	t.Setenv("AWS_REGION", k.Region)
	t.Setenv("AWS_ENDPOINT_URL_KMS", k.URL)
	if cfg.RetryTimeout == 0 {
		cfg.RetryTimeout = 5 * time.Second
	}
	c, err := kms.New(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// epochs is a bucket of epoch objects alone.
type epochs struct {
	mu      sync.Mutex // guards objects
	objects map[string][]byte
}

func (b *epochs) Get(_ context.Context, key string) ([]byte, string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.objects[key]
	if !ok {
		return nil, "", keyring.ErrNotExist
	}
	return data, "1", nil
}

func (b *epochs) Create(_ context.Context, key string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.objects[key]; ok {
		return keyring.ErrExist
	}
	b.objects[key] = data
	return nil
}

func (b *epochs) Replace(context.Context, string, []byte, string) error { return keyring.ErrChanged }

// kmsRing opens a KMS key as a mount does, and gives a ring and a set of it.
func kmsRing(t *testing.T, bucket keyring.Bucket, client *kms.Client, keyID string) (*keyring.Ring, *keyring.Set) {
	t.Helper()
	spec := keyring.Spec{Source: "kms:" + keyID, Kind: keyring.KindKMS, Context: map[string]string{"team": "backup"}}
	m, err := keyring.Open(t.Context(), spec, keyring.Sources{KMS: client})
	must(t, err)
	r, err := keyring.New(keyring.Options{Masters: []keyring.Master{m}, Bucket: bucket})
	must(t, err)
	s, err := r.Set([]keyring.Master{m})
	must(t, err)
	return r, s
}

// opens tells whether an epoch opens with its key.
func opens(t *testing.T, r *keyring.Ring, object string, id keyring.EpochID, key [32]byte) error {
	t.Helper()
	_, err := r.Open(t.Context(), object, id, func(k *[32]byte) bool { return *k == key })
	return err
}

// TestKMSCost: what KMS itself sees of 10,000 new files, and of a cold mount
// that reads them.
func TestKMSCost(t *testing.T) {
	moto := server.Moto(t)
	arn, err := moto.Key(t.Context(), "")
	must(t, err)
	must(t, moto.Alias(t.Context(), "main", arn))
	bucket := &epochs{objects: map[string][]byte{}}
	_, set := kmsRing(t, bucket, kmsClient(t, moto, kms.Config{}), "alias/main")
	var id keyring.EpochID
	var key [32]byte
	for range 10_000 {
		id, key, err = set.Current(t.Context())
		must(t, err)
	}
	wantCalls(t, moto, map[string]int{"DescribeKey": 1, "GenerateDataKey": 1})
	client := kmsClient(t, moto, kms.Config{})
	cold, _ := kmsRing(t, bucket, client, arn)
	for i := range 10_000 {
		must(t, opens(t, cold, fmt.Sprintf("d%d/f%d", i%100, i), id, key))
	}
	wantCalls(t, moto, map[string]int{"DescribeKey": 1, "GenerateDataKey": 1, "Decrypt": 1})
	if got := client.Stats().String(); got != "1 Decrypt" {
		t.Errorf("the client says %s", got)
	}
	must(t, moto.Rotate(t.Context(), arn))
	must(t, cold.Recheck(t.Context()))
	must(t, opens(t, cold, "f", id, key))
}

func wantCalls(t *testing.T, moto *server.KMS, want map[string]int) {
	t.Helper()
	if got := moto.Calls(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("KMS was called %v, want %v", got, want)
	}
}

// TestKMSRevoked: a recheck notices what the key's owner did, and takes a KMS
// that is down for no answer.
func TestKMSRevoked(t *testing.T) {
	moto := server.Moto(t)
	arn, err := moto.Key(t.Context(), "")
	must(t, err)
	client := kmsClient(t, moto, kms.Config{RetryTimeout: 3 * time.Second, AttemptTimeout: 2 * time.Second}) // moto takes its time
	for name, tt := range map[string]struct {
		do   func() error
		want error // nil: it stays open, and the recheck fails
	}{
		"disabled": {func() error { return moto.Disable(t.Context(), arn) }, keyring.ErrWrongKey},
		"deletion": {func() error { return moto.ScheduleDeletion(t.Context(), arn) }, keyring.ErrWrongKey},
		"denied":   {func() error { moto.Fault(server.Deny("Decrypt")); return nil }, keyring.ErrAccess},
		"throttled": {func() error {
			moto.Fault(always(server.KMSAnswer{Status: 400, Code: "ThrottlingException"}))
			return nil
		}, nil},
		"hanging":  {func() error { moto.Fault(always(server.KMSAnswer{Hang: true})); return nil }, nil},
		"dropping": {func() error { moto.Fault(always(server.KMSAnswer{Drop: true})); return nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ring, set := kmsRing(t, &epochs{objects: map[string][]byte{}}, client, arn)
			id, key, err := set.Current(t.Context())
			must(t, err)
			must(t, tt.do())
			err = ring.Recheck(t.Context())
			if (err != nil) != (tt.want == nil) {
				t.Errorf("recheck: %v", err)
			}
			if err := opens(t, ring, "f", id, key); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			moto.Fault(nil)
			_ = moto.CancelDeletion(t.Context(), arn) // is an error but in one case
			must(t, moto.Enable(t.Context(), arn))
			again, _ := kmsRing(t, &epochs{objects: map[string][]byte{}}, client, arn)
			must(t, again.Recheck(t.Context()))
		})
	}
}

func always(a server.KMSAnswer) func(server.KMSCall) *server.KMSAnswer {
	return func(server.KMSCall) *server.KMSAnswer { return &a }
}

// TestKMSReEncrypt: a data key goes under another key and context within KMS.
func TestKMSReEncrypt(t *testing.T) {
	moto := server.Moto(t)
	client := kmsClient(t, moto, kms.Config{})
	sides := make([]kms.Side, 2)
	for i := range sides {
		arn, err := moto.Key(t.Context(), "")
		must(t, err)
		sides[i] = kms.Side{KeyID: arn, Context: map[string]string{"side": fmt.Sprint(i)}}
	}
	plain, blob, err := client.GenerateDataKey(t.Context(), sides[0].KeyID, sides[0].Context)
	must(t, err)
	moved, err := client.ReEncrypt(t.Context(), sides[0], blob, sides[1])
	must(t, err)
	if got, err := client.Decrypt(t.Context(), sides[1].KeyID, moved, sides[1].Context); err != nil || got != plain {
		t.Errorf("under the new key: %v", err)
	}
	if _, err := client.Decrypt(t.Context(), sides[0].KeyID, moved, sides[0].Context); !errors.Is(err, keyring.ErrWrongKey) {
		t.Errorf("under the old key: %v", err)
	}
	wrong := kms.Side{KeyID: sides[0].KeyID, Context: sides[1].Context}
	if _, err := client.ReEncrypt(t.Context(), wrong, blob, sides[1]); !errors.Is(err, keyring.ErrWrongKey) {
		t.Errorf("from another context: %v", err)
	}
}

// TestKMSTrouble: what passes is waited for.
func TestKMSTrouble(t *testing.T) {
	moto := server.Moto(t)
	arn, err := moto.Key(t.Context(), "")
	must(t, err)
	client := kmsClient(t, moto, kms.Config{RetryTimeout: 20 * time.Second, AttemptTimeout: 2 * time.Second})
	answers := []*server.KMSAnswer{
		{Status: 400, Code: "ThrottlingException", Message: "Rate exceeded"},
		{Drop: true},
		{Hang: true},
		{Status: 500, Code: "KMSInternalException"},
		nil,
	}
	moto.Fault(func(c server.KMSCall) *server.KMSAnswer { return answers[min(c.N, len(answers)-1)] })
	if _, _, err := client.GenerateDataKey(t.Context(), arn, nil); err != nil {
		t.Error(err)
	}
	wantCalls(t, moto, map[string]int{"GenerateDataKey": 5})
}

// TestKMSIdentity: moto can judge signatures and the policies of identities (its
// denials are XML, as IAM's are).
func TestKMSIdentity(t *testing.T) {
	moto := server.Moto(t)
	arn, err := moto.Key(t.Context(), "")
	must(t, err)
	owner := kmsClient(t, moto, kms.Config{})
	plain, blob, err := owner.GenerateDataKey(t.Context(), arn, nil)
	must(t, err)
	moto.AccessKey, moto.SecretKey = identity(t, moto, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:GenerateDataKey"],"Resource":"*"}]}`)
	client := kmsClient(t, moto, kms.Config{})
	setAuth(t, moto, "0")
	if _, _, err := client.GenerateDataKey(t.Context(), arn, nil); err != nil {
		t.Errorf("what the policy allows: %v", err)
	}
	_, err = client.Decrypt(t.Context(), arn, blob, nil)
	if !errors.Is(err, keyring.ErrAccess) || !strings.Contains(err.Error(), "grant kms:Decrypt on "+arn) {
		t.Errorf("what the policy does not allow: %v", err)
	}
	moto.SecretKey = "wrong"
	if _, _, err := kmsClient(t, moto, kms.Config{}).GenerateDataKey(t.Context(), arn, nil); !errors.Is(err, keyring.ErrAccess) {
		t.Errorf("a wrong secret: %v", err)
	}
	setAuth(t, moto, "inf")
	if got, err := owner.Decrypt(t.Context(), arn, blob, nil); err != nil || got != plain {
		t.Errorf("at last: %v", err)
	}
}

// identity makes one that may do what a policy says.
func identity(t *testing.T, moto *server.KMS, policy string) (access, secret string) {
	t.Helper()
	iam := func(args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), "/usr/bin/aws", append([]string{"--endpoint-url", moto.Moto, "--output", "json", "iam"}, args...)...)
		cmd.Env = append(moto.Env(), "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir(), "AWS_REGION="+moto.Region, "AWS_ACCESS_KEY_ID=AK", "AWS_SECRET_ACCESS_KEY=x")
		out, err := cmd.Output()
		must(t, err)
		return out
	}
	name := fmt.Sprintf("user-%x", sha256.Sum256([]byte(policy)))[:20]
	iam("create-user", "--user-name", name)
	iam("put-user-policy", "--user-name", name, "--policy-name", "p", "--policy-document", policy)
	var made struct {
		AccessKey struct{ AccessKeyId, SecretAccessKey string }
	}
	must(t, json.Unmarshal(iam("create-access-key", "--user-name", name), &made))
	return made.AccessKey.AccessKeyId, made.AccessKey.SecretAccessKey
}

// setAuth has moto judge requests after so many ("inf": never).
func setAuth(t *testing.T, moto *server.KMS, after string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, moto.Moto+"/moto-api/reset-auth", strings.NewReader(after))
	must(t, err)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
}
