// Package pipe joins the channels of two domains: what one sends the other receives,
// checked as everything that a domain writes and copied once. No packet is dropped for
// want of room: it stays in the sender's tx ring until the peer's sync makes some.
package pipe

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/channel"
)

// Ports is how many ends a pipe has: 0 and 1.
const Ports = 2

var (
	// ErrPort says that a pipe has no such port (EDOM).
	ErrPort = errors.New("pipe: no such port")
	// ErrBusy says that the port is another channel's (EBUSY).
	ErrBusy = errors.New("pipe: port is taken")
	// ErrPeerClosed says that the other end has closed (ENXIO).
	ErrPeerClosed = errors.New("pipe: the peer has closed")
)

// Pipe is a nexus with two ports. The zero value is ready, and its methods and those of
// its ends may be called concurrently.
type Pipe struct {
	mu   sync.Mutex // of Attach and Close
	ends [Ports]*End
	over atomic.Bool // an end has closed
}

// Attach takes a channel in at a port, for as long as the pipe lasts. What the peer has
// sent before goes on then. It fails with ErrPort, ErrBusy and ErrPeerClosed.
func (p *Pipe) Attach(port int, c *channel.Channel) (*End, error) {
	if port < 0 || port >= Ports {
		return nil, fmt.Errorf("%w: %d, want 0 or %d", ErrPort, port, Ports-1)
	}
	p.mu.Lock()
	if p.ends[port] != nil {
		p.mu.Unlock()
		return nil, fmt.Errorf("%w: %d", ErrBusy, port)
	}
	if p.over.Load() {
		p.mu.Unlock()
		return nil, ErrPeerClosed
	}
	e := newEnd(p, c)
	peer := p.ends[1-port]
	p.ends[port] = e
	if peer != nil {
		e.peer.Store(peer)
		peer.peer.Store(e)
	}
	p.mu.Unlock()
	if peer != nil {
		settle(peer, e)
	}
	return e, nil
}

// settle lets packets go on that have waited for room, on both sides: what goes on here
// may make room there.
func settle(a, b *End) {
	for a.resume() || b.resume() {
	}
}
