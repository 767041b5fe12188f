package socket

import (
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// The third connection is accepted when one of two was closed, and not before.
func TestBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l := Bounded(listen(t, path), 2)
	accepted := make(chan net.Conn)
	ended := make(chan error, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- conn
		}
	}()
	var mine, theirs []net.Conn
	for range 3 {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		mine = append(mine, conn)
	}
	for range 2 {
		theirs = append(theirs, <-accepted)
	}
	select {
	case <-accepted:
		t.Fatal("a third one is open")
	case <-time.After(50 * time.Millisecond):
	}
	for range 2 { // which frees one place, not two
		_ = theirs[0].Close()
	}
	theirs[0] = <-accepted
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	_ = l.Close()
	for _, conn := range append(mine, theirs...) {
		_ = conn.Close()
	}
}
