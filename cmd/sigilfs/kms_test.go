package main

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
)

// fakeKMS is AWS KMS as far as a mount asks it: keys by ARN and by alias, and
// ciphertexts bound to both key and encryption context.
type fakeKMS struct {
	mu      sync.Mutex        // guards aliases
	aliases map[string]string // to ARNs
}

// kmsBlob is a ciphertext of it.
type kmsBlob struct {
	ARN     string
	Context map[string]string
	Plain   []byte
}

// kmsRequest has the fields of all its requests.
type kmsRequest struct {
	KeyId             string //nolint:revive // AWS's name
	CiphertextBlob    []byte
	EncryptionContext map[string]string
}

// startKMS points the environment at a KMS of the test's own.
func startKMS(t *testing.T, aliases map[string]string) *fakeKMS {
	t.Helper()
	k := &fakeKMS{aliases: aliases}
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_KMS": server.URL, "AWS_REGION": "eu-central-1", "AWS_CA_BUNDLE": "unset below", "NO_PROXY": "127.0.0.1",
		"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	if err := os.Unsetenv("AWS_CA_BUNDLE"); err != nil {
		t.Fatal(err)
	}
	return k
}

// point lets an alias name another key.
func (k *fakeKMS) point(alias, arn string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.aliases[alias] = arn
}

func (k *fakeKMS) resolve(id string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if arn, ok := k.aliases[id]; ok {
		return arn
	}
	return id
}

func (k *fakeKMS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in kmsRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	arn := k.resolve(in.KeyId)
	answer, refusal := map[string]any{"KeyId": arn}, ""
	switch action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService."); action {
	case "DescribeKey":
		answer["KeyMetadata"] = map[string]any{"KeyId": arn, "Arn": arn}
	case "GenerateDataKey":
		plain := make([]byte, 32)
		_, _ = rand.Read(plain) // never fails (crypto/rand)
		blob, _ := json.Marshal(kmsBlob{arn, in.EncryptionContext, plain})
		answer["Plaintext"], answer["CiphertextBlob"] = plain, blob
	case "Decrypt":
		var blob kmsBlob
		switch err := json.Unmarshal(in.CiphertextBlob, &blob); {
		case err != nil, !maps.Equal(blob.Context, in.EncryptionContext):
			refusal = "InvalidCiphertextException"
		case blob.ARN != arn:
			refusal = "IncorrectKeyException"
		}
		answer["Plaintext"] = blob.Plain
	default:
		refusal = "InvalidAction"
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if refusal != "" {
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]any{"__type": refusal}
	}
	_ = json.NewEncoder(w).Encode(answer)
}
