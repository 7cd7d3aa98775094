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

// fragments sends o in fragments of the path's MTU, from where at says on. ethernet begins
// with their link header. It reports false when the ring was full before the end, with at
// moved forward. t.mu is held.
func (p *cardPort) fragments(o *netif.Outgoing, ethernet []byte, at *progress) bool {
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
	if at.id == 0 {
		at.id = p.FragmentID()
	}
	step := fronts.FragmentPayload(version, l.paths.mtu(o.Remote, int(l.MTU())))
	copy(f.head[:ethHeader], ethernet)
	for at.done < len(f.whole) {
		offset := at.done
		n := min(step, len(f.whole)-offset)
		ip := fronts.Fragment(f.head[ethHeader:], o.Head, at.id, offset, n, offset+n < len(f.whole))
		f.piece[0] = f.whole[offset : offset+n]
		p.out = outgoing{head: f.head[:ethHeader+len(ip)], ip: len(ip), payload: n}
		p.body = bodyReader{pieces: f.piece[:]}
		part := 0
		if !t.frames(&p.out, &p.body, &part) {
			return false
		}
		at.done += n
	}
	t.counters.inc(txFragmented)
	return true
}
