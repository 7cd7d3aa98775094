// Package socket is Linux' sockets on gVisor's network stack: TCP, UDP and ICMP
// echo over IPv4 and IPv6, as package posix wants them.
package socket

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/sluice-os/sluice/userland/posix"
)

// Claim is the right to a port, as Names gave it.
type Claim interface{}

// Measured is a Claim that knows the longest packet to its peer, in bytes.
type Measured interface{ MTU() int }

// Names arbitrates ports between the stacks of a machine. Loopback addresses are
// each stack's own: they are never asked for.
type Names interface {
	// Bind takes a port of an address, which may be the unspecified one; port 0
	// takes any that is free. With reuse (SO_REUSEADDR or SO_REUSEPORT) the same
	// stack may take it again.
	Bind(protocol uint8, local netip.AddrPort, v6only, reuse bool) (netip.AddrPort, Claim, syscall.Errno)
	// Listen makes a listener of a claim.
	Listen(Claim) syscall.Errno
	// Connect gives a claim its peer, or makes one if it is nil. It returns the
	// source address and port.
	Connect(c Claim, protocol uint8, remote netip.AddrPort) (netip.AddrPort, Claim, syscall.Errno)
	// Join has a bound claim of UDP receive what is sent to a group, until Leave or its
	// end.
	Join(c Claim, group netip.Addr) syscall.Errno
	Leave(c Claim, group netip.Addr)
	// Release gives a claim back. What TCP still has to say may follow.
	Release(Claim)
	// Over says that a claim was a connection's and is worth nothing any more.
	Over(Claim) bool
}

// Stack makes sockets on a network stack.
type Stack struct {
	Net *stack.Stack
	// Names is asked for ports; nil: all are free.
	Names Names
	// Full says that gVisor's link takes no datagram for now; nil: never. Room is
	// called when that changes.
	Full func() bool
	// Wire, if there is one, takes datagrams past gVisor; in gVisor it is the
	// interface WireNIC.
	Wire    Wire
	WireNIC tcpip.NICID
	// Reset ends a connection of TCP as a reset of the peer's does, if it is one; nil:
	// gVisor's Abort.
	Reset func(*tcp.Endpoint)

	lost    [lossCount]atomic.Uint64
	direct  direct
	starved starved
	all     all
	raws    raws
}

// sock is a socket. It implements posix.Socket.
type sock struct {
	s        *Stack
	v6       bool
	protocol int // syscall.IPPROTO_TCP and its like
	kind     int // SOCK_RAW; 0: what the protocol has
	ep       tcpip.Endpoint
	wq       *waiter.Queue
	entry    waiter.Entry
	ready    func(mode int) // what Notify was given; it is only replaced while entry is not in wq
	own      owner
	owner    *owner       // &own; nil: what it sends has no class; see class.go
	gone     atomic.Int32 // errno of a socket whose address has gone; see AddressGone

	mu        sync.Mutex
	claim     Claim
	bound     bool
	listening bool
	started   bool // a connection was asked for
	shut      bool // for sending
	v6only    bool
	reuse     bool         // SO_REUSEADDR
	groups    []netip.Addr // that the machine is to know of
	share     bool         // SO_REUSEPORT

	// What follows is of sockets whose datagrams go past gVisor: see direct.go.
	local  netip.Addr
	port   uint16 // 0: they do not
	peer   netip.AddrPort
	custom bool // options of IP were set
	hears  bool // IP_RECVERR: what waits is told as an error
	last   way
	pacing pacing
	box    mailbox
}

var _ posix.Socket = (*sock)(nil)

// Socket makes one of AF_INET or AF_INET6.
func (s *Stack) Socket(domain, kind, protocol int) (posix.Socket, syscall.Errno) {
	k := &sock{s: s, v6: domain == syscall.AF_INET6, wq: &waiter.Queue{}}
	network := ipv4.ProtocolNumber
	if k.v6 {
		network = ipv6.ProtocolNumber
	}
	var transport tcpip.TransportProtocolNumber
	switch {
	case kind == syscall.SOCK_STREAM && (protocol == 0 || protocol == syscall.IPPROTO_TCP):
		transport, k.protocol = tcp.ProtocolNumber, syscall.IPPROTO_TCP
	case kind == syscall.SOCK_DGRAM && (protocol == 0 || protocol == syscall.IPPROTO_UDP):
		transport, k.protocol = udp.ProtocolNumber, syscall.IPPROTO_UDP
	case kind == syscall.SOCK_DGRAM && protocol == syscall.IPPROTO_ICMP && !k.v6:
		transport, k.protocol = icmp.ProtocolNumber4, protocol
	case kind == syscall.SOCK_DGRAM && protocol == syscall.IPPROTO_ICMPV6 && k.v6:
		transport, k.protocol = icmp.ProtocolNumber6, protocol
	case kind == syscall.SOCK_RAW:
		return s.raw(k, protocol)
	case kind == syscall.SOCK_STREAM || kind == syscall.SOCK_DGRAM:
		return nil, syscall.EPROTONOSUPPORT
	default:
		return nil, syscall.ESOCKTNOSUPPORT
	}
	ep, err := s.Net.NewEndpoint(transport, network, k.wq)
	if err != nil {
		return nil, errno(err)
	}
	k.ep, k.owner = ep, &k.own
	ep.SetOwner(k.owner)
	s.all.add(k)
	return k, 0
}

// Notify implements posix.Socket.
func (k *sock) Notify(f func(mode int)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f == nil {
		k.wq.EventUnregister(&k.entry)
		k.ready = nil // an endpoint that outlives its socket keeps nothing of who waited
		return
	}
	k.ready = f
	k.entry.Init(k, waiter.ReadableEvents|waiter.WritableEvents|eventsOfBoth)
	k.wq.EventRegister(&k.entry)
}

// eventsOfBoth are those that a reader and a writer are told of.
const eventsOfBoth = waiter.EventErr | waiter.EventHUp

// NotifyEvent implements waiter.EventListener.
func (k *sock) NotifyEvent(mask waiter.EventMask) {
	switch {
	case mask&eventsOfBoth != 0 || mask&waiter.ReadableEvents != 0 && mask&waiter.WritableEvents != 0:
		k.ready('r' + 'w')
	case mask&waiter.WritableEvents != 0:
		k.ready('w')
	default:
		k.ready('r')
	}
}

// Close implements posix.Socket.
func (k *sock) Close() {
	k.s.all.remove(k)
	k.ep.Close()
	k.mu.Lock()
	claim := k.claim
	k.claim = nil
	k.mu.Unlock()
	if k.port != 0 {
		k.unregister()
		// What was sent last is still of a flow of the domain's.
		k.s.Wire.Flush()
	}
	k.s.starved.remove(k)
	k.pacing.stop()
	if claim != nil {
		k.s.Names.Release(claim)
	}
}

// Pending implements posix.Socket.
func (k *sock) Pending() (int, syscall.Errno) {
	if n, ok := k.box.next(); ok {
		return n, 0
	}
	n, err := k.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
	return n, errno(err)
}

// Shutdown implements posix.Socket.
func (k *sock) Shutdown(how int) syscall.Errno {
	flags := map[int]tcpip.ShutdownFlags{
		syscall.SHUT_RD: tcpip.ShutdownRead, syscall.SHUT_WR: tcpip.ShutdownWrite,
		syscall.SHUT_RDWR: tcpip.ShutdownRead | tcpip.ShutdownWrite,
	}[how]
	if flags == 0 {
		return syscall.EINVAL
	}
	if flags&tcpip.ShutdownRead != 0 {
		k.box.close()
	}
	if flags&tcpip.ShutdownWrite != 0 {
		// Also when there is no connection, which gVisor then says.
		k.mu.Lock()
		k.shut = true
		k.mu.Unlock()
	}
	return errno(k.ep.Shutdown(flags))
}
