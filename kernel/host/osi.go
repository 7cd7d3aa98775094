package host

// Frames of OSI's network layer: IEEE 802.3 with the LLC header FE FE 03 (ISO 10589 8.4.8), which
// routing protocols speak that are not on IP.

import (
	"encoding/binary"

	"github.com/sluice-os/sluice/drivers/nic"
)

const (
	// llcHeader is the length of an LLC header of unnumbered information, and osiHeader what
	// stands before a PDU: the link header and that.
	llcHeader = 3
	osiHeader = ethHeader + llcHeader
	// etherTypeLLC is that of longer frames than the length field of IEEE 802.3 can say
	// (draft-ietf-isis-ext-eth).
	etherTypeLLC = 0x8870
	// lengthMax is the most that the standard has it say, in bytes with the LLC header: what is longer
	// is sent with etherTypeLLC. lengthTaken is the most that is taken for a length: from etherTypeMin on it
	// is an EtherType, and FRR writes lengths up to there.
	lengthMax   = 1500
	lengthTaken = etherTypeMin - 1
)

// llcOSI is the LLC header: destination, source, unnumbered information.
var llcOSI = [llcHeader]byte{0xfe, 0xfe, 0x03}

// OSI has take called with each PDU that arrives for one of the groups that it knows, or for the
// card; it returns how to send. take is called by the card's goroutine, which it must not keep
// waiting, and the bytes are the driver's again when it returns. It is called before Start.
func (s *Stack) OSI(take func(from [6]byte, pdu []byte), groups ...[6]byte) *OSIPort {
	s.link.osi = &osiReceiver{take: take, groups: groups}
	for _, g := range groups {
		s.link.filter.askLink(g, 1)
	}
	return &OSIPort{s}
}

// OSIPort sends PDUs.
type OSIPort struct{ s *Stack }

// Address is the card's.
func (p *OSIPort) Address() [6]byte { return p.s.link.mac }

// Send sends a PDU, before what waits and what is in transit: with its length, or with etherTypeLLC
// when that is more than lengthMax. It is dropped when too many PDUs wait
// for a place in the card's ring, or it is longer than the link's MTU less 3 bytes: it has to be
// one that is sent again.
func (p *OSIPort) Send(to [6]byte, pdu []byte) {
	if len(pdu)+llcHeader > int(p.s.link.MTU()) {
		p.s.link.counters.inc(txDropOSI)
		return
	}
	frame := make([]byte, 0, osiHeader+len(pdu))
	frame = append(append(frame, to[:]...), p.s.link.mac[:]...)
	n := uint16(llcHeader + len(pdu))
	if n > lengthMax {
		n = etherTypeLLC
	}
	frame = binary.BigEndian.AppendUint16(frame, n)
	frame = append(append(frame, llcOSI[:]...), pdu...)
	p.s.link.tx.writeFirst(frame)
}

// osiReceiver is who takes PDUs.
type osiReceiver struct {
	take   func(from [6]byte, pdu []byte)
	groups [][6]byte
	room   []byte // for a PDU in pieces
}

// offerOSI gives a frame that is no IP to who takes PDUs; false: it is none, or nobody does.
func (p *poller) offerOSI(pkt *nic.Packet, head []byte) bool {
	r := p.link.osi
	if r == nil || len(head) < osiHeader || [llcHeader]byte(head[ethHeader:osiHeader]) != llcOSI || !r.wants([6]byte(head[:6]), p.link.mac) {
		return false
	}
	n := int(binary.BigEndian.Uint16(head[12:]))
	switch {
	case n == etherTypeLLC:
		n = pkt.Len - ethHeader
	case n < llcHeader || n > lengthTaken || n > pkt.Len-ethHeader:
		return false
	}
	n += ethHeader
	whole := pkt.Buffers[0].Bytes
	if len(whole) < n {
		r.room = r.room[:0]
		for _, b := range pkt.Buffers {
			r.room = append(r.room, b.Bytes...)
		}
		whole = r.room
	}
	r.take([6]byte(head[6:12]), whole[osiHeader:n])
	p.link.counters.inc(rxOSI)
	return true
}

func (r *osiReceiver) wants(to, own [6]byte) bool {
	for _, g := range r.groups {
		if to == g {
			return true
		}
	}
	return to == own
}
