package host

// The poller: the one goroutine that takes frames from the card and hands
// them on. It polls while there is work and waits for the interrupt when there
// is none (NAPI). Every frame is copied once, out of the driver's buffers.

import (
	"net/netip"
	"runtime"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/netif"
)

// pollBudget is how many frames one turn takes before the goroutines that
// consume them get the CPU.
const pollBudget = 64

const (
	// pollSlice is how long a turn may go on handing frames over before those who have
	// been given some hear of it and others may run, and pollLook how many bytes are
	// handed over between two looks at the clock.
	pollSlice = time.Millisecond
	pollLook  = 128 << 10
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

type poller struct {
	link  *link
	batch []nic.Packet
	info  []received
	// up is the link state that was reported last.
	up bool
	// paused says that who was told of room has more to send, for which others have
	// waited long enough.
	paused bool
	// arrived is what the flow switch is given, and fill its source.
	arrived netif.Arrived
	fill    filler
	watcher watcher
	bursts  *bursts
	// offered are the frames of the batch that offerFrame gave away, and pieces is its.
	offered int
	pieces  [][]byte
}

func newPoller(l *link) *poller {
	p := &poller{link: l, batch: nic.NewBatch(pollBudget), info: make([]received, pollBudget)}
	p.arrived.Fill = p.fill.fill
	p.bursts = newBursts(l, l.bursts)
	return p
}

// run polls until the link is closed.
func (p *poller) run() {
	l := p.link
	for !l.closed.Load() {
		l.turn.Begin(l.tx.now())
		if l.linkMayHaveChanged(&p.up) {
			p.bursts.linkChanged()
			l.onLinkChange(p.up)
		}
		more := p.turn()
		l.turn.End(l.tx.now())
		if more {
			runtime.Gosched()
			continue
		}
		if l.dev.Arm() && !l.closed.Load() {
			l.dev.Wait()
		}
		l.dev.Disarm()
	}
	p.bursts.close()
}

// turn receives one batch, hands it on and sends what came of it, with at most
// one notification. It reports whether another is to follow at once.
func (p *poller) turn() (more bool) {
	l := p.link
	n := l.dev.Receive(p.batch)
	l.tx.beginTurn()
	p.bursts.tick()
	if n > 0 {
		if l.tap != nil && l.tap.Watched() {
			p.watcher.show(l.tap, false, p.batch[:n])
		}
		p.count(p.batch[:n])
		p.deliver(p.batch[:n], l.transit)
		l.dev.Release(p.batch[:n])
	}
	if others := l.inbox.take(pollBudget); len(others) > 0 {
		p.deliver(others, nil)
		n += len(others)
	}
	if n > 0 {
		p.told()
		p.bursts.tick()
	}
	if l.tx.endTurn(&l.turn) || p.paused {
		p.paused = l.nexus != nil && l.nexus.Room()
		if l.frames != nil && l.frames.Room() {
			p.paused = true
		}
	}
	return n > 0 || p.paused
}

// told has those hear of it who were given frames.
func (p *poller) told() {
	if l := p.link; l.nexus != nil {
		l.nexus.Flush()
	}
	if l := p.link; l.frames != nil {
		l.frames.Flush()
	}
}

// pause lets others run when handing frames over has taken a slice since began. What they send
// meanwhile is not the turn's to send at its end.
func (p *poller) pause(began *time.Duration) {
	if now := p.link.tx.now(); now-*began >= pollSlice {
		p.told()
		p.link.tx.leaveTurn(&p.link.turn)
		runtime.Gosched()
		p.link.tx.resumeTurn()
		*began = p.link.tx.now()
	}
}

// count counts what has arrived.
func (p *poller) count(batch []nic.Packet) {
	bytes := 0
	for i := range batch {
		bytes += batch[i].Len
	}
	p.link.counters.add(rxFrames, uint64(len(batch)))
	p.link.counters.add(rxBytes, uint64(bytes))
}

// deliver hands a batch on. transit takes what is for others; nil: it was looked at before.
func (p *poller) deliver(batch []nic.Packet, transit *transit) {
	l := p.link
	taken := 0
	passed := transit == nil && l.transit != nil // on by another card
	if transit != nil {
		taken = transit.take(batch, p.info)
		if taken == len(batch) {
			l.turn.For(nil, 0, taken)
			return
		}
	}
	p.offered = 0
	for i := range batch {
		// A frame with reason to be dropped has an empty head from here on, as one that was
		// taken.
		if taken == 0 || !p.info[i].taken {
			p.look(&batch[i], &p.info[i])
		}
	}
	others := p.offered
	began, next := time.Duration(-1), 0
	for i, done := 0, 0; i < len(batch); {
		for ; next < i; next++ {
			done += batch[next].Len
		}
		switch {
		case began < 0:
			began = l.tx.now()
		case done >= pollLook:
			done = 0
			p.pause(&began)
		}
		pkt, in := &batch[i], &p.info[i]
		if l.nexus != nil && in.head != nil {
			if to := l.nexus.Match(in.head[ethHeader:], in.ipLen); to != nil {
				n := p.deliverTo(to, batch[i:], p.info[i:])
				others += n
				i += n
				continue
			}
		}
		switch {
		case in.head == nil:
			i++
		case !in.part && !passed && in.transport == header.UDPProtocolNumber && l.takeUDP(pkt, in):
			i++
		case !l.neighbours.admit(in.source(in.head[ethHeader:]), in.ipLen):
			l.counters.inc(rxDropUnresolved)
			i++
		case in.part:
			p.deliverPart(pkt, in)
			i++
		case p.bursts.take(p, pkt, in):
			i++
		default:
			i += p.deliverRun(batch[i:], p.info[i:])
		}
	}
	l.turn.For(nil, 0, len(batch)-others) // the host stack's
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

// stream finds how many frames, from the first on, are one TCP stream's without a gap,
// and what they carry together. A frame alone is a run of 1, whose payload is not
// told.
func (p *poller) stream(batch []nic.Packet, info []received) (first segment, count, payload int, push bool) {
	l := p.link
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

// inject hands one frame to gVisor.
func (p *poller) inject(pkt *nic.Packet, in *received) {
	v := newPacket(in.ipLen)
	v.append(pkt, ethHeader, ethHeader+in.ipLen)
	v.finish()
	p.link.inject(&v, &in.frameInfo, p.link.validate(pkt, in))
}

// inject gives a packet, of which it takes ownership, to gVisor.
func (l *link) inject(v *packet, f *frameInfo, validated bool) {
	if l.dispatcher == nil {
		v.data.Release()
		return
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: v.data})
	pkt.NetworkProtocolNumber = f.network
	pkt.PktType = f.kind
	l.rxValidated.Store(validated)
	l.dispatcher.DeliverNetworkPacket(f.network, pkt)
	pkt.DecRef()
}
