package socket

import (
	"bytes"
	"net/netip"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// The longest datagrams in bytes, with IPv4 (RFC 791) and with IPv6 (RFC 8200).
const (
	datagramMax4 = 65535 - header.IPv4MinimumSize - header.UDPMinimumSize
	datagramMax6 = 65535 - header.UDPMinimumSize
)

// sliceWriter takes what fits into b.
type sliceWriter struct {
	b []byte
	n int
}

func (w *sliceWriter) Write(p []byte) (int, error) {
	n := copy(w.b[w.n:], p)
	w.n += n
	if n < len(p) {
		return n, errShort
	}
	return n, nil
}

type shortError struct{}

func (shortError) Error() string { return "short" }

var errShort error = shortError{}

// datagramWriter is sliceWriter for datagrams, of which the rest is lost.
type datagramWriter struct {
	b []byte
	n int
}

func (w *datagramWriter) Write(p []byte) (int, error) {
	w.n += copy(w.b[w.n:], p)
	return len(p), nil
}

// receiveDatagram receives one.
func (k *sock) receiveDatagram(b []byte, peek bool) (n int, from netip.AddrPort, whole int, err syscall.Errno) {
	w := &datagramWriter{b: b}
	r, problem := k.ep.Read(w, tcpip.ReadOptions{Peek: peek, NeedRemoteAddr: true})
	if problem != nil {
		if _, end := problem.(*tcpip.ErrClosedForReceive); end {
			return 0, from, 0, 0
		}
		return 0, from, 0, errno(problem)
	}
	return w.n, k.from(r.RemoteAddr), max(r.Total, w.n), 0
}

// Receive implements posix.Socket.
func (k *sock) Receive(b []byte, flags int) (n int, from netip.AddrPort, whole int, err syscall.Errno) {
	const taken = syscall.MSG_PEEK | syscall.MSG_TRUNC | syscall.MSG_DONTWAIT | syscall.MSG_WAITALL | syscall.MSG_NOSIGNAL | syscall.MSG_CMSG_CLOEXEC
	if flags&^taken != 0 {
		return 0, from, 0, syscall.EOPNOTSUPP
	}
	if err := k.over(); err != 0 {
		return 0, from, 0, err
	}
	peek := flags&syscall.MSG_PEEK != 0
	if k.protocol != syscall.IPPROTO_TCP {
		// What ICMP said comes before what arrived, as gVisor has it too.
		if problem := k.ep.LastError(); problem != nil {
			return 0, from, 0, errno(problem)
		}
		if n, from, whole, ok := k.receiveDirect(b, peek); ok {
			return n, from, whole, 0
		}
		return k.receiveDatagram(b, peek)
	}
	w := &sliceWriter{b: b}
	r, problem := k.ep.Read(w, tcpip.ReadOptions{Peek: peek})
	if problem != nil {
		switch problem.(type) {
		case *tcpip.ErrClosedForReceive:
			return 0, from, 0, 0 // the end
		case *tcpip.ErrBadBuffer:
			if w.n == 0 && len(b) > 0 {
				return 0, from, 0, syscall.EFAULT
			}
			return w.n, from, w.n, 0
		}
		return 0, from, 0, errno(problem)
	}
	if !peek {
		k.ep.ModerateRecvBuf(r.Count)
	}
	return r.Count, from, r.Count, 0
}

// Send implements posix.Socket.
func (k *sock) Send(b []byte, flags int, to netip.AddrPort) (int, syscall.Errno) {
	const taken = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL | syscall.MSG_MORE | syscall.MSG_CONFIRM
	if flags&^taken != 0 {
		return 0, syscall.EOPNOTSUPP
	}
	if err := k.over(); err != 0 {
		return 0, err
	}
	if k.protocol == syscall.IPPROTO_TCP {
		if len(b) == 0 {
			return 0, 0
		}
		n, err := k.ep.Write(bytes.NewReader(b), tcpip.WriteOptions{More: flags&syscall.MSG_MORE != 0})
		if err != nil && n == 0 {
			return 0, errno(err)
		}
		return int(n), 0
	}
	if len(b) > k.longest(to) {
		return 0, syscall.EMSGSIZE
	}
	if to.IsValid() && to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(loopback(to.Addr()), to.Port())
	}
	if err := k.readyToSend(to); err != 0 {
		return 0, err
	}
	if done, err := k.sendDirect(b, to); done {
		if err != 0 {
			return 0, err
		}
		return len(b), 0
	}
	if k.tooLong(len(b), to) {
		return 0, syscall.EMSGSIZE
	}
	o := tcpip.WriteOptions{Atomic: true}
	if to.IsValid() {
		f := full(to)
		o.To = &f
	}
	if !private(to.Addr()) {
		if err := k.congested(k.protocol, k.localPort(), to); err != 0 {
			return 0, err
		}
	}
	n, err := k.ep.Write(bytes.NewReader(b), o)
	if err != nil {
		return 0, errno(err)
	}
	return int(n), 0
}

// localPort is the socket's port, or identifier; 0: it has none.
func (k *sock) localPort() uint16 {
	a, err := k.ep.GetLocalAddress()
	if err != nil {
		return 0
	}
	return a.Port
}

// congested says why a datagram to an address, or to the peer if that is invalid, cannot be
// given to gVisor now: its link would lose it, as it takes none or the flow is to pause.
func (k *sock) congested(protocol int, port uint16, to netip.AddrPort) syscall.Errno {
	if !to.IsValid() {
		k.mu.Lock()
		to = k.peer
		k.mu.Unlock()
	}
	waits := func() bool {
		return k.s.Full != nil && k.s.Full() ||
			k.s.Wire != nil && to.IsValid() && k.s.Wire.Paused(uint8(protocol), port, to)
	}
	if !waits() {
		return 0
	}
	if to.IsValid() && k.paused(uint8(protocol), port, to) {
		return syscall.ENOBUFS
	}
	// As in sendDirect.
	if k.s.starved.add(k); waits() {
		return syscall.EAGAIN
	}
	return 0
}

// longest is how long a datagram to an address may be, or to the peer if that is
// invalid.
func (k *sock) longest(to netip.AddrPort) int {
	if !to.IsValid() {
		k.mu.Lock()
		to = k.peer
		k.mu.Unlock()
	}
	if to.Addr().Unmap().Is4() {
		return datagramMax4
	}
	return datagramMax6
}

// readyToSend takes a port for a datagram socket that sends before it has one. It
// does so even for loopback: the next datagram may go elsewhere.
func (k *sock) readyToSend(to netip.AddrPort) syscall.Errno {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.unreachable(to.Addr()) {
		return syscall.ENETUNREACH
	}
	if !k.bound && !k.started && to.IsValid() {
		if err := k.bind(k.any()); err != 0 {
			return err
		}
	}
	if k.shut && (to.IsValid() || k.peer.IsValid()) {
		return syscall.EPIPE
	}
	return 0
}
