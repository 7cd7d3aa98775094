package netns

import (
	"net/netip"
	"strconv"
)

// This file owns what can be asked for: its form, its sanity checks, and which
// local addresses it covers.

// Owner is who holds a reservation: 0 is the host stack, any other number is the
// start of a domain.
type Owner uint64

// HostOwner is the owner of the kernel's own sockets.
const HostOwner Owner = 0

// Protocols that have ports.
const (
	TCP = 6
	UDP = 17
)

// Kind is what a reservation is for.
type Kind uint8

const (
	// Host is a socket of the host stack, with or without a peer. Only
	// HostOwner has this kind, and no other.
	Host Kind = iota + 1
	// Bound is a domain's port that neither listens nor has a peer yet.
	Bound
	// Listener is a domain's TCP listener or its UDP socket without a peer.
	// Connected flows of the same owner may go beneath it.
	Listener
	// Connected is a domain's flow with a peer.
	Connected
)

var kindNames = [...]string{Host: "host", Bound: "bound", Listener: "listener", Connected: "connected"}

func (k Kind) String() string {
	if k >= Host && k <= Connected {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Request asks for a port.
type Request struct {
	Owner Owner
	Kind  Kind
	Proto uint8 // TCP or UDP
	// Local is the address and port. An unspecified address is any of its
	// family, no address is any of both. Port 0 takes an ephemeral port. With a
	// Remote the address must be a specific one.
	Local netip.AddrPort
	// Ephemeral says that the port counts as one that the space has picked, if it is
	// in the ephemeral range: it is refused when those for domains are used up.
	Ephemeral bool
	// Dual makes the unspecified IPv6 address take IPv4 too. It says nothing of
	// another address.
	Dual bool
	// Reuse is SO_REUSEADDR. A port (no peer) may then be taken while there are
	// lingering flows on it, and flows of the same owner that have Reuse too.
	// UDP sockets of one owner that all have it may differ in the address alone.
	Reuse bool
	// Remote is the peer, the zero value for none. Connected must have one,
	// Bound and Listener must not.
	Remote netip.AddrPort
}

// local is the set of local addresses of a reservation: one, all of a family, or
// all.
type local struct {
	addr netip.Addr
	dual bool // only with addr ::
}

func (l local) any4() bool { return l.addr.IsUnspecified() && (l.addr.Is4() || l.dual) }
func (l local) any6() bool { return l.addr.IsUnspecified() && l.addr.Is6() }

// covers says whether the specific address a is in the set.
func (l local) covers(a netip.Addr) bool {
	return l.addr == a || l.any4() && a.Is4() || l.any6() && a.Is6()
}

func (l local) overlaps(m local) bool {
	switch {
	case !l.addr.IsUnspecified():
		return m.covers(l.addr)
	case !m.addr.IsUnspecified():
		return l.covers(m.addr)
	}
	return l.any4() && m.any4() || l.any6() && m.any6()
}

// plain strips what does not tell addresses of this machine apart.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// checkPeer returns local and remote of a flow in plain form. The local port may
// be 0. Datagrams have groups as peers.
func checkPeer(proto uint8, l, r netip.AddrPort) (netip.AddrPort, netip.AddrPort, error) {
	la, ra := plain(l.Addr()), plain(r.Addr())
	if !la.IsValid() || !ra.IsValid() || la.IsUnspecified() || ra.IsUnspecified() || la.Is4() != ra.Is4() || r.Port() == 0 {
		return l, r, ErrInvalid
	}
	if la.IsMulticast() || ra.IsMulticast() && proto != UDP || la.IsLoopback() || ra.IsLoopback() {
		return l, r, ErrAddress
	}
	return netip.AddrPortFrom(la, l.Port()), netip.AddrPortFrom(ra, r.Port()), nil
}

// entry returns the record of a sane request. The port may still be 0.
func (r *Request) entry() (*entry, error) {
	if r.Proto != TCP && r.Proto != UDP || (r.Kind == Host) != (r.Owner == HostOwner) {
		return nil, ErrInvalid
	}
	e := &entry{owner: r.Owner, kind: r.Kind, proto: r.Proto, port: r.Local.Port(), reuse: r.Reuse}
	peer := r.Remote != netip.AddrPort{}
	switch r.Kind {
	case Host:
	case Connected:
		if !peer {
			return nil, ErrInvalid
		}
	case Bound, Listener:
		if peer {
			return nil, ErrInvalid
		}
	default:
		return nil, ErrInvalid
	}
	if peer {
		l, remote, err := checkPeer(r.Proto, r.Local, r.Remote)
		if err != nil {
			return nil, err
		}
		e.local.addr, e.remote = l.Addr(), remote
		return e, nil
	}
	addr := plain(r.Local.Addr())
	switch {
	case !addr.IsValid():
		e.local = local{netip.IPv6Unspecified(), true}
	case addr.IsMulticast() || addr.IsLoopback():
		return nil, ErrAddress
	default:
		// ::ffff:0.0.0.0 is plain 0.0.0.0 by now.
		e.local = local{addr, r.Dual && addr == netip.IPv6Unspecified()}
	}
	return e, nil
}
