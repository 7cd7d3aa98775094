package host

// The first look at a frame that has arrived, and its checksum.

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
)

// received is what the first look at a frame of the batch said.
type received struct {
	frameInfo
	share
	head []byte
	room [headMax]byte // for head, when the frame's front is in pieces
	// checked says that validated is known: the checksum was looked at.
	checked, validated bool
	// wrong says that it was computed here, and is not right.
	wrong bool
	// taken says that it was for others, and is on its way.
	taken bool
}

// source returns who sent an IP packet, and nobody for another.
func (f *frameInfo) source(packet []byte) netip.Addr {
	switch f.network {
	case header.IPv4ProtocolNumber:
		return netip.AddrFrom4([4]byte(packet[12:16]))
	case header.IPv6ProtocolNumber:
		return netip.AddrFrom16([16]byte(packet[8:24]))
	}
	return netip.Addr{}
}

// look classifies one frame, and counts it when it is to be dropped.
func (p *poller) look(pkt *nic.Packet, in *received) {
	in.checked, in.validated, in.wrong, in.head = false, false, false, nil
	if !wellFormed(pkt) {
		p.link.counters.inc(rxDropLength)
		return
	}
	head := gatherHead(pkt, &in.room)
	info, reason, ok := classify(head, pkt.Len, p.link.mac)
	if !ok {
		taken := false
		if reason == rxDropLLC || reason == rxDropEthertype {
			taken = p.offerOSI(pkt, head)
		}
		if !taken && reason == rxDropEthertype {
			taken = p.offerFrame(pkt, head)
		}
		if !taken {
			p.link.counters.inc(reason)
		}
		return
	}
	share, reason, bad := refuse(head[ethHeader:], &info)
	if bad {
		p.link.counters.inc(reason)
		return
	}
	// What is for one machine is not sent to many (RFC 1122, section 3.3.6).
	if info.kind != tcpip.PacketHost && p.link.local.Load().receives(&info, head[ethHeader:]) {
		p.link.counters.inc(rxDropToAll)
		return
	}
	in.frameInfo, in.share, in.head = info, share, head
}

// validate reports whether gVisor may take the frame's checksums as right.
// Only TCP and UDP right behind a sound IP header can be: that is all that
// cards check. gVisor checks the rest, and drops and counts what is wrong.
func (l *link) validate(pkt *nic.Packet, in *received) bool {
	if in.checked {
		return in.validated
	}
	in.checked = true
	if in.transport == header.TCPProtocolNumber || in.transport == header.UDPProtocolNumber {
		in.validated = pkt.Verified || pkt.NeedsChecksum
	}
	return in.validated
}

// verify is validate, and computes the sum when the card did not.
func (l *link) verify(pkt *nic.Packet, in *received) bool {
	if in.wrong || l.validate(pkt, in) {
		return !in.wrong
	}
	l.counters.inc(rxChecksumSoftware)
	in.validated = sumTransport(pkt, in.head, &in.frameInfo) == 0xffff
	if in.wrong = !in.validated; in.wrong {
		l.counters.inc(rxBadChecksum)
	}
	return in.validated
}
