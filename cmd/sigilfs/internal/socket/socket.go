// Package socket makes the sockets at which other programs ask a mount how it
// is: of the loopback interface, or in the file system and for one user alone.
package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path of a socket, in bytes: sun_path holds a zero too
// (unix(7)).
const maxPath = 107

// temporary is what Private puts before a name while it makes the socket.
const temporary = ".sigilfs-0123456789/s"

// Address is where to listen.
type Address struct {
	Path string         // absolute, of a socket in the file system; "" for
	Port netip.AddrPort // a port of the loopback interface
}

// Parse reads unix:PATH or HOST:PORT, where HOST is localhost or an address of
// the loopback interface. Its errors are sentences for who typed it.
func Parse(s string) (Address, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return parsePath(path)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return Address{}, errors.New("is not HOST:PORT, as 127.0.0.1:9417, or unix:PATH")
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	at, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return Address{}, errors.New("is not HOST:PORT with a number for each, as 127.0.0.1:9417, or unix:PATH")
	}
	if !at.Addr().Unmap().IsLoopback() {
		return Address{}, errors.New("is not an address of this host alone: write 127.0.0.1:PORT, [::1]:PORT or unix:PATH, and put what lets others in before it")
	}
	return Address{Port: at}, nil
}

func parsePath(path string) (Address, error) {
	path = filepath.Clean(path)
	switch {
	case !filepath.IsAbs(path):
		return Address{}, errors.New("is not an absolute path: write unix:/run/sigilfs/NAME.sock")
	case len(filepath.Dir(path))+1+max(len(filepath.Base(path)), len(temporary)) > maxPath:
		return Address{}, fmt.Errorf("is too long for a socket, which takes %d bytes", maxPath)
	}
	return Address{Path: path}, nil
}

// Listen listens there; a socket in the file system is the user's alone.
func (a Address) Listen(ctx context.Context) (net.Listener, error) {
	if a.Path != "" {
		return Private(ctx, a.Path)
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", a.Port.String())
}

// Listener is a socket in the file system. Close takes it away, unless another
// one is in its place by then.
type Listener struct {
	*net.UnixListener
	path string
	made os.FileInfo
}

// Private makes a socket at path with mode 0600. It is made in a directory of
// its own and moved to path, so that at no time anybody else may connect. One
// that nobody listens at any more is replaced; else, and where path is anything
// but a socket, the error says so.
func Private(ctx context.Context, path string) (*Listener, error) {
	if err := free(ctx, path); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".sigilfs-*") // with mode 0700
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	defer os.RemoveAll(dir)
	at := filepath.Join(dir, "s")
	var lc net.ListenConfig
	made, err := lc.Listen(ctx, "unix", at)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	l := &Listener{UnixListener: made.(*net.UnixListener), path: path}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(at, 0o600); err == nil {
		l.made, err = os.Lstat(at)
	}
	if err == nil {
		err = os.Rename(at, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("socket: %w", err), made.Close())
	}
	return l, nil
}

// free tells whether a socket may be made at path.
func free(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%s is there already, and no socket", path)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("%s: %w", path, unix.EADDRINUSE), conn.Close())
	}
	return nil
}

// Addr implements net.Listener: the path, not where the socket was made.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Close ends the listening.
func (l *Listener) Close() error {
	there, err := os.Lstat(l.path)
	if err == nil && os.SameFile(there, l.made) {
		err = os.Remove(l.path)
	} else {
		err = nil
	}
	return errors.Join(err, l.UnixListener.Close())
}

// Peer gives the user at the other end, as the kernel saw it connect or listen
// (SO_PEERCRED of unix(7)).
func Peer(conn *net.UnixConn) (uid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	var who *unix.Ucred
	var askErr error
	err = raw.Control(func(fd uintptr) { who, askErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, askErr); err != nil {
		return -1, fmt.Errorf("who is at the other end: %w", err)
	}
	return int(who.Uid), nil
}

// patience is how long the other end may take.
const patience = 10 * time.Second

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 16 << 20
