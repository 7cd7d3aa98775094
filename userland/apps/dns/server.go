// The server: queries over UDP and TCP.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	dm "golang.org/x/net/dns/dnsmessage"

	"github.com/sluice-os/sluice/userland/apps/internal/cli"
)

const (
	mostQueries = 128                   // over UDP at a time
	mostAsked   = 64                    // upstream at a time
	mostStreams = 32                    // TCP connections at a time
	mostOfOne   = 8                     // TCP connections of a client
	streamTime  = 10 * time.Second      // for the next query of a connection
	acceptPause = 50 * time.Millisecond // when the system lacks something for one more
)

// asked is a question that is under way, whoever waits for its answer.
type asked struct {
	done   chan struct{}
	answer *dm.Message // nil: nobody knows
}

// server answers queries.
type server struct {
	cache  *cache
	limits *limits
	ask    func(context.Context, key) (*dm.Message, error)
	now    func() time.Duration
	udp    *net.UDPConn
	tcp    net.Listener
	all    sync.WaitGroup
	seats  chan struct{} // of queries over UDP

	mu      sync.Mutex
	asked   map[key]*asked
	streams map[net.Conn]netip.Prefix
	closed  bool
}

// listen opens the server's ports.
func listen(c config, log io.Writer) (*server, error) {
	tcp, udp, err := cli.Listen(c.listen)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(log, "dns: tcp and udp %v\n", tcp.Addr())
	u := &upstream{fixed: c.upstream, path: c.resolv}
	start := time.Now()
	s := newServer(c, u.ask, func() time.Duration { return time.Since(start) })
	s.udp, s.tcp = udp, tcp
	return s, nil
}

func newServer(c config, ask func(context.Context, key) (*dm.Message, error), now func() time.Duration) *server {
	return &server{
		cache: newCache(c.cache), limits: newLimits(c.rate), ask: ask, now: now,
		seats: make(chan struct{}, mostQueries), asked: map[key]*asked{}, streams: map[net.Conn]netip.Prefix{},
	}
}

// serve answers until ctx ends.
func (s *server) serve(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	context.AfterFunc(ctx, func() {
		s.udp.Close()
		s.tcp.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed = true
		for c := range s.streams {
			c.Close()
		}
	})
	var both sync.WaitGroup
	both.Go(func() { end(s.serveUDP(ctx)) })
	both.Go(func() { end(s.serveTCP(ctx)) })
	both.Wait()
	s.all.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// lookup returns the answer to k: remembered, or asked for. nil means that nobody knows.
// Who asks the same at the same time gets the same answer.
func (s *server) lookup(ctx context.Context, k key) *dm.Message {
	s.mu.Lock()
	if m := s.cache.get(k, s.now()); m != nil {
		s.mu.Unlock()
		return m
	}
	if a := s.asked[k]; a != nil {
		s.mu.Unlock()
		<-a.done
		return a.answer
	}
	if len(s.asked) >= mostAsked {
		s.mu.Unlock()
		return nil
	}
	a := &asked{done: make(chan struct{})}
	s.asked[k] = a
	s.mu.Unlock()

	m, err := s.ask(ctx, k)
	if err != nil {
		m = nil
	}
	if m == nil && ctx.Err() == nil {
		s.cache.put(k, &dm.Message{Header: dm.Header{Response: true, RCode: dm.RCodeServerFailure}}, s.now())
	} else if m != nil {
		s.cache.put(k, m, s.now())
	}
	a.answer = m
	s.mu.Lock()
	delete(s.asked, k)
	s.mu.Unlock()
	close(a.done)
	return m
}

// reply answers a query, with at most limit bytes; with 0 the query tells how many. It returns nil
// for what gets no answer.
func (s *server) reply(ctx context.Context, b []byte, limit int) []byte {
	q, code, ok := parseQuery(b)
	if !ok {
		return nil
	}
	if limit == 0 {
		limit = q.size
	}
	var m *dm.Message
	if code == dm.RCodeSuccess {
		if m = s.lookup(ctx, q.key); m != nil {
			code = m.RCode
		} else {
			code = dm.RCodeServerFailure
		}
	}
	out, err := q.answer(code, m, limit)
	if err != nil {
		return nil
	}
	return out
}

// serveUDP answers datagrams until the connection is closed.
func (s *server) serveUDP(ctx context.Context) error {
	b := make([]byte, largestQuery)
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil || from.Port() == 0 || !s.limits.take(from.Addr(), s.now()) {
			continue
		}
		select {
		case s.seats <- struct{}{}:
		default: // too many; the client will ask again
			continue
		}
		q := append([]byte(nil), b[:n]...)
		s.all.Go(func() {
			defer func() { <-s.seats }()
			if out := s.reply(ctx, q, 0); out != nil {
				s.udp.WriteToUDPAddrPort(out, from)
			}
		})
	}
}

// serveTCP takes connections in until the listener is closed.
func (s *server) serveTCP(ctx context.Context) error {
	for {
		c, err := s.tcp.Accept()
		if err != nil {
			if errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
				errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM) {
				time.Sleep(acceptPause)
				continue
			}
			return err
		}
		from, err := netip.ParseAddrPort(c.RemoteAddr().String())
		if err != nil || !s.enter(c, client(from.Addr())) {
			c.Close()
			continue
		}
		s.all.Go(func() {
			defer s.leave(c)
			s.stream(ctx, c, from.Addr())
		})
	}
}

// enter takes a connection in, if there is room.
func (s *server) enter(c net.Conn, who netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := 0
	for _, other := range s.streams {
		if other == who {
			same++
		}
	}
	if s.closed || len(s.streams) >= mostStreams || same >= mostOfOne {
		return false
	}
	s.streams[c] = who
	return true
}

func (s *server) leave(c net.Conn) {
	c.Close()
	s.mu.Lock()
	delete(s.streams, c)
	s.mu.Unlock()
}

// stream answers the queries of a connection, one after the other.
func (s *server) stream(ctx context.Context, c net.Conn, from netip.Addr) {
	for {
		c.SetDeadline(time.Now().Add(streamTime))
		b, err := readFrame(c, largestQuery)
		if err != nil || !s.limits.take(from, s.now()) {
			return
		}
		out := s.reply(ctx, b, 65535)
		c.SetDeadline(time.Now().Add(streamTime))
		if out == nil || writeFrame(c, out) != nil {
			return
		}
	}
}
