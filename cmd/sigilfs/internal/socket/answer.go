package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// ErrStranger: the process at the other end is another user's.
var ErrStranger = errors.New("the process at the other end is another user's")

// Answer gives everybody who connects what tell says, and closes the
// connection: there is no question. Who is neither this process's user nor root
// is given nothing. stop ends it and waits for its end.
func Answer(l *Listener, tell func() []byte) (stop func() error) {
	a := &answering{tell: tell, done: make(chan struct{}), conns: map[*net.UnixConn]struct{}{}}
	a.all.Go(func() { a.accept(l) })
	return func() error {
		err := l.Close()
		a.end()
		a.all.Wait()
		return err
	}
}

// mostAsking bounds those who ask at once; others are turned away.
const mostAsking = 8

type answering struct {
	tell func() []byte
	all  sync.WaitGroup
	done chan struct{} // closed at the end

	mu    sync.Mutex // guards what follows
	conns map[*net.UnixConn]struct{}
}

func (a *answering) accept(l *Listener) {
	for {
		conn, err := l.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // no file is free, or the connection has gone again
			if a.pause(); a.over() {
				return
			}
			continue
		}
		if !a.begin(conn) {
			_ = conn.Close()
			continue
		}
		a.all.Go(func() { a.answer(conn) })
	}
}

// pause lets others have the processor, so that a lack that lasts costs little.
func (a *answering) pause() {
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.done:
	}
}

func (a *answering) over() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

func (a *answering) begin(conn *net.UnixConn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over() || len(a.conns) >= mostAsking {
		return false
	}
	a.conns[conn] = struct{}{}
	return true
}

func (a *answering) answer(conn *net.UnixConn) {
	defer func() {
		a.mu.Lock()
		delete(a.conns, conn)
		a.mu.Unlock()
		_ = conn.Close()
	}()
	uid, err := Peer(conn)
	if err != nil || uid != 0 && uid != os.Geteuid() {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = conn.Write(a.tell())
}

func (a *answering) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.done)
	for conn := range a.conns {
		_ = conn.Close()
	}
}

// Ask gives what the process at path says, which must be of the user uid.
func Ask(ctx context.Context, path string, uid int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var d net.Dialer
	made, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	conn := made.(*net.UnixConn)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	there, err := Peer(conn)
	switch {
	case err != nil:
		return nil, err
	case there != uid:
		return nil, fmt.Errorf("%s: %w", path, ErrStranger)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case len(answer) == 0:
		return nil, fmt.Errorf("%s: nothing is told to this user", path)
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("%s: the answer is longer than %d bytes", path, maxAnswer)
	}
	return answer, nil
}
