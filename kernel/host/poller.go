package host

// The poller: the one goroutine that takes frames from the card and hands
// them on. It waits for the interrupt when it has taken all that there was
// (NAPI), and under load polls on while others work. Every frame is copied once,
// out of the driver's buffers.

import (
	"runtime"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/moderation"
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
	// usualFrame is the longest frame of the usual MTU, in bytes.
	usualFrame = 1514
	// pollAlone is what others take at least who want the processor: after less than that
	// nobody does, and the poller waits for its interrupt.
	pollAlone = 10 * time.Microsecond
)

type poller struct {
	link  *link
	batch []nic.Packet
	info  []received
	// up is the link state that was reported last.
	up bool
	// advice is the rate of the link as it was reported last.
	advice aqm.Advice
	// paused says that who was told of room has more to send, for which others have
	// waited long enough.
	paused bool
	// load is how much arrives, of which the last turn has taken so many packets of so many
	// bytes; full says that more may be there.
	load         moderation.State
	taken, bytes int
	full         bool
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
			l.tx.linkChanged()
			l.onLinkChange(p.up)
		}
		p.turn()
		now := l.tx.now()
		l.turn.End(now)
		if rate, changed := p.advice.See(now, l.rate(l.tx.seenRate)); changed {
			l.onRate(rate)
		}
		if p.polls(now) && p.yield(now) {
			l.dev.Disarm() // it may have interrupted all the same, on a line that others share
			continue
		}
		if !l.dev.Arm() {
			l.dev.Disarm()
			p.yield(now)
			continue
		}
		if !l.closed.Load() {
			l.dev.Wait()
		}
		l.dev.Disarm()
	}
	p.bursts.close()
}

// polls says whether the poller looks again, when others have run, without waiting for an
// interrupt: there is more to do, or so much arrives that its interrupts are to rest while others
// have the processor.
func (p *poller) polls(now time.Duration) bool {
	p.load.Arrived(now, p.taken, p.bytes)
	return p.full || p.paused || p.load.Rests(now)
}

// yield lets others run, and reports whether to look again before an interrupt is waited for:
// there is more to do, or somebody has run.
func (p *poller) yield(now time.Duration) bool {
	runtime.Gosched()
	return p.full || p.paused || p.link.tx.now()-now >= pollAlone
}

// turn receives one batch, hands it on and sends what came of it, with at most
// one notification. It reports whether there was anything to do.
func (p *poller) turn() (worked bool) {
	l := p.link
	n := l.dev.Receive(p.batch)
	p.taken, p.bytes, p.full = 0, 0, n == len(p.batch)
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
		p.taken += len(others)
		p.full = p.full || len(others) == pollBudget
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
	for i := range batch {
		p.bytes += batch[i].Len
		p.taken += (batch[i].Len + usualFrame - 1) / usualFrame // as they were on the link
	}
	p.link.counters.add(rxFrames, uint64(len(batch)))
	p.link.counters.add(rxBytes, uint64(p.bytes))
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
