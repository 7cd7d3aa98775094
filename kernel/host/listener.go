package host

// A TCP listener with a bound: on connections that are open, on those that
// linger with data nobody has taken, and on those in TIME-WAIT. gVisor itself
// keeps closed connections without limit.

import (
	"fmt"
	"net"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// timeWait replaces the minute of RFC 9293: with the bound below, a
	// minute would turn clients away that come back often.
	timeWait = 2 * time.Second
	// lingerMax is how long a closed connection may take to get rid of its
	// data.
	lingerMax = 10 * time.Second
	// lingerPoll is how often closed connections are looked at.
	lingerPoll = 250 * time.Millisecond
	// closedMax is the most closed connections that gVisor keeps for one
	// listener, in TIME-WAIT for the most part, which holds no buffers.
	closedMax = 512
)

// listener implements net.Listener. It takes IPv4 and IPv6.
type listener struct {
	s        *Stack
	ep       tcpip.Endpoint
	readable <-chan struct{}
	entry    waiter.Entry
	wq       waiter.Queue
	max      int
	done     chan struct{}
	once     sync.Once

	mu     sync.Mutex
	open   int
	closed []closedConn
	timer  tcpip.Timer
}

// closedConn is a connection that its owner has closed and gVisor has not.
type closedConn struct {
	ep    tcpip.Endpoint
	since time.Duration
	open  bool // still counts as open: it may hold data
}

func serviceError(network string, port uint16, err tcpip.Error) error {
	return fmt.Errorf("host: %s port %d: %v", network, port, err)
}

// listen opens a port for at most max connections at a time. Further ones are
// reset and counted.
func (s *Stack) listen(port uint16, max int) (*listener, error) {
	l := &listener{s: s, max: max, done: make(chan struct{})}
	ep, err := s.net.NewEndpoint(tcp.ProtocolNumber, ipv6.ProtocolNumber, &l.wq)
	if err != nil {
		return nil, serviceError("tcp", port, err)
	}
	l.ep = ep
	if err := ep.Bind(tcpip.FullAddress{Port: port}); err != nil {
		ep.Close()
		return nil, serviceError("tcp", port, err)
	}
	if err := ep.Listen(s.lim.backlog); err != nil {
		ep.Close()
		return nil, serviceError("tcp", port, err)
	}
	l.entry, l.readable = waiter.NewChannelEntry(waiter.ReadableEvents)
	l.wq.EventRegister(&l.entry)
	l.timer = s.clock.AfterFunc(lingerPoll, l.reap)
	l.timer.Stop()
	return l, nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		ep, wq, err := l.ep.Accept(nil)
		if err != nil {
			if _, wait := err.(*tcpip.ErrWouldBlock); !wait {
				return nil, net.ErrClosed
			}
			select {
			case <-l.readable:
			case <-l.done:
				return nil, net.ErrClosed
			}
			continue
		}
		l.mu.Lock()
		full := l.open >= l.max
		if !full {
			l.open++
		}
		l.mu.Unlock()
		if full {
			l.s.counters.inc(connRefusedLimit)
			ep.Abort()
			continue
		}
		// Segments leave when they are written; the writers here write blocks.
		ep.SocketOptions().SetDelayOption(false)
		return &conn{TCPConn: gonet.NewTCPConn(wq, ep), ep: ep, l: l}, nil
	}
}

// Close implements net.Listener. Accepted connections stay.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.wq.EventUnregister(&l.entry)
		l.ep.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.timer.Stop()
	})
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr {
	a, err := l.ep.GetLocalAddress()
	if err != nil {
		return &net.TCPAddr{}
	}
	return &net.TCPAddr{Port: int(a.Port)}
}

// conn is an accepted connection.
type conn struct {
	*gonet.TCPConn
	ep   tcpip.Endpoint
	l    *listener
	once sync.Once
}

// Close implements net.Conn. What was written is still sent, for lingerMax.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.TCPConn.Close()
		c.l.linger(c.ep)
	})
	return nil
}

// linger keeps account of an endpoint that its owner has closed.
func (l *listener) linger(ep tcpip.Endpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if isClosed(ep) {
		l.open--
		return
	}
	if len(l.closed) == closedMax {
		ep.Abort()
		l.open--
		return
	}
	l.closed = append(l.closed, closedConn{ep: ep, since: l.s.now(), open: true})
	if len(l.closed) == 1 {
		l.timer.Reset(lingerPoll)
	}
}

// reap lets go of closed connections that have come to their end.
func (l *listener) reap() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.s.now()
	keep := l.closed[:0]
	for _, c := range l.closed {
		waits := tcp.EndpointState(c.ep.State()) == tcp.StateTimeWait
		if c.open && (waits || isClosed(c.ep) || now-c.since > lingerMax) {
			if !waits {
				c.ep.Abort()
			}
			c.open = false
			l.open--
		}
		if !isClosed(c.ep) {
			keep = append(keep, c)
		}
	}
	clear(l.closed[len(keep):])
	l.closed = keep
	select {
	case <-l.done:
	default:
		if len(keep) > 0 {
			l.timer.Reset(lingerPoll)
		}
	}
}

func isClosed(ep tcpip.Endpoint) bool {
	switch tcp.EndpointState(ep.State()) {
	case tcp.StateClose, tcp.StateError:
		return true
	}
	return false
}
