package flowswitch

import (
	"encoding/binary"
	"sync"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns what is done for channels that do not take all that the card and the kernel do
// for others: sums that were left out are made, and what is several segments in one is cut.

// plain delivers to them, one packet at a time: all of it is copied here before. Its memory is
// made with the first.
type plain struct {
	mu   sync.Mutex
	all  []byte
	head []byte // of the segment at hand
	// pieces are what comes next.
	pieces [2][]byte
	fill   func(to []byte)
}

// next copies the next bytes of pieces.
func (x *plain) next(to []byte) {
	for i := range x.pieces {
		n := copy(to, x.pieces[i])
		to, x.pieces[i] = to[n:], x.pieces[i][n:]
	}
}

// deliver delivers a packet, and returns as how many it came, and how many found no room.
func (x *plain) deliver(a *attached, in *packet.Info, d *channel.Delivery, fill func([]byte)) (came, lost int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.all == nil {
		x.all, x.head, x.fill = make([]byte, abi.PacketMax), make([]byte, packet.FrontMax), x.next
	}
	b := x.all[:d.Length]
	fill(b)
	give := func(head, payload []byte) {
		x.pieces = [2][]byte{head, payload}
		d.Length = len(head) + len(payload)
		if a.Channel.Deliver(d, x.fill) {
			came++
		} else {
			lost++
		}
	}
	ip, headers, mss := in.HeaderLen, in.HeaderLen+in.TransportLen, d.SegmentSize
	sums := a.Offloads()&abi.OffloadChecksum == 0
	if !cuttable(in) || d.Length <= headers {
		mss, d.SegmentSize = 0, 0
	}
	if mss == 0 || a.Offloads()&abi.OffloadAggregation != 0 {
		if sums && d.Verified {
			putSum(b, in)
			d.Verified = false
		}
		give(b, nil)
		return came, lost
	}
	d.SegmentSize, d.Verified = 0, !sums
	head, payload := x.head[:copy(x.head, b[:headers])], b[headers:]
	for index, from := 0, 0; from < len(payload); index++ {
		n := min(mss, len(payload)-from)
		packet.Segment(head, b[:ip], b[ip:headers], from, n, index, from+n == len(payload))
		packet.FinishTCP(head, ip, payload[from:from+n])
		give(head, payload[from:from+n])
		from += n
	}
	return came, lost
}

// tcpHeader is the least header of TCP, in bytes (RFC 9293, section 3.1).
const tcpHeader = 20

// cuttable says whether a packet may be several segments in one: it is TCP's, whole and with its
// header. Of others a card's word that they are does not count.
func cuttable(in *packet.Info) bool {
	return in.Proto == packet.TCP && !in.Fragment() && in.TransportLen >= tcpHeader
}

// putSum puts the transport checksum in, whatever the field holds.
func putSum(b []byte, in *packet.Info) {
	at := in.HeaderLen
	switch in.Proto {
	case packet.TCP:
		at += 16
	case packet.UDP:
		at += 6
	default:
		return // of others the field is always right
	}
	if in.Fragment() || at+2 > len(b) {
		return
	}
	binary.BigEndian.PutUint16(b[at:], 0)
	var sum packet.Sum
	sum.AddPseudo(&in.Src, &in.Dst, in.Version, in.Proto, len(b)-in.HeaderLen)
	sum.Add(b[in.HeaderLen:])
	if in.Proto == packet.UDP {
		binary.BigEndian.PutUint16(b[at:], sum.ChecksumUDP())
	} else {
		binary.BigEndian.PutUint16(b[at:], sum.Checksum())
	}
}

// Merges implements netif.Receiver.
func (s *Switch) Merges(to any) bool {
	f, ok := to.(*flow.Flow)
	if !ok {
		return false
	}
	a := s.channel(f.Port)
	return a == nil || a.Offloads()&abi.OffloadAggregation != 0
}
