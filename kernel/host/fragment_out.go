package host

// Fragments of what domains send: a datagram is checked as a whole and cut here.

import (
	"github.com/sluice-os/sluice/nexus/netif"
	fronts "github.com/sluice-os/sluice/nexus/packet"
)

// fragmenter belongs to the holder of the transmitter's lock.
type fragmenter struct {
	whole []byte // the payload of IP, with its checksum
	head  [ethHeader + fronts.FragmentHeaderMax]byte
	piece [1][]byte
}

// mayBeCut says whether a packet without options or extension headers may be sent in
// fragments: all but those of TCP, which makes shorter ones by itself.
func mayBeCut(head []byte) bool {
	at := 9
	if head[0]>>4 == 6 {
		at = 6
	}
	return head[at] != fronts.TCP
}

// fragments sends o in fragments of mtu bytes at most. ethernet begins with their link
// header. t.mu is held.
func (p *cardPort) fragments(o *netif.Outgoing, ethernet []byte, mtu int) netif.Result {
	l, f := p.s.link, &p.cut
	t := l.tx
	version := o.Head[0] >> 4
	f.whole = append(f.whole[:0], o.Head[o.IP:o.IP+o.Transport]...)
	for _, b := range o.Body {
		f.whole = append(f.whole, b...)
	}
	if o.Sum {
		finishSum(f.whole, 0, o.SumOffset)
	}
	id := p.FragmentID()
	step := fronts.FragmentPayload(version, mtu)
	before := t.n
	copy(f.head[:ethHeader], ethernet)
	for offset := 0; offset < len(f.whole); offset += step {
		n := min(step, len(f.whole)-offset)
		ip := fronts.Fragment(f.head[ethHeader:], o.Head, id, offset, n, offset+n < len(f.whole))
		f.piece[0] = f.whole[offset : offset+n]
		p.out = outgoing{head: f.head[:ethHeader+len(ip)], ip: len(ip), payload: n}
		p.body = bodyReader{pieces: f.piece[:]}
		// What comes behind one that waits waits as well.
		if done := 0; t.length == 0 && t.frames(&p.out, &p.body, &done) {
			continue
		}
		if offset == 0 {
			return netif.Full
		}
		if !p.wait(queued{pkt: f.held(p.out.head, len(ip))}) {
			break // the others are of no use without it
		}
	}
	t.counters.inc(txFragmented)
	p.wake(before)
	return netif.Sent
}
