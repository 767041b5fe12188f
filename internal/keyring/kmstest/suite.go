package kmstest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/keyring"
)

// Owner is who makes the keys of a KMS. ARNs are of its default region, where
// none is given.
type Owner interface {
	Key(ctx context.Context, region string) (arn string, err error)
	Alias(ctx context.Context, name, arn string) error // name is without "alias/"
	Disable(ctx context.Context, arn string) error
	Enable(ctx context.Context, arn string) error
	ScheduleDeletion(ctx context.Context, arn string) error
	CancelDeletion(ctx context.Context, arn string) error
	Rotate(ctx context.Context, arn string) error
}

// World is a KMS and who owns it.
type World struct {
	Service keyring.KMS
	Owner   Owner
	Deny    func(actions ...string) // refuses these from now on; none ends it

	// Replicas makes a multi-Region key and a replica of it; nil: the KMS has
	// none that work.
	Replicas func(ctx context.Context, region string) (primary, replica string, err error)
}

// Run holds a KMS to what the key ring expects of it.
func Run(t *testing.T, w World) {
	for name, test := range map[string]func(*testing.T, World){
		"DataKey": dataKey, "Encrypt": encrypts, "Context": bound, "OtherKey": otherKey, "Damaged": damaged, "Unknown": unknown,
		"Names": names, "Disabled": disabled, "PendingDeletion": pending, "Rotated": rotated, "Denied": denied,
		"OtherRegion": otherRegion, "Replicas": replicas, "Interrupted": interrupted,
	} {
		t.Run(name, func(t *testing.T) { test(t, w) })
	}
}

var team = map[string]string{"team": "backup", "quote": `"<&>` + "\u00e9"}

func must[T any](t *testing.T) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w World) key(t *testing.T) string { return must[string](t)(w.Owner.Key(t.Context(), "")) }

// generate gives a data key that is known to open.
func (w World) generate(t *testing.T, arn string) (plain [32]byte, blob []byte) {
	t.Helper()
	plain, blob, err := w.Service.GenerateDataKey(t.Context(), arn, team)
	do(t, err)
	w.opens(t, arn, plain, blob)
	return plain, blob
}

func (w World) opens(t *testing.T, arn string, plain [32]byte, blob []byte) {
	t.Helper()
	if got, err := w.Service.Decrypt(t.Context(), arn, blob, team); err != nil || got != plain {
		t.Fatalf("Decrypt with %s: other key or error %v", arn, err)
	}
}

// fails wants an error, and no key with it.
func (w World) fails(t *testing.T, arn string, blob []byte, encryption map[string]string, want error) {
	t.Helper()
	got, err := w.Service.Decrypt(t.Context(), arn, blob, encryption)
	if !errors.Is(err, want) || got != [32]byte{} {
		t.Errorf("Decrypt: error %v, want %v (and no key)", err, want)
	}
}

func dataKey(t *testing.T, w World) {
	arn := w.key(t)
	one, blob := w.generate(t, arn)
	two, _ := w.generate(t, arn)
	if one == two || one == [32]byte{} {
		t.Error("data keys are not random")
	}
	if bytes.Contains(blob, one[:]) {
		t.Error("the ciphertext shows the key")
	}
}

func encrypts(t *testing.T, w World) {
	arn, plain := w.key(t), [32]byte{1, 2, 3}
	blob := must[[]byte](t)(w.Service.Encrypt(t.Context(), arn, &plain, team))
	w.opens(t, arn, plain, blob)
}

func bound(t *testing.T, w World) {
	arn := w.key(t)
	_, blob := w.generate(t, arn)
	for _, c := range []map[string]string{nil, {"team": "backup"}, {"team": "other", "quote": team["quote"]}, {"team": "backup", "quote": team["quote"], "more": "x"}} {
		w.fails(t, arn, blob, c, keyring.ErrWrongKey)
	}
	plain, blob, err := w.Service.GenerateDataKey(t.Context(), arn, nil)
	do(t, err)
	if got, err := w.Service.Decrypt(t.Context(), arn, blob, map[string]string{}); err != nil || got != plain {
		t.Errorf("without a context: %v", err)
	}
}

func otherKey(t *testing.T, w World) {
	_, blob := w.generate(t, w.key(t))
	w.fails(t, w.key(t), blob, team, keyring.ErrWrongKey)
}

func damaged(t *testing.T, w World) {
	arn := w.key(t)
	_, blob := w.generate(t, arn)
	flipped := bytes.Clone(blob)
	flipped[len(flipped)-1] ^= 1
	for _, b := range [][]byte{flipped, blob[:len(blob)-1], []byte("x"), nil, make([]byte, 6145)} {
		w.fails(t, arn, b, team, keyring.ErrWrongKey)
	}
}

func unknown(t *testing.T, w World) {
	arn := w.key(t)
	_, blob := w.generate(t, arn)
	none := arn[:strings.LastIndexByte(arn, '/')+1] + "00000000-0000-0000-0000-000000000000"
	w.fails(t, none, blob, team, keyring.ErrNoKey)
	if _, _, err := w.Service.GenerateDataKey(t.Context(), none, team); !errors.Is(err, keyring.ErrNoKey) {
		t.Errorf("GenerateDataKey: %v", err)
	}
	if _, err := w.Service.Encrypt(t.Context(), none, new([32]byte), team); !errors.Is(err, keyring.ErrNoKey) {
		t.Errorf("Encrypt: %v", err)
	}
	if _, err := w.Service.Resolve(t.Context(), "alias/none"); !errors.Is(err, keyring.ErrNoKey) {
		t.Errorf("Resolve: %v", err)
	}
}

func names(t *testing.T, w World) {
	arn := w.key(t)
	do(t, w.Owner.Alias(t.Context(), "conformance", arn))
	plain, blob := w.generate(t, arn)
	for _, name := range []string{arn, arn[strings.LastIndexByte(arn, '/')+1:], "alias/conformance"} {
		if got := must[string](t)(w.Service.Resolve(t.Context(), name)); got != arn {
			t.Errorf("%s is %s", name, got)
		}
		w.opens(t, name, plain, blob)
	}
}

// unusable wants every use of a key to fail.
func (w World) unusable(t *testing.T, arn string, blob []byte, want error) {
	t.Helper()
	w.fails(t, arn, blob, team, want)
	if _, _, err := w.Service.GenerateDataKey(t.Context(), arn, team); !errors.Is(err, want) {
		t.Errorf("GenerateDataKey: %v", err)
	}
	if _, err := w.Service.Encrypt(t.Context(), arn, new([32]byte), team); !errors.Is(err, want) {
		t.Errorf("Encrypt: %v", err)
	}
}

func disabled(t *testing.T, w World) {
	arn := w.key(t)
	plain, blob := w.generate(t, arn)
	do(t, w.Owner.Disable(t.Context(), arn))
	w.unusable(t, arn, blob, keyring.ErrWrongKey)
	do(t, w.Owner.Enable(t.Context(), arn))
	w.opens(t, arn, plain, blob)
}

func pending(t *testing.T, w World) {
	arn := w.key(t)
	plain, blob := w.generate(t, arn)
	do(t, w.Owner.ScheduleDeletion(t.Context(), arn))
	w.unusable(t, arn, blob, keyring.ErrWrongKey)
	do(t, w.Owner.CancelDeletion(t.Context(), arn))
	w.unusable(t, arn, blob, keyring.ErrWrongKey)
	do(t, w.Owner.Enable(t.Context(), arn))
	w.opens(t, arn, plain, blob)
}

func rotated(t *testing.T, w World) {
	arn := w.key(t)
	plain, blob := w.generate(t, arn)
	do(t, w.Owner.Rotate(t.Context(), arn))
	w.opens(t, arn, plain, blob)
	w.generate(t, arn)
}

func denied(t *testing.T, w World) {
	arn := w.key(t)
	plain, blob := w.generate(t, arn)
	w.Deny("Decrypt", "GenerateDataKey", "Encrypt")
	defer w.Deny()
	w.unusable(t, arn, blob, keyring.ErrAccess)
	_, err := w.Service.Decrypt(t.Context(), arn, blob, team)
	for _, want := range []string{"grant kms:Decrypt", arn} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	w.Deny()
	w.opens(t, arn, plain, blob)
}

func otherRegion(t *testing.T, w World) {
	arn := must[string](t)(w.Owner.Key(t.Context(), "ap-south-1"))
	if !strings.Contains(arn, ":ap-south-1:") {
		t.Fatalf("made %s", arn)
	}
	w.generate(t, arn)
}

func replicas(t *testing.T, w World) {
	if w.Replicas == nil {
		t.Skip("no multi-Region keys")
	}
	primary, replica, err := w.Replicas(t.Context(), "us-west-2")
	do(t, err)
	plain, blob := w.generate(t, primary)
	w.opens(t, replica, plain, blob)
	plain, blob = w.generate(t, replica)
	w.opens(t, primary, plain, blob)
}

func interrupted(t *testing.T, w World) {
	arn := w.key(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := w.Service.GenerateDataKey(ctx, arn, team); !errors.Is(err, context.Canceled) {
		t.Errorf("GenerateDataKey: %v", err)
	}
}
