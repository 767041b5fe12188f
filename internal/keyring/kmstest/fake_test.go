package kmstest_test

import (
	"testing"

	"github.com/sigilfs/sigilfs/internal/keyring/kmstest"
)

func TestFake(t *testing.T) {
	f := kmstest.New()
	kmstest.Run(t, kmstest.World{Service: f, Owner: f, Deny: f.Deny, Replicas: f.Replicas})
}
