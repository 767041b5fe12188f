package integration

import (
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/server"
	"github.com/sigilfs/sigilfs/internal/keyring/kms"
	"github.com/sigilfs/sigilfs/internal/keyring/kmstest"
)

// TestKMS runs the conformance suite of key management against moto.
func TestKMS(t *testing.T) {
	moto := server.Moto(t)
	client := kmsClient(t, moto, kms.Config{})
	kmstest.Run(t, kmstest.World{
		Service: client, Owner: moto, Deny: func(actions ...string) { moto.Fault(server.Deny(actions...)) },
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
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
