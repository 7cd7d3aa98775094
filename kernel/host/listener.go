package host

// A TCP listener with a bound: on connections that are open, on those that
// linger with data nobody has taken, and on those in TIME-WAIT. gVisor itself
// keeps closed connections without limit.

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
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
	wide  bool // still has one of the large send buffers
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
		if l.open >= l.max {
			l.reapLocked()
		}
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
		return newConn(l, ep, wq), nil
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

// linger keeps account of an endpoint that its owner has closed.
func (l *listener) linger(ep tcpip.Endpoint, wide bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := closedConn{ep: ep, since: l.s.now(), open: true, wide: wide}
	if isClosed(ep) {
		l.release(&c)
		return
	}
	if len(l.closed) >= l.s.lim.closedMax && !l.makeRoom() {
		ep.Abort()
		l.release(&c)
		return
	}
	l.closed = append(l.closed, c)
	if len(l.closed) == 1 {
		l.timer.Reset(lingerPoll)
	}
}

// makeRoom takes the oldest connection that is in TIME-WAIT off the list of
// closed ones, and reports false when there is none. l.mu is held.
func (l *listener) makeRoom() bool {
	for i := range l.closed {
		if c := &l.closed[i]; tcp.EndpointState(c.ep.State()) == tcp.StateTimeWait {
			c.ep.Abort()
			l.release(c)
			l.closed = slices.Delete(l.closed, i, i+1)
			return true
		}
	}
	return false
}

// release makes room for another connection. l.mu is held.
func (l *listener) release(c *closedConn) {
	if c.open {
		l.open--
	}
	if c.wide {
		l.s.wide.Add(-1)
	}
	c.open, c.wide = false, false
}

// reap lets go of closed connections that have come to their end.
func (l *listener) reap() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reapLocked()
	select {
	case <-l.done:
	default:
		if len(l.closed) > 0 {
			l.timer.Reset(lingerPoll)
		}
	}
}

// reapLocked is reap without the timer. l.mu is held.
func (l *listener) reapLocked() {
	now := l.s.now()
	keep := l.closed[:0]
	for _, c := range l.closed {
		waits := tcp.EndpointState(c.ep.State()) == tcp.StateTimeWait
		if c.open && (waits || isClosed(c.ep) || now-c.since > lingerMax) {
			if !waits {
				c.ep.Abort()
			}
			l.release(&c)
		}
		if !isClosed(c.ep) {
			keep = append(keep, c)
		}
	}
	clear(l.closed[len(keep):])
	l.closed = keep
}

func isClosed(ep tcpip.Endpoint) bool {
	switch tcp.EndpointState(ep.State()) {
	case tcp.StateClose, tcp.StateError:
		return true
	}
	return false
}
