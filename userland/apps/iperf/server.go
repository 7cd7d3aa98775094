// The server: who comes, and who is next.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-os/sluice/userland/apps/internal/cli"
)

const (
	cookieTime  = 5 * time.Second       // for a cookie to come
	acceptPause = 50 * time.Millisecond // when the system lacks something for one more
	mostUnknown = 64                    // connections whose cookie has not come
	streamTime  = 30 * time.Second      // for all streams to come
)

// handover is how long a client waits for a test that is all but over. A variable for tests.
var handover = time.Second

// server runs tests, one at a time.
type server struct {
	config
	log  io.Writer
	tcp  net.Listener
	udp  port
	all  sync.WaitGroup
	seat chan struct{} // for those whose cookie has not come

	mu      sync.Mutex
	current *trial
}

// listen opens the server's ports.
func listen(c config, log io.Writer) (*server, error) {
	tcp, udp, err := cli.Listen(c.listen)
	if err != nil {
		return nil, err
	}
	udp.SetReadBuffer(1 << 20) // as far as the system lets us
	fmt.Fprintf(log, "iperf: tcp and udp %v\n", tcp.Addr())
	return &server{config: c, log: log, tcp: tcp, udp: port{conn: udp}, seat: make(chan struct{}, mostUnknown)}, nil
}

// serve runs tests until ctx ends.
func (s *server) serve(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	context.AfterFunc(ctx, func() {
		s.tcp.Close()
		s.udp.conn.Close()
	})
	s.all.Go(func() { s.udp.serve() })
	err := s.accept(ctx)
	stopped := ctx.Err() != nil
	end()
	s.all.Wait()
	if stopped {
		return nil
	}
	return err
}

// accept takes connections in until the listener is closed.
func (s *server) accept(ctx context.Context) error {
	for number := 0; ; number++ {
		c, err := s.tcp.Accept()
		if err != nil {
			if errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
				errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM) {
				time.Sleep(acceptPause)
				continue
			}
			return err
		}
		select {
		case s.seat <- struct{}{}:
			s.all.Go(func() { s.meet(ctx, c, number) })
		default:
			c.Close()
		}
	}
}

// meet reads the cookie of the connection with a number and gives it to the test it belongs to.
func (s *server) meet(ctx context.Context, c net.Conn, number int) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	var b [cookieSize]byte
	c.SetDeadline(time.Now().Add(cookieTime))
	_, err := io.ReadFull(c, b[:])
	<-s.seat
	name, bad := parseCookie(b[:])
	if err != nil || bad != nil {
		c.Close()
		return
	}
	for range 2 {
		s.mu.Lock()
		t := s.current
		if t == nil {
			t = newTrial(name, c, s)
			s.current = t
			s.mu.Unlock()
			stop() // the test says good-bye itself
			t.run(ctx)
			s.mu.Lock()
			s.current = nil
			s.mu.Unlock()
			close(t.over)
			return
		}
		s.mu.Unlock()
		if t.offer(name, c, number) {
			return
		}
		if !t.leaving.Load() {
			break
		}
		select {
		case <-t.over:
		case <-time.After(handover):
		}
	}
	denied := accessDenied
	c.Write([]byte{byte(denied)})
	c.Close()
}
