package packet

import "encoding/binary"

// This file owns how fragments become a packet.

// place puts a fragment where it belongs. OK says that the packet is whole.
func (r *Reassembler) place(p *partial, in *Info, b []byte) Reason {
	data := b[in.HeaderLen:]
	start, end := in.FragmentOffset, in.FragmentOffset+len(data)
	at := len(p.pieces)
	for at > 0 && p.pieces[at-1].offset >= start {
		at--
	}
	// All before at begin before start.
	if at < len(p.pieces) {
		if q := p.pieces[at]; q.offset == start && string(q.data) == string(data) && (in.More || p.end == end) {
			return FragmentDuplicate
		} else if q.offset < end {
			return FragmentOverlap
		}
	}
	if at > 0 && p.pieces[at-1].offset+len(p.pieces[at-1].data) > start {
		return FragmentOverlap
	}
	switch {
	case !in.More && (p.end >= 0 && p.end != end || at < len(p.pieces)):
		return FragmentInconsistent
	case p.end >= 0 && end > p.end:
		return FragmentInconsistent
	case len(p.pieces) >= r.limits.Fragments:
		return FragmentTooMany
	}
	if !in.More {
		p.end = end
	}
	if start == 0 && tooLong(in, in.HeaderLen, end) || p.end >= 0 && p.head != nil && tooLong(&p.first, len(p.head), p.end) {
		return FragmentTooLong
	}
	cost := (len(data)+roundTo-1)/roundTo*roundTo + fragmentCost
	for r.bytes+cost > r.limits.Bytes {
		old := r.root.next
		if old == p {
			old = p.next
		}
		if old == &r.root {
			return FragmentTooMany // one packet alone is over the limit
		}
		r.lose(old, FragmentEvicted)
	}
	r.bytes += cost
	p.cost += cost
	p.have += len(data)
	p.ecn |= 1 << in.ECN()
	p.pieces = append(p.pieces, piece{})
	copy(p.pieces[at+1:], p.pieces[at:])
	p.pieces[at] = piece{start, append([]byte(nil), data...)}
	if start == 0 {
		p.head, p.first = append([]byte(nil), b[:in.HeaderLen]...), *in
		if p.end >= 0 && tooLong(in, len(p.head), p.end) {
			return FragmentTooLong
		}
	}
	if p.have != p.end {
		return FragmentHeld
	}
	return OK
}

// tooLong says whether n bytes behind the header make more than a length can say.
func tooLong(in *Info, header, n int) bool {
	if in.Version == 4 {
		return header+n > lengthMax
	}
	return header-v6Len-8+n > lengthMax
}

// mergeECN makes one mark of a set of them (RFC 3168, section 5.3): bit n of the set
// stands for mark n.
func mergeECN(set uint8) (mark uint8, ok bool) {
	const none, ce = 1 << 0, 1 << 3
	switch {
	case set&ce != 0 && set&none != 0:
		return 0, false
	case set&ce != 0:
		return 3, true
	case set&none != 0:
		return 0, true // mixed with a capable mark: not capable as a whole
	case set == 1<<1:
		return 1, true
	}
	return 2, true
}

// finish makes a packet of the header of its first fragment and its n bytes.
func finish(in *Info, head []byte, pieces []piece, n int, ecn uint8) []byte {
	var b []byte
	if in.Version == 4 {
		b = append(make([]byte, 0, len(head)+n), head...)
		b[1] = b[1]&^3 | ecn
		binary.BigEndian.PutUint16(b[2:], uint16(len(head)+n))
		b[6], b[7] = b[6]&^0x3f, 0
		b[10], b[11] = 0, 0
		var s Sum
		s.Add(b)
		binary.BigEndian.PutUint16(b[10:], s.Checksum())
	} else {
		at := int(in.fragmentAt)
		b = append(make([]byte, 0, len(head)-8+n), head[:at]...)
		b = append(b, head[at+8:]...)
		b[in.nextAt] = head[at]
		b[1] = b[1]&^0x30 | ecn<<4
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-v6Len+n))
	}
	for _, p := range pieces {
		b = append(b, p.data...)
	}
	return b
}
