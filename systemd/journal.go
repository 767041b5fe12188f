package systemd

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Journal tells whether what is written to f goes straight to journald, which
// stamps lines itself and takes <N> before one for its priority
// (sd-daemon(3)). $JOURNAL_STREAM names device and inode of that stream in
// decimal (systemd.exec(5)); who inherits the variable need not have the stream.
func Journal(f *os.File) bool {
	stream := os.Getenv("JOURNAL_STREAM")
	if stream == "" {
		return false
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	is := false
	err = conn.Control(func(fd uintptr) {
		var st unix.Stat_t
		is = unix.Fstat(int(fd), &st) == nil && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	})
	return err == nil && is
}
