package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountpoint"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

func TestExitCodes(t *testing.T) {
	store := func(err error) error { return explainStore("s3://acme", fmt.Errorf("head: %w", err)) }
	for _, tt := range []struct {
		err  error
		code int
		says string
	}{
		{errors.New("cobra's"), exitUsage, ""},
		{usageError("x"), exitUsage, "x"},
		{systemError("x"), exitSystem, "x"},
		{fmt.Errorf("around: %w", mountError("x")), exitMount, "x"},
		{store(objstore.ErrBucket), exitMount, "create it"},
		{store(objstore.ErrBadAuth), exitMount, "AWS_ACCESS_KEY_ID"},
		{store(objstore.ErrAccess), exitMount, "allow it"},
		{store(objstore.ErrUnreachable), exitMount, "--endpoint-url"},
		{store(objstore.ErrQuota), exitMount, "make room"},
		{store(objstore.ErrKeyAccess), exitMount, "and of the key"},
		{explainMode(rule{}, objstore.ErrKeyMissing), exitMount, "does not exist; name a key that exists"},
		{explainMode(rule{}, objstore.ErrKeyDisabled), exitMount, "enable the key"},
		{store(context.DeadlineExceeded), exitMount, "the network"},
		{store(errors.New("else")), exitMount, "else"},
		{explainDir(fmt.Errorf("x: %w", fs.ErrNotExist)), exitMount, "mkdir"},
		{explainDir(mountpoint.ErrNotDir), exitMount, "name a directory"},
		{explainDir(mountpoint.ErrMounted), exitMount, "sigilfs umount"},
		{explainDir(mountpoint.ErrDead), exitMount, "umount -l"},
		{explainDir(mountpoint.ErrHung), exitMount, "end that process"},
		{explainState(&state.LockedError{Owner: state.Owner{PID: 7, Mountpoint: "/mnt/x"}}), exitMount, "sigilfs umount /mnt/x"},
		{explainState(&state.LockedError{Owner: state.Owner{PID: 7, Spec: "s3://acme"}}), exitMount, "process 7 works on s3://acme; wait"},
		{explainState(&state.LockedError{Path: "lock"}), exitMount, "--state-dir"},
		{explainState(state.ErrUnsafe), exitSystem, ""},
		{explainState(unix.EROFS), exitSystem, "--state-dir"},
		{explainMount("s3://acme", unix.EPERM), exitSystem, "CAP_SYS_ADMIN"},
		{explainMount("s3://acme", objstore.ErrUnreachable), exitMount, ""},
	} {
		if code := exitCode(tt.err); code != tt.code || !strings.Contains(tt.err.Error(), tt.says) || strings.Contains(tt.err.Error(), "\n") {
			t.Errorf("%v: code %d, want %d and %q", tt.err, code, tt.code, tt.says)
		}
	}
}

func TestKeyErrors(t *testing.T) {
	for is, want := range map[error]error{
		keyring.ErrNoKey: volume.ErrNoKey, keyring.ErrWrongKey: volume.ErrWrongKey, keyring.ErrUnsigned: volume.ErrWrongKey, keyring.ErrCorrupt: volume.ErrCorrupt,
		keyring.ErrVersion: volume.ErrVersion, keyring.ErrReadOnly: volume.ErrReadOnly, keyring.ErrAccess: volume.ErrKeyAccess,
		objstore.ErrAccess: volume.ErrAccess, context.Canceled: context.Canceled,
	} {
		if err := keyError(fmt.Errorf("open: %w", is)); !errors.Is(err, want) || !errors.Is(err, is) {
			t.Errorf("%v became %v", is, err)
		}
	}
}
