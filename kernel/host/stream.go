package host

// Frames of one TCP stream, which are handed to gVisor as one packet.

import (
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
)

// stream finds how many frames, from the first on, are one TCP stream's without a gap,
// and what they carry together. A frame alone is a run of 1, whose payload is not
// told.
func (p *poller) stream(batch []nic.Packet, info []received) (first segment, count, payload int, push bool) {
	l := p.link
	if info[0].transport != header.TCPProtocolNumber {
		return segment{}, 1, 0, false
	}
	first, ok := mergeable(info[0].frameInfo, info[0].head)
	if !ok || batch[0].GSO != nic.GSONone || len(batch) == 1 || first.push {
		return first, 1, 0, false
	}
	count, payload = 1, first.payload
	for count < len(batch) && !push {
		pkt, in := &batch[count], &info[count]
		if in.head == nil || pkt.GSO != nic.GSONone {
			break
		}
		s, ok := mergeable(in.frameInfo, in.head)
		if !ok || !s.follows(&first, payload) {
			break
		}
		// The first one's sum is worth computing only once it has company.
		if count == 1 && !l.verify(&batch[0], &info[0]) || !l.verify(pkt, in) {
			break
		}
		payload += s.payload
		count++
		push = s.push
		if s.payload < first.payload {
			break
		}
	}
	return first, count, payload, push
}

// deliverRun hands the first frame to gVisor, together with as many behind it
// as continue its TCP stream, and returns how many that were.
func (p *poller) deliverRun(batch []nic.Packet, info []received) int {
	l := p.link
	first, count, payload, push := p.stream(batch, info)
	if count == 1 {
		p.inject(&batch[0], &info[0])
		return 1
	}

	at := first.ipHdr + first.tcpHdr
	v := newPacket(at + payload)
	for i := range count {
		from := ethHeader
		if i > 0 {
			from += at
		}
		v.append(&batch[i], from, ethHeader+info[i].ipLen)
	}
	v.finish()
	patchMerged(v.head(), &first, payload, push)
	l.counters.add(rxMerged, uint64(count))
	l.inject(&v, &first.frameInfo, true)
	return count
}
