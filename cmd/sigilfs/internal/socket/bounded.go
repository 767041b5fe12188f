package socket

import (
	"net"
	"sync"
)

// Bounded has no more than most connections of l open at a time; others wait in
// the kernel's queue, which is short. At a port of the loopback interface every
// user of this host may connect, and each connection takes a file and memory of
// a process that has better use for both.
func Bounded(l net.Listener, most int) net.Listener {
	return &bounded{Listener: l, free: make(chan struct{}, most), closed: make(chan struct{})}
}

type bounded struct {
	net.Listener
	free   chan struct{} // has one for each connection that is open
	closed chan struct{}
	once   sync.Once // closes closed
}

// Accept is net.Listener's.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.free <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	conn, err := b.Listener.Accept()
	if err != nil {
		<-b.free
		return nil, err
	}
	return &boundedConn{Conn: conn, of: b}, nil
}

// Close is net.Listener's. Connections stay.
func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// boundedConn gives its place away when it is closed.
type boundedConn struct {
	net.Conn
	of   *bounded
	once sync.Once
}

// Close is net.Conn's.
func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.of.free })
	return err
}
