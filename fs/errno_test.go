package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
)

func TestErrno(t *testing.T) {
	for _, c := range []struct {
		err    error
		want   syscall.Errno
		logged bool
	}{
		{nil, 0, false},
		{volume.ErrNotExist, syscall.ENOENT, false},
		{volume.ErrExist, syscall.EEXIST, false},
		{volume.ErrIsDir, syscall.EISDIR, false},
		{volume.ErrNotDir, syscall.ENOTDIR, false},
		{volume.ErrNotEmpty, syscall.ENOTEMPTY, false},
		{volume.ErrInvalid, syscall.EINVAL, false},
		{volume.ErrName, syscall.EPERM, false},
		{volume.ErrTooLong, syscall.ENAMETOOLONG, false},
		{volume.ErrTooLarge, syscall.EFBIG, false},
		{volume.ErrReadOnly, syscall.EROFS, false},
		{volume.ErrCrossing, syscall.EXDEV, false},
		{volume.ErrNoXattr, syscall.ENODATA, false},
		{volume.ErrXattrs, syscall.ENOSPC, false},
		{volume.ErrUnsupported, syscall.EOPNOTSUPP, false},
		{volume.ErrChanged, syscall.ESTALE, true},
		{errStale, syscall.ESTALE, false},
		{volume.ErrNoKey, syscall.ENOKEY, true},
		{volume.ErrWrongKey, syscall.EKEYREJECTED, true},
		{volume.ErrCorrupt, syscall.EBADMSG, true},
		{volume.ErrDowngrade, syscall.EBADMSG, true},
		{volume.ErrVersion, syscall.EIO, true},
		{volume.ErrAccess, syscall.EACCES, true},
		{volume.ErrKeyNeeded, syscall.ENOKEY, true},
		{volume.ErrKeyMissing, syscall.ENOKEY, true},
		{volume.ErrKeyDisabled, syscall.EKEYREJECTED, true},
		{volume.ErrKeyAccess, syscall.EACCES, true},
		{volume.ErrKeyBlocked, syscall.EACCES, true},
		{volume.ErrNotEncrypted, syscall.EIO, true},
		// As the store wraps them: the key is what to look at.
		{errors.Join(volume.ErrKeyDisabled, volume.ErrAccess), syscall.EKEYREJECTED, true},
		{errors.Join(volume.ErrNotExist, volume.ErrKeyMissing), syscall.ENOKEY, true},
		{volume.ErrBadAuth, syscall.EACCES, true},
		{volume.ErrArchived, syscall.EREMOTE, true},
		{volume.ErrSpoolFull, syscall.ENOSPC, true},
		{volume.ErrQuota, syscall.EDQUOT, true},
		{volume.ErrThrottled, syscall.EIO, true},
		{volume.ErrClosed, syscall.ESHUTDOWN, false},
		{context.Canceled, syscall.EINTR, false},
		{context.DeadlineExceeded, syscall.EIO, true},
		{io.EOF, syscall.ENXIO, false},
		{errors.New("anything else"), syscall.EIO, true},
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("get %q: %w", "some/key", err)
		}
		log, lines := logtest.NewNullLogger()
		r := &reporter{log: log, now: time.Now}
		if got := r.errno("read", "a/b", err); got != c.want {
			t.Errorf("%v: got %v, want %v", c.err, got, c.want)
		}
		if got := len(lines.AllEntries()); got > 1 || (got == 1) != c.logged {
			t.Errorf("%v: %d lines in the log, want logged %v", c.err, got, c.logged)
		}
		if e := lines.LastEntry(); e != nil && (e.Data["op"] != "read" || e.Data["path"] != "a/b" || e.Level != logrus.ErrorLevel) {
			t.Errorf("%v: logged as %v", c.err, e)
		}
	}
}

func TestReportBoundsAFlood(t *testing.T) {
	log, lines := logtest.NewNullLogger()
	now, told := time.Unix(1e9, 0), map[syscall.Errno]int{}
	r := &reporter{log: log, failed: func(e syscall.Errno) { told[e]++ }, now: func() time.Time { return now }}
	for range 1000 {
		_ = r.errno("read", "a", volume.ErrCorrupt)
		_ = r.errno("read", "a", volume.ErrNotExist) // which is the application's own affair
	}
	if told[syscall.EBADMSG] != 1000 || len(told) != 1 {
		t.Errorf("told of %v", told)
	}
	if got := len(lines.AllEntries()); got != burst {
		t.Fatalf("%d lines for 1000 failures, want %d", got, burst)
	}
	lines.Reset()
	now = now.Add(interval)
	_ = r.errno("read", "a", volume.ErrCorrupt)
	all := lines.AllEntries()
	if len(all) != 2 || all[0].Data["dropped"] != 1000-burst || !strings.Contains(all[1].Message, "failed") {
		t.Fatalf("after the flood: %v", all)
	}
}
