package socket

import (
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/sluice-os/sluice/userland/posix"
)

// rawSocket is one of SOCK_RAW: all packets of a protocol that has no ports, which the
// machine lets one domain have whole. What arrives goes past gVisor, which knows no such
// protocol; it has the options, in an endpoint of UDP that is never bound, and sends.
type rawSocket struct {
	*sock
	peerAddr netip.Addr // mu guards it
}

// raws knows the raw sockets, by protocol.
type raws struct {
	mu   sync.RWMutex
	list map[uint8][]*rawSocket
}

// raw makes a raw socket. It receives from now on, as on Linux.
func (s *Stack) raw(k *sock, protocol int) (posix.Socket, syscall.Errno) {
	switch protocol {
	case 0, syscall.IPPROTO_ICMP, syscall.IPPROTO_IGMP, syscall.IPPROTO_TCP, syscall.IPPROTO_UDP, syscall.IPPROTO_ICMPV6, syscall.IPPROTO_RAW:
		return nil, syscall.EPERM // others have them too
	}
	if protocol < 0 || protocol > 255 {
		return nil, syscall.EINVAL
	}
	if s.Wire == nil || s.Names == nil {
		return nil, syscall.ENETDOWN
	}
	network := ipv4.ProtocolNumber
	if k.v6 {
		network = ipv6.ProtocolNumber
	}
	k.protocol = protocol
	_, claim, err := s.Names.Bind(uint8(protocol), k.any(), true, false)
	switch err {
	case 0:
	case syscall.EACCES:
		return nil, syscall.EPERM
	default:
		return nil, err
	}
	ep, problem := s.Net.NewEndpoint(udp.ProtocolNumber, network, k.wq)
	if problem != nil {
		s.Names.Release(claim)
		return nil, errno(problem)
	}
	k.ep, k.claim, k.bound, k.kind, k.local = ep, claim, true, syscall.SOCK_RAW, k.any().Addr()
	k.box.setLimit(int(ep.SocketOptions().GetReceiveBufferSize()))
	r := &rawSocket{sock: k}
	s.all.add(k)
	s.raws.mu.Lock()
	defer s.raws.mu.Unlock()
	if s.raws.list == nil {
		s.raws.list = map[uint8][]*rawSocket{}
	}
	s.raws.list[uint8(protocol)] = append(s.raws.list[uint8(protocol)], r)
	return r, 0
}

// Close implements posix.Socket.
func (r *rawSocket) Close() {
	s := r.s
	s.raws.mu.Lock()
	list := slices.DeleteFunc(slices.Clone(s.raws.list[uint8(r.protocol)]), func(o *rawSocket) bool { return o == r })
	s.raws.list[uint8(r.protocol)] = list
	s.raws.mu.Unlock()
	r.sock.Close()
}

// DeliverRaw gives a packet to all raw sockets that it is for: of IPv4 with its header, of
// IPv6 without. false: there is none.
func (s *Stack) DeliverRaw(protocol uint8, in *Datagram) (taken bool) {
	s.raws.mu.RLock()
	list := s.raws.list[protocol]
	s.raws.mu.RUnlock()
	for _, r := range list {
		if !r.takes(in) {
			continue
		}
		taken = true
		r.keep(in)
	}
	return taken
}

func (r *rawSocket) takes(in *Datagram) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	to := in.To.Addr()
	return to.Is6() == r.v6 && (r.local.IsUnspecified() || r.local == to) && (!r.peerAddr.IsValid() || r.peerAddr == in.From.Addr())
}

// Bind implements posix.Socket.
func (r *rawSocket) Bind(at netip.AddrPort) syscall.Errno {
	a := at.Addr().WithZone("")
	if a.Is6() != r.v6 || a.Is4In6() {
		return syscall.EAFNOSUPPORT
	}
	if !a.IsUnspecified() && !a.IsMulticast() && r.s.Net.CheckLocalAddress(0, r.network(), tcpip.AddrFromSlice(a.AsSlice())) == 0 {
		return syscall.EADDRNOTAVAIL
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.local = a
	return 0
}

// Connect implements posix.Socket.
func (r *rawSocket) Connect(to netip.AddrPort) syscall.Errno {
	a := to.Addr().WithZone("")
	if a.IsValid() && (a.Is6() != r.v6 || a.Is4In6()) {
		return syscall.EAFNOSUPPORT
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peerAddr = a
	return 0
}

// Local implements posix.Socket. Where others have the port it has the protocol.
func (r *rawSocket) Local() (netip.AddrPort, syscall.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return netip.AddrPortFrom(r.local, uint16(r.protocol)), 0
}

// Peer implements posix.Socket.
func (r *rawSocket) Peer() (netip.AddrPort, syscall.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.peerAddr.IsValid() {
		return netip.AddrPort{}, syscall.ENOTCONN
	}
	return netip.AddrPortFrom(r.peerAddr, 0), 0
}

func (r *rawSocket) network() tcpip.NetworkProtocolNumber {
	if r.v6 {
		return header.IPv6ProtocolNumber
	}
	return header.IPv4ProtocolNumber
}

// Send implements posix.Socket. gVisor writes the header of IP.
func (r *rawSocket) Send(b []byte, flags int, to netip.AddrPort) (int, syscall.Errno) {
	const taken = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL | syscall.MSG_CONFIRM
	if flags&^taken != 0 {
		return 0, syscall.EOPNOTSUPP
	}
	r.mu.Lock()
	local, peer, shut := r.local, r.peerAddr, r.shut
	r.mu.Unlock()
	remote := to.Addr().WithZone("")
	switch {
	case !remote.IsValid():
		remote = peer
	case remote.Is6() != r.v6 || remote.Is4In6():
		return 0, syscall.EAFNOSUPPORT
	}
	switch {
	case shut:
		return 0, syscall.EPIPE
	case !remote.IsValid():
		return 0, syscall.EDESTADDRREQ
	case private(remote):
		return 0, syscall.ENETUNREACH // nobody else is there
	case r.packet(len(b), remote) > r.s.Wire.Longest():
		return 0, syscall.EMSGSIZE
	}
	if err := r.congested(r.protocol, 0, netip.AddrPortFrom(remote, 0)); err != 0 {
		return 0, err
	}
	if err := r.write(b, local, remote); err != 0 {
		return 0, err
	}
	return len(b), 0
}

func (r *rawSocket) write(b []byte, local, remote netip.Addr) syscall.Errno {
	var source tcpip.Address
	if !local.IsUnspecified() && !local.IsMulticast() {
		source = tcpip.AddrFromSlice(local.AsSlice())
	}
	route, err := r.s.Net.FindRoute(r.s.WireNIC, source, tcpip.AddrFromSlice(remote.AsSlice()), r.network(), false)
	if err != nil {
		return errno(err)
	}
	defer route.Release()
	if route.IsOutboundBroadcast() && !r.ep.SocketOptions().GetBroadcast() {
		return syscall.EACCES
	}
	hops, class := tcpip.IPv4TTLOption, tcpip.IPv4TOSOption
	if r.v6 {
		hops, class = tcpip.IPv6HopLimitOption, tcpip.IPv6TrafficClassOption
	}
	if remote.IsMulticast() {
		hops = tcpip.MulticastTTLOption
	}
	ttl, _ := r.ep.GetSockOptInt(hops)
	tos, _ := r.ep.GetSockOptInt(class)
	if ttl <= 0 && !remote.IsMulticast() {
		ttl = int(route.DefaultTTL())
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: int(route.MaxHeaderLength()), Payload: buffer.MakeWithData(b),
	})
	defer pkt.DecRef()
	return errno(route.WritePacket(stack.NetworkHeaderParams{
		Protocol: tcpip.TransportProtocolNumber(r.protocol), TTL: uint8(ttl), TOS: uint8(tos),
	}, pkt))
}
