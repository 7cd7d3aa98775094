package host

// UDP echo (RFC 862). A plain datagram to one of our addresses is answered by
// the poller straight from the received frame into a transmit buffer: addresses
// and ports change places, which leaves the UDP checksum as it is. Fragments,
// IP options and everything else unusual goes through gVisor to a socket.
//
// An echo that answers another server's answer makes a loop that nothing ends,
// so datagrams from ports below 1024 are dropped, as inetd does.

import (
	"bytes"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/sluice-os/sluice/drivers/nic"
)

const (
	echoPort = 7
	// reservedPorts is the first port that an echo answers to.
	reservedPorts = 1024
	defaultTTL    = 64
)

// localAddresses is a snapshot of the card's addresses. More than fit are left
// out, and answered through gVisor.
type localAddresses struct {
	v4     [4][4]byte
	v6     [16][16]byte
	n4, n6 int
	// generation is another in each snapshot that was in use.
	generation uint64
	// broadcast are the addresses of all in the networks of IPv4 on the link.
	broadcast []netip.Addr
}

func (l *localAddresses) add(a tcpip.Address) {
	switch {
	case a.Len() == 4 && l.n4 < len(l.v4):
		l.v4[l.n4] = a.As4()
		l.n4++
	case a.Len() == 16 && l.n6 < len(l.v6):
		l.v6[l.n6] = a.As16()
		l.n6++
	}
}

func (l *localAddresses) has4(a [4]byte) bool {
	for i := range l.n4 {
		if l.v4[i] == a {
			return true
		}
	}
	return false
}

func (l *localAddresses) has(a tcpip.Address) bool {
	if a.Len() == header.IPv4AddressSize {
		return l.has4(a.As4())
	}
	return a.Len() == header.IPv6AddressSize && l.has6(a.As16())
}

func (l *localAddresses) has6(a [16]byte) bool {
	for i := range l.n6 {
		if l.v6[i] == a {
			return true
		}
	}
	return false
}

// receives says whether an IP packet is for one of the addresses.
func (l *localAddresses) receives(f *frameInfo, packet []byte) bool {
	switch f.network {
	case header.IPv4ProtocolNumber:
		return l.has4([4]byte(packet[16:20]))
	case header.IPv6ProtocolNumber:
		return l.has6([16]byte(packet[24:40]))
	}
	return false
}

// echoUDP answers a datagram to port 7. It reports false when the datagram is
// for gVisor to look at.
func (l *link) echoUDP(pkt *nic.Packet, in *received) bool {
	ip := in.head[ethHeader:]
	datagram := header.UDP(ip[in.ipHdr:])
	if in.kind != tcpip.PacketHost || int(datagram.Length()) != in.ipLen-in.ipHdr {
		return false
	}
	local := l.local.Load()
	if in.network == header.IPv4ProtocolNumber {
		src, dst := [4]byte(ip[12:16]), [4]byte(ip[16:20])
		if in.ipHdr != ipv4Header || !local.has4(dst) || local.has4(src) ||
			src[0] == 0 || src[0] == 127 || src[0] >= 224 {
			return false
		}
	} else {
		src, dst := [16]byte(ip[8:24]), [16]byte(ip[24:40])
		if !local.has6(dst) || local.has6(src) || src[0] == 0 || src[0] == 0xff || datagram.Checksum() == 0 {
			return false
		}
	}
	if datagram.Checksum() != 0 && !l.verify(pkt, in) {
		return false
	}
	if datagram.SourcePort() < reservedPorts {
		l.counters.inc(udpEchoDropPort)
		return true
	}
	if l.tx.answer(pkt, in) {
		l.counters.inc(udpEchoFast)
	} else {
		l.counters.inc(udpEchoDropError)
	}
	return true
}

// answer sends pkt back to where it came from. It reports false when the ring
// is full.
func (t *transmitter) answer(pkt *nic.Packet, in *received) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := ethHeader + in.ipLen
	p := t.reserve(n)
	if p == nil {
		return false
	}

	at := ethHeader + in.ipHdr
	head := t.head[:at+udpHeader]
	copy(head, in.head)
	copy(head[0:6], in.head[6:12])
	copy(head[6:12], in.head[0:6])
	ip, from := head[ethHeader:], in.head[ethHeader:]
	if in.network == header.IPv4ProtocolNumber {
		copy(ip[12:16], from[16:20])
		copy(ip[16:20], from[12:16])
		h := header.IPv4(ip)
		h[1] = 0 // the answer has no class of its own
		h.SetID(0)
		h.SetFlagsFragmentOffset(header.IPv4FlagDontFragment, 0)
		h[8] = defaultTTL
		h.SetChecksum(0)
		h.SetChecksum(^h.CalculateChecksum())
	} else {
		copy(ip[8:24], from[24:40])
		copy(ip[24:40], from[8:24])
		header.IPv6(ip).SetTOS(0, 0)
		ip[7] = defaultTTL
	}
	copy(head[at:at+2], in.head[at+2:at+4])
	copy(head[at+2:at+4], in.head[at:at+2])

	w := cursor{buffers: p.Buffers}
	w.write(head)
	skip, end := len(head), n
	for _, b := range pkt.Buffers {
		if skip < len(b.Bytes) && end > 0 {
			w.write(b.Bytes[max(skip, 0):min(end, len(b.Bytes))])
		}
		skip, end = skip-len(b.Bytes), end-len(b.Bytes)
	}
	if pkt.NeedsChecksum {
		// It was never summed: the field holds the sum of the pseudo header,
		// which is the same both ways.
		t.checksum(p, at, udpSumOffset, n)
	}
	t.commit(p, n)
	return true
}

// serveUDPEcho answers what comes through gVisor, until stop.
func (s *Stack) serveUDPEcho() error {
	var wq waiter.Queue
	ep, err := s.net.NewEndpoint(udp.ProtocolNumber, ipv6.ProtocolNumber, &wq)
	if err != nil {
		return serviceError("udp", echoPort, err)
	}
	ep.SocketOptions().SetReceivePacketInfo(true)
	if err := ep.Bind(tcpip.FullAddress{Port: echoPort}); err != nil {
		ep.Close()
		return serviceError("udp", echoPort, err)
	}
	entry, readable := waiter.NewChannelEntry(waiter.ReadableEvents)
	wq.EventRegister(&entry)
	idle := func() bool { return ep.Readiness(waiter.ReadableEvents)&waiter.ReadableEvents == 0 }
	s.link.echoIdle.Store(&idle)
	s.wg.Go(func() {
		defer ep.Close()
		defer wq.EventUnregister(&entry)
		for {
			s.echoSocket(ep)
			select {
			case <-readable:
			case <-s.stop:
				return
			}
		}
	})
	return nil
}

// echoSocket answers all datagrams that wait at ep.
func (s *Stack) echoSocket(ep tcpip.Endpoint) {
	var data bytes.Buffer
	for {
		data.Reset()
		r, err := ep.Read(&data, tcpip.ReadOptions{NeedRemoteAddr: true})
		if err != nil {
			s.link.echoQueued.Store(0) // also of what was found to be none
			return
		}
		s.link.echoQueued.Add(-int64(max(data.Len(), 1)))
		if r.RemoteAddr.Port < reservedPorts {
			s.counters.inc(udpEchoDropPort)
			continue
		}
		if i := r.ControlMessages.PacketInfo; r.ControlMessages.HasIPPacketInfo &&
			(i.DestinationAddr == header.IPv4Broadcast || s.net.IsSubnetBroadcast(i.NIC, ipv4.ProtocolNumber, i.DestinationAddr)) {
			s.counters.inc(udpEchoDropError)
			continue
		}
		payload := bytes.NewReader(data.Bytes())
		if _, err := ep.Write(payload, tcpip.WriteOptions{To: &r.RemoteAddr}); err != nil {
			s.counters.inc(udpEchoDropError)
			continue
		}
		s.counters.inc(udpEchoSlow)
	}
}
