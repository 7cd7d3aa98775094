package socket

import (
	"net/netip"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/sluice-os/sluice/userland/posix"
)

// tries is how many ports are tried that the machine gives and the stack has in
// use on its loopback.
const tries = 16

// backlogMax is the longest queue of connections to accept (net.core.somaxconn).
const backlogMax = 4096

// Bind implements posix.Socket.
func (k *sock) Bind(local netip.AddrPort) syscall.Errno {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.bind(local)
}

// bind takes a port of the machine's and then of the stack's. k.mu is held.
func (k *sock) bind(local netip.AddrPort) syscall.Errno {
	if k.bound {
		return syscall.EINVAL
	}
	if k.s.Names == nil || private(local.Addr()) {
		if err := k.ep.Bind(full(local)); err != nil {
			return errno(err)
		}
		k.bound = true
		return 0
	}
	wanted, v6only := named(local), k.v6only
	if k.protocol == syscall.IPPROTO_UDP && wanted.Addr().IsMulticast() {
		// A group is no address of the machine's: gVisor tells what is for it from the rest.
		wanted, v6only = netip.AddrPortFrom(unspecified(wanted.Addr()), wanted.Port()), true
	}
	for range tries {
		at, claim, err := k.s.Names.Bind(uint8(k.protocol), wanted, v6only, k.reuse || k.share)
		if err != 0 {
			return err
		}
		if err := k.joinAll(claim); err != 0 {
			k.s.Names.Release(claim)
			return err
		}
		problem := k.ep.Bind(full(netip.AddrPortFrom(local.Addr(), at.Port())))
		if problem == nil {
			k.claim, k.bound = claim, true
			k.register(netip.AddrPortFrom(local.Addr(), at.Port()))
			return 0
		}
		k.s.Names.Release(claim)
		if _, used := problem.(*tcpip.ErrPortInUse); !used || local.Port() != 0 {
			return errno(problem)
		}
	}
	return syscall.EADDRINUSE
}

// unspecified is the address of a's family that is any.
func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// any is the unspecified address of the socket's family.
func (k *sock) any() netip.AddrPort {
	if k.v6 {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}

// Listen implements posix.Socket.
func (k *sock) Listen(backlog int) syscall.Errno {
	if k.protocol != syscall.IPPROTO_TCP {
		return syscall.EOPNOTSUPP
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.bound {
		if err := k.bind(k.any()); err != 0 {
			return err
		}
	}
	if k.claim != nil && !k.listening {
		if err := k.s.Names.Listen(k.claim); err != 0 {
			return err
		}
	}
	// A negative backlog is as long as can be.
	if err := k.ep.Listen(int(min(max(uint32(backlog), 1), backlogMax))); err != nil {
		return errno(err)
	}
	k.listening = true
	return 0
}

// Accept implements posix.Socket.
func (k *sock) Accept() (posix.Socket, netip.AddrPort, syscall.Errno) {
	if k.protocol != syscall.IPPROTO_TCP {
		return nil, netip.AddrPort{}, syscall.EOPNOTSUPP
	}
	if err := k.over(); err != 0 {
		return nil, netip.AddrPort{}, err
	}
	var peer tcpip.FullAddress // which stays on the stack, as the compiler knows whom it is given to
	ep, wq, err := k.ep.(*tcp.Endpoint).Accept(&peer)
	if err != nil {
		return nil, netip.AddrPort{}, errno(err)
	}
	n := &sock{s: k.s, v6: k.v6, protocol: k.protocol, ep: ep, wq: wq, bound: true, started: true}
	n.inherit(k)
	k.s.all.add(n)
	return n, k.from(peer), 0
}

// Connect implements posix.Socket.
func (k *sock) Connect(remote netip.AddrPort) syscall.Errno {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.over(); err != 0 {
		return err
	}
	if !remote.IsValid() {
		k.setPeer(remote)
		return errno(k.ep.Disconnect())
	}
	if k.protocol == syscall.IPPROTO_TCP {
		if k.listening {
			return syscall.EISCONN
		}
		if k.started {
			// gVisor knows how far it is.
			return k.connected(k.ep.Connect(full(remote)))
		}
	}
	if remote.Addr().IsUnspecified() {
		// Any address of one's own, as Linux has it.
		remote = netip.AddrPortFrom(loopback(remote.Addr()), remote.Port())
	}
	if k.unreachable(remote.Addr()) {
		return syscall.ENETUNREACH
	}
	if err := k.claimPeer(remote); err != 0 {
		return err
	}
	k.started = true
	err := k.ep.Connect(full(remote))
	if k.claim != nil && k.s.Names.Over(k.claim) {
		// It was so before the stack knew of the connection.
		if ep, ok := k.ep.(*tcp.Endpoint); ok {
			k.s.reset(ep)
		}
	}
	if err == nil {
		k.setPeer(remote) // a datagram socket's: another's connection only begins
	}
	return k.connected(err)
}

// claimPeer asks for a flow to a peer and binds the stack to what was given. k.mu
// is held.
func (k *sock) claimPeer(remote netip.AddrPort) syscall.Errno {
	if k.s.Names == nil || private(remote.Addr()) || k.bound && k.claim == nil {
		return 0
	}
	for range tries {
		local, claim, err := k.s.Names.Connect(k.claim, uint8(k.protocol), named(remote))
		if err != 0 {
			return err
		}
		k.claim = claim
		if k.bound {
			return 0
		}
		at := local
		if k.v6 && local.Addr().Is4() {
			at = netip.AddrPortFrom(netip.AddrFrom16(local.Addr().As16()), local.Port())
		}
		problem := k.ep.Bind(full(at))
		if problem == nil {
			k.bound = true
			k.register(at)
			return 0
		}
		k.s.Names.Release(claim)
		k.claim = nil
		if _, used := problem.(*tcpip.ErrPortInUse); !used {
			return errno(problem)
		}
	}
	return syscall.EADDRNOTAVAIL
}

func loopback(a netip.Addr) netip.Addr {
	switch {
	case a.Is4():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case a.Is4In6():
		return netip.AddrFrom16(netip.AddrFrom4([4]byte{127, 0, 0, 1}).As16())
	}
	return netip.IPv6Loopback()
}

// connected is the errno of connect(2).
func (k *sock) connected(err tcpip.Error) syscall.Errno {
	switch err.(type) {
	case nil:
		return 0
	case *tcpip.ErrConnectStarted:
		return syscall.EINPROGRESS
	case *tcpip.ErrAlreadyConnecting:
		return syscall.EALREADY
	}
	return errno(err)
}

// Local implements posix.Socket.
func (k *sock) Local() (netip.AddrPort, syscall.Errno) {
	a, err := k.ep.GetLocalAddress()
	if err != nil {
		return k.any(), errno(err)
	}
	return k.from(a), 0
}

// Peer implements posix.Socket.
func (k *sock) Peer() (netip.AddrPort, syscall.Errno) {
	if k.protocol == syscall.IPPROTO_TCP {
		// A connection that is being made, or that was reset, has none.
		switch tcp.EndpointState(k.ep.State()) {
		case tcp.StateEstablished, tcp.StateFinWait1, tcp.StateFinWait2, tcp.StateCloseWait,
			tcp.StateClosing, tcp.StateLastAck, tcp.StateTimeWait:
		default:
			return netip.AddrPort{}, syscall.ENOTCONN
		}
	}
	a, err := k.ep.GetRemoteAddress()
	if err != nil {
		return netip.AddrPort{}, errno(err)
	}
	return k.from(a), 0
}
