package netns

import (
	"math"
	"net/netip"
	"time"
)

// This file owns what a holder does with its reservation: change it and give it
// back.

// Reservation is the right to a port. The zero value is none: it can be released
// and nothing else.
type Reservation struct {
	space *Space
	entry *entry
}

// Local is the address and port that are held. The address is that of the
// request, or that of Connect. The zero value if there is no reservation.
func (r Reservation) Local() netip.AddrPort {
	if r.entry == nil {
		return netip.AddrPort{}
	}
	r.space.mu.Lock()
	defer r.space.mu.Unlock()
	return netip.AddrPortFrom(r.entry.local.addr, r.entry.port)
}

// Port is the port that is held, 0 if there is no reservation.
func (r Reservation) Port() uint16 {
	if r.entry == nil {
		return 0
	}
	return r.entry.port // never changes
}

// Listen makes a Listener of a Bound reservation of TCP. It is ErrInvalid for
// another kind, nil for a Listener.
func (r Reservation) Listen(now time.Duration) error {
	e := r.entry
	if e == nil {
		return ErrReleased
	}
	s := r.space
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	switch {
	case e.state != held:
		return ErrReleased
	case e.proto == TCP && e.kind == Bound:
		// What would clash with a Listener clashes with Bound as well.
		e.kind = Listener
		return nil
	case e.proto == TCP && e.kind == Listener:
		return nil
	}
	return ErrInvalid
}

// Connect gives the reservation a peer, and the address from which it is
// reached, which must be one of those held. The port stays. A Bound one of TCP or
// a Listener of UDP becomes Connected, a Host one stays that. A refusal changes
// nothing.
func (r Reservation) Connect(now time.Duration, from netip.Addr, remote netip.AddrPort) error {
	e := r.entry
	if e == nil {
		return ErrReleased
	}
	s := r.space
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	if e.state != held {
		return ErrReleased
	}
	if e.flow() {
		return ErrConnected
	}
	if e.proto == TCP && e.kind == Listener {
		return ErrInvalid
	}
	l, remote, err := checkPeer(e.proto, netip.AddrPortFrom(from, e.port), remote)
	if err != nil {
		return err
	}
	if !e.local.covers(l.Addr()) {
		return ErrInvalid
	}
	n := *e
	n.local, n.remote = local{addr: l.Addr()}, remote
	if n.kind != Host {
		n.kind = Connected
	}
	// The port is the owner's already: only the same flow can be in the way.
	if err := s.taken(&n); err != nil {
		return err
	}
	b := s.bucket(e.proto, e.port)
	b.remove(e)
	e.local, e.remote, e.kind = n.local, n.remote, n.kind
	b.add(e)
	s.tuples[e.tuple()] = e
	return nil
}

// Release gives the reservation back. With a linger it stays taken for that time
// (TIME_WAIT) save for ports that are asked for with Reuse and for other flows; it
// ends early if its owner needs the room. A second Release does nothing.
func (r Reservation) Release(now, linger time.Duration) {
	e := r.entry
	if e == nil {
		return
	}
	s := r.space
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	if e.state != held {
		return
	}
	if linger <= 0 {
		s.remove(e)
		return
	}
	e.until = math.MaxInt64
	if linger <= math.MaxInt64-now {
		e.until = now + linger
	}
	s.linger(e)
}
