package socket

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Datagrams between a socket and the link need nothing that gVisor does: they go
// past it. gVisor keeps all that is rare: binding and errors, options, fragments,
// multicast, loopback. What this file does not take, it gets.

// Wire takes and brings datagrams.
type Wire interface {
	// SendDatagram sends b in UDP, with the default options of IP, in a service class
	// (abi.ClassControl and its like; 0: none), at a time in nanoseconds of the machine's
	// clock or later (0: at once). It is false
	// when there is no room, or when it would be Paused; Stack.Room is called when it is
	// worth trying again.
	SendDatagram(from, to netip.AddrPort, class uint32, at uint64, b []byte) bool
	// Longest is the longest IP packet that goes there, in bytes, in fragments if need
	// be.
	Longest() int
	// Flush has the kernel take what was sent, as far as it does.
	Flush()
	// Paused says that the kernel has told what a socket sends to wait: from a port, or
	// with an echo's identifier, to an address.
	Paused(protocol uint8, port uint16, to netip.AddrPort) bool
}

// Datagram is one that has arrived, whose checksum was verified.
type Datagram struct {
	From, To netip.AddrPort
	Pieces   [][]byte // of the payload, valid during the call
	Length   int      // of the payload in bytes
	// Valid, if it is set, says when the payload was copied that this was it.
	Valid func() bool
}

// direct knows the sockets whose datagrams go past gVisor, by port.
type direct struct {
	mu    sync.RWMutex
	ports map[uint16][]*sock
	// generation changes with the machine's addresses.
	generation atomic.Uint64
}

// way is where a socket sent last. k.mu guards it.
type way struct {
	generation uint64
	remote     netip.Addr
	local      netip.Addr // invalid: gVisor must send
}

// AddressesChanged says that sources have to be selected anew.
func (s *Stack) AddressesChanged() { s.direct.generation.Add(1) }

// Room says that a link that took no datagram may take one again.
func (s *Stack) Room() { s.starved.tell() }

// register has datagrams for k come past gVisor. A port that several sockets share
// is left to it. k.mu is held, and k is bound.
func (k *sock) register(local netip.AddrPort) {
	if k.s.Wire == nil || k.protocol != syscall.IPPROTO_UDP || k.reuse || k.share || k.port != 0 {
		return
	}
	k.local, k.port = local.Addr().Unmap(), local.Port()
	k.box.setLimit(int(k.ep.SocketOptions().GetReceiveBufferSize()))
	d := &k.s.direct
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ports == nil {
		d.ports = map[uint16][]*sock{}
	}
	d.ports[k.port] = append(d.ports[k.port], k)
}

// unregister ends that.
func (k *sock) unregister() {
	d := &k.s.direct
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.ports[k.port]
	for i, other := range list {
		if other == k {
			// Deliver may be reading the old list.
			list = append(append([]*sock(nil), list[:i]...), list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(d.ports, k.port)
	} else {
		d.ports[k.port] = list
	}
}

// setPeer notes whom the socket is connected with; an invalid address for nobody.
func (k *sock) setPeer(peer netip.AddrPort) {
	if peer.IsValid() {
		peer = named(peer)
	}
	d := &k.s.direct
	d.mu.Lock()
	k.peer = peer
	d.mu.Unlock()
}

// score says how well a datagram fits the socket: 0 not at all. d.mu is held.
func (k *sock) score(in *Datagram) int {
	score := 1
	switch to := in.To.Addr(); {
	case k.peer.IsValid() && k.peer != in.From:
		return 0
	case to.Is4() && k.v6 && k.v6only, to.Is6() && !k.v6:
		return 0
	case k.local.IsUnspecified():
		// The unspecified address of IPv4 is that of IPv6 with IPv4 too.
	case k.local != to:
		return 0
	default:
		score++
	}
	if k.peer.IsValid() {
		score += 2
	}
	return score
}

// Deliver gives a datagram to its socket, if that is known to be the only one for
// it.
func (s *Stack) Deliver(in *Datagram) bool {
	s.direct.mu.RLock()
	var found *sock
	best := 0
	for _, k := range s.direct.ports[in.To.Port()] {
		switch score := k.score(in); {
		case score == 0:
		case score == best:
			found = nil
		case score > best:
			found, best = k, score
		}
	}
	s.direct.mu.RUnlock()
	if found == nil {
		return false
	}
	found.keep(in)
	return true
}

// keep puts what has arrived past gVisor into the mailbox.
func (k *sock) keep(in *Datagram) {
	empty, why := k.box.put(in)
	switch {
	case why != kept:
		k.s.lost[why].Add(1)
	case empty:
		// Who reads goes on until nothing is left.
		k.wq.Notify(waiter.ReadableEvents)
	}
}

// receiveDirect reads a datagram that came past gVisor.
func (k *sock) receiveDirect(b []byte, peek bool) (n int, from netip.AddrPort, whole int, ok bool) {
	n, r, ok := k.box.take(b, peek)
	if !ok {
		return 0, from, 0, false
	}
	if k.v6 && r.from.Addr().Is4() {
		r.from = netip.AddrPortFrom(netip.AddrFrom16(r.from.Addr().As16()), r.from.Port())
	}
	return n, r.from, r.length, true
}

// sendDirect sends a datagram past gVisor. done is false when that has to send it.
func (k *sock) sendDirect(b []byte, to netip.AddrPort) (done bool, err syscall.Errno) {
	k.mu.Lock()
	from, to := k.way(to)
	connected := k.peer.IsValid()
	k.mu.Unlock()
	if !from.IsValid() {
		return false, 0
	}
	if connected {
		// What ICMP said of an earlier one.
		if problem := k.ep.LastError(); problem != nil {
			return true, errno(problem)
		}
	}
	length := k.packet(len(b), to.Addr())
	if length > k.s.Wire.Longest() {
		return true, syscall.EMSGSIZE
	}
	send := func(at uint64) bool { return k.s.Wire.SendDatagram(from, to, k.owner.Class(), at, b) }
	sent, late := k.paced(length, send)
	switch {
	case sent:
		return true, 0
	case late:
		return true, syscall.EAGAIN
	}
	if k.paused(syscall.IPPROTO_UDP, from.Port(), to) {
		return true, syscall.ENOBUFS
	}
	// The link may have had room again before it knew of k. Who else sends through k
	// may wait by now: k is told in any case.
	k.s.starved.add(k)
	if sent, _ := k.paced(length, send); sent {
		return true, 0
	}
	return true, syscall.EAGAIN
}

// paused says that a datagram is not sent because its flow is to pause, and that the program
// wants to hear of that rather than wait: it has set IP_RECVERR (as ip(7) has it).
func (k *sock) paused(protocol uint8, port uint16, to netip.AddrPort) bool {
	k.mu.Lock()
	hears := k.hears
	k.mu.Unlock()
	return hears && k.s.Wire != nil && k.s.Wire.Paused(protocol, port, to)
}

// packet is how long the IP packet is of a datagram of n bytes, to an address that is
// not mapped.
func (k *sock) packet(n int, to netip.Addr) int {
	if k.protocol == syscall.IPPROTO_UDP { // an echo's header is the program's
		n += header.UDPMinimumSize
	}
	if to.Is4() {
		return n + header.IPv4MinimumSize
	}
	return n + header.IPv6MinimumSize
}

// tooLong says that the kernel takes no datagram of n bytes for an address, or for the peer
// if that is invalid.
func (k *sock) tooLong(n int, to netip.AddrPort) bool {
	if k.s.Wire == nil {
		return false
	}
	if !to.IsValid() {
		k.mu.Lock()
		to = k.peer
		k.mu.Unlock()
	}
	return to.IsValid() && !private(to.Addr()) && k.packet(n, to.Addr().Unmap()) > k.s.Wire.Longest()
}

// way returns the addresses of a datagram for to, or for the peer if that is
// invalid. An invalid source says that gVisor has to send it. k.mu is held.
func (k *sock) way(to netip.AddrPort) (netip.AddrPort, netip.AddrPort) {
	var none netip.AddrPort
	if k.port == 0 || k.custom {
		return none, none
	}
	if to.IsValid() {
		to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	}
	switch {
	case !to.IsValid():
		to = k.peer
	case k.peer.IsValid() && to != k.peer:
		return none, none
	}
	if !to.IsValid() || to.Port() == 0 {
		return none, none
	}
	if g := k.s.direct.generation.Load(); k.last.remote != to.Addr() || k.last.generation != g {
		k.last = way{generation: g, remote: to.Addr(), local: k.source(to.Addr())}
	}
	if !k.last.local.IsValid() {
		return none, none
	}
	return netip.AddrPortFrom(k.last.local, k.port), to
}

// source selects the address that a datagram comes from. It is invalid for one
// that does not simply go to another machine.
func (k *sock) source(remote netip.Addr) netip.Addr {
	if !remote.IsGlobalUnicast() || remote.Zone() != "" {
		return netip.Addr{}
	}
	protocol := header.IPv4ProtocolNumber
	if remote.Is6() {
		protocol = header.IPv6ProtocolNumber
	}
	var local tcpip.Address
	if !k.local.IsUnspecified() {
		local = tcpip.AddrFromSlice(k.local.AsSlice())
	}
	r, err := k.s.Net.FindRoute(0, local, tcpip.AddrFromSlice(remote.AsSlice()), protocol, false)
	if err != nil {
		return netip.Addr{}
	}
	defer r.Release()
	if r.IsOutboundBroadcast() || r.NICID() != k.s.WireNIC {
		return netip.Addr{}
	}
	from := r.LocalAddress()
	a, _ := netip.AddrFromSlice(from.AsSlice())
	return a
}
