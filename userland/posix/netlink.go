package posix

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"syscall"
)

// Netlink sockets (RFC 3549) answer the two questions that package net asks: which
// interfaces there are, and which addresses they have.

// Link is a network interface.
type Link struct {
	Index     int
	Name      string
	MTU       int
	MAC       []byte // empty: none
	Loopback  bool
	Up        bool
	Addresses []netip.Prefix
}

// netlink makes a socket of AF_NETLINK.
func (p *Process) netlink(kind, protocol int) (Socket, syscall.Errno) {
	if kind != syscall.SOCK_RAW && kind != syscall.SOCK_DGRAM {
		return nil, syscall.ESOCKTNOSUPPORT
	}
	if protocol != syscall.NETLINK_ROUTE {
		return nil, syscall.EPROTONOSUPPORT
	}
	return &netlinkSocket{p: p}, 0
}

type netlinkSocket struct {
	p *Process

	mu      sync.Mutex
	answers [][]byte
	notify  func(mode int)
}

// sizeofHeader is the size of struct nlmsghdr.
const sizeofHeader = 16

func (n *netlinkSocket) Send(b []byte, _ int, _ netip.AddrPort) (int, syscall.Errno) {
	if len(b) < sizeofHeader+1 {
		return 0, syscall.EINVAL
	}
	kind, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
	sequence, family := binary.NativeEndian.Uint32(b[8:]), b[sizeofHeader]
	if flags&syscall.NLM_F_DUMP != syscall.NLM_F_DUMP {
		return 0, syscall.EOPNOTSUPP
	}
	var links []Link
	if n.p.Links != nil {
		links = n.p.Links()
	}
	m := messages{sequence: sequence}
	switch kind {
	case syscall.RTM_GETLINK:
		for _, l := range links {
			m.link(&l)
		}
	case syscall.RTM_GETADDR:
		for _, l := range links {
			for _, a := range l.Addresses {
				if family == syscall.AF_UNSPEC || (family == syscall.AF_INET) == a.Addr().Is4() {
					m.address(&l, a)
				}
			}
		}
	default:
		return 0, syscall.EOPNOTSUPP
	}
	m.begin(syscall.NLMSG_DONE, 4)
	n.mu.Lock()
	n.answers = append(n.answers, m.datagrams()...)
	notify := n.notify
	n.mu.Unlock()
	if notify != nil {
		notify(modeRead)
	}
	return len(b), 0
}

func (n *netlinkSocket) Receive(b []byte, flags int) (int, netip.AddrPort, int, syscall.Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.answers) == 0 {
		return 0, netip.AddrPort{}, 0, syscall.EAGAIN
	}
	whole := len(n.answers[0])
	got := copy(b, n.answers[0])
	if flags&syscall.MSG_PEEK == 0 {
		n.answers = n.answers[1:]
	}
	return got, netip.AddrPort{}, whole, 0
}

// Pending implements Socket.
func (n *netlinkSocket) Pending() (int, syscall.Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.answers) == 0 {
		return 0, 0
	}
	return len(n.answers[0]), 0
}

func (n *netlinkSocket) Notify(f func(mode int)) {
	n.mu.Lock()
	n.notify = f
	n.mu.Unlock()
}

func (n *netlinkSocket) Bind(netip.AddrPort) syscall.Errno { return 0 }
func (n *netlinkSocket) Listen(int) syscall.Errno          { return syscall.EOPNOTSUPP }
func (n *netlinkSocket) Accept() (Socket, netip.AddrPort, syscall.Errno) {
	return nil, netip.AddrPort{}, syscall.EOPNOTSUPP
}
func (n *netlinkSocket) Connect(netip.AddrPort) syscall.Errno       { return 0 }
func (n *netlinkSocket) Local() (a netip.AddrPort, _ syscall.Errno) { return a, 0 }
func (n *netlinkSocket) Peer() (a netip.AddrPort, _ syscall.Errno)  { return a, syscall.ENOTCONN }
func (n *netlinkSocket) Shutdown(int) syscall.Errno                 { return syscall.EOPNOTSUPP }
func (n *netlinkSocket) SetOption(_, _ int, _ []byte) syscall.Errno { return 0 }
func (n *netlinkSocket) Option(_, _ int) (value []byte, _ syscall.Errno) {
	return nil, syscall.ENOPROTOOPT
}
func (n *netlinkSocket) Close() {}

// netlinkPort is the address of every socket; that of the kernel is 0.
const netlinkPort = 1

// netlinkAddr returns an address (struct sockaddr_nl).
func netlinkAddr(port uint32) []byte {
	b := make([]byte, syscall.SizeofSockaddrNetlink)
	binary.NativeEndian.PutUint16(b, syscall.AF_NETLINK)
	binary.NativeEndian.PutUint32(b[4:], port)
	return b
}

// putNetlinkAddr writes an address and its length. The address 0 takes none.
func putNetlinkAddr(port uint32, addr, lenAddr uintptr) syscall.Errno {
	if addr == 0 || lenAddr == 0 {
		return 0
	}
	length, err := array[uint32](lenAddr, 1)
	if err != 0 {
		return err
	}
	if int32(length[0]) < 0 {
		return syscall.EINVAL
	}
	return putBytes(netlinkAddr(port), addr, &length[0])
}

// datagramMax is how many bytes an answer has at most: who asks reads with a page.
const datagramMax = 3584

// messages are netlink messages behind each other.
type messages struct {
	b        []byte
	sequence uint32
	start    int   // of the last one
	starts   []int // of all
}

// datagrams cuts them into answers.
func (m *messages) datagrams() (list [][]byte) {
	from := 0
	for i, start := range m.starts {
		end := len(m.b)
		if i+1 < len(m.starts) {
			end = m.starts[i+1]
		}
		if end-from > datagramMax && start > from {
			list = append(list, m.b[from:start])
			from = start
		}
	}
	return append(list, m.b[from:])
}

// begin starts a message with n bytes of zeros behind its header, and returns
// those.
func (m *messages) begin(kind uint16, n int) []byte {
	m.start = len(m.b)
	m.starts = append(m.starts, m.start)
	m.b = append(m.b, make([]byte, sizeofHeader+n)...)
	h := m.b[m.start:]
	binary.NativeEndian.PutUint32(h, uint32(len(h)))
	binary.NativeEndian.PutUint16(h[4:], kind)
	binary.NativeEndian.PutUint16(h[6:], syscall.NLM_F_MULTI)
	binary.NativeEndian.PutUint32(h[8:], m.sequence)
	binary.NativeEndian.PutUint32(h[12:], netlinkPort)
	return h[sizeofHeader:]
}

// attribute adds one to the last message (struct rtattr).
func (m *messages) attribute(kind uint16, value []byte) {
	at := len(m.b)
	m.b = append(m.b, 0, 0, 0, 0)
	m.b = append(m.b, value...)
	binary.NativeEndian.PutUint16(m.b[at:], uint16(4+len(value)))
	binary.NativeEndian.PutUint16(m.b[at+2:], kind)
	for len(m.b)%4 != 0 {
		m.b = append(m.b, 0)
	}
	binary.NativeEndian.PutUint32(m.b[m.start:], uint32(len(m.b)-m.start))
}

// link adds an interface (struct ifinfomsg).
func (m *messages) link(l *Link) {
	body := m.begin(syscall.RTM_NEWLINK, syscall.SizeofIfInfomsg)
	flags, hardware := uint32(syscall.IFF_BROADCAST|syscall.IFF_MULTICAST), uint16(syscall.ARPHRD_ETHER)
	if l.Loopback {
		flags, hardware = syscall.IFF_LOOPBACK, syscall.ARPHRD_LOOPBACK
	}
	if l.Up {
		flags |= syscall.IFF_UP | syscall.IFF_RUNNING
	}
	binary.NativeEndian.PutUint16(body[2:], hardware)
	binary.NativeEndian.PutUint32(body[4:], uint32(l.Index))
	binary.NativeEndian.PutUint32(body[8:], flags)
	m.attribute(syscall.IFLA_IFNAME, append([]byte(l.Name), 0))
	m.attribute(syscall.IFLA_MTU, binary.NativeEndian.AppendUint32(nil, uint32(l.MTU)))
	if len(l.MAC) > 0 {
		m.attribute(syscall.IFLA_ADDRESS, l.MAC)
	}
}

// address adds an address (struct ifaddrmsg).
func (m *messages) address(l *Link, a netip.Prefix) {
	body := m.begin(syscall.RTM_NEWADDR, syscall.SizeofIfAddrmsg)
	body[0] = syscall.AF_INET6
	if a.Addr().Is4() {
		body[0] = syscall.AF_INET
	}
	body[1] = byte(a.Bits())
	binary.NativeEndian.PutUint32(body[4:], uint32(l.Index))
	m.attribute(syscall.IFA_ADDRESS, a.Addr().AsSlice())
	if a.Addr().Is4() {
		m.attribute(syscall.IFA_LOCAL, a.Addr().AsSlice())
	}
}
