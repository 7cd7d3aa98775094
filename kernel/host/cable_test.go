package host

// A cable between two network cards of memory, for the tests: it offers the
// contract of nic.Device with any set of offloads, and does in Go what a card
// would do: sum, cut and check.

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
)

// slot is the memory of one frame.
type slot struct {
	mem [nic.FrameMax]byte
	p   nic.Packet // what it says about itself; Buffers unused
	id  uint32
	src *port
	// sent is how long the frame was that the card was given in it; 0: it was not.
	sent int
}

// port is one end of a cable.
type port struct {
	info  nic.Info
	piece int // bytes of one buffer
	rate  uint64
	peer  *port
	// trailer returns what the link has behind each frame that leaves; nil: nothing.
	trailer func(frame []byte) []byte
	// onTransmit sees each frame that leaves, complete but uncut, and may
	// change or (false) drop it.
	onTransmit func(frame []byte, p *nic.Packet) bool

	// frozen has the card receive nothing, so that what it was sent stays in its peer's ring.
	frozen atomic.Bool

	irq  chan struct{}
	up   atomic.Bool
	mu   sync.Mutex
	free []*slot
	all  []*slot
	rx   []*slot
	// armed: the next arrival interrupts; starved: so does the next free slot.
	armed, starved bool
	transmits      int
	finished       int // bytes that Finished has not told
}

const cableSlots = 128

// newCable returns two ports, up, with their offloads.
func newCable(a, b nic.Offloads) (*port, *port) {
	pa, pb := newPort(1, a), newPort(2, b)
	pa.peer, pb.peer = pb, pa
	return pa, pb
}

func newPort(n byte, o nic.Offloads) *port {
	p := &port{
		info: nic.Info{
			Driver: "cable", Location: "memory", MAC: [6]byte{0x52, 0x54, 0, 0, 0, n},
			MTU: 1500, RxRing: cableSlots, TxRing: cableSlots, Offloads: o,
		},
		piece: 2048,
		irq:   make(chan struct{}, 1),
	}
	p.up.Store(true)
	for i := range cableSlots {
		s := &slot{id: uint32(i), src: p}
		p.all = append(p.all, s)
		p.free = append(p.free, s)
	}
	p.rx = make([]*slot, 0, cableSlots)
	return p
}

func (p *port) Info() nic.Info { return p.info }
func (p *port) Link() nic.Link { return nic.Link{Up: p.up.Load(), Rate: p.rate} }

func (p *port) setLink(up bool) {
	p.up.Store(up)
	p.Kick()
}

func (p *port) Kick() {
	select {
	case p.irq <- struct{}{}:
	default:
	}
}

func (p *port) Wait() { <-p.irq }

func (p *port) Arm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = len(p.rx) == 0 || p.frozen.Load()
	return p.armed
}

func (p *port) Disarm() {
	p.mu.Lock()
	p.armed = false
	p.mu.Unlock()
}

func (p *port) Receive(batch []nic.Packet) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(len(batch), len(p.rx))
	if p.frozen.Load() {
		n = 0
	}
	for i := range n {
		s := p.rx[i]
		room := batch[i].Buffers
		batch[i] = s.p
		batch[i].Buffers = split(room, s, s.p.Len, p.piece)
	}
	p.rx = p.rx[:copy(p.rx, p.rx[n:])]
	return n
}

func split(room []nic.Buffer, s *slot, n, piece int) []nic.Buffer {
	if n == 0 {
		return append(room, nic.Buffer{Bytes: s.mem[:0:0], ID: s.id})
	}
	for off := 0; off < n; off += piece {
		room = append(room, nic.Buffer{Bytes: s.mem[off:min(off+piece, n)], ID: s.id})
	}
	return room
}

func (p *port) Release(batch []nic.Packet) {
	src := p.peer
	src.mu.Lock()
	for i := range batch {
		src.done(src.all[batch[i].Buffers[0].ID])
		batch[i].Reset()
	}
	kick := src.starved
	src.starved = false
	src.mu.Unlock()
	if kick {
		src.Kick()
	}
}

func (p *port) Reserve(pkt *nic.Packet, n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		p.starved = true
		return false
	}
	s := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	pkt.Buffers = split(pkt.Buffers, s, n, p.piece)
	return true
}

func (p *port) Transmit(batch []nic.Packet) {
	p.mu.Lock()
	p.transmits++
	p.mu.Unlock()
	for i := range batch {
		s := p.all[batch[i].Buffers[0].ID]
		s.p = batch[i]
		s.p.Buffers, s.sent = nil, s.p.Len
		batch[i].Reset()
		if !p.up.Load() || p.onTransmit != nil && !p.onTransmit(s.mem[:s.p.Len], &s.p) {
			p.giveBack(s)
			continue
		}
		p.send(s)
	}
}

// done makes a slot free. p.mu is held.
func (p *port) done(s *slot) {
	p.finished += s.sent
	s.sent = 0
	p.free = append(p.free, s)
}

func (p *port) Finished() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.finished
	p.finished = 0
	return n
}

func (p *port) Await(int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := 0
	for _, s := range p.all {
		held += s.sent
	}
	p.starved = p.finished == 0 && held > 0
	return p.starved
}

func (p *port) giveBack(s *slot) {
	p.mu.Lock()
	p.done(s)
	kick := p.starved
	p.starved = false
	p.mu.Unlock()
	if kick {
		p.Kick()
	}
}

// send does the card's offloads and hands the frame to the peer.
func (p *port) send(s *slot) {
	to := p.peer.info.Offloads
	lro := s.p.GSO == nic.GSOTCPv4 && to.LRO4 || s.p.GSO == nic.GSOTCPv6 && to.LRO6
	if s.p.GSO != nic.GSONone && !lro {
		for _, frame := range cut(s) {
			p.peer.arrive(frame, to.RxChecksum)
		}
		p.giveBack(s)
		return
	}
	if !to.RxChecksum && s.p.NeedsChecksum {
		fillChecksum(s.mem[:s.p.Len], &s.p)
	}
	if p.trailer != nil {
		s.p.Len += copy(s.mem[s.p.Len:], p.trailer(s.mem[:s.p.Len]))
	}
	verified := s.p.Verified
	s.p.Verified = to.RxChecksum && !s.p.NeedsChecksum && verified
	p.peer.push(s)
}

// fillChecksum does what NeedsChecksum asks for.
func fillChecksum(frame []byte, p *nic.Packet) {
	start := int(p.ChecksumStart)
	sum := ^checksum.Checksum(frame[start:], 0)
	binary.BigEndian.PutUint16(frame[start+int(p.ChecksumOffset):], sum)
	p.NeedsChecksum = false
}

// cut makes the segments of a large frame, each in memory of its own.
func cut(s *slot) [][]byte {
	large, h, mss := s.mem[:s.p.Len], int(s.p.HeaderLen), int(s.p.SegmentSize)
	var frames [][]byte
	for off := h; off < len(large); off += mss {
		end := min(off+mss, len(large))
		f := append(append([]byte(nil), large[:h]...), large[off:end]...)
		l3 := f[ethHeader:]
		var src, dst = l3[12:16], l3[16:20]
		l4 := l3[20:]
		if s.p.GSO == nic.GSOTCPv4 {
			ip := header.IPv4(l3)
			ip.SetTotalLength(uint16(len(l3)))
			ip.SetID(ip.ID() + uint16(len(frames)))
			ip.SetChecksum(0)
			ip.SetChecksum(^ip.CalculateChecksum())
		} else {
			header.IPv6(l3).SetPayloadLength(uint16(len(l3) - 40))
			src, dst, l4 = l3[8:24], l3[24:40], l3[40:]
		}
		tcp := header.TCP(l4)
		tcp.SetSequenceNumber(tcp.SequenceNumber() + uint32(off-h))
		if end < len(large) {
			tcp.SetFlags(uint8(tcp.Flags() &^ (header.TCPFlagFin | header.TCPFlagPsh)))
		}
		tcp.SetChecksum(0)
		sum := checksum.Checksum(dst, checksum.Checksum(src, 0))
		sum = checksum.Checksum([]byte{0, 6, byte(len(l4) >> 8), byte(len(l4))}, sum)
		tcp.SetChecksum(^checksum.Checksum(l4, sum))
		frames = append(frames, f)
	}
	return frames
}

// arrive receives a frame that no slot of the peer holds. It waits for nothing:
// without a free slot the frame is lost.
func (p *port) arrive(frame []byte, verified bool) bool {
	src := p.peer
	src.mu.Lock()
	if len(src.free) == 0 {
		src.mu.Unlock()
		return false
	}
	s := src.free[len(src.free)-1]
	src.free = src.free[:len(src.free)-1]
	src.mu.Unlock()
	s.p = nic.Packet{Len: copy(s.mem[:], frame), Verified: verified}
	p.push(s)
	return true
}

func (p *port) push(s *slot) {
	p.mu.Lock()
	p.rx = append(p.rx, s)
	kick := p.armed
	p.armed = false
	p.mu.Unlock()
	if kick {
		p.Kick()
	}
}

func (p *port) Counters(f func(string, uint64)) {
	p.mu.Lock()
	n := p.transmits
	p.mu.Unlock()
	f("transmits", uint64(n))
}
