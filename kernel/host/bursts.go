package host

// Bursts of datagrams for the sockets of the host stack. A socket takes 32 KiB; what arrives
// at once beyond that waits here, in portions that the socket can take, instead of being
// lost. Only the echo's socket hears strangers, so it is the one that is regulated. What is a
// domain's never comes here.

import (
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/burst"
)

// bursts belongs to the poller.
type bursts struct {
	link      *link
	regulator *burst.Regulator
	socket    burst.Socket
	// places are packets that wait; free is the first place of none, -1: there is none.
	places []burstPacket
	free   int32
	// memory is what they keep, at most memoryMax. long of them are longer than the socket's
	// buffer.
	memory, memoryMax, long int
	timer                   tcpip.Timer
	// queued is what the socket was given and has not read, in bytes.
	queued *atomic.Int64
}

// burstPacket is one that waits.
type burstPacket struct {
	v         packet
	info      frameInfo
	validated bool
	payload   int
	memory    int
	next      int32
}

// burstPlace is what a place takes of the budget while it is empty.
const burstPlace = 256

// burstMemory is what bursts take at most, with so many bytes for packets.
func burstMemory(packets int) int {
	return packets + packets/packetBytes*burstPlace + burst.Slots*12
}

func newBursts(l *link, memory int) *bursts {
	b := &bursts{link: l, places: make([]burstPacket, memory/packetBytes), memoryMax: memory, queued: &l.echoQueued}
	for i := range b.places {
		b.places[i].next = int32(i) + 1
	}
	b.places[len(b.places)-1].next = -1
	b.regulator = burst.New(burst.Config{Rate: aqm.Rate(l.dev.Link().Rate), Room: b.room, Deliver: b.deliver})
	b.timer = l.clock.AfterFunc(time.Hour, l.dev.Kick)
	b.timer.Stop()
	return b
}

// room is what the socket can take now. What it was given and gVisor has dropped on the way, as
// of a wrong option of IP, it never reads: so who has nothing to read has nothing queued.
func (b *bursts) room(*burst.Socket) int {
	n := b.queued.Load()
	if idle := b.link.echoIdle.Load(); n > 0 && idle != nil && (*idle)() {
		b.queued.Store(0)
		n = 0
	}
	if n <= 0 && b.long > 0 {
		return chunkMax // an empty one takes any packet
	}
	return int(min(max(udpReceive-n, 0), udpReceive))
}

// deliver gives the socket a packet that has waited.
func (b *bursts) deliver(_ *burst.Socket, handle uint32) {
	w := &b.places[handle]
	b.queued.Add(int64(w.payload))
	b.link.inject(&w.v, &w.info, w.validated)
	b.memory -= w.memory
	if w.payload > udpReceive {
		b.long--
	}
	*w = burstPacket{next: b.free}
	b.free = int32(handle)
}

// take decides about a datagram. It reports false when that is for no regulated socket.
func (b *bursts) take(p *poller, pkt *nic.Packet, in *received) bool {
	l := b.link
	at := in.ipHdr
	packet := in.head[ethHeader:]
	if l.echoElsewhere || in.transport != header.UDPProtocolNumber || len(packet) < at+udpHeader ||
		header.UDP(packet[at:]).DestinationPort() != echoPort {
		return false
	}
	if !b.sound(pkt, in, packet[at:]) {
		return true
	}
	payload := max(in.ipLen-at-udpHeader, 1)
	// What is longer than all that is kept is the socket's to take or not.
	memory := packetBytes + max(pieceSize(in.ipLen), in.ipLen+in.ipLen/8)
	if b.free < 0 || b.memory+memory > b.memoryMax {
		if packets, _ := b.socket.Held(); packets > 0 {
			l.counters.inc(rxDropBurst)
			return true
		}
		b.queued.Add(int64(payload))
		p.inject(pkt, in)
		return true
	}
	long := payload > udpReceive
	if long {
		b.long++
	}
	i := b.free
	outcome := b.regulator.Push(l.tx.now(), &b.socket, uint32(i), payload)
	if long && outcome != burst.Held {
		b.long--
	}
	switch outcome {
	case burst.Direct:
		b.queued.Add(int64(payload))
		p.inject(pkt, in)
	case burst.Held:
		w := &b.places[i]
		b.free = w.next
		*w = burstPacket{v: newPacket(in.ipLen), info: in.frameInfo, validated: l.validate(pkt, in), payload: payload, memory: memory}
		w.v.append(pkt, ethHeader, ethHeader+in.ipLen)
		w.v.finish()
		b.memory += memory
	default:
		l.counters.inc(rxDropBurst)
	}
	return true
}

// sound says whether gVisor takes a datagram by its header. What it would drop is dropped here,
// and counted, before it counts as queued.
func (b *bursts) sound(pkt *nic.Packet, in *received, datagram header.UDP) bool {
	length, there := int(datagram.Length()), in.ipLen-in.ipHdr
	switch {
	case length < udpHeader || length > there:
		b.link.counters.inc(rxDropLength)
		return false
	case length < there: // with something behind it, of which gVisor knows what to think
		return true
	case datagram.Checksum() == 0 && in.network == header.IPv4ProtocolNumber: // none (RFC 768)
		return true
	}
	return b.link.verify(pkt, in)
}

// tick delivers what is due, and has the poller woken when more is.
func (b *bursts) tick() {
	at, held := b.regulator.Next()
	if !held {
		return
	}
	now := b.link.tx.now()
	if at <= now {
		b.regulator.Tick(now)
		if at, held = b.regulator.Next(); !held {
			return
		}
	}
	b.timer.Reset(max(at-now, 0))
}

// linkChanged follows the rate of the link.
func (b *bursts) linkChanged() { b.regulator.SetRate(aqm.Rate(b.link.dev.Link().Rate)) }

// close drops what waits.
func (b *bursts) close() {
	b.timer.Stop()
	b.regulator.Close(&b.socket, func(handle uint32) { b.places[handle].v.data.Release() })
}
